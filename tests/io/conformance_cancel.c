/* conformance_cancel.c -- rows of the conformance table: an operation that is not wanted any more
 * ends, and what it had already done is not lost.                                              */
#include "conformance.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define ROW(name)                                                                                  \
    static void name##_body(struct bench *b, struct pair p, enum net net);                         \
    static void name(struct bench *b)                                                              \
    {                                                                                              \
        each_stream(b, name##_body);                                                               \
    }                                                                                              \
    static void name##_body(struct bench *b, struct pair p, __attribute__((unused)) enum net net)

ROW(receive)
{
    char c = 0;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 1);
    CHECK_EQ(c, 'x');
}

ROW(before_any_wait)
{
    char c = 0;
    for (int i = 0; i < 10; i++) {
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        CHECK_EQ(cancel(b, &op), -ECANCELED);
    }
    peer_send(p.peer, "x", 1);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 1);
}

ROW(asked_twice)
{
    char c = 0;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    give_up(b, &op);
    b->backend->cancel(b->io, &op);
    if (op.state == OP_PENDING)
        b->backend->cancel(b->io, &op);
    CHECK_EQ(ended(b, &op), -ECANCELED);
}

ROW(cancelled_send)
{
    small_buffers(p);
    size_t before = fill(b, p);
    struct op op = send_op(p.ours, "lost", 4);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_OK(shutdown(p.ours, SHUT_WR));
    CHECK_EQ(peer_drain(p.peer), before);
}

ROW(cancelled_poll)
{
    struct op op = poll_op(p.ours, POLLIN);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(ask(b, poll_op(p.ours, POLLIN)), POLLIN);
}

ROW(message)
{
    char c = 0;
    struct iovec iov = {&c, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct op op = recvmsg_op(p.ours, &msg);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_EQ(iov.iov_len, 1);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(ask(b, recvmsg_op(p.ours, &msg)), 1);
    CHECK_EQ(c, 'x');
}

ROW(other_direction)
{
    char c = 0;
    small_buffers(p);
    size_t before = fill(b, p);
    struct op in = recv_op(p.ours, &c, 1), out = send_op(p.ours, "o", 1);
    start(b, &in);
    start(b, &out);
    check_pending(b, &out);
    CHECK_EQ(cancel(b, &in), -ECANCELED);
    check_pending(b, &out);
    peer_skip(p.peer, before);
    CHECK_EQ(finish(b, &out), 1);
    peer_recv(p.peer, &c, 1);
    CHECK_EQ(c, 'o');
}

/* The bytes are in the socket when the cancel is asked for: they are the result, or they stay. */
ROW(too_late)
{
    for (int i = 0; i < 20; i++) {
        char sent = (char)('a' + i), c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        if (i % 2)
            turn(b);
        peer_send(p.peer, &sent, 1);
        int32_t n = cancel(b, &op);
        CHECK(n == 1 || n == -ECANCELED);
        if (n == -ECANCELED)
            CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 1);
        CHECK_EQ(c, sent);
    }
}

/* ---- Races ----------------------------------------------------------------------------------- */

struct feed {
    int fd;
    size_t len;
    atomic_bool stop;
};

static void *feed_bytes(void *arg)
{
    struct feed *f = arg;
    uint8_t chunk[7];
    for (size_t at = 0; at < f->len;) {
        size_t n = f->len - at < sizeof chunk ? f->len - at : 1 + at % sizeof chunk;
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(at + i);
        peer_send(f->fd, chunk, n);
        at += n;
    }
    return NULL;
}

static int race_rounds(const struct bench *b)
{
    return b->backend == b->bare && !b->mix->calls.interrupt ? 10000 : 1000;
}

/* Receives are cancelled at every moment of the bytes' arrival; all bytes come, once, in order. */
static void receive_race(struct bench *b, enum net net)
{
    struct pair p = pair_open(net);
    struct feed f = {.fd = p.peer, .len = (size_t)race_rounds(b)};
    pthread_t thread;
    uint8_t buf[16];
    size_t got = 0, rounds = 0;
    CHECK_EQ(pthread_create(&thread, NULL, feed_bytes, &f), 0);
    while (got < f.len || rounds < f.len) {
        struct op op = recv_op(p.ours, buf, 1 + rounds++ % sizeof buf);
        start(b, &op);
        if (rounds % 3 == 0)
            turn(b);
        int32_t n = cancel(b, &op);
        if (n == -ECANCELED)
            continue;
        CHECK(n > 0);
        for (int32_t i = 0; i < n; i++)
            CHECK_EQ(buf[i], pattern(got + (size_t)i));
        got += (size_t)n;
    }
    CHECK_EQ(got, f.len);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pair_close(b, p);
}

static void receive_races(struct bench *b)
{
    receive_race(b, NET_UNIX);
    receive_race(b, NET_TCP4);
}

struct sink {
    int fd;
    size_t got;
};

static void *drain(void *arg)
{
    struct sink *s = arg;
    s->got = peer_drain(s->fd);
    return NULL;
}

/* Sends are cancelled at every moment of room being made; what they answered is what arrived. */
static void send_race(struct bench *b, enum net net)
{
    struct pair p = pair_open(net);
    struct sink s = {.fd = p.peer};
    pthread_t thread;
    uint8_t buf[512];
    size_t sent = 0;
    small_buffers(p);
    CHECK_EQ(pthread_create(&thread, NULL, drain, &s), 0);
    for (int rounds = race_rounds(b); rounds > 0; rounds--) {
        size_t len = 1 + (size_t)rounds % sizeof buf;
        for (size_t i = 0; i < len; i++)
            buf[i] = pattern(sent + i);
        struct op op = send_op(p.ours, buf, len);
        start(b, &op);
        if (rounds % 3 == 0)
            turn(b);
        int32_t n = cancel(b, &op);
        if (n == -ECANCELED)
            continue;
        CHECK(n > 0 && (size_t)n <= len);
        sent += (size_t)n;
    }
    CHECK_EQ(ask(b, shutdown_op(p.ours, SHUT_WR)), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(s.got, sent);
    pair_close(b, p);
}

static void send_races(struct bench *b)
{
    send_race(b, NET_UNIX);
    send_race(b, NET_TCP4);
}

const struct row cancel_rows[] = {
    {.promise = "a cancelled receive ends, and the bytes are the next one's", .fn = receive},
    {.promise = "an operation is cancelled before the backend has waited", .fn = before_any_wait},
    {.promise = "a cancel asked for twice ends the operation once", .fn = asked_twice},
    {.promise = "a cancelled send has sent nothing", .fn = cancelled_send},
    {.promise = "a cancelled poll ends", .fn = cancelled_poll},
    {.promise = "a cancelled message receive leaves its message alone", .fn = message},
    {.promise = "a cancel ends one direction and not the other", .fn = other_direction},
    {.promise = "a receive cancelled when its bytes are there loses none", .fn = too_late},
    {.promise = "receives cancelled in a race lose no byte", .fn = receive_races},
    {.promise = "sends cancelled in a race tell exactly what was sent", .fn = send_races},
    {.promise = NULL},
};
