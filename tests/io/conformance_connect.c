/* conformance_connect.c -- rows of the conformance table: making sockets and connecting them. */
#include "conformance.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int family_of(enum net net)
{
    return net == NET_UNIX ? AF_UNIX : net == NET_TCP4 ? AF_INET : AF_INET6;
}

static int stream_open(struct bench *b, enum net net)
{
    int fd = ask(b, socket_op(family_of(net), SOCK_STREAM));
    CHECK(fd >= 0);
    return fd;
}

static void new_socket(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        int fd = stream_open(b, net);
        int flags = CHECK_OK(fcntl(fd, F_GETFL));
        CHECK(flags & O_NONBLOCK);
        flags = CHECK_OK(fcntl(fd, F_GETFD));
        CHECK(flags & FD_CLOEXEC);
        shut(b, fd);
    }
    CHECK_EQ(ask(b, socket_op(255, SOCK_STREAM)), -EAFNOSUPPORT);
}

static void binding(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct address at;
        int first = listener_open(b, net, 1, &at), second = stream_open(b, net);
        CHECK_EQ(ask(b, bind_op(second, &at.any, at.len)), -EADDRINUSE);
        shut(b, first);
        CHECK_EQ(ask(b, bind_op(second, &at.any, at.len)), 0);
        shut(b, second);
    }
    /* TEST-NET-1 of RFC 5737 is nobody's. */
    struct address nowhere = loopback(AF_INET);
    nowhere.in.sin_addr.s_addr = htonl(0xc0000201);
    int fd = stream_open(b, NET_TCP4);
    CHECK_EQ(ask(b, bind_op(fd, &nowhere.any, nowhere.len)), -EADDRNOTAVAIL);
    shut(b, fd);
}

static void succeeds(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct address at;
        char buf[2];
        int listener = listener_open(b, net, 1, &at), fd = stream_open(b, net);
        CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), 0);
        int peer = CHECK_OK(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        send_all(b, fd, "hi", 2);
        peer_recv(peer, buf, 2);
        peer_send(peer, "ho", 2);
        recv_all(b, fd, buf, 2);
        CHECK_MEM(buf, "ho", 2);
        CHECK_OK(close(peer));
        shut(b, fd);
        shut(b, listener);
    }
}

static void twice(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct address at;
        int listener = listener_open(b, net, 2, &at), fd = stream_open(b, net);
        CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), 0);
        CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), -EISCONN);
        shut(b, fd);
        shut(b, listener);
    }
}

static void from_address(struct bench *b)
{
    struct address at, from = loopback(AF_INET);
    int listener = listener_open(b, NET_TCP4, 1, &at), fd = stream_open(b, NET_TCP4);
    from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    CHECK_EQ(ask(b, bind_op(fd, &from.any, from.len)), 0);
    CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), 0);
    int peer = CHECK_OK(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    CHECK_EQ(name_of(peer, true).in.sin_addr.s_addr, from.in.sin_addr.s_addr);
    CHECK_OK(close(peer));
    shut(b, fd);
    shut(b, listener);
}

/* The listener goes away, so its address is one where surely nobody listens. */
static void refused(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct address at;
        int listener = listener_open(b, net, 1, &at), fd = stream_open(b, net);
        shut(b, listener);
        CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), -ECONNREFUSED);
        shut(b, fd);
    }
}

/* A socket whose first attempt failed may make another one. */
static void refused_then_accepted(struct bench *b)
{
    struct address dead, at;
    int gone = listener_open(b, NET_TCP4, 1, &dead), fd = stream_open(b, NET_TCP4);
    int listener = listener_open(b, NET_TCP4, 1, &at); /* now, or it might get the other's port */
    shut(b, gone);
    CHECK_EQ(ask(b, connect_op(fd, &dead.any, dead.len)), -ECONNREFUSED);
    CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), 0);
    shut(b, fd);
    shut(b, listener);
}

static void unix_paths(struct bench *b)
{
    struct address at = {.un = {.sun_family = AF_UNIX}};
    char path[64];
    snprintf(path, sizeof path, "/tmp/weir-conformance-%d", getpid());
    strcpy(at.un.sun_path, path);
    at.len = sizeof at.un;
    int fd = stream_open(b, NET_UNIX), listener = stream_open(b, NET_UNIX);
    CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), -ENOENT);
    CHECK_EQ(ask(b, bind_op(listener, &at.any, at.len)), 0);
    CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), -ECONNREFUSED);
    CHECK_EQ(ask(b, listen_op(listener, 1)), 0);
    CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), 0);
    CHECK_OK(unlink(path));
    shut(b, fd);
    shut(b, listener);
}

/* A Unix listener whose queue holds one connection; `waiting` is a second, which waits. */
struct crowd {
    struct address at;
    int listener, queued, fd;
    struct op waiting;
};

static void crowd_open(struct bench *b, struct crowd *c)
{
    c->listener = listener_open(b, NET_UNIX, 0, &c->at);
    c->queued = dial_plain(&c->at);
    c->fd = stream_open(b, NET_UNIX);
    c->waiting = connect_op(c->fd, &c->at.any, c->at.len);
    start(b, &c->waiting);
    check_pending(b, &c->waiting);
}

static void crowd_close(struct bench *b, struct crowd *c)
{
    shut(b, c->fd);
    CHECK_OK(close(c->queued));
}

