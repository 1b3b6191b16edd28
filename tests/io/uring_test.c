/* uring_test.c -- that the ring holds on to nothing, and that busy connections lose nothing.
 *
 * A poll in the ring keeps its file open, so what goes wrong is seen from the other end: the end
 * of a connection that does not come.                                                         */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "promise.h"

static const struct io_backend *const only_uring[] = {&io_uring, NULL};
static const struct io_backend *const every_backend[] = {&io_uring,  &io_epoll,    &io_poll,
                                                         &io_select, &io_blocking, NULL};

enum { ROUNDS = 40 }; /* enough that a connection counts as busy, also if it did once too early */

/* A request and its answer: a receive that waits, and is served. */
static void round_trip(struct bench *b, struct pair p)
{
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    turn(b);
    peer_send(p.peer, "request", 7);
    CHECK_EQ(finish(b, &op), 7);
    send_all(b, p.ours, buf, 7);
    peer_recv(p.peer, buf, 7);
    CHECK_MEM(buf, "request", 7);
}

static struct pair busy_pair(struct bench *b, enum net net)
{
    struct pair p = pair_open(net);
    for (int i = 0; i < ROUNDS; i++)
        round_trip(b, p);
    return p;
}

/* Close(2) by somebody who knows nothing of the ring, as another thread's instance does. */
static void close_elsewhere(int fd)
{
    fd_generation_bump(fd);
    CHECK_OK(close(fd));
}

/* ---- holding on ---- */

PROMISE(closed_busy, only_uring, "a busy connection that is closed ends at once for its peer")
{
    for (enum net net = 0; net < NETS; net++) {
        struct pair p = busy_pair(b, net);
        shut(b, p.ours);
        peer_sees_end(p.peer);
        CHECK_OK(close(p.peer));
    }
}

PROMISE(closed_elsewhere, only_uring,
        "a busy connection nobody waits for is not held once the ring sleeps")
{
    for (enum net net = 0; net < NETS; net++) {
        struct pair p = busy_pair(b, net);
        b->backend->wait(b->io, b->backend->now(b->io) + 1000000);
        close_elsewhere(p.ours);
        peer_sees_end(p.peer);
        CHECK_OK(close(p.peer));
    }
}

PROMISE(closed_while_turning, only_uring,
        "a busy connection nobody waits for is not held for longer than two turns")
{
    struct pair p = busy_pair(b, NET_TCP4);
    for (int turns = 0; turns < 3; turns++)
        turn(b);
    close_elsewhere(p.ours);
    peer_sees_end(p.peer);
    CHECK_OK(close(p.peer));
}

PROMISE(cancelled, only_uring, "a connection on which a receive was cancelled is not held")
{
    for (int busy = 0; busy < 2; busy++) {
        struct pair p = busy ? busy_pair(b, NET_TCP4) : pair_open(NET_TCP4);
        char byte;
        struct op op = recv_op(p.ours, &byte, 1);
        start(b, &op);
        turn(b);
        CHECK_EQ(cancel(b, &op), -ECANCELED);
        b->backend->wait(b->io, b->backend->now(b->io) + 1000000);
        close_elsewhere(p.ours);
        peer_sees_end(p.peer);
        CHECK_OK(close(p.peer));
    }
}

/* The number is taken by a new connection before the ring has let go of the old one. */
PROMISE(number_reused, only_uring,
        "a number closed elsewhere and used again frees the old connection and serves the new")
{
    struct pair old = busy_pair(b, NET_TCP4), fresh = pair_open(NET_TCP4);
    char byte = 0;
    fd_generation_bump(old.ours);
    CHECK_EQ(dup3(fresh.ours, old.ours, O_CLOEXEC), old.ours);
    CHECK_OK(close(fresh.ours));
    fresh.ours = old.ours;
    struct op op = recv_op(fresh.ours, &byte, 1);
    start(b, &op);
    check_pending(b, &op);
    peer_sees_end(old.peer);
    CHECK_OK(close(old.peer));
    peer_send(fresh.peer, "f", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(byte, 'f');
    for (int i = 0; i < ROUNDS; i++)
        round_trip(b, fresh);
    pair_close(b, fresh);
}

/* The kernel takes a ring apart in a thread of its own: beside this one, it would be quick. */
static void use_one_processor(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)CHECK_OK(sched_getcpu()), &one);
    CHECK_OK(sched_setaffinity(0, sizeof one, &one));
}

