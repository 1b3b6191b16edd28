/* registration_test.c -- what the readiness backends have the kernel watch, and for how long.
 *
 * Numbers that change their file, foreign descriptors, polls, limits, and what no event of the
 * kernel announces.                                                                           */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/readiness.h"
#include "promise.h"

/* ---- what no event announces ---- */

/* Fills the backlog of an AF_UNIX listener: how many connected, and in `last` the one that could
 * not, to be connected by an operation.                                                       */
static int backlog_fill(const struct address *at, int *fds, int max, int *last)
{
    for (int i = 0; i < max; i++) {
        int fd = CHECK_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (connect(fd, &at->any, at->len)) {
            CHECK_EQ(errno, EAGAIN);
            *last = adopt(fd);
            return i;
        }
        fds[i] = fd;
    }
    FAIL("the backlog takes more than %d", max);
}

PROMISE(unix_backlog, all_backends,
        "a connect to a full AF_UNIX backlog waits for room, without spinning")
{
    struct address at;
    int fds[8], last, listener = listener_open(b, NET_UNIX, 1, &at);
    int count = backlog_fill(&at, fds, ARRAY_COUNT(fds), &last);
    struct op op = connect_op(last, &at.any, at.len);
    spy_on();
    weir_time begin = clock_monotonic();
    start(b, &op);
    while (spy.calls < 4)
        b->backend->wait(b->io, TIME_NEVER);
    /* Asked at 0, 1, 3 and 7 ms. */
    CHECK(clock_monotonic() - begin >= 6900000);
    CHECK(!is_done(&op));
    int accepted = CHECK_OK(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    CHECK_OK(close(accepted));
    CHECK_EQ(finish(b, &op), 0);
    shut(b, last);
    last = adopt(CHECK_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    op = connect_op(last, &at.any, at.len);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    while (count > 0)
        CHECK_OK(close(fds[--count]));
    shut(b, last);
    shut(b, listener);
}

/* Packets to one name: from `ours`, by operations, and from a plain socket that fills the queue. */
struct queue {
    struct address at;
    int receiver, filler, ours;
    struct iovec part;
    struct msghdr message;
};

static char queue_byte;

static void queue_open(struct queue *q, const char *name, int ours)
{
    *q = (struct queue){.at = unix_abstract(name), .ours = ours, .part = {&queue_byte, 1}};
    q->receiver = CHECK_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    CHECK_OK(bind(q->receiver, &q->at.any, q->at.len));
    q->filler = CHECK_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    q->message = (struct msghdr){
        .msg_name = &q->at.any, .msg_namelen = q->at.len, .msg_iov = &q->part, .msg_iovlen = 1};
}

static void queue_fill(const struct queue *q)
{
    while (sendmsg(q->filler, &q->message, 0) == 1)
        continue;
    CHECK_EQ(errno, EAGAIN);
}

static void queue_close(struct queue *q)
{
    CHECK_OK(close(q->receiver));
    CHECK_OK(close(q->filler));
}

PROMISE(unix_queue, all_backends,
        "a packet to a full AF_UNIX queue is sent once there is room, unspun")
{
    struct queue q;
    queue_open(&q, "queue", adopt(CHECK_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))));
    /* Twice, because the second time the descriptor has been watched already. */
    for (int round = 0; round < 2; round++) {
        queue_fill(&q);
        struct op op = sendmsg_op(q.ours, &q.message);
        start(b, &op);
        spy_on();
        CHECK(rounds_of_nothing(b) <= 8);
        CHECK(spy.calls <= 8);
        CHECK(!is_done(&op));
        while (recv(q.receiver, &queue_byte, 1, 0) == 1)
            continue;
        CHECK_EQ(finish(b, &op), 1);
        turn(b);
    }
    shut(b, q.ours);
    queue_close(&q);
}

