/* conformance_fault.c -- rows of the conformance table: trouble itself. That it comes as planned,
 * that it leaves nothing behind wherever it strikes, and that it ends when it is lifted.       */
#include "conformance.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct fault_plan nothing;

/* ---- Coming as planned ----------------------------------------------------------------------- */

static void exchange(struct bench *b, struct pair p, int rounds)
{
    char buf[64];
    for (int i = 0; i < rounds; i++) {
        struct op op = recv_op(p.ours, buf, sizeof buf);
        start(b, &op);
        peer_send(p.peer, "0123456789", 10);
        int32_t n = finish(b, &op);
        CHECK(n > 0);
        recv_all(b, p.ours, buf, (size_t)(10 - n));
        send_all(b, p.ours, "abc", 3);
        peer_recv(p.peer, buf, 3);
    }
}

static void check_met(const char *what, uint32_t chance, uint64_t count)
{
    if ((chance > 0) != (count > 0))
        FAIL("%s: a chance of %u in a million came %ju times", what, chance, (uintmax_t)count);
}

static void comes_as_planned(struct bench *b)
{
    static const struct fault_calls untroubled;
    struct pair p = pair_open(NET_UNIX);
    exchange(b, p, 100);
    pair_close(b, p);
    if (b->backend == &io_fault) {
        struct fault_counts counts = fault_counts(b->io);
        check_met("short transfers", b->mix->plan.shorten, counts.shortened);
        /* Of three or more transfers in a round. */
        CHECK(counts.shortened >= (uint64_t)b->mix->plan.shorten * 200 / 1000000);
        check_met("late answers", b->mix->plan.delay, counts.delayed);
        check_met("idle wakes", b->mix->plan.spurious, counts.spurious);
        check_met("errors", b->mix->plan.fail, counts.failed);
    }
    bool troubled = memcmp(&b->mix->calls, &untroubled, sizeof untroubled) != 0;
    for (int i = 0; troubled && i < 100; i++)
        shut(b, ask(b, socket_op(AF_UNIX, SOCK_STREAM)));
    check_met("troubled calls", troubled, fault_beneath_count());
}

