/* conformance_bench.c -- the bench a row of the conformance table works at.
 *
 * It submits, waits within a bound, and keeps the books: `waiter` tells of each operation whether
 * it is pending, and what is to be done when a rule has failed it.  A completion that is not
 * expected ends the row.                                                                       */
#include "conformance.h"

#include <string.h>

/* Values of `waiter`: to be submitted again when a rule has failed it, not to be, and no longer
 * wanted.  NULL is for what does not pend. */
static char retrying, once, ending;

/* ---- Operations ------------------------------------------------------------------------------ */

struct op socket_op(int family, int type)
{
    return (struct op){.kind = OP_SOCKET, .fd = -1, .socket = {family, type, 0}};
}

struct op bind_op(int fd, const void *addr, socklen_t len)
{
    return (struct op){.kind = OP_BIND, .fd = fd, .bind = {addr, len}};
}

struct op listen_op(int fd, int backlog)
{
    return (struct op){.kind = OP_LISTEN, .fd = fd, .listen = {backlog}};
}

struct op name_op(int fd, bool peer, void *addr, socklen_t *len)
{
    return (struct op){.kind = OP_NAME, .fd = fd, .name = {addr, len, peer}};
}

struct op option_op(int fd, int level, int name, int *value, socklen_t *len)
{
    return (struct op){
        .kind = OP_OPTION, .fd = fd, .option = {value, len, (int16_t)level, (int16_t)name, false}};
}

struct op set_op(int fd, int level, int name, int *value, socklen_t *len)
{
    struct op op = option_op(fd, level, name, value, len);
    op.option.set = true;
    return op;
}

struct op query_op(int fd, unsigned long request)
{
    return (struct op){.kind = OP_QUERY, .fd = fd, .query = {request}};
}

struct op shutdown_op(int fd, int how)
{
    return (struct op){.kind = OP_SHUTDOWN, .fd = fd, .shutdown = {how}};
}

struct op accept_op(int fd)
{
    return (struct op){.kind = OP_ACCEPT, .fd = fd};
}

struct op connect_op(int fd, const void *addr, socklen_t len)
{
    return (struct op){.kind = OP_CONNECT, .fd = fd, .connect = {addr, len}};
}

/* OP_STREAM may be given on TCP; so that both ways are seen, it is on IPv4 and not on IPv6. */
static uint16_t stream_flag(int fd)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof(int);
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
    return domain == AF_INET && type == SOCK_STREAM ? OP_STREAM : 0;
}

struct op recv_op(int fd, void *buf, size_t len)
{
    return (struct op){.kind = OP_RECV, .flags = stream_flag(fd), .fd = fd, .recv = {buf, len, 0}};
}

struct op send_op(int fd, const void *buf, size_t len)
{
    return (struct op){.kind = OP_SEND, .flags = stream_flag(fd), .fd = fd, .send = {buf, len, 0}};
}

struct op recvmsg_op(int fd, struct msghdr *msg)
{
    return (struct op){.kind = OP_RECVMSG, .fd = fd, .recvmsg = {msg, 0}};
}

struct op sendmsg_op(int fd, const struct msghdr *msg)
{
    return (struct op){.kind = OP_SENDMSG, .fd = fd, .sendmsg = {msg, 0}};
}

struct op poll_op(int fd, short events)
{
    return (struct op){.kind = OP_POLL, .fd = fd, .poll = {events}};
}

struct op close_op(int fd)
{
    return (struct op){.kind = OP_CLOSE, .fd = fd};
}

/* ---- Books ----------------------------------------------------------------------------------- */

bool failed_by_rule(const struct bench *b, const struct op *op)
{
    if (b->backend != &io_fault || op->scratch != FAULT_MARK)
        return false;
    const int *errors = fault_errors(op->kind);
    while (*errors && *errors != -op->result)
        errors++;
    if (!*errors)
        FAIL("%s was failed with %d, which is not one of its errors", op_name(op->kind),
             op->result);
    return true;
}

static void check_answer(const struct op *op)
{
    if (op->result == -EINTR || op->result == -EAGAIN || op->result == -EINPROGRESS)
        FAIL("%s let %s out", op_name(op->kind), strerrorname_np(-op->result));
    CHECK(op->kind != OP_POLL || op->result != 0);
}

/* Takes the answer, or submits again what was failed by rule. */
static void submit(struct bench *b, struct op *op)
{
    bool complete;
    do {
        if (op->state != OP_READY)
            op->flags &= (uint16_t) ~(OP_CONNECTING | OP_WAS_READY | OP_FAKED);
        op->state = OP_IDLE;
        op->scratch = 0;
        list_init(&op->link);
        complete = b->backend->submit(b->io, op);
    } while (complete && op->waiter == &retrying && op->kind != OP_CLOSE && failed_by_rule(b, op));
    if (complete) {
        check_answer(op);
        op->state = OP_DONE;
        op->waiter = NULL;
        return;
    }
    b->pending++;
}

/* The order on the done list is the order of completion. */
static void check_order(const struct bench *b, const struct op *close)
{
    for (size_t i = 0; i < b->before_close_count; i++) {
        const struct op *op = &b->before_close[i];
        if (op->fd == close->fd && op->waiter)
            FAIL("a close was complete before a %s on its descriptor", op_name(op->kind));
    }
}

/* Handed back because it need not wait, and nobody's now: it goes in again.  What was given up has
 * had no effect, so that is its end. */
static bool comes_back(struct bench *b, struct op *op)
{
    if (op->state != OP_READY)
        return false;
    CHECK(op->flags & OP_WAS_READY);
    if (op->waiter != &ending) {
        submit(b, op);
        return true;
    }
    op->result = -ECANCELED;
    op->scratch = 0;
    return false;
}

