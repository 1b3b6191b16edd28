/* conformance_stream.c -- rows of the conformance table: bytes on connected streams.
 *
 * Each runs over a Unix socket pair, TCP on IPv4 and TCP on IPv6, unless it is about what only one
 * of them has.                                                                                 */
#include "conformance.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(name)                                                                                  \
    static void name##_body(struct bench *b, struct pair p, enum net net);                         \
    static void name(struct bench *b)                                                              \
    {                                                                                              \
        each_stream(b, name##_body);                                                               \
    }                                                                                              \
    static void name##_body(struct bench *b, struct pair p, __attribute__((unused)) enum net net)

/* ---- Receiving ------------------------------------------------------------------------------- */

ROW(bytes_there)
{
    char buf[64];
    peer_send(p.peer, "hello", 5);
    recv_all(b, p.ours, buf, 5);
    CHECK_MEM(buf, "hello", 5);
}

ROW(bytes_later)
{
    char c = 0;
    for (char sent = 1; sent < 10; sent++) {
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        peer_send(p.peer, &sent, 1);
        CHECK_EQ(finish(b, &op), 1);
        CHECK_EQ(c, sent);
    }
}

ROW(eager_receive)
{
    char c = 0;
    struct op op = recv_op(p.ours, &c, 1);
    op.flags |= OP_EAGER;
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &op), 1);
    peer_send(p.peer, "y", 1);
    op = recv_op(p.ours, &c, 1);
    op.flags |= OP_EAGER;
    start(b, &op);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(c, 'y');
}

ROW(rest_stays)
{
    char buf[8];
    peer_send(p.peer, "12345678", 8);
    recv_all(b, p.ours, buf, 4);
    CHECK_MEM(buf, "1234", 4);
    turn(b);
    recv_all(b, p.ours, buf, 4);
    CHECK_MEM(buf, "5678", 4);
}

/* Announced while no operation pends, the readiness must not be lost with the announcement. */
ROW(arrives_unasked)
{
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "a", 1);
    CHECK_EQ(finish(b, &op), 1);
    peer_send(p.peer, "b", 1);
    turn(b);
    turn(b);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 1);
    CHECK_EQ(c, 'b');
}

/* A short receive lets a backend take the socket for empty; what comes after must still be seen. */
ROW(after_short_receive)
{
    char buf[64];
    peer_send(p.peer, "abc", 3);
    int32_t n = ask(b, recv_op(p.ours, buf, sizeof buf));
    CHECK(n > 0 && n <= 3);
    recv_all(b, p.ours, buf, (size_t)(3 - n));
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "d", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(buf[0], 'd');
}

ROW(many_small)
{
    uint8_t sent[256], got[256];
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = pattern(i);
        peer_send(p.peer, &sent[i], 1);
    }
    recv_all(b, p.ours, got, sizeof got);
    CHECK_MEM(got, sent, sizeof sent);
}

ROW(stolen_bytes)
{
    char c = 0;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "x", 1);
    char stolen;
    if (recv(p.ours, &stolen, 1, MSG_DONTWAIT) == 1) {
        check_pending(b, &op);
        check_calm(b, &op);
        peer_send(p.peer, "y", 1);
        CHECK_EQ(finish(b, &op), 1);
        CHECK_EQ(c, 'y');
        return;
    }
    /* The kernel had handed the byte to the operation already. */
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(c, 'x');
}

ROW(peek)
{
    char buf[4] = "";
    struct op op = recv_op(p.ours, buf, 1);
    op.recv.flags = MSG_PEEK;
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "z", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(buf[0], 'z');
    buf[0] = 0;
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 1);
    CHECK_EQ(buf[0], 'z');
}

/* ---- Ends ------------------------------------------------------------------------------------ */

ROW(end_of_stream)
{
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(finish(b, &op), 0);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 0);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 0);
}

ROW(bytes_before_end)
{
    char buf[64];
    peer_send(p.peer, "last", 4);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    turn(b);
    recv_all(b, p.ours, buf, 4);
    CHECK_MEM(buf, "last", 4);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
}

/* Both arrive while one receive pends: there is one announcement, and the short receive must not
 * make the end wait for another. */
ROW(bytes_and_end)
{
    char buf[64];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "last", 4);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    int32_t n = finish(b, &op);
    CHECK(n >= 1 && n <= 4);
    recv_all(b, p.ours, buf, (size_t)(4 - n));
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
}

ROW(half_close_by_peer)
{
    char c;
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 0);
    send_all(b, p.ours, "still here", 10);
    char buf[10];
    peer_recv(p.peer, buf, 10);
    CHECK_MEM(buf, "still here", 10);
}

ROW(half_close_by_us)
{
    char c = 0;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(ask(b, shutdown_op(p.ours, SHUT_WR)), 0);
    peer_sees_end(p.peer);
    check_pending(b, &op);
    peer_send(p.peer, "answer", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(ask(b, send_op(p.ours, "x", 1)), -EPIPE);
}

ROW(shutdown_ends_receive)
{
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(ask(b, shutdown_op(p.ours, SHUT_RDWR)), 0);
    CHECK_EQ(finish(b, &op), 0);
}

static void reset_while_receiving(struct bench *b)
{
    for (enum net net = NET_TCP4; net < NETS; net++) {
        struct pair p = pair_open(net);
        char c;
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        peer_reset(p.peer);
        CHECK_EQ(finish(b, &op), -ECONNRESET);
        CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 0);
        shut(b, p.ours);
    }
}