/* Their last receives end together, so that nothing is taken back before. */
PROMISE(ring_closed, only_uring, "a ring that is closed has let go of every connection")
{
    struct pair pairs[20];
    struct op ops[ARRAY_COUNT(pairs)];
    char bytes[ARRAY_COUNT(pairs)];
    use_one_processor();
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        pairs[i] = busy_pair(b, i % NETS);
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        ops[i] = recv_op(pairs[i].ours, &bytes[i], 1);
        start(b, &ops[i]);
    }
    turn(b);
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        peer_send(pairs[i].peer, "l", 1);
    turn(b);
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        CHECK_EQ(finish(b, &ops[i]), 1);
    b->backend->close(b->io);
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        struct pollfd entry = {.fd = pairs[i].peer, .events = POLLIN};
        close_elsewhere(pairs[i].ours);
        CHECK_EQ(poll(&entry, 1, 0), 1);
        CHECK_OK(close(pairs[i].peer));
    }
    CHECK_EQ(b->backend->open(&b->io, &b->done), 0);
}

PROMISE(port_free, only_uring, "a listener that is closed while an accept waits frees its port")
{
    for (int i = 0; i < 20; i++) {
        struct address at;
        int listener = listener_open(b, NET_TCP4, 1, &at);
        struct op accept = accept_op(listener);
        start(b, &accept);
        turn(b);
        give_up(b, &accept);
        shut(b, listener);
        CHECK_EQ(ended(b, &accept), -ECANCELED);
        int again = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        CHECK_OK(bind(again, &at.any, at.len));
        CHECK_OK(listen(again, 1));
        CHECK_OK(close(again));
    }
}

/* ---- losing nothing ---- */

/* One read stops at the mark, short, and nothing will ever announce what is behind it. */
PROMISE(urgent_busy, only_uring, "on a busy connection what lies behind an urgent mark is received")
{
    struct pair p = busy_pair(b, NET_TCP4);
    char buf[16];
    for (int i = 0; i < ROUNDS; i++) {
        struct op op = recv_op(p.ours, buf, sizeof buf);
        start(b, &op);
        turn(b);
        CHECK_EQ(CHECK_OK(send(p.peer, "ab!", 3, MSG_OOB)), 3);
        peer_send(p.peer, "cd", 2);
        int32_t n = finish(b, &op);
        CHECK(n > 0 && n <= 4);
        recv_all(b, p.ours, buf + n, (size_t)(4 - n));
        CHECK_MEM(buf, "abcd", 4);
    }
    pair_close(b, p);
}

PROMISE(end_busy, only_uring, "on a busy connection an end that comes with the last bytes is seen")
{
    for (enum net net = 0; net < NETS; net++) {
        struct pair p = busy_pair(b, net);
        char buf[16];
        struct op op = recv_op(p.ours, buf, sizeof buf);
        start(b, &op);
        turn(b);
        peer_send(p.peer, "last", 4);
        CHECK_OK(shutdown(p.peer, SHUT_WR));
        CHECK_EQ(finish(b, &op), 4);
        CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
        CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
        pair_close(b, p);
    }
}

PROMISE(full_busy, only_uring, "on a busy connection reads that fill their buffer get all there is")
{
    struct pair p = busy_pair(b, NET_TCP4);
    char sent[1000], got[1000];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)pattern(i);
    peer_send(p.peer, sent, sizeof sent);
    for (size_t at = 0; at < sizeof got; at += 10)
        recv_all(b, p.ours, got + at, 10);
    CHECK_MEM(got, sent, sizeof sent);
    round_trip(b, p);
    pair_close(b, p);
}