PROMISE(other_queue, all_backends, "a packet to another, empty queue is sent at once")
{
    struct queue full, empty;
    int ours = adopt(CHECK_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
    queue_open(&full, "full", ours);
    queue_open(&empty, "empty", ours);
    queue_fill(&full);
    struct op op = sendmsg_op(ours, &full.message);
    start(b, &op);
    turn(b);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    op = sendmsg_op(ours, &empty.message);
    start(b, &op);
    CHECK(is_done(&op));
    CHECK_EQ(op.result, 1);
    shut(b, ours);
    queue_close(&full);
    queue_close(&empty);
}

/* ---- descriptors that change behind the back ---- */

PROMISE(reused_number, all_backends, "a number that another instance closed is waited on anew")
{
    struct bench other;
    struct pair first = pair_open(NET_TCP4), second = pair_open(NET_TCP4);
    char buf[16];
    bench_open(&other, b->bare, b->mix);
    struct op op = recv_op(first.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(first.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    shut(&other, first.ours);
    CHECK_OK(close(first.peer));
    CHECK_EQ(dup3(second.ours, first.ours, O_CLOEXEC), first.ours);
    shut(b, second.ours);
    peer_send(second.peer, "x", 1);
    op = recv_op(first.ours, buf, sizeof buf);
    start(b, &op);
    CHECK(is_done(&op));
    CHECK_EQ(op.result, 1);
    op = recv_op(first.ours, buf, sizeof buf);
    start(b, &op);
    check_pending(b, &op);
    peer_send(second.peer, "de", 2);
    CHECK_EQ(finish(b, &op), 2);
    pair_close(b, (struct pair){first.ours, second.peer});
    bench_close(&other);
}

PROMISE(stale_event, all_backends,
        "a file that lives on after its close is not heard by its number's next")
{
    struct pair first = pair_open(NET_TCP4), second = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(first.ours, buf, sizeof buf);
    start(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    int kept = CHECK_OK(fcntl(first.ours, F_DUPFD_CLOEXEC, 0));
    shut(b, first.ours);
    CHECK_EQ(dup3(second.ours, first.ours, O_CLOEXEC), first.ours);
    op = recv_op(first.ours, buf, sizeof buf);
    start(b, &op);
    spy_on();
    peer_send(first.peer, "abc", 3);
    turn(b);
    CHECK_EQ(spy.calls, 0);
    CHECK(!is_done(&op));
    peer_send(second.peer, "de", 2);
    CHECK_EQ(finish(b, &op), 2);
    shut(b, first.ours);
    CHECK_OK(close(first.peer));
    CHECK_OK(close(kept));
    pair_close(b, second);
}

PROMISE(returned, all_backends, "a descriptor that was given away and came back is waited on anew")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    fd_generation_bump(p.ours); /* away */
    fd_generation_bump(p.ours); /* and back */
    op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    pair_close(b, p);
}

/* The text of a file in /proc/self. */
static const char *proc_text(const char *folder, int fd)
{
    static char text[4096];
    snprintf(text, sizeof text, "/proc/self/%s/%d", folder, fd);
    int file = CHECK_OK(open(text, O_RDONLY | O_CLOEXEC));
    text[CHECK_OK(read(file, text, sizeof text - 1))] = 0;
    CHECK_OK(close(file));
    return text;
}

/* How many descriptors the epoll instance watches, besides its eventfd. */
static int epoll_watched(const struct bench *b)
{
    /* The instance opens the eventfd first, and the epoll descriptor right after it. */
    int count = -1;
    for (const char *at = proc_text("fdinfo", b->io->wake.fd + 1); (at = strstr(at, "tfd:")); at++)
        count++;
    CHECK(count >= 0);
    return count;
}

PROMISE(given_away, only_epoll, "a descriptor that was given away is heard of once at most")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_EQ(epoll_watched(b), 1);
    fd_generation_bump(p.ours);
    peer_send(p.peer, "abc", 3);
    turn(b);
    CHECK_EQ(epoll_watched(b), 0);
    pair_close(b, p);
}

PROMISE(output_stops, only_epoll, "output that nobody waits for is not watched any more")
{
    struct pair p = pair_open(NET_UNIX);
    for (int round = 0; round < 2; round++) {
        size_t len = fill(b, p);
        struct op op = send_op(p.ours, "x", 1);
        start(b, &op);
        check_pending(b, &op);
        CHECK(b->io->slots[p.ours].watched & POLLOUT);
        if (round == 0)
            CHECK_EQ(cancel(b, &op), -ECANCELED);
        peer_skip(p.peer, len);
        if (round == 1)
            CHECK_EQ(finish(b, &op), 1);
        else
            turn(b);
    }
    CHECK_EQ(ask(b, send_op(p.ours, "y", 1)), 1);
    peer_skip(p.peer, 2);
    turn(b);
    CHECK(!(b->io->slots[p.ours].watched & POLLOUT));
    pair_close(b, p);
}

/* ---- polls ---- */

static struct op foreign_op(int fd, short events)
{
    struct op op = poll_op(fd, events);
    op.flags = OP_FOREIGN;
    return op;
}

PROMISE(foreign_reused, all_backends,
        "a foreign descriptor may be replaced behind the back between polls")
{
    int first[2], second[2];
    CHECK_OK(pipe2(first, O_CLOEXEC));
    CHECK_OK(pipe2(second, O_CLOEXEC));
    struct op op = foreign_op(first[0], POLLIN), same = op;
    start(b, &op);
    start(b, &same);
    CHECK_EQ(write(first[1], "x", 1), 1);
    CHECK_EQ(finish(b, &op), POLLIN);
    CHECK_EQ(finish(b, &same), POLLIN);
    CHECK_OK(dup3(second[0], first[0], O_CLOEXEC));
    op = foreign_op(first[0], POLLIN);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(write(second[1], "x", 1), 1);
    CHECK_EQ(finish(b, &op), POLLIN);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(close(first[i]));
        CHECK_OK(close(second[i]));
    }
}

PROMISE(foreign_stale, all_backends,
        "a poll does not complete for the file that its number once meant")
{
    int first[2], second[2];
    CHECK_OK(pipe2(first, O_CLOEXEC));
    CHECK_OK(pipe2(second, O_CLOEXEC));
    int kept = CHECK_OK(fcntl(first[0], F_DUPFD_CLOEXEC, 0));
    struct op op = foreign_op(first[0], POLLIN);
    start(b, &op);
    CHECK_OK(dup3(second[0], first[0], O_CLOEXEC));
    CHECK_EQ(write(first[1], "x", 1), 1);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(close(first[i]));
        CHECK_OK(close(second[i]));
    }
    CHECK_OK(close(kept));
}

