/* fault.c -- the backend around a backend that shortens, delays, fails and wakes for nothing, and
 * the hook beneath a backend that troubles its system calls.
 *
 * An operation passes through as it is: the same struct op, known to the caller by its address.
 * The inner backend completes into the worker's own done list, and this one looks at what a call
 * has appended there: it puts shortened arguments back, and takes operations off again that shall
 * come late.  Those wait on `held`, pending as far as anyone can see, with their answer already
 * in them; a cancel or a close hands them out at once, because the answer is a true one.
 *
 * While an operation is held its scratch word is the time it is due, in milliseconds since the
 * instance was opened, with the lowest bit telling a failed one.                              */
#include "fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "../base/random.h"

#define MILLISECOND 1000000

enum { CUTS_MAX = 64, DELAY_MS_USUAL = 20 };

/* A transfer that was shortened: what it looked like before. */
struct cut {
    struct op *op;
    size_t len;           /* RECV, SEND */
    struct msghdr *whole; /* RECVMSG, SENDMSG: the caller's */
    struct msghdr part;   /* what the inner backend sees instead */
    struct iovec iov;
};

struct fault {
    const struct io_backend *inner;
    struct io *io;
    struct list *done; /* the worker's */
    struct list held;
    weir_time opened;
    struct random random;
    struct fault_plan plan;
    struct fault_counts counts;
    int cut_count;
    struct cut cuts[CUTS_MAX];
};

static struct {
    const struct io_backend *inner;
    struct fault_plan plan;
    atomic_uint_fast64_t opened;
} prepared;

static struct fault *fault_of(struct io *io)
{
    return (struct fault *)(void *)io;
}

/* ---- Failing --------------------------------------------------------------------------------- */

static const int no_errors[] = {0};
static const int socket_errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT, EACCES, 0};
static const int bind_errors[] = {EADDRINUSE, EADDRNOTAVAIL, EACCES, 0};
static const int listen_errors[] = {EADDRINUSE, 0};
static const int name_errors[] = {ENOBUFS, 0};
static const int option_errors[] = {ENOMEM, 0};
static const int shutdown_errors[] = {ENOTCONN, 0};
static const int accept_errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO, 0};
static const int connect_errors[] = {ECONNREFUSED, ETIMEDOUT,     EHOSTUNREACH, ENETUNREACH,
                                     ECONNRESET,   EADDRNOTAVAIL, EPERM,        0};
static const int recv_errors[] = {ECONNRESET, ETIMEDOUT, ENOBUFS, ENOMEM, ECONNREFUSED, 0};
static const int send_errors[] = {EPIPE,    ECONNRESET, ENOBUFS,      ENOMEM,
                                  EMSGSIZE, EPERM,      EHOSTUNREACH, 0};
static const int poll_errors[] = {ENOMEM, ENOSPC, 0};
/* Not EINTR: that one stays below, and the descriptor is closed all the same. */
static const int close_errors[] = {EIO, 0};

const int *fault_errors(enum op_kind kind)
{
    static const int *const errors[] = {
        [OP_SOCKET] = socket_errors,     [OP_BIND] = bind_errors,     [OP_LISTEN] = listen_errors,
        [OP_NAME] = name_errors,         [OP_OPTION] = option_errors, [OP_QUERY] = no_errors,
        [OP_SHUTDOWN] = shutdown_errors, [OP_GIVE] = no_errors,       [OP_ACCEPT] = accept_errors,
        [OP_CONNECT] = connect_errors,   [OP_RECV] = recv_errors,     [OP_SEND] = send_errors,
        [OP_RECVMSG] = recv_errors,      [OP_SENDMSG] = send_errors,  [OP_POLL] = poll_errors,
        [OP_CLOSE] = close_errors,       [OP_PAIR] = socket_errors,
    };
    return errors[kind];
}

static int draw_error(struct fault *f, enum op_kind kind)
{
    const int *errors = fault_errors(kind);
    uint64_t count = 0;
    while (errors[count])
        count++;
    return errors[random_below(&f->random, count)];
}

