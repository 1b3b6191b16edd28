/* server.h -- a server in a process of its own, and clients made of plain sockets.
 *
 * What a server does to its process - signals, children, descriptors, processor time - is looked
 * at from outside. */
#ifndef SERVER_H
#define SERVER_H

#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "test.h"
#include "weir.h"

struct plan {
    weir_serve_opts opts;
    int (*handler)(weir_conn *, void *);
    void *arg;
    bool plain;            /* outside weir_run */
    weir_config config;    /* of weir_run; two workers unless it says otherwise */
    const weir_opts *listen;
    int nofile;            /* RLIMIT_NOFILE; 0: as it is */
    void (*before)(void);  /* in the server's process, first */
    int (*serve)(weir_listener *); /* instead of weir_serve */
};

struct server {
    pid_t pid;
    int port;
};

/* Returns once it listens.  Its exit status is 0 when weir_serve returned 0, else 1. */
void server_start(struct server *s, const struct plan *p);
/* The exit status, or 128 + the number of the signal it died of. */
int server_join(struct server *s);
int server_stop(struct server *s, int signo);
/* The children of a server that dies become the test's, and are waited for. */
void orphans_adopt(void);
void orphans_join(void);
/* Returns once its port refuses connections. */
void server_await_refusal(const struct server *s);

/* A connected socket, with a limit of ten seconds to every wait. */
int client_open(int port);
/* The same, or -1 with connect(2)'s errno. */
int client_try(int port);
void client_say(int fd, const void *bytes, size_t len);
void client_hear(int fd, const void *bytes, size_t len);
/* Says `len` bytes that depend on `seed`, and checks each that comes back. */
void client_echo(int fd, unsigned seed, size_t len);
/* Half-closes, reads to the end and closes. */
void client_finish(int fd);
/* What ends the input: 0 or an errno.  Closes. */
int client_end(int fd);

/* The echo of the textbook, with idleness marked. */
int echo(weir_conn *c, void *arg);
/* One piece at a time. */
int echo_parked(weir_conn *c, void *arg);

/* Zeroed memory that processes share, until the test ends. */
void *shared(size_t size);
/* The children of a process, at most `max` of them: how many. */
int children_of(pid_t pid, pid_t *children, int max);
int count_fds(pid_t pid);
int64_t clock_ns(void);
/* How much time a process has used, all its threads together. */
int64_t cpu_ns(pid_t pid);

#endif