PROMISE(foreign_closed, level_triggered,
        "a poll of a foreign descriptor that is closed ends with POLLNVAL")
{
    struct pair p = pair_open(NET_UNIX);
    int fds[2];
    char buf[4];
    CHECK_OK(pipe2(fds, O_CLOEXEC));
    struct op poll = foreign_op(fds[0], POLLIN), op = recv_op(p.ours, buf, sizeof buf);
    start(b, &poll);
    start(b, &op);
    /* After a sleep, for which the blocking backend may take a descriptor number. */
    CHECK(rounds_of_nothing(b) <= 5);
    CHECK_OK(close(fds[0]));
    CHECK_EQ(finish(b, &poll), POLLNVAL);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    CHECK_OK(close(fds[1]));
    pair_close(b, p);
}

PROMISE(foreign_both, all_backends,
        "polls for input and for output of one foreign descriptor both end")
{
    struct pair p = pair_open(NET_UNIX);
    size_t len = fill(b, p);
    struct op out = foreign_op(p.ours, POLLOUT), in = foreign_op(p.ours, POLLIN);
    start(b, &out);
    start(b, &in);
    check_pending(b, &out);
    peer_skip(p.peer, len);
    CHECK_EQ(finish(b, &out), POLLOUT);
    CHECK(rounds_of_nothing(b) <= 5);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &in), POLLIN);
    pair_close(b, p);
}

PROMISE(foreign_number, all_backends,
        "the number of a foreign descriptor under a poll may become ours")
{
    struct pair p = pair_open(NET_TCP4);
    int foreign[2];
    char buf[16];
    CHECK_OK(pipe2(foreign, O_CLOEXEC));
    struct op poll = foreign_op(foreign[0], POLLIN);
    start(b, &poll);
    CHECK_EQ(dup3(p.ours, foreign[0], O_CLOEXEC), foreign[0]);
    struct op op = recv_op(foreign[0], buf, sizeof buf);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    cancel(b, &poll);
    op = recv_op(foreign[0], buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "de", 2);
    CHECK_EQ(finish(b, &op), 2);
    shut(b, foreign[0]);
    CHECK_OK(close(foreign[1]));
    pair_close(b, p);
}

PROMISE(foreign_ours, all_backends, "a foreign poll of a descriptor of ours does not disturb it")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op poll = foreign_op(p.ours, POLLIN), op = recv_op(p.ours, buf, sizeof buf);
    start(b, &poll);
    start(b, &op);
    CHECK_EQ(cancel(b, &poll), -ECANCELED);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    poll = foreign_op(p.ours, POLLIN);
    start(b, &poll);
    peer_send(p.peer, "d", 1);
    CHECK_EQ(finish(b, &poll), POLLIN);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 1);
    pair_close(b, p);
}

PROMISE(foreign_adopted, all_backends, "a poll goes on when its foreign descriptor becomes ours")
{
    struct pair p = pair_open(NET_TCP4);
    struct op poll = foreign_op(p.ours, POLLIN);
    start(b, &poll);
    fd_generation_bump(p.ours);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &poll), POLLIN);
    pair_close(b, p);
}

PROMISE(foreign_let_go, only_epoll, "a foreign descriptor is let go with its last poll")
{
    int fds[2];
    CHECK_OK(pipe2(fds, O_CLOEXEC));
    struct op first = foreign_op(fds[0], POLLIN), second = first;
    start(b, &first);
    start(b, &second);
    CHECK_EQ(epoll_watched(b), 1);
    cancel(b, &first);
    CHECK_EQ(epoll_watched(b), 1);
    cancel(b, &second);
    CHECK_EQ(epoll_watched(b), 0);
    CHECK_OK(close(fds[0]));
    CHECK_OK(close(fds[1]));
}