static void full_backlog(struct bench *b)
{
    struct crowd c;
    char buf[2];
    crowd_open(b, &c);
    for (int i = 0; i < 5; i++)
        check_calm(b, &c.waiting);
    int first = CHECK_OK(accept4(c.listener, NULL, NULL, SOCK_CLOEXEC));
    CHECK_EQ(finish(b, &c.waiting), 0);
    int second = CHECK_OK(accept4(c.listener, NULL, NULL, SOCK_CLOEXEC));
    send_all(b, c.fd, "me", 2);
    peer_recv(second, buf, 2);
    CHECK_OK(close(first));
    CHECK_OK(close(second));
    shut(b, c.listener);
    crowd_close(b, &c);
}

static void full_backlog_cancelled(struct bench *b)
{
    struct crowd c;
    crowd_open(b, &c);
    CHECK_EQ(cancel(b, &c.waiting), -ECANCELED);
    int first = CHECK_OK(accept4(c.listener, NULL, NULL, SOCK_CLOEXEC));
    CHECK_OK(close(first));
    CHECK_EQ(ask(b, connect_op(c.fd, &c.at.any, c.at.len)), 0);
    shut(b, c.listener);
    crowd_close(b, &c);
}

static void full_backlog_gone(struct bench *b)
{
    struct crowd c;
    crowd_open(b, &c);
    shut(b, c.listener);
    int32_t result = finish(b, &c.waiting);
    CHECK(result == -ECONNREFUSED || result == -ECONNRESET);
    crowd_close(b, &c);
}

static void full_backlog_closed(struct bench *b)
{
    struct crowd c;
    crowd_open(b, &c);
    give_up(b, &c.waiting);
    crowd_close(b, &c);
    CHECK_EQ(ended(b, &c.waiting), -ECANCELED);
    shut(b, c.listener);
}

/* Many wait for places in one queue, and each gets one. */
static void full_backlog_many(struct bench *b)
{
    enum { COUNT = 20 };
    struct address at;
    struct op ops[COUNT];
    int listener = listener_open(b, NET_UNIX, 0, &at);
    for (int i = 0; i < COUNT; i++) {
        ops[i] = connect_op(stream_open(b, NET_UNIX), &at.any, at.len);
        start(b, &ops[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        struct op op = accept_op(listener);
        start(b, &op);
        int fd = finish(b, &op);
        CHECK(fd >= 0);
        shut(b, fd);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(finish(b, &ops[i]), 0);
        shut(b, ops[i].fd);
    }
    shut(b, listener);
}

/* With its accept queue full, a TCP listener drops what would complete the handshake. */
static void unanswered(struct bench *b)
{
    struct address at;
    struct op ops[8];
    int listener = listener_open(b, NET_TCP4, 0, &at), count = 0;
    do {
        CHECK(count < 8);
        ops[count] = connect_op(stream_open(b, NET_TCP4), &at.any, at.len);
        start(b, &ops[count]);
        for (int i = 0; i < 20 && !is_done(&ops[count]); i++)
            b->backend->wait(b->io, b->backend->now(b->io) + 1000000), turn(b);
    } while (is_done(&ops[count++]));
    struct op *waiting = &ops[count - 1];
    CHECK_EQ(cancel(b, waiting), -ECANCELED);
    for (int i = 0; i < count; i++)
        shut(b, ops[i].fd);
    shut(b, listener);
}

static void receive_before_connected(struct bench *b)
{
    struct address at;
    char c = 0;
    int listener = listener_open(b, NET_TCP4, 1, &at), fd = stream_open(b, NET_TCP4);
    CHECK_EQ(ask(b, connect_op(fd, &at.any, at.len)), 0);
    struct op op = recv_op(fd, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    int peer = CHECK_OK(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    check_pending(b, &op);
    peer_send(peer, "w", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_OK(close(peer));
    shut(b, fd);
    shut(b, listener);
}

const struct row connect_rows[] = {
    {.promise = "a socket is born close-on-exec and non-blocking", .fn = new_socket},
    {.promise = "an address is bound once, and again when it is free", .fn = binding},
    {.promise = "a connect succeeds, and bytes go both ways", .fn = succeeds},
    {.promise = "a connect of a connected socket is refused", .fn = twice},
    {.promise = "a connect comes from the address that was bound", .fn = from_address},
    {.promise = "a connect where nobody listens is refused", .fn = refused},
    {.promise = "a socket that was refused may connect elsewhere", .fn = refused_then_accepted},
    {.promise = "a Unix path that is missing, or has no listener, is told apart", .fn = unix_paths},
    {.promise = "a connect waits for a full Unix backlog, and goes on", .fn = full_backlog},
    {.promise = "a connect to a full Unix backlog is cancelled, and made again",
     .fn = full_backlog_cancelled},
    {.promise = "a connect to a full Unix backlog is refused when the listener goes",
     .fn = full_backlog_gone},
    {.promise = "a connect to a full Unix backlog ends when its socket is closed",
     .fn = full_backlog_closed},
    {.promise = "twenty connects share a Unix backlog of one", .fn = full_backlog_many},
    {.promise = "a connect that is not answered is cancelled", .fn = unanswered},
    {.promise = "a receive before the connection is accepted gets the first byte",
     .fn = receive_before_connected},
    {.promise = NULL},
};