/* Where one instance of a mix would leave the arguments changed, the caller's next use is wrong. */
static void arguments_kept(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    char buf[16];
    struct iovec iov[2] = {{buf, 4}, {buf + 4, 12}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    for (int i = 0; i < 50; i++) {
        struct op in = recv_op(p.ours, buf, sizeof buf), out = send_op(p.ours, "0123", 4);
        start(b, &in);
        turn(b);
        peer_send(p.peer, "456789", 6);
        int32_t n = finish(b, &in);
        CHECK(n > 0 && n <= 6);
        CHECK(in.recv.len == sizeof buf && in.recv.buf == buf);
        struct op rest = recvmsg_op(p.ours, &msg);
        peer_send(p.peer, "x", 1);
        start(b, &rest);
        for (size_t got = (size_t)n; got < 7;) {
            got += (size_t)finish(b, &rest);
            CHECK(rest.recvmsg.msg == &msg && msg.msg_iov == iov && msg.msg_iovlen == 2);
            CHECK(iov[0].iov_len == 4 && iov[1].iov_len == 12);
            if (got < 7)
                start(b, &rest);
        }
        start(b, &out);
        n = finish(b, &out);
        CHECK_EQ(out.send.len, 4);
        peer_skip(p.peer, (size_t)n);
    }
    pair_close(b, p);
}

static void bench_around(struct bench *inner, const struct bench *b, const struct fault_plan *plan)
{
    static const struct mix plain = {.name = "plain"};
    *inner = (struct bench){.bare = b->bare, .backend = &io_fault, .mix = &plain};
    list_init(&inner->done);
    fault_prepare(b->bare, plan);
    CHECK_EQ(inner->backend->open(&inner->io, &inner->done), 0);
    first_sleep(inner);
}

/* A late answer is a true one, and neither a cancel nor a close waits for its time. */
static void late_but_asked_for(struct bench *b)
{
    struct fault_plan plan = {.seed = 8, .delay = 1000000, .delay_ms = 3600000};
    for (int closes = 0; closes < 2; closes++) {
        struct bench inner;
        bench_around(&inner, b, &plan);
        struct pair p = pair_open(NET_UNIX);
        char c = 0;
        struct op op = recv_op(p.ours, &c, 1);
        peer_send(p.peer, "x", 1);
        start_once(&inner, &op);
        for (int turns = 0; turns < 5; turns++)
            turn(&inner);
        CHECK(!is_done(&op));
        CHECK_EQ(c, 'x');
        fault_change(inner.io, &nothing);
        inner.before_close = &op;
        inner.before_close_count = 1;
        CHECK_EQ(closes ? 1 : cancel(&inner, &op), 1);
        shut(&inner, p.ours);
        CHECK_EQ(finish(&inner, &op), 1);
        bench_close(&inner);
        CHECK_OK(close(p.peer));
    }
}

/* ---- Every error of every kind --------------------------------------------------------------- */

/* An operation of the kind that would succeed, on a pair with a byte on its way. */
static struct op sample(enum op_kind kind, struct pair p, struct address *at, int listener)
{
    static char c;
    static struct iovec iov = {&c, 1};
    static struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    static int value = 1, fds[2];
    static socklen_t len;
    len = sizeof value;
    switch (kind) {
    case OP_SOCKET:
        return socket_op(AF_UNIX, SOCK_STREAM);
    case OP_PAIR:
        return (struct op){.kind = OP_PAIR, .fd = -1, .pair = {fds}};
    case OP_BIND:
        return bind_op(p.ours, &at->any, at->len);
    case OP_LISTEN:
        return listen_op(listener, 4);
    case OP_NAME:
        at->len = sizeof at->un;
        return name_op(listener, false, &at->any, &at->len);
    case OP_OPTION:
        return set_op(p.ours, SOL_SOCKET, SO_KEEPALIVE, &value, &len);
    case OP_SHUTDOWN:
        return shutdown_op(p.ours, SHUT_WR);
    case OP_ACCEPT:
        return accept_op(listener);
    case OP_CONNECT:
        return connect_op(p.ours, &at->any, at->len);
    case OP_RECV:
        return recv_op(p.ours, &c, 1);
    case OP_SEND:
        return send_op(p.ours, &c, 1);
    case OP_RECVMSG:
        return recvmsg_op(p.ours, &msg);
    case OP_SENDMSG:
        return sendmsg_op(p.ours, &msg);
    case OP_POLL:
        return poll_op(p.ours, POLLIN);
    case OP_CLOSE:
        return close_op(p.ours);
    case OP_QUERY:
    case OP_GIVE:
        break;
    }
    FAIL("%s has no errors", op_name(kind));
}

/* The error is told; the byte is still there, and the descriptor is open unless it was a close. */
static void deal(struct bench *b, enum op_kind kind, int error, bool late)
{
    struct fault_plan plan = {.seed = 9,
                              .kinds = 1u << kind,
                              .first = 1,
                              .error = error,
                              .delay = late ? 1000000 : 0,
                              .delay_ms = 1};
    struct address at;
    int listener = listener_open(b, NET_UNIX, 4, &at);
    struct bench inner;
    bench_around(&inner, b, &plan);
    struct pair p = pair_open(NET_UNIX);
    char c = 0;
    peer_send(p.peer, "x", 1);
    struct op op = sample(kind, p, &at, listener);
    CHECK_EQ(ask_once(&inner, &op), -error);
    CHECK(failed_by_rule(&inner, &op));
    CHECK_EQ(fault_counts(inner.io).failed, 1);
    CHECK_EQ(is_open(p.ours), kind != OP_CLOSE);
    if (kind != OP_CLOSE) {
        CHECK_EQ(ask(&inner, recv_op(p.ours, &c, 1)), 1);
        CHECK_EQ(c, 'x');
        shut(&inner, p.ours);
    }
    bench_close(&inner);
    CHECK_OK(close(p.peer));
    shut(b, listener);
}

static void every_error(struct bench *b)
{
    for (enum op_kind kind = OP_SOCKET; kind <= OP_CLOSE; kind++)
        for (const int *error = fault_errors(kind); *error; error++)
            for (int late = 0; late < 2; late++)
                deal(b, kind, *error, late);
}

/* ---- At every operation ---------------------------------------------------------------------- */

/* A client and a server in one: what they have open, and the one accept they leave pending. */
struct story {
    struct bench *b;
    int listener, client, server;
    struct op accept;
};

/* True if the step went well; otherwise it was stopped by rule. */
static bool step(struct story *s, struct op op, int32_t *result)
{
    int32_t answer = ask_once(s->b, &op);
    if (failed_by_rule(s->b, &op))
        return false;
    if (answer < 0)
        FAIL("%s answered %d, which no rule did", op_name(op.kind), answer);
    if (result)
        *result = answer;
    return true;
}

static bool story_connects(struct story *s, struct address *at)
{
    int value = 1;
    socklen_t len = sizeof value;
    if (!step(s, socket_op(AF_INET, SOCK_STREAM), &s->listener) ||
        !step(s, set_op(s->listener, SOL_SOCKET, SO_REUSEADDR, &value, &len), NULL) ||
        !step(s, bind_op(s->listener, &at->any, at->len), NULL) ||
        !step(s, listen_op(s->listener, 4), NULL) ||
        !step(s, name_op(s->listener, false, &at->any, &at->len), NULL))
        return false;
    s->accept = accept_op(s->listener);
    start_once(s->b, &s->accept);
    if (!step(s, socket_op(AF_INET, SOCK_STREAM), &s->client) ||
        !step(s, connect_op(s->client, &at->any, at->len), NULL))
        return false;
    s->server = finish(s->b, &s->accept);
    return !failed_by_rule(s->b, &s->accept);
}

static bool story_talks(struct story *s)
{
    char buf[8];
    struct iovec iov = {buf, sizeof buf};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int32_t n;
    if (!step(s, send_op(s->client, "ping", 4), &n) || !step(s, poll_op(s->server, POLLIN), NULL) ||
        !step(s, recv_op(s->server, buf, sizeof buf), &n))
        return false;
    CHECK_EQ(n, 4);
    CHECK_MEM(buf, "ping", 4);
    if (!step(s, sendmsg_op(s->server, &msg), &n) || !step(s, recvmsg_op(s->client, &msg), &n))
        return false;
    CHECK_EQ(n, 8);
    return step(s, shutdown_op(s->client, SHUT_WR), NULL) &&
           step(s, recv_op(s->server, buf, sizeof buf), &n) && n == 0;
}

static void drop(struct story *s, int fd)
{
    if (fd < 0)
        return;
    struct op op = close_op(fd);
    int32_t result = ask_once(s->b, &op);
    CHECK(result == 0 || failed_by_rule(s->b, &op));
    CHECK(!is_open(fd));
}

/* True if it was told to its end. */
static bool tell(struct bench *b)
{
    struct story s = {.b = b, .listener = -1, .client = -1, .server = -1};
    struct address at = loopback(AF_INET);
    bool told = story_connects(&s, &at) && story_talks(&s);
    if (s.accept.kind == OP_ACCEPT && s.server < 0) {
        int32_t fd = cancel(b, &s.accept);
        s.server = fd >= 0 ? fd : -1;
    }
    drop(&s, s.server);
    drop(&s, s.client);
    drop(&s, s.listener);
    CHECK_EQ(b->pending, 0);
    return told;
}

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += is_open(fd);
    return count;
}

