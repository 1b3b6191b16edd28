/* conformance_poll.c -- rows of the conformance table: waiting for readiness alone, on sockets and
 * on descriptors that are not ours.                                                            */
#include "conformance.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ROW(name)                                                                                  \
    static void name##_body(struct bench *b, struct pair p, enum net net);                         \
    static void name(struct bench *b)                                                              \
    {                                                                                              \
        each_stream(b, name##_body);                                                               \
    }                                                                                              \
    static void name##_body(struct bench *b, struct pair p, __attribute__((unused)) enum net net)

static struct op foreign_op(int fd, short events)
{
    struct op op = poll_op(fd, events);
    op.flags = OP_FOREIGN;
    return op;
}

/* ---- Sockets --------------------------------------------------------------------------------- */

ROW(input)
{
    struct op op = poll_op(p.ours, POLLIN);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &op), POLLIN);
    CHECK_EQ(ask(b, poll_op(p.ours, POLLIN)), POLLIN);
    CHECK_EQ(ask(b, poll_op(p.ours, POLLIN | POLLOUT)), POLLIN | POLLOUT);
    char c;
    recv_all(b, p.ours, &c, 1);
    op = poll_op(p.ours, POLLIN);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
}

/* A poll does not change what a receive is told, nor the other way round. */
ROW(input_and_receive)
{
    char c = 0;
    for (int i = 0; i < 3; i++) {
        struct op poll = poll_op(p.ours, POLLIN), recv = recv_op(p.ours, &c, 1);
        start(b, i % 2 ? &recv : &poll);
        start(b, i % 2 ? &poll : &recv);
        check_pending(b, &poll);
        check_pending(b, &recv);
        peer_send(p.peer, "1", 1);
        CHECK_EQ(finish(b, &recv), 1);
        /* The receive may have taken the byte before the poll could see it. */
        turn(b);
        peer_send(p.peer, "2", 1);
        CHECK_EQ(finish(b, &poll), POLLIN);
        recv_all(b, p.ours, &c, 1);
        CHECK_EQ(c, '2');
    }
}

ROW(room)
{
    CHECK_EQ(ask(b, poll_op(p.ours, POLLOUT)), POLLOUT);
    small_buffers(p);
    size_t before = fill(b, p);
    struct op op = poll_op(p.ours, POLLOUT);
    start(b, &op);
    check_pending(b, &op);
    peer_skip(p.peer, before);
    CHECK_EQ(finish(b, &op), POLLOUT);
    send_all(b, p.ours, "x", 1);
}

ROW(peer_half_closed)
{
    struct op op = poll_op(p.ours, POLLRDHUP), in = poll_op(p.ours, POLLIN);
    start(b, &op);
    start(b, &in);
    check_pending(b, &op);
    check_pending(b, &in);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(finish(b, &op), POLLRDHUP);
    CHECK_EQ(finish(b, &in), POLLIN);
    CHECK_EQ(ask(b, poll_op(p.ours, POLLRDHUP | POLLIN)), POLLRDHUP | POLLIN);
}

ROW(both_closed)
{
    struct op op = poll_op(p.ours, 0);
    start(b, &op);
    check_pending(b, &op);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    check_pending(b, &op);
    CHECK_EQ(ask(b, shutdown_op(p.ours, SHUT_WR)), 0);
    CHECK_EQ(finish(b, &op), POLLHUP);
    CHECK_EQ(ask(b, poll_op(p.ours, 0)), POLLHUP);
}

static void reset(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    struct op op = poll_op(p.ours, 0), in = poll_op(p.ours, POLLIN);
    start(b, &op);
    start(b, &in);
    check_pending(b, &op);
    peer_reset(p.peer);
    CHECK_EQ(finish(b, &op), POLLERR | POLLHUP);
    CHECK_EQ(finish(b, &in), POLLIN | POLLERR | POLLHUP);
    char c;
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), -ECONNRESET);
    shut(b, p.ours);
}