/* Counts the operation, and returns the error it shall meet, or 0. */
static int error_for(struct fault *f, const struct op *op)
{
    const struct fault_plan *plan = &f->plan;
    if (!fault_errors(op->kind)[0] || (plan->kinds && !(plan->kinds >> op->kind & 1)))
        return 0;
    uint64_t n = ++f->counts.operations;
    bool fails = plan->first ? n == plan->first || (plan->lasting && n > plan->first)
                             : random_chance(&f->random, plan->fail);
    if (!fails)
        return 0;
    f->counts.failed++;
    return plan->error ? plan->error : draw_error(f, op->kind);
}

/* ---- Shortening ------------------------------------------------------------------------------ */

/* SOCK_STREAM or another, or -1 when the descriptor is no socket. */
static int socket_type(int fd)
{
    int type = -1;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? type : -1;
}

/* A datagram that arrives in part has lost the rest for good, so only streams are shortened. */
static bool is_stream(int fd)
{
    return socket_type(fd) == SOCK_STREAM;
}

static size_t shorter(struct fault *f, size_t len)
{
    switch (random_below(&f->random, 3)) {
    case 0:
        return 1;
    case 1:
        return len - 1;
    }
    return 1 + random_below(&f->random, len - 1);
}

static struct msghdr *message_of(struct op *op)
{
    return op->kind == OP_RECVMSG ? op->recvmsg.msg : (struct msghdr *)op->sendmsg.msg;
}

static void message_set(struct op *op, struct msghdr *msg)
{
    if (op->kind == OP_RECVMSG)
        op->recvmsg.msg = msg;
    else
        op->sendmsg.msg = msg;
}

static void cut_message(struct fault *f, struct op *op, struct cut *cut)
{
    *cut = (struct cut){.op = op, .whole = message_of(op), .part = *message_of(op)};
    cut->iov = cut->part.msg_iov[0];
    cut->iov.iov_len = shorter(f, cut->iov.iov_len);
    cut->part.msg_iov = &cut->iov;
    cut->part.msg_iovlen = 1;
    message_set(op, &cut->part);
}

/* The length that shortening would cut, or 0. */
static size_t length_of(struct op *op)
{
    switch (op->kind) {
    case OP_RECV:
        return op->recv.flags & (MSG_OOB | MSG_WAITALL) ? 0 : op->recv.len;
    case OP_SEND:
        return op->send.flags & MSG_OOB ? 0 : op->send.len;
    case OP_RECVMSG:
    case OP_SENDMSG:
        return message_of(op)->msg_iovlen ? message_of(op)->msg_iov[0].iov_len : 0;
    }
    return 0;
}

static void shorten(struct fault *f, struct op *op)
{
    size_t len = length_of(op);
    if (len < 2 || f->cut_count == CUTS_MAX || !random_chance(&f->random, f->plan.shorten) ||
        !is_stream(op->fd))
        return;
    struct cut *cut = NULL;
    for (int i = 0; !cut; i++)
        if (!f->cuts[i].op)
            cut = &f->cuts[i];
    f->cut_count++;
    f->counts.shortened++;
    if (op->kind == OP_RECVMSG || op->kind == OP_SENDMSG) {
        cut_message(f, op, cut);
        return;
    }
    *cut = (struct cut){.op = op, .len = len};
    if (op->kind == OP_RECV)
        op->recv.len = shorter(f, len);
    else
        op->send.len = shorter(f, len);
}

static void restore_message(struct op *op, struct cut *cut)
{
    if (op->kind == OP_RECVMSG && op->result >= 0) {
        cut->whole->msg_namelen = cut->part.msg_namelen;
        cut->whole->msg_controllen = cut->part.msg_controllen;
        cut->whole->msg_flags = cut->part.msg_flags;
    }
    message_set(op, cut->whole);
}

/* Gives a completed operation its arguments back. */
static void restore(struct fault *f, struct op *op)
{
    if (!f->cut_count)
        return;
    for (struct cut *cut = f->cuts; cut < f->cuts + CUTS_MAX; cut++) {
        if (cut->op != op)
            continue;
        if (cut->whole)
            restore_message(op, cut);
        else if (op->kind == OP_RECV)
            op->recv.len = cut->len;
        else
            op->send.len = cut->len;
        cut->op = NULL;
        f->cut_count--;
    }
}