static void reset_before_receiving(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    char c;
    peer_reset(p.peer);
    turn(b);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), -ECONNRESET);
    shut(b, p.ours);
    /* A Unix peer that closes over unread bytes resets as well. */
    p = pair_open(NET_UNIX);
    send_all(b, p.ours, "unread", 6);
    CHECK_OK(close(p.peer));
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), -ECONNRESET);
    shut(b, p.ours);
}

/* SIGPIPE is at its default, so a raised one would end the test. */
static void send_after_reset(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct pair p = pair_open(net);
        peer_reset(p.peer);
        int32_t result = ask(b, send_op(p.ours, "y", 1));
        CHECK(result == -EPIPE || result == -ECONNRESET);
        CHECK_EQ(ask(b, send_op(p.ours, "z", 1)), -EPIPE);
        shut(b, p.ours);
    }
}

/* ---- Sending --------------------------------------------------------------------------------- */

ROW(send_waits_for_room)
{
    static uint8_t more[100];
    small_buffers(p);
    size_t before = fill(b, p);
    for (size_t i = 0; i < sizeof more; i++)
        more[i] = pattern(before + i);
    struct op op = send_op(p.ours, more, sizeof more);
    start(b, &op);
    check_pending(b, &op);
    uint8_t *got = malloc(before + sizeof more);
    CHECK(got);
    peer_recv(p.peer, got, before);
    int32_t n = finish(b, &op);
    CHECK(n > 0 && (size_t)n <= sizeof more);
    peer_recv(p.peer, got + before, (size_t)n);
    for (size_t i = 0; i < before + (size_t)n; i++)
        CHECK_EQ(got[i], pattern(i));
    free(got);
}

ROW(room_made_unasked)
{
    char c;
    small_buffers(p);
    size_t before = fill(b, p);
    struct op op = send_op(p.ours, "x", 1);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    peer_skip(p.peer, before);
    turn(b);
    turn(b);
    send_all(b, p.ours, "y", 1);
    peer_recv(p.peer, &c, 1);
    CHECK_EQ(c, 'y');
}

static void send_ended_by_peer(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct pair p = pair_open(net);
        small_buffers(p);
        fill(b, p);
        struct op op = send_op(p.ours, "x", 1);
        start(b, &op);
        check_pending(b, &op);
        peer_reset(p.peer);
        int32_t result = finish(b, &op);
        CHECK(result == -EPIPE || result == -ECONNRESET);
        shut(b, p.ours);
    }
}

/* poll(2) tells of the end whether one asks or not, again and again. */
ROW(send_beside_end)
{
    small_buffers(p);
    size_t before = fill(b, p);
    struct op op = send_op(p.ours, "x", 1);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    start(b, &op);
    check_pending(b, &op);
    check_calm(b, &op);
    peer_skip(p.peer, before);
    CHECK_EQ(finish(b, &op), 1);
}

ROW(send_nothing)
{
    CHECK_EQ(ask(b, send_op(p.ours, "", 0)), 0);
    send_all(b, p.ours, "x", 1);
    char c;
    peer_recv(p.peer, &c, 1);
}

/* ---- Both ways ------------------------------------------------------------------------------- */

ROW(both_ways_at_once)
{
    char c = 0;
    small_buffers(p);
    size_t before = fill(b, p);
    struct op in = recv_op(p.ours, &c, 1), out = send_op(p.ours, "x", 1);
    start(b, &in);
    start(b, &out);
    check_pending(b, &in);
    check_pending(b, &out);
    peer_send(p.peer, "i", 1);
    CHECK_EQ(finish(b, &in), 1);
    CHECK_EQ(c, 'i');
    check_pending(b, &out);
    peer_skip(p.peer, before);
    CHECK_EQ(finish(b, &out), 1);
    peer_recv(p.peer, &c, 1);
    CHECK_EQ(c, 'x');
}

/* Starts again what has completed, until `len` bytes have gone one way. */
static void advance(struct bench *b, struct op *op, size_t *at, size_t len)
{
    if (!is_done(op) || *at == len)
        return;
    CHECK(op->result > 0);
    *at += (size_t)op->result;
    if (*at == len)
        return;
    char *buf = (char *)op->recv.buf + op->result;
    *op = op->kind == OP_RECV ? recv_op(op->fd, buf, len - *at) : send_op(op->fd, buf, len - *at);
    start(b, op);
}

