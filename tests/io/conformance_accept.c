/* conformance_accept.c -- rows of the conformance table: taking connections. */
#include "conformance.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void each_listener(struct bench *b,
                          void (*body)(struct bench *b, int listener, const struct address *at))
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct address at;
        int listener = listener_open(b, net, 256, &at);
        body(b, listener, &at);
        shut(b, listener);
    }
}

#define ROW(name)                                                                                  \
    static void name##_body(struct bench *b, int listener, const struct address *at);              \
    static void name(struct bench *b)                                                              \
    {                                                                                              \
        each_listener(b, name##_body);                                                             \
    }                                                                                              \
    static void name##_body(struct bench *b, int listener, const struct address *at)

/* The two are ends of one connection. */
static void check_connected(struct bench *b, int fd, int client)
{
    char c = 0;
    CHECK(fd >= 0);
    send_all(b, fd, "s", 1);
    peer_recv(client, &c, 1);
    CHECK_EQ(c, 's');
    peer_send(client, "c", 1);
    recv_all(b, fd, &c, 1);
    CHECK_EQ(c, 'c');
}

ROW(queued)
{
    int clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = dial_plain(at);
    for (int i = 0; i < 3; i++) {
        int fd = ask(b, accept_op(listener));
        check_connected(b, fd, clients[i]);
        shut(b, fd);
        CHECK_OK(close(clients[i]));
    }
}

ROW(later)
{
    for (int i = 0; i < 3; i++) {
        struct op op = accept_op(listener);
        if (i == 2)
            op.flags = OP_EAGER;
        start(b, &op);
        check_pending(b, &op);
        int client = dial_plain(at);
        int fd = finish(b, &op);
        check_connected(b, fd, client);
        shut(b, fd);
        CHECK_OK(close(client));
    }
}

ROW(born_right)
{
    int client = dial_plain(at);
    int fd = ask(b, accept_op(listener));
    CHECK(fd >= 0);
    int flags = CHECK_OK(fcntl(fd, F_GETFL));
    CHECK(flags & O_NONBLOCK);
    flags = CHECK_OK(fcntl(fd, F_GETFD));
    CHECK(flags & FD_CLOEXEC);
    shut(b, fd);
    CHECK_OK(close(client));
}

/* The length is what the kernel has, also when there was room for less. */
ROW(address_told)
{
    struct address from = {0};
    socklen_t len = sizeof from.un;
    int client = dial_plain(at);
    struct address want = name_of(client, false);
    struct op op = accept_op(listener);
    op.accept.addr = &from.any;
    op.accept.len = &len;
    start(b, &op);
    int fd = finish(b, &op);
    CHECK(fd >= 0);
    CHECK_EQ(len, want.len);
    CHECK_MEM(&from.any, &want.any, want.len);
    shut(b, fd);
    CHECK_OK(close(client));

    len = 1;
    op = accept_op(listener);
    op.accept.addr = &from.any;
    op.accept.len = &len;
    start(b, &op);
    check_pending(b, &op);
    client = dial_plain(at);
    fd = finish(b, &op);
    CHECK(fd >= 0);
    CHECK_EQ(len, want.len);
    shut(b, fd);
    CHECK_OK(close(client));
}

ROW(cancelled)
{
    struct op op = accept_op(listener);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    int client = dial_plain(at);
    int fd = ask(b, accept_op(listener));
    check_connected(b, fd, client);
    shut(b, fd);
    CHECK_OK(close(client));
}

/* A connection is there before the cancel is asked for, and not looked at yet. */
ROW(cancelled_too_late)
{
    for (int i = 0; i < 10; i++) {
        struct op op = accept_op(listener);
        start(b, &op);
        if (i % 2)
            turn(b);
        int client = dial_plain(at);
        int fd = cancel(b, &op);
        CHECK(fd >= 0 || fd == -ECANCELED);
        if (fd < 0)
            fd = ask(b, accept_op(listener));
        check_connected(b, fd, client);
        shut(b, fd);
        CHECK_OK(close(client));
    }
}

static void two_listeners(struct bench *b)
{
    struct address at[2];
    int listeners[2];
    struct op ops[2];
    for (int i = 0; i < 2; i++) {
        listeners[i] = listener_open(b, i ? NET_UNIX : NET_TCP4, 4, &at[i]);
        ops[i] = accept_op(listeners[i]);
        start(b, &ops[i]);
    }
    for (int i = 1; i >= 0; i--) {
        check_pending(b, &ops[i]);
        int client = dial_plain(&at[i]);
        int fd = finish(b, &ops[i]);
        check_connected(b, fd, client);
        shut(b, fd);
        CHECK_OK(close(client));
    }
    shut(b, listeners[0]);
    shut(b, listeners[1]);
}

/* All knock between two turns: one announcement for many connections. */
ROW(many_at_once)
{
    enum { COUNT = 200 };
    int clients[COUNT];
    struct op op = accept_op(listener);
    start(b, &op);
    check_pending(b, &op);
    for (int i = 0; i < COUNT; i++)
        clients[i] = dial_plain(at);
    for (int i = 0; i < COUNT; i++) {
        int fd = finish(b, &op);
        CHECK(fd >= 0);
        if (i % 50 == 0)
            check_connected(b, fd, clients[i]);
        shut(b, fd);
        op = accept_op(listener);
        start(b, &op);
    }
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    for (int i = 0; i < COUNT; i++)
        CHECK_OK(close(clients[i]));
}

static struct rlimit leave_no_descriptors(void)
{
    struct rlimit old;
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &old));
    int next = CHECK_OK(dup(0));
    CHECK_OK(close(next));
    CHECK_OK(setrlimit(RLIMIT_NOFILE,
                       &(struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max}));
    return old;
}