/* ---- Delaying -------------------------------------------------------------------------------- */

/* A cancelled operation is never late: nobody waits for more than its end. */
static bool draws_delay(struct fault *f, const struct op *op)
{
    if (op->kind < OP_ACCEPT || op->result == -ECANCELED ||
        !random_chance(&f->random, f->plan.delay))
        return false;
    f->counts.delayed++;
    return true;
}

static void hold(struct fault *f, struct op *op, bool failed)
{
    uint64_t longest = f->plan.delay_ms ? f->plan.delay_ms : DELAY_MS_USUAL;
    uint64_t now = (uint64_t)(f->inner->now(f->io) - f->opened) / MILLISECOND;
    uint64_t due = now + random_below(&f->random, longest + 1);
    op->scratch = (uint32_t)due << 1 | failed;
    op->state = OP_PENDING;
    list_push(&f->held, &op->link);
}

static weir_time due_time(const struct fault *f, const struct op *op)
{
    return time_add(f->opened, (int64_t)(op->scratch >> 1) * MILLISECOND);
}

/* Hands a held operation out, at its place before `at` on the done list. */
static void release(struct list *at, struct op *op)
{
    list_remove(&op->link);
    op->scratch = op->scratch & 1 ? FAULT_MARK : 0;
    op->state = OP_DONE;
    list_insert_before(at, &op->link);
}

static void release_descriptor(struct fault *f, int fd, struct list *at)
{
    list_for_each(link, &f->held)
    {
        struct op *op = container_of(link, struct op, link);
        if (op->fd == fd && op->kind != OP_CLOSE)
            release(at, op);
    }
}

static weir_time next_due(const struct fault *f)
{
    weir_time next = TIME_NEVER;
    list_for_each(link, &f->held) next =
        time_min(next, due_time(f, container_of(link, struct op, link)));
    return next;
}

static void release_due(struct fault *f)
{
    if (list_is_empty(&f->held))
        return;
    weir_time now = f->inner->now(f->io);
    list_for_each(link, &f->held)
    {
        struct op *op = container_of(link, struct op, link);
        if (due_time(f, op) <= now)
            release(f->done, op);
    }
}

/* ---- Passing through ------------------------------------------------------------------------- */

/* What the inner backend has just completed becomes the caller's again.  What is held for a
 * descriptor comes out before its CLOSE, at its place before `at` on the done list.  True for an
 * operation that has failed by a rule. */
static bool settle(struct fault *f, struct op *op, struct list *at)
{
    int error = 0;
    restore(f, op);
    if (op->kind == OP_CLOSE) {
        release_descriptor(f, op->fd, at);
        error = error_for(f, op);
        if (error)
            op->result = -error;
    }
    op->scratch = error ? FAULT_MARK : 0;
    return error != 0;
}

/* Settles what has been appended to the done list since `last` was its last member. */
static void settle_after(struct fault *f, struct list *last)
{
    struct list *next;
    for (struct list *link = last->next; link != f->done; link = next) {
        next = link->next;
        struct op *op = container_of(link, struct op, link);
        if (op->state == OP_READY) {
            restore(f, op); /* it comes again */
            continue;
        }
        bool failed = settle(f, op, link);
        if (draws_delay(f, op)) {
            list_remove(link);
            hold(f, op, failed);
        }
    }
}

static bool submit_inner(struct fault *f, struct op *op)
{
    struct list *last = f->done->prev;
    shorten(f, op);
    bool complete = f->inner->submit(f->io, op);
    settle_after(f, last);
    return complete;
}

static bool fault_submit(struct io *io, struct op *op)
{
    struct fault *f = fault_of(io);
    int error = op->kind == OP_CLOSE ? 0 : error_for(f, op);
    bool failed = error != 0;
    if (failed) {
        op->result = -error;
        op->state = OP_DONE;
        op->scratch = FAULT_MARK;
    } else {
        if (!submit_inner(f, op))
            return false;
        failed = settle(f, op, f->done);
    }
    if (!draws_delay(f, op))
        return true;
    hold(f, op, failed);
    return false;
}

