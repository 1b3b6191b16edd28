/* conformance_close.c -- rows of the conformance table: closing, with and without operations in
 * the way, and the life of a number after it.                                                  */
#include "conformance.h"

#include <fcntl.h>
#include <unistd.h>

#define ROW(name)                                                                                  \
    static void name##_body(struct bench *b, enum net net);                                        \
    static void name(struct bench *b)                                                              \
    {                                                                                              \
        for (enum net net = NET_UNIX; net < NETS; net++)                                           \
            name##_body(b, net);                                                                   \
    }                                                                                              \
    static void name##_body(struct bench *b, enum net net)

ROW(idle)
{
    struct pair p = pair_open(net);
    shut(b, p.ours);
    CHECK(!is_open(p.ours));
    peer_sees_end_now(p.peer);
    CHECK_OK(close(p.peer));
}

static void not_open(struct bench *b)
{
    int fd = CHECK_OK(dup(0));
    CHECK_OK(close(fd));
    struct op op = close_op(fd);
    start(b, &op);
    int32_t result = finish(b, &op);
    CHECK(result == -EBADF || failed_by_rule(b, &op));
}

/* The end must be out when the close is complete, whatever pended. */
ROW(receive_pends)
{
    struct pair p = pair_open(net);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    give_up(b, &op);
    shut(b, p.ours);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    CHECK(!is_open(p.ours));
    peer_sees_end_now(p.peer);
    CHECK_OK(close(p.peer));
}

ROW(unseen_receive_pends)
{
    struct pair p = pair_open(net);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    give_up(b, &op);
    shut(b, p.ours);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    peer_sees_end_now(p.peer);
    CHECK_OK(close(p.peer));
}

ROW(send_pends)
{
    struct pair p = pair_open(net);
    small_buffers(p);
    size_t before = fill(b, p);
    struct op op = send_op(p.ours, "lost", 4);
    start(b, &op);
    check_pending(b, &op);
    give_up(b, &op);
    shut(b, p.ours);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    CHECK_EQ(peer_drain(p.peer), before);
    CHECK_OK(close(p.peer));
}

ROW(all_pend)
{
    struct pair p = pair_open(net);
    char c;
    small_buffers(p);
    fill(b, p);
    struct op ops[] = {
        recv_op(p.ours, &c, 1),   send_op(p.ours, "x", 1),    poll_op(p.ours, POLLIN),
        poll_op(p.ours, POLLOUT), poll_op(p.ours, POLLRDHUP), poll_op(p.ours, 0),
    };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        start(b, &ops[i]);
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        check_pending(b, &ops[i]);
        give_up(b, &ops[i]);
    }
    struct op op = close_op(p.ours);
    b->before_close = ops;
    b->before_close_count = ARRAY_COUNT(ops);
    start(b, &op);
    finish(b, &op);
    b->before_close_count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        CHECK_EQ(ops[i].state, OP_DONE);
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++)
        CHECK_EQ(ended(b, &ops[i]), -ECANCELED);
    CHECK(!is_open(p.ours));
    CHECK_OK(close(p.peer));
}