/* One end sends, the other receives, and the sums at both must agree. */
static void transfer_large(struct bench *b, enum net net, size_t len)
{
    struct pair p = pair_open(net);
    uint8_t *sent = malloc(len), *got = calloc(1, len);
    CHECK(sent && got);
    for (size_t i = 0; i < len; i++)
        sent[i] = pattern(i);
    small_buffers(p);
    adopt(p.peer);
    struct op out = send_op(p.ours, sent, len), in = recv_op(p.peer, got, len);
    start(b, &out);
    start(b, &in);
    size_t out_at = 0, in_at = 0;
    weir_time end = time_add(b->backend->now(b->io), (int64_t)15000000000 * test_slowness());
    while (in_at < len) {
        advance(b, &out, &out_at, len);
        advance(b, &in, &in_at, len);
        if (in_at < len)
            turn(b);
        CHECK(b->backend->now(b->io) < end);
    }
    CHECK_EQ(out_at + (is_done(&out) ? 0 : (size_t)finish(b, &out)), len);
    CHECK_MEM(got, sent, len);
    free(sent);
    free(got);
    shut(b, p.peer);
    shut(b, p.ours);
}

static void large_transfer(struct bench *b)
{
    bool plain = b->backend == b->bare && !b->mix->calls.trickle;
    for (enum net net = NET_UNIX; net < NETS; net++)
        transfer_large(b, net, plain ? net == NET_TCP4 ? 8 << 20 : 1 << 20 : 1 << 16);
}

/* ---- Wrong descriptors ----------------------------------------------------------------------- */

static void wrong_descriptor(struct bench *b)
{
    char c;
    int fds[2];
    CHECK_OK(pipe2(fds, O_CLOEXEC));
    CHECK_EQ(ask(b, recv_op(adopt(fds[0]), &c, 1)), -ENOTSOCK);
    CHECK_EQ(ask(b, send_op(adopt(fds[1]), "x", 1)), -ENOTSOCK);
    shut(b, fds[0]);
    shut(b, fds[1]);
    CHECK_EQ(ask(b, recv_op(fds[0], &c, 1)), -EBADF);
    CHECK_EQ(ask(b, send_op(fds[1], "x", 1)), -EBADF);
    CHECK_EQ(ask(b, accept_op(fds[0])), -EBADF);
}

static void not_connected(struct bench *b)
{
    char c;
    int fd = ask(b, socket_op(AF_INET, SOCK_STREAM));
    CHECK(fd >= 0);
    CHECK_EQ(ask(b, recv_op(fd, &c, 1)), -ENOTCONN);
    CHECK_EQ(ask(b, send_op(fd, "x", 1)), -EPIPE);
    CHECK_EQ(ask(b, shutdown_op(fd, SHUT_WR)), -ENOTCONN);
    shut(b, fd);
}

const struct row stream_rows[] = {
    {.promise = "a receive gets bytes that are there", .fn = bytes_there},
    {.promise = "a receive gets bytes that come later", .fn = bytes_later},
    {.promise = "an eager receive gets bytes, there or later", .fn = eager_receive},
    {.promise = "a receive takes no more than it asks, and the rest stays", .fn = rest_stays},
    {.promise = "bytes that arrive while nobody receives are there for the next receive",
     .fn = arrives_unasked},
    {.promise = "bytes that come after a short receive are received", .fn = after_short_receive},
    {.promise = "many small sends arrive in order", .fn = many_small},
    {.promise = "a receive whose bytes another took keeps waiting, and gets the next",
     .fn = stolen_bytes},
    {.promise = "a peek shows bytes and leaves them", .fn = peek},
    {.promise = "the end of a stream is 0, and 0 again", .fn = end_of_stream},
    {.promise = "bytes sent before the end come before it", .fn = bytes_before_end},
    {.promise = "bytes and end that arrive together are both told", .fn = bytes_and_end},
    {.promise = "after the peer's half-close one can still send", .fn = half_close_by_peer},
    {.promise = "after our half-close the peer sees the end and one can still receive",
     .fn = half_close_by_us},
    {.promise = "shutting down ends a pending receive with 0", .fn = shutdown_ends_receive},
    {.promise = "a reset ends a pending receive with ECONNRESET, once",
     .fn = reset_while_receiving},
    {.promise = "a reset that came first is told to the next receive",
     .fn = reset_before_receiving},
    {.promise = "a send to a peer that is gone fails, without SIGPIPE", .fn = send_after_reset},
    {.promise = "a send waits for room, and goes on when there is some",
     .fn = send_waits_for_room,
     .flags = ROW_PLAIN},
    {.promise = "room made while nobody sends is there for the next send",
     .fn = room_made_unasked,
     .flags = ROW_PLAIN},
    {.promise = "a pending send is ended when the peer goes", .fn = send_ended_by_peer},
    {.promise = "a send waits calmly beside the peer's end", .fn = send_beside_end},
    {.promise = "a send of nothing is 0", .fn = send_nothing},
    {.promise = "a receive and a send pend on one descriptor, each for its own",
     .fn = both_ways_at_once},
    {.promise = "megabytes arrive whole through small buffers", .fn = large_transfer},
    {.promise = "a descriptor that is closed or no socket is refused", .fn = wrong_descriptor},
    {.promise = "a socket that is not connected refuses to transfer", .fn = not_connected},
    {.promise = NULL},
};