/* Each crowd waits in the kernel with one poll each: more than the queue of submissions holds. */
PROMISE(crowd_busy, only_uring, "hundreds of busy connections are served in every turn")
{
    enum { CROWD = 400 };
    static struct pair pairs[CROWD];
    static struct op ops[CROWD];
    static char bytes[CROWD];
    for (int i = 0; i < CROWD; i++)
        pairs[i] = pair_open(NET_UNIX);
    for (int round = 0; round < ROUNDS / 4; round++) {
        for (int i = 0; i < CROWD; i++) {
            ops[i] = recv_op(pairs[i].ours, &bytes[i], 1);
            start(b, &ops[i]);
        }
        turn(b);
        for (int i = 0; i < CROWD; i++)
            peer_send(pairs[i].peer, &(char){(char)(i + round)}, 1);
        for (int i = 0; i < CROWD; i++) {
            CHECK_EQ(finish(b, &ops[i]), 1);
            CHECK_EQ(bytes[i], (char)(i + round));
        }
    }
    for (int i = 0; i < CROWD; i++)
        pair_close(b, pairs[i]);
}

/* ---- the kernel's helpers ---- */

static int threads_of_process(void)
{
    char line[256];
    int count = -1;
    FILE *f = fopen("/proc/self/status", "re");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        (void)sscanf(line, "Threads: %d", &count);
    fclose(f);
    return count;
}

/* The ring's own SEND would be handed to a thread of the kernel's, one for each connection. */
PROMISE(no_threads, only_uring, "sends that wait for a peer who has ended start no threads")
{
    struct pair p = pair_open(NET_TCP4);
    char byte = 0;
    int before = threads_of_process();
    small_buffers(p);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(ask(b, recv_op(p.ours, &byte, 1)), 0);
    size_t filled = fill(b, p);
    struct op op = send_op(p.ours, "more", 4);
    start(b, &op);
    check_pending(b, &op);
    check_calm(b, &op);
    CHECK_EQ(threads_of_process(), before);
    peer_skip(p.peer, filled);
    CHECK_EQ(finish(b, &op), 4);
    pair_close(b, p);
}

/* ---- numbers that get another owner ---- */

static struct op foreign_op(int fd, short events)
{
    struct op op = poll_op(fd, events);
    op.flags = OP_FOREIGN;
    return op;
}

PROMISE(adopted_and_read, every_backend,
        "a poll goes on when its foreign descriptor becomes ours and is waited on otherwise")
{
    struct pair p = pair_open(NET_UNIX);
    char byte;
    size_t len = fill(b, p);
    struct op poll = foreign_op(p.ours, POLLOUT), op = recv_op(p.ours, &byte, 1);
    start(b, &poll);
    check_pending(b, &poll);
    fd_generation_bump(p.ours);
    start(b, &op);
    check_pending(b, &op);
    peer_skip(p.peer, len);
    CHECK_EQ(finish(b, &poll), POLLOUT);
    CHECK(!is_done(&op));
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &op), 1);
    pair_close(b, p);
}

PROMISE(adopted_and_polled, every_backend,
        "polls before and after their foreign descriptor becomes ours both end, and once")
{
    struct pair p = pair_open(NET_UNIX);
    size_t len = fill(b, p);
    struct op first = foreign_op(p.ours, POLLOUT), second = foreign_op(p.ours, POLLIN);
    start(b, &first);
    check_pending(b, &first);
    fd_generation_bump(p.ours);
    start(b, &second);
    check_pending(b, &second);
    peer_skip(p.peer, len);
    CHECK_EQ(finish(b, &first), POLLOUT);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &second), POLLIN);
    CHECK(rounds_of_nothing(b) <= 5);
    pair_close(b, p);
}