ROW(accept_pends)
{
    struct address at;
    int fd = listener_open(b, net, 4, &at);
    struct op op = accept_op(fd), in = poll_op(fd, POLLIN);
    start(b, &op);
    start(b, &in);
    check_pending(b, &op);
    check_pending(b, &in);
    give_up(b, &op);
    give_up(b, &in);
    shut(b, fd);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    CHECK_EQ(ended(b, &in), -ECANCELED);
    int client = CHECK_OK(socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_EQ(connect(client, &at.any, at.len), -1);
    CHECK_EQ(errno, ECONNREFUSED);
    CHECK_OK(close(client));
}

/* The bytes came, and nobody had looked: they are the result, or go with the socket. */
ROW(result_wins)
{
    for (int i = 0; i < 10; i++) {
        struct pair p = pair_open(net);
        char c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        if (i % 2)
            turn(b);
        peer_send(p.peer, "x", 1);
        give_up(b, &op);
        b->before_close = &op;
        b->before_close_count = 1;
        shut(b, p.ours);
        b->before_close_count = 0;
        int32_t result = ended(b, &op);
        CHECK(result == -ECANCELED || (result == 1 && c == 'x'));
        CHECK_OK(close(p.peer));
    }
}

/* An accept that wins over the close gives a descriptor, and nobody else has it. */
ROW(accept_wins)
{
    for (int i = 0; i < 10; i++) {
        struct address at;
        int fd = listener_open(b, net, 4, &at);
        struct op op = accept_op(fd);
        start(b, &op);
        if (i % 2)
            turn(b);
        int client = dial_plain(&at);
        give_up(b, &op);
        shut(b, fd);
        int32_t result = ended(b, &op);
        CHECK(result == -ECANCELED || result >= 0);
        if (result >= 0)
            shut(b, result);
        CHECK_OK(close(client));
    }
}

ROW(abortive)
{
    struct pair p = pair_open(net);
    char c;
    if (net == NET_UNIX) {
        /* There is no linger: a reset comes from unread bytes. */
        peer_send(p.peer, "unread", 6);
    } else {
        struct linger now = {.l_onoff = 1};
        CHECK_OK(setsockopt(p.ours, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    }
    shut(b, p.ours);
    CHECK_EQ(recv(p.peer, &c, 1, 0), -1);
    CHECK_EQ(errno, ECONNRESET);
    CHECK_OK(close(p.peer));
}

/* ---- The number afterwards ------------------------------------------------------------------- */

/* The last event of the old socket must not be the first of the new one. */
ROW(number_reused)
{
    int last = -1, reused = 0;
    for (int i = 0; i < 20; i++) {
        struct pair p = pair_open(net);
        reused += p.ours == last || p.peer == last;
        last = p.ours;
        char c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        if (i % 3 == 0) {
            peer_send(p.peer, "x", 1);
            CHECK_EQ(finish(b, &op), 1);
            peer_send(p.peer, "unread", 6);
            CHECK_OK(shutdown(p.peer, SHUT_WR));
        }
        give_up(b, &op);
        shut(b, p.ours);
        ended(b, &op);
        CHECK_OK(close(p.peer));
    }
    CHECK_EQ(reused, 19);
}

/* The other instance closes what this one has known, and the number comes back to this one. */
ROW(closed_elsewhere)
{
    static const struct mix plain = {.name = "plain"};
    struct bench other = {.bare = b->bare, .backend = b->bare, .mix = &plain};
    list_init(&other.done);
    CHECK_EQ(other.backend->open(&other.io, &other.done), 0);
    for (int i = 0; i < 10; i++) {
        struct pair p = pair_open(net);
        struct bench *first = i % 2 ? b : &other, *second = i % 2 ? &other : b;
        char c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        start(first, &op);
        check_pending(first, &op);
        peer_send(p.peer, "1", 1);
        CHECK_EQ(finish(first, &op), 1);
        op = recv_op(p.ours, &c, 1);
        start(second, &op);
        check_pending(second, &op);
        peer_send(p.peer, "2", 1);
        CHECK_EQ(finish(second, &op), 1);
        CHECK_EQ(c, '2');
        turn(first);
        shut(i % 4 < 2 ? first : second, p.ours);
        /* Neither keeps the socket open for longer than it takes to look. */
        for (int turns = 0; turns < 3; turns++) {
            turn_until(first, first->backend->now(first->io) + 100000);
            turn_until(second, second->backend->now(second->io) + 100000);
        }
        peer_sees_end(p.peer);
        CHECK_OK(close(p.peer));
    }
    bench_close(&other);
}

ROW(instance_gone)
{
    static const struct mix plain = {.name = "plain"};
    struct bench other = {.bare = b->bare, .backend = b->bare, .mix = &plain};
    struct pair p = pair_open(net);
    char c;
    list_init(&other.done);
    CHECK_EQ(other.backend->open(&other.io, &other.done), 0);
    struct op op = recv_op(p.ours, &c, 1);
    start(&other, &op);
    check_pending(&other, &op);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(&other, &op), 1);
    make_busy(&other, p);
    bench_close(&other);
    shut(b, p.ours);
    peer_sees_end_now(p.peer);
    CHECK_OK(close(p.peer));
}

/* It has another owner before the first one has looked again, while the old socket lives on by a
 * duplicate and has something to tell. */
ROW(changed_unseen)
{
    static const struct mix plain = {.name = "plain"};
    struct bench other = {.bare = b->bare, .backend = b->bare, .mix = &plain};
    list_init(&other.done);
    CHECK_EQ(other.backend->open(&other.io, &other.done), 0);
    first_sleep(&other);
    for (int i = 0; i < 4; i++) {
        struct pair p = pair_open(net);
        char c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        peer_send(p.peer, "1", 1);
        CHECK_EQ(finish(b, &op), 1);
        if (i >= 2)
            make_busy(b, p);
        int duplicate = CHECK_OK(fcntl(p.ours, F_DUPFD_CLOEXEC, 100));
        shut(&other, p.ours);
        struct pair q = pair_open(net);
        CHECK(q.ours == p.ours || q.peer == p.ours);
        struct op in = poll_op(q.ours, POLLIN);
        op = recv_op(q.ours, &c, 1);
        start(b, &op);
        start(b, &in);
        bool tells = i % 2;
        if (tells)
            peer_send(p.peer, "old", 3);
        check_pending(b, &op);
        check_pending(b, &in);
        if (tells)
            CHECK_OK(shutdown(p.peer, SHUT_WR));
        check_pending(b, &in);
        peer_send(q.peer, "n", 1);
        CHECK_EQ(finish(b, &op), 1);
        CHECK_EQ(c, 'n');
        peer_send(q.peer, "m", 1);
        CHECK_EQ(finish(b, &in), POLLIN);
        recv_all(b, q.ours, &c, 1);
        /* By now nothing but the duplicate keeps the old socket. */
        char unread[3];
        if (tells)
            CHECK_EQ(CHECK_OK(recv(duplicate, unread, 3, MSG_WAITALL)), 3);
        CHECK_OK(close(duplicate));
        peer_sees_end_now(p.peer);
        CHECK_OK(close(p.peer));
        op = recv_op(q.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        give_up(b, &op);
        shut(b, q.ours);
        CHECK_EQ(ended(b, &op), -ECANCELED);
        peer_sees_end_now(q.peer);
        CHECK_OK(close(q.peer));
    }
    bench_close(&other);
}

/* A duplicate keeps the socket alive, and with it whatever the kernel still reports of it. */
ROW(duplicate_lives_on)
{
    struct pair p = pair_open(net);
    char c = 0;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    give_up(b, &op);
    int duplicate = CHECK_OK(fcntl(p.ours, F_DUPFD_CLOEXEC, 100));
    shut(b, p.ours);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    struct pair q = pair_open(net);
    struct op in = poll_op(q.ours, POLLIN);
    op = recv_op(q.ours, &c, 1);
    start(b, &op);
    start(b, &in);
    check_pending(b, &op);
    peer_send(p.peer, "old", 3);
    check_pending(b, &op);
    check_pending(b, &in);
    CHECK_EQ(cancel(b, &in), -ECANCELED);
    peer_send(q.peer, "n", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(c, 'n');
    fd_generation_bump(duplicate);
    CHECK_EQ(ask(b, recv_op(duplicate, &c, 1)), 1);
    CHECK_EQ(c, 'o');
    pair_close(b, q);
    shut(b, duplicate);
    CHECK_OK(close(p.peer));
}

/* Given away and taken back, while the kernel has gone on reporting it. */
ROW(taken_back)
{
    struct pair p = pair_open(net);
    for (int i = 0; i < 6; i++) {
        char c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        if (i % 2) {
            CHECK_EQ(cancel(b, &op), -ECANCELED);
            peer_send(p.peer, "x", 1);
            turn(b);
            CHECK_EQ(CHECK_OK(recv(p.ours, &c, 1, 0)), 1);
        } else {
            peer_send(p.peer, "x", 1);
            CHECK_EQ(finish(b, &op), 1);
        }
        fd_generation_bump(p.ours);
    }
    pair_close(b, p);
}

const struct row close_rows[] = {
    {.promise = "a close ends the stream at once and frees the number", .fn = idle},
    {.promise = "a close of what is not open is refused", .fn = not_open},
    {.promise = "a close ends a pending receive, and the peer sees the end at once",
     .fn = receive_pends},
    {.promise = "a close ends a receive the backend has not looked at yet",
     .fn = unseen_receive_pends},
    {.promise = "a close ends a pending send, and what was sent arrives", .fn = send_pends},
    {.promise = "a close is complete after all that pended on its descriptor", .fn = all_pend},
    {.promise = "a close ends a pending accept, and clients are refused", .fn = accept_pends},
    {.promise = "bytes that came before a close are a result or are gone", .fn = result_wins},
    {.promise = "a connection accepted in a close is handed over or refused", .fn = accept_wins},
    {.promise = "an abortive close resets", .fn = abortive},
    {.promise = "a number used again hears nothing of its last owner", .fn = number_reused},
    {.promise = "a number closed by another instance is known to be another",
     .fn = closed_elsewhere},
    {.promise = "a number that changed its owner unseen speaks for the new one only",
     .fn = changed_unseen},
    {.promise = "an instance that is closed has let go of all descriptors", .fn = instance_gone},
    {.promise = "a duplicate that lives on does not speak for the closed number",
     .fn = duplicate_lives_on},
    {.promise = "a descriptor given away and taken back is waited for anew", .fn = taken_back},
    {.promise = NULL},
};