/* The n-th operation fails, for every n there is: nothing is left behind, and the same instance
 * tells the whole story once the faults are lifted. */
static void sweep(struct bench *b, bool lasting, bool late)
{
    uint64_t n = 0, operations;
    do {
        n++;
        struct fault_plan plan = {
            .seed = n, .first = n, .lasting = lasting, .delay = late ? 500000 : 0, .delay_ms = 1};
        struct bench inner;
        bench_around(&inner, b, &plan);
        int before = count_open();
        bool told = tell(&inner);
        struct fault_counts counts = fault_counts(inner.io);
        operations = counts.operations;
        CHECK_EQ(counts.failed > 0, n <= operations);
        CHECK(told || counts.failed);
        CHECK_EQ(count_open(), before);
        fault_change(inner.io, &nothing);
        CHECK(tell(&inner));
        CHECK_EQ(count_open(), before);
        bench_close(&inner);
    } while (n <= operations);
    CHECK(n > 15);
}

static void at_every_operation(struct bench *b)
{
    sweep(b, false, false);
    sweep(b, false, true);
}

static void from_every_operation(struct bench *b)
{
    sweep(b, true, false);
    sweep(b, true, true);
}

/* ---- Again ----------------------------------------------------------------------------------- */

/* What a run was like: lengths and errors, in a text. */
static void record(struct bench *b, const struct fault_plan *plan, char *text, size_t size)
{
    struct bench inner;
    bench_around(&inner, b, plan);
    struct pair p = pair_open(NET_UNIX);
    size_t at = 0;
    for (int i = 0; i < 100; i++) {
        char buf[64];
        peer_send(p.peer, "0123456789", 10);
        struct op op = recv_op(p.ours, buf, 10);
        int32_t n = ask_once(&inner, &op);
        at += (size_t)snprintf(text + at, size - at, "%d ", n);
        CHECK(at < size);
        if (n < 10)
            recv_all(&inner, p.ours, buf, (size_t)(10 - (n > 0 ? n : 0)));
    }
    pair_close(&inner, p);
    bench_close(&inner);
}

static void same_seed(struct bench *b)
{
    struct fault_plan plan = {.seed = 77, .shorten = 500000, .fail = 200000};
    char first[2048], second[2048];
    record(b, &plan, first, sizeof first);
    record(b, &plan, second, sizeof second);
    CHECK_STR(second, first);
    plan.seed = 78;
    record(b, &plan, second, sizeof second);
    CHECK(strcmp(first, second) != 0);
}

const struct row fault_rows[] = {
    {.promise = "what was planned is what comes", .fn = comes_as_planned},
    {.promise = "an operation keeps its arguments, whatever it meets", .fn = arguments_kept},
    {.promise = "a late answer is handed out to a cancel, and before a close",
     .fn = late_but_asked_for,
     .flags = ROW_PLAIN},
    {.promise = "every error of every operation is told, and has had no effect",
     .fn = every_error,
     .flags = ROW_PLAIN},
    {.promise = "an error at any operation leaves nothing behind",
     .fn = at_every_operation,
     .flags = ROW_PLAIN},
    {.promise = "errors from any operation on leave nothing behind",
     .fn = from_every_operation,
     .flags = ROW_PLAIN},
    {.promise = "the same seed brings the same faults", .fn = same_seed, .flags = ROW_PLAIN},
    {.promise = NULL},
};