static void collect(struct bench *b)
{
    struct list *link;
    while ((link = list_pop(&b->done))) {
        struct op *op = container_of(link, struct op, link);
        if (!op->waiter)
            FAIL("%s completed twice", op_name(op->kind));
        b->pending--;
        if (comes_back(b, op))
            continue;
        if (op->waiter == &retrying && op->kind != OP_CLOSE && failed_by_rule(b, op)) {
            submit(b, op);
            continue;
        }
        check_answer(op);
        op->state = OP_DONE;
        op->waiter = NULL;
        if (op->kind == OP_CLOSE)
            check_order(b, op);
    }
}

static weir_time bound(const struct bench *b)
{
    return time_add(b->backend->now(b->io), (int64_t)5000000000 * test_slowness());
}

/* ---- Driving --------------------------------------------------------------------------------- */

/* An instance may make the last of its own descriptors when it first sleeps; rows that look at
 * numbers begin after that. */
void first_sleep(struct bench *b)
{
    turn_until(b, time_add(b->backend->now(b->io), b->bare == &io_blocking ? 1000000 : 0));
}

void bench_open(struct bench *b, const struct io_backend *bare, const struct mix *mix)
{
    static const struct fault_plan nothing;
    static const struct fault_calls untroubled;
    *b = (struct bench){.bare = bare, .mix = mix, .backend = bare};
    list_init(&b->done);
    if (memcmp(&mix->plan, &nothing, sizeof nothing) != 0) {
        fault_prepare(bare, &mix->plan);
        b->backend = &io_fault;
    }
    fault_beneath(memcmp(&mix->calls, &untroubled, sizeof untroubled) ? &mix->calls : NULL);
    int error = b->backend->open(&b->io, &b->done);
    if (error == -ENOSYS || error == -EPERM)
        SKIP("this kernel does not let it be used");
    CHECK_EQ(error, 0);
    first_sleep(b);
}

void bench_close(struct bench *b)
{
    turn(b);
    CHECK_EQ(b->pending, 0);
    CHECK(list_is_empty(&b->done));
    b->backend->close(b->io);
}

void start(struct bench *b, struct op *op)
{
    op->waiter = &retrying;
    submit(b, op);
}

bool is_done(const struct op *op)
{
    return !op->waiter;
}

int32_t finish(struct bench *b, struct op *op)
{
    collect(b);
    weir_time end = bound(b);
    while (!is_done(op)) {
        turn_until(b, end);
        if (!is_done(op) && b->backend->now(b->io) >= end)
            FAIL("%s on descriptor %d did not complete", op_name(op->kind), op->fd);
    }
    return op->result;
}

int32_t ask(struct bench *b, struct op op)
{
    start(b, &op);
    return finish(b, &op);
}

void start_once(struct bench *b, struct op *op)
{
    op->waiter = &once;
    submit(b, op);
}

int32_t ask_once(struct bench *b, struct op *op)
{
    start_once(b, op);
    return finish(b, op);
}

void turn_until(struct bench *b, weir_time until)
{
    b->backend->wait(b->io, until);
    collect(b);
}

void turn(struct bench *b)
{
    turn_until(b, TIME_PAST);
}

/* Under delays a turn may only move a completion into the future, so there are as many turns as
 * a long delay takes. */
void check_pending(struct bench *b, struct op *op)
{
    weir_time end = b->backend->now(b->io);
    if (b->mix->plan.delay)
        end += ((int64_t)b->mix->plan.delay_ms + 1) * 1000000;
    for (int turns = 0; turns < 3 || b->backend->now(b->io) < end; turns++) {
        turn(b);
        if (is_done(op))
            FAIL("%s completed with %d, for no reason", op_name(op->kind), op->result);
    }
}

void check_calm(struct bench *b, struct op *op)
{
    weir_time end = b->backend->now(b->io) + 20000000;
    int waits = 0;
    if (b->backend == &io_fault || b->mix->calls.interrupt)
        return;
    check_pending(b, op);
    for (; b->backend->now(b->io) < end; waits++) {
        turn_until(b, end);
        CHECK(!is_done(op));
    }
    if (waits > 60)
        FAIL("%s waited %d times in 20 ms", op_name(op->kind), waits);
}

void give_up(struct bench *b, struct op *op)
{
    (void)b;
    if (!is_done(op))
        op->waiter = &ending;
}

int32_t ended(struct bench *b, struct op *op)
{
    int32_t result = finish(b, op);
    return failed_by_rule(b, op) ? -ECANCELED : result;
}

int32_t cancel(struct bench *b, struct op *op)
{
    give_up(b, op);
    if (!is_done(op) && op->state == OP_PENDING)
        b->backend->cancel(b->io, op);
    return ended(b, op);
}

void shut(struct bench *b, int fd)
{
    struct op op = close_op(fd);
    start(b, &op);
    int32_t result = finish(b, &op);
    if (!failed_by_rule(b, &op))
        CHECK_EQ(result, 0);
}

/* ---- Whole transfers ------------------------------------------------------------------------- */

void send_all(struct bench *b, int fd, const void *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        int32_t n = ask(b, send_op(fd, (const char *)buf + at, len - at));
        CHECK(n > 0);
        at += (size_t)n;
    }
}

void recv_all(struct bench *b, int fd, void *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        int32_t n = ask(b, recv_op(fd, (char *)buf + at, len - at));
        CHECK(n > 0);
        CHECK((size_t)n <= len - at);
        at += (size_t)n;
    }
}