static void fault_cancel(struct io *io, struct op *op)
{
    struct fault *f = fault_of(io);
    list_for_each(link, &f->held)
    {
        if (link == &op->link) {
            release(f->done, op);
            return;
        }
    }
    struct list *last = f->done->prev;
    f->inner->cancel(f->io, op);
    settle_after(f, last);
}

static void fault_wait(struct io *io, weir_time until)
{
    struct fault *f = fault_of(io);
    if (random_chance(&f->random, f->plan.spurious)) {
        f->counts.spurious++;
        until = TIME_PAST;
    }
    struct list *last = f->done->prev;
    f->inner->wait(f->io, time_min(until, next_due(f)));
    settle_after(f, last);
    release_due(f);
}

static void fault_wake(struct io *io)
{
    const struct fault *f = fault_of(io);
    f->inner->wake(f->io);
}

static weir_time fault_now(struct io *io)
{
    const struct fault *f = fault_of(io);
    return f->inner->now(f->io);
}

/* ---- Opening --------------------------------------------------------------------------------- */

void fault_prepare(const struct io_backend *inner, const struct fault_plan *plan)
{
    prepared.inner = inner;
    prepared.plan = *plan;
    atomic_store(&prepared.opened, 0);
}

void fault_change(struct io *io, const struct fault_plan *plan)
{
    fault_of(io)->plan = *plan;
}

struct fault_counts fault_counts(const struct io *io)
{
    return ((const struct fault *)(const void *)io)->counts;
}

static void fault_close(struct io *io)
{
    struct fault *f = fault_of(io);
    must(list_is_empty(&f->held));
    f->inner->close(f->io);
    free(f);
}

static int fault_open(struct io **out, struct list *done)
{
    must(prepared.inner);
    struct fault *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->inner = prepared.inner;
    f->plan = prepared.plan;
    f->done = done;
    list_init(&f->held);
    random_seed(&f->random, f->plan.seed + atomic_fetch_add(&prepared.opened, 1));
    int error = f->inner->open(&f->io, done);
    if (error) {
        free(f);
        return error;
    }
    f->opened = f->inner->now(f->io);
    *out = (struct io *)(void *)f;
    return 0;
}

const struct io_backend io_fault = {
    .name = "fault",
    .open = fault_open,
    .close = fault_close,
    .submit = fault_submit,
    .cancel = fault_cancel,
    .wait = fault_wait,
    .wake = fault_wake,
    .now = fault_now,
};

/* ---- Beneath --------------------------------------------------------------------------------- */

static struct fault_calls beneath;
static atomic_uint_fast64_t beneath_asked, beneath_met;

static bool is_transfer(const struct op *op)
{
    return op->kind == OP_RECV || op->kind == OP_SEND;
}

/* A length of one is told apart from the length asked, hence not for a single byte. */
static bool trickles(const struct op *op)
{
    return is_transfer(op) && op->recv.len > 1 && !(op->recv.flags & MSG_OOB) && is_stream(op->fd);
}

/* Each call draws from a generator of its own, seeded by its number: threads share no state. */
static int32_t meet(struct op *op)
{
    struct random random;
    bool waits = op->kind == OP_ACCEPT || is_transfer(op) || op->kind == OP_RECVMSG ||
                 op->kind == OP_SENDMSG;
    random_seed(&random, beneath.seed + atomic_fetch_add(&beneath_asked, 1));
    if (random_chance(&random, beneath.interrupt))
        return -EINTR;
    if (op->kind == OP_ACCEPT && random_chance(&random, beneath.abort))
        return -ECONNABORTED;
    if (waits && random_chance(&random, beneath.retract) && socket_type(op->fd) >= 0)
        return -EAGAIN;
    if (trickles(op) && random_chance(&random, beneath.trickle))
        op->recv.len = 1;
    return 0;
}

static int32_t meet_and_count(struct op *op)
{
    size_t len = op->recv.len;
    int32_t instead = meet(op);
    if (instead || op->recv.len != len)
        atomic_fetch_add(&beneath_met, 1);
    return instead;
}

void fault_beneath(const struct fault_calls *calls)
{
    op_interpose = NULL;
    if (calls) {
        beneath = *calls;
        op_interpose = meet_and_count;
    }
}

uint64_t fault_beneath_count(void)
{
    return atomic_load(&beneath_met);
}
