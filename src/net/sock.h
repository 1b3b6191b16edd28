/* sock.h -- sockets as the rest of net/ asks for them: a name per operation, negative errno. */
#ifndef WEIR_SOCK_H
#define WEIR_SOCK_H

#include "../runtime/runtime.h"

/* The operations that complete at once ignore deadline and cancellation: they cannot wait. */
int sock_open(int family, int protocol);
int sock_pair(int fds[2]);
int sock_bind(int fd, const weir_addr *a);
int sock_listen(int fd, int backlog);
int sock_connect(int fd, const weir_addr *a); /* waits */
int sock_name(int fd, bool peer, weir_addr *a);
int sock_query(int fd, unsigned long request);
int sock_shutdown(int fd, int how);
int sock_close(int fd);
int sock_set(int fd, int level, int name, int value);
int sock_get(int fd, int level, int name, int *value);
int sock_option(int fd, int level, int name, void *value, socklen_t *len, bool set);
/* A close(2) to come answers the peer with a reset. */
void sock_reset_on_close(int fd);

/* 0, or -EINVAL, which weir_error() explains in the name of `op`: no socket can have that. */
int sock_check(const weir_opts *o, const char *op);
/* What `o` asks of a socket, and weir's defaults, before connect or listen.  Linux hands the
 * options of a listening TCP socket down to what it accepts. */
int sock_setup(int fd, int family, const weir_opts *o, bool listens);
int sock_keepalive(int fd, int64_t idle_ns);
int sock_user_timeout(int fd, int64_t ns);

static inline bool family_is_inet(int family)
{
    return family == AF_INET || family == AF_INET6;
}

#endif
