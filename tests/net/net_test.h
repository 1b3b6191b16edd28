/* net_test.h -- a test of net/ is kept by plain threads and by fibers on each backend.
 *
 * The body of a NET_TEST is straight-line code with public calls.  It is run as several tests: in
 * a plain thread, and inside weir_run on epoll and on io_uring, with two workers.  What it starts
 * in a group is threads there and fibers here, so a body reads the same for all.
 *
 * The body of a NET_TEST_TROUBLED leans on no transfer being full.  It is run in these ways, and
 * once more in each while system calls are interrupted, announce for nothing and move one byte. */
#ifndef NET_TEST_H
#define NET_TEST_H

#include "test.h"
#include "weir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NET_TEST_(name, promise, troubled)                                                         \
    static void net_body_##name(void);                                                             \
    __attribute__((constructor)) static void net_add_##name(void)                                  \
    {                                                                                              \
        net_register(#name, promise, net_body_##name, troubled);                                   \
    }                                                                                              \
    static void net_body_##name(void)
#define NET_TEST(name, promise) NET_TEST_(name, promise, false)
#define NET_TEST_TROUBLED(name, promise) NET_TEST_(name, promise, true)

void net_register(const char *name, const char *promise, void (*body)(void), bool troubled);

/* Whether the body runs in weir_run. */
bool in_runtime(void);

/* A listener on 127.0.0.1, and its endpoint in `where` (ENDPOINT bytes). */
enum { ENDPOINT = 64 };
weir_listener *listen_local(char *where, const weir_opts *o);

/* Two ends of a new TCP connection: [0] accepted, [1] dialled. */
void tcp_pair(weir_conn *c[2]);
void tcp_pair_with(weir_conn *c[2], const weir_opts *listen, const weir_opts *dial);

/* A blocking socket of the test's own, connected to an endpoint of listen_local; and the pair of
 * such a socket with the connection accepted for it. */
int raw_connect(const char *where);
weir_conn *raw_pair(int *fd);
void raw_reset(int fd); /* closes with a reset */

/* The same pattern everywhere, so that a byte out of place is seen. */
void pattern_fill(void *buf, size_t n, size_t offset);
bool pattern_is(const void *buf, size_t n, size_t offset);

/* Waits until the kernel has `bytes` for us to read. */
void await_bytes(weir_conn *c, int bytes);
/* Writes without waiting until the kernel takes no more: how much it took. */
size_t fill_socket(weir_conn *c);

/* Starts fn(arg) in g, on worker 2 where there are workers. */
void start_elsewhere(weir_group *g, int (*fn)(void *), void *arg);
void start(weir_group *g, int (*fn)(void *), void *arg);
/* Waits for the members, whose results must all be 0, and closes the group. */
void finish_group(weir_group *g);
/* Lets others run until *flag is set by one of them. */
void await_flag(const _Atomic int *flag, int value);
/* Returns when another task waits: a fiber for `what`, as weir_dump has it, or a thread for the
 * kernel. */
void await_waiting(const char *what);

#endif