static void several_at(struct bench *b, struct pair p, uint16_t flags)
{
    enum { COUNT = 5 };
    struct op ops[COUNT], out;
    size_t before = fill(b, p);
    out = poll_op(p.ours, POLLOUT);
    out.flags = flags;
    start(b, &out);
    for (int i = 0; i < COUNT; i++) {
        ops[i] = poll_op(p.ours, POLLIN);
        ops[i].flags = flags;
        start(b, &ops[i]);
    }
    CHECK_EQ(cancel(b, &ops[1]), -ECANCELED);
    check_pending(b, &ops[0]);
    peer_send(p.peer, "x", 1);
    for (int i = 0; i < COUNT; i++)
        if (i != 1)
            CHECK_EQ(finish(b, &ops[i]), POLLIN);
    check_pending(b, &out);
    peer_skip(p.peer, before);
    CHECK_EQ(finish(b, &out), POLLOUT);
    char c;
    recv_all(b, p.ours, &c, 1);
}

/* On a Unix socket, because on TCP what the peer sends may bring room along. */
static void several(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    small_buffers(p);
    several_at(b, p, OP_FOREIGN);
    several_at(b, p, 0);
    several_at(b, p, OP_FOREIGN);
    pair_close(b, p);
}

/* With room there all the time, what waits for input must not be told of it. */
ROW(answered_is_over)
{
    small_buffers(p);
    size_t before = fill(b, p);
    struct op out = poll_op(p.ours, POLLOUT), in = poll_op(p.ours, POLLIN);
    start(b, &out);
    start(b, &in);
    check_pending(b, &out);
    peer_skip(p.peer, before);
    CHECK_EQ(finish(b, &out), POLLOUT);
    check_calm(b, &in);
    CHECK_EQ(cancel(b, &in), -ECANCELED);
}

static void listener(struct bench *b)
{
    for (enum net net = NET_UNIX; net < NETS; net++) {
        struct address at;
        int fd = listener_open(b, net, 4, &at);
        struct op op = poll_op(fd, POLLIN);
        start(b, &op);
        check_pending(b, &op);
        int client = dial_plain(&at);
        CHECK_EQ(finish(b, &op), POLLIN);
        int accepted = ask(b, accept_op(fd));
        CHECK(accepted >= 0);
        shut(b, accepted);
        CHECK_OK(close(client));
        shut(b, fd);
    }
}

/* ---- Others ---------------------------------------------------------------------------------- */

static void pipes(struct bench *b)
{
    for (int foreign = 0; foreign < 2; foreign++) {
        int fds[2];
        char c;
        CHECK_OK(pipe2(fds, O_CLOEXEC));
        struct op op = foreign_op(fds[0], POLLIN);
        start(b, &op);
        check_pending(b, &op);
        CHECK_EQ(ask(b, foreign_op(fds[1], POLLOUT)), POLLOUT);
        CHECK_EQ(CHECK_OK(write(fds[1], "x", 1)), 1);
        CHECK_EQ(finish(b, &op), POLLIN);
        CHECK_EQ(CHECK_OK(read(fds[0], &c, 1)), 1);
        op = foreign_op(fds[foreign ? 0 : 1], foreign ? POLLIN : 0);
        start(b, &op);
        check_pending(b, &op);
        CHECK_OK(close(fds[foreign ? 1 : 0]));
        CHECK_EQ(finish(b, &op), foreign ? POLLHUP : POLLERR);
        CHECK_OK(close(fds[foreign ? 0 : 1]));
    }
}