static void no_descriptors_left(struct bench *b, int listener, const struct address *at, bool waits)
{
    struct op op = accept_op(listener);
    int client = -1;
    if (waits) {
        start(b, &op);
        check_pending(b, &op);
    }
    client = dial_plain(at);
    struct rlimit old = leave_no_descriptors();
    if (!waits)
        start(b, &op);
    int fd = finish(b, &op);
    if (fd >= 0) {
        /* It was accepted when it came, before there was a limit. */
        CHECK(waits);
    } else {
        CHECK_EQ(fd, -EMFILE);
        CHECK_EQ(ask(b, accept_op(listener)), -EMFILE);
    }
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &old));
    if (fd < 0)
        fd = ask(b, accept_op(listener));
    check_connected(b, fd, client);
    shut(b, fd);
    CHECK_OK(close(client));
}

ROW(exhausted)
{
    no_descriptors_left(b, listener, at, false);
    no_descriptors_left(b, listener, at, true);
    no_descriptors_left(b, listener, at, false);
}

/* It was reset while it was queued: it is told by the accept's absence or by the first receive. */
static void reset_in_queue(struct bench *b)
{
    struct address at;
    char c;
    int listener = listener_open(b, NET_TCP4, 4, &at);
    peer_reset(dial_plain(&at));
    int client = dial_plain(&at);
    int fd = ask(b, accept_op(listener));
    CHECK(fd >= 0);
    struct address peer = name_of(client, false), from = {.len = sizeof from.in};
    if (getpeername(fd, &from.any, &from.len) < 0 || from.in.sin_port != peer.in.sin_port) {
        CHECK_EQ(ask(b, recv_op(fd, &c, 1)), -ECONNRESET);
        shut(b, fd);
        fd = ask(b, accept_op(listener));
    }
    check_connected(b, fd, client);
    shut(b, fd);
    CHECK_OK(close(client));
    shut(b, listener);
}

static void not_listening(struct bench *b)
{
    int fd = ask(b, socket_op(AF_INET, SOCK_STREAM));
    CHECK_EQ(ask(b, accept_op(fd)), -EINVAL);
    shut(b, fd);
}

static void listener_shut_down(struct bench *b)
{
    struct address at;
    int listener = listener_open(b, NET_TCP4, 4, &at);
    struct op op = accept_op(listener);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(ask(b, shutdown_op(listener, SHUT_RDWR)), 0);
    CHECK_EQ(finish(b, &op), -EINVAL);
    shut(b, listener);
}

/* ---- The race -------------------------------------------------------------------------------- */

struct knocks {
    const struct address *at;
    int count;
    atomic_int made;
};

static void *knock(void *arg)
{
    struct knocks *k = arg;
    for (int i = 0; i < k->count; i++) {
        int fd = dial_plain(k->at);
        atomic_fetch_add(&k->made, 1);
        CHECK_OK(close(fd));
    }
    return NULL;
}

/* Accepts are cancelled at every moment of an arrival: each connection is accepted exactly once. */
static void cancel_race(struct bench *b)
{
    struct address at;
    pthread_t thread;
    struct knocks k = {.at = &at, .count = b->backend == b->bare ? 2000 : 200};
    int listener = listener_open(b, NET_UNIX, 8, &at), accepted = 0, cancelled = 0;
    CHECK_EQ(pthread_create(&thread, NULL, knock, &k), 0);
    while (accepted < k.count) {
        struct op op = accept_op(listener);
        start(b, &op);
        if (cancelled % 3 == 0)
            turn(b);
        int fd = cancel(b, &op);
        cancelled += fd == -ECANCELED;
        if (fd == -ECANCELED)
            continue;
        CHECK(fd >= 0);
        accepted++;
        shut(b, fd);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&k.made), accepted);
    struct op op = accept_op(listener);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    shut(b, listener);
}

const struct row accept_rows[] = {
    {.promise = "an accept takes connections that are queued, in order", .fn = queued},
    {.promise = "an accept takes a connection that comes later", .fn = later},
    {.promise = "an accepted socket is close-on-exec and non-blocking", .fn = born_right},
    {.promise = "an accept tells the peer's address and its length", .fn = address_told},
    {.promise = "a cancelled accept leaves the next connection to the next accept",
     .fn = cancelled},
    {.promise = "an accept cancelled too late loses no connection", .fn = cancelled_too_late},
    {.promise = "two listeners are waited for, each for its own", .fn = two_listeners},
    {.promise = "two hundred connections at once are all accepted",
     .fn = many_at_once,
     .flags = ROW_HEAVY},
    {.promise = "an accept without descriptors left fails, and works again", .fn = exhausted},
    {.promise = "a connection reset in the queue does not stop the next", .fn = reset_in_queue},
    {.promise = "an accept on a socket that does not listen is refused", .fn = not_listening},
    {.promise = "shutting a listener down ends its accept", .fn = listener_shut_down},
    {.promise = "accepts cancelled in a race lose and leak no connection", .fn = cancel_race},
    {.promise = NULL},
};