PROMISE(poll_file, all_backends, "a poll of a file is true at once, or never")
{
    int fd = CHECK_OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    CHECK_EQ(ask(b, foreign_op(fd, POLLIN | POLLOUT)), POLLIN | POLLOUT);
    struct op op = foreign_op(fd, POLLPRI);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_OK(close(fd));
    CHECK_EQ(ask(b, foreign_op(fd, POLLIN)), POLLNVAL);
    CHECK_EQ(ask(b, foreign_op(-1, POLLIN)), POLLNVAL);
}

PROMISE(poll_hang_up, all_backends,
        "a poll for a hang-up alone sees it, and unread data does not spin it")
{
    struct pair p = pair_open(NET_TCP4);
    peer_send(p.peer, "unread", 6);
    struct op op = poll_op(p.ours, POLLRDHUP);
    start(b, &op);
    CHECK(rounds_of_nothing(b) <= 5);
    CHECK(!is_done(&op));
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    weir_time begin = clock_monotonic();
    CHECK_EQ(finish(b, &op), POLLRDHUP);
    CHECK(clock_monotonic() - begin < 1000000000 * (int64_t)test_slowness());
    pair_close(b, p);
}

PROMISE(poll_rests, all_backends, "a poll for input waits without asking again and again")
{
    struct pair p = pair_open(NET_TCP4);
    struct op op = poll_op(p.ours, POLLIN | POLLRDHUP);
    start(b, &op);
    turn(b);
    spy_on();
    CHECK(rounds_of_nothing(b) <= 2);
    CHECK_EQ(spy.calls, 0);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    pair_close(b, p);
}

PROMISE(many_polls, all_backends,
        "many polls of one descriptor complete or are cancelled one by one")
{
    enum { MANY = 300 };
    struct pair p = pair_open(NET_TCP4);
    struct op ops[MANY];
    for (int i = 0; i < MANY; i++) {
        ops[i] = poll_op(p.ours, i % 3 == 2 ? POLLPRI : POLLIN);
        start(b, &ops[i]);
    }
    for (int i = 0; i < MANY; i += 3)
        CHECK_EQ(cancel(b, &ops[i]), -ECANCELED);
    peer_send(p.peer, "x", 1);
    for (int i = 1; i < MANY; i += 3)
        CHECK_EQ(finish(b, &ops[i]), POLLIN);
    turn(b);
    for (int i = 2; i < MANY; i += 3) {
        CHECK(!is_done(&ops[i]));
        give_up(b, &ops[i]);
    }
    pair_close(b, p);
    for (int i = 2; i < MANY; i += 3)
        CHECK_EQ(ended(b, &ops[i]), -ECANCELED);
}

/* ---- limits ---- */

/* A copy of the descriptor with a number of at least `from`. */
static int high_dup(int fd, int from)
{
    struct rlimit limit;
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
    if (limit.rlim_max <= (rlim_t)from)
        SKIP("this process may not have so many descriptors");
    if (limit.rlim_cur <= (rlim_t)from) {
        limit.rlim_cur = (rlim_t)from + 1;
        CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    }
    return CHECK_OK(fcntl(fd, F_DUPFD_CLOEXEC, from));
}

PROMISE(select_limit, only_select, "a descriptor beyond the sets is refused, waiting or not")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    int high = high_dup(p.ours, FD_SETSIZE);
    CHECK_EQ(ask(b, recv_op(high, buf, sizeof buf)), -ERANGE);
    CHECK_EQ(ask(b, poll_op(high, POLLIN)), -ERANGE);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(ask(b, recv_op(high, buf, sizeof buf)), -ERANGE);
    CHECK_EQ(ask(b, shutdown_op(high, SHUT_WR)), 0);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 3);
    shut(b, high);
    pair_close(b, p);
}

PROMISE(high_number, unlimited, "a descriptor with a high number is waited on like others")
{
    struct pair low = pair_open(NET_TCP4), p = pair_open(NET_TCP4);
    char buf[16], more[16];
    struct op waiting = recv_op(low.ours, more, sizeof more), poll = poll_op(low.ours, POLLIN);
    start(b, &waiting);
    start(b, &poll);
    int high = high_dup(p.ours, 5000);
    struct op op = recv_op(high, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    peer_send(low.peer, "ab", 2);
    CHECK_EQ(finish(b, &poll), POLLIN);
    CHECK_EQ(finish(b, &waiting), 2);
    CHECK_EQ(ask(b, recv_op(INT32_MAX, buf, sizeof buf)), -EBADF);
    shut(b, high);
    pair_close(b, low);
    pair_close(b, p);
}