static void events_and_timers(struct bench *b)
{
    int event = CHECK_OK(eventfd(0, EFD_CLOEXEC)), timer;
    CHECK_OK(timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    struct op ops[] = {foreign_op(event, POLLIN), foreign_op(timer, POLLIN)};
    start(b, &ops[0]);
    start(b, &ops[1]);
    check_pending(b, &ops[1]);
    struct itimerspec soon = {.it_value.tv_nsec = 1000000};
    CHECK_OK(timerfd_settime(timer, 0, &soon, NULL));
    CHECK_EQ(finish(b, &ops[1]), POLLIN);
    check_pending(b, &ops[0]);
    CHECK_OK(eventfd_write(event, 1));
    CHECK_EQ(finish(b, &ops[0]), POLLIN);
    CHECK_OK(close(event));
    CHECK_OK(close(timer));
}

/* epoll takes no regular file; poll(2) calls it always ready. */
static void files(struct bench *b)
{
    int file = CHECK_OK(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    CHECK_EQ(ask(b, foreign_op(file, POLLIN)), POLLIN);
    CHECK_EQ(ask(b, foreign_op(file, POLLIN | POLLOUT)), POLLIN | POLLOUT);
    CHECK_EQ(ask(b, foreign_op(0, POLLIN)), POLLIN); /* the harness gives /dev/null */
    struct op never = foreign_op(file, POLLPRI);
    start(b, &never);
    check_pending(b, &never);
    check_calm(b, &never);
    CHECK_EQ(cancel(b, &never), -ECANCELED);
    CHECK_OK(close(file));
}

static void not_open(struct bench *b)
{
    int fd = CHECK_OK(dup(0));
    CHECK_OK(close(fd));
    CHECK_EQ(ask(b, foreign_op(fd, POLLIN)), POLLNVAL);
    CHECK_EQ(ask(b, foreign_op(-1, POLLIN)), POLLNVAL);
}

/* A descriptor shared with other processes: O_NONBLOCK would be set for all of them. */
static void flags_kept(struct bench *b)
{
    int fds[2];
    CHECK_OK(pipe2(fds, O_CLOEXEC));
    int before = CHECK_OK(fcntl(fds[0], F_GETFL));
    struct op op = foreign_op(fds[0], POLLIN);
    start(b, &op);
    check_pending(b, &op);
    int after = CHECK_OK(fcntl(fds[0], F_GETFL));
    CHECK_EQ(after, before);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_OK(close(fds[0]));
    CHECK_OK(close(fds[1]));
}

/* Closed behind a pending poll, and the number taken by another pipe: the new one is told of, and
 * the old poll ends by its cancel. */
static void reused_behind(struct bench *b)
{
    int old[2], fresh[2];
    CHECK_OK(pipe2(old, O_CLOEXEC));
    struct op stale = foreign_op(old[0], POLLIN);
    start(b, &stale);
    check_pending(b, &stale);
    CHECK_OK(close(old[0]));
    CHECK_OK(pipe2(fresh, O_CLOEXEC));
    CHECK_EQ(fresh[0], old[0]);
    struct op op = foreign_op(fresh[0], POLLIN);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(CHECK_OK(write(fresh[1], "x", 1)), 1);
    CHECK_EQ(finish(b, &op), POLLIN);
    int32_t result = cancel(b, &stale);
    CHECK(result == -ECANCELED || result == POLLIN || result == POLLERR || result == POLLNVAL);
    CHECK_OK(close(old[1]));
    CHECK_OK(close(fresh[0]));
    CHECK_OK(close(fresh[1]));
}

/* Whether that poll is told, or waits for its cancel, differs; the others go on in any case. */
static void closed_behind(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    int fds[2];
    char c;
    CHECK_OK(pipe2(fds, O_CLOEXEC));
    struct op stale = foreign_op(fds[0], POLLIN), op = recv_op(p.ours, &c, 1);
    start(b, &stale);
    start(b, &op);
    check_pending(b, &stale);
    CHECK_OK(close(fds[0]));
    check_pending(b, &op);
    check_calm(b, &op);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_OK(close(fds[1]));
    int32_t result = cancel(b, &stale);
    CHECK(result == -ECANCELED || result == POLLNVAL || result == POLLHUP);
    pair_close(b, p);
}

/* A duplicate keeps the old pipe open, and the kernel may go on telling of it by the number. */
static void old_file_lives_on(struct bench *b)
{
    int old[2], fresh[2];
    CHECK_OK(pipe2(old, O_CLOEXEC));
    struct op op = foreign_op(old[0], POLLIN);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    op = foreign_op(old[0], POLLIN);
    start(b, &op);
    check_pending(b, &op);
    int duplicate = CHECK_OK(fcntl(old[0], F_DUPFD_CLOEXEC, 100));
    CHECK_OK(close(old[0]));
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_OK(pipe2(fresh, O_CLOEXEC));
    CHECK_EQ(fresh[0], old[0]);
    op = foreign_op(fresh[0], POLLIN);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(CHECK_OK(write(old[1], "old", 3)), 3);
    check_pending(b, &op);
    check_calm(b, &op);
    CHECK_EQ(CHECK_OK(write(fresh[1], "x", 1)), 1);
    CHECK_EQ(finish(b, &op), POLLIN);
    CHECK_OK(close(duplicate));
    CHECK_OK(close(old[1]));
    CHECK_OK(close(fresh[0]));
    CHECK_OK(close(fresh[1]));
}

/* One after another on the same number, each with a file of its own behind it. */
static void reused_between(struct bench *b)
{
    for (int i = 0; i < 10; i++) {
        int fds[2];
        CHECK_OK(pipe2(fds, O_CLOEXEC));
        struct op op = foreign_op(fds[0], POLLIN);
        start(b, &op);
        check_pending(b, &op);
        if (i % 2) {
            CHECK_EQ(CHECK_OK(write(fds[1], "x", 1)), 1);
            CHECK_EQ(finish(b, &op), POLLIN);
        } else {
            CHECK_EQ(cancel(b, &op), -ECANCELED);
        }
        CHECK_OK(close(fds[0]));
        CHECK_OK(close(fds[1]));
    }
}

/* A number that was foreign becomes a socket of ours, and foreign again. */
static void changes_hands(struct bench *b)
{
    for (int i = 0; i < 4; i++) {
        char c = 0;
        int fds[2];
        CHECK_OK(pipe2(fds, O_CLOEXEC));
        struct op op = foreign_op(fds[0], POLLIN);
        start(b, &op);
        check_pending(b, &op);
        CHECK_EQ(cancel(b, &op), -ECANCELED);
        CHECK_OK(close(fds[0]));
        CHECK_OK(close(fds[1]));
        struct pair p = pair_open(i % 2 ? NET_UNIX : NET_TCP4);
        op = recv_op(p.ours, &c, 1);
        start(b, &op);
        check_pending(b, &op);
        peer_send(p.peer, "x", 1);
        CHECK_EQ(finish(b, &op), 1);
        pair_close(b, p);
    }
}

const struct row poll_rows[] = {
    {.promise = "a poll tells of input, and again while it is there", .fn = input},
    {.promise = "a poll and a receive on one descriptor are both answered",
     .fn = input_and_receive},
    {.promise = "a poll waits for room", .fn = room},
    {.promise = "a poll tells of the peer's half-close", .fn = peer_half_closed},
    {.promise = "a poll for nothing waits for the hang-up", .fn = both_closed},
    {.promise = "a poll tells of a reset, and leaves it to the receive", .fn = reset},
    {.promise = "several polls on one descriptor are each answered, or cancelled alone",
     .fn = several},
    {.promise = "a poll that is answered is not waited for any more", .fn = answered_is_over},
    {.promise = "a poll tells of a connection to accept", .fn = listener},
    {.promise = "pipes are polled, and their ends", .fn = pipes},
    {.promise = "eventfds and timers are polled", .fn = events_and_timers},
    {.promise = "files and devices that are always ready are called ready", .fn = files},
    {.promise = "a poll of what is not open says so", .fn = not_open},
    {.promise = "a foreign descriptor keeps its flags", .fn = flags_kept},
    {.promise = "a foreign descriptor replaced behind a poll is told of as the new one",
     .fn = reused_behind},
    {.promise = "a foreign descriptor closed behind a poll does not stop the others",
     .fn = closed_behind},
    {.promise = "a foreign number is not told of a file that had it before",
     .fn = old_file_lives_on},
    {.promise = "a foreign number is polled again with another file behind it",
     .fn = reused_between},
    {.promise = "a number goes from foreign to ours and back", .fn = changes_hands},
    {.promise = NULL},
};
