/* blocking.c -- the blocking backend: one thread, its operations, and ppoll(2).
 *
 * For plain threads, outside any worker.  Nothing is known of descriptors and nothing is kept
 * between waits: what could not be done at once is polled for and tried again.  Usually that is
 * one operation; the array grows for those who wait for thousands.  The eventfd that another
 * thread wakes this one by is made before the first sleep, and anew in a forked child.        */
#include <errno.h>
#include <unistd.h>

#include "backend.h"
#include "clock.h"
#include "lend.h"
#include "wake.h"

enum { ENTRIES_FIRST = 16 };

/* In op.scratch: who says when to try again.  With BY_PAUSE it is the clock, once. */
enum { BY_EVENT, BY_CLOCK, BY_PAUSE };

/* The longest sleep when there is no descriptor left to be woken by. */
static const int64_t DEAF_DELAY = 10 * 1000 * 1000;

struct io {
    struct list *done;
    struct list pending;
    size_t pending_count, clocked_count;
    struct pollfd *entries; /* the eventfd, then one for each pending operation, in order */
    size_t size;
    struct backoff backoff; /* of those that wait by the clock */
    struct lender lender;
    struct wake wake;
};

/* ---- parking and completing ---- */

static bool entries_grow(struct io *io, size_t count)
{
    size_t size = io->size ? io->size : ENTRIES_FIRST;
    while (size < count)
        size *= 2;
    struct pollfd *entries = reallocarray(io->entries, size, sizeof *entries);
    if (!entries)
        return false;
    io->entries = entries;
    io->size = size;
    return true;
}

static bool answer(struct op *op, int32_t result)
{
    op->result = result;
    op->state = OP_DONE;
    return true;
}

static void wait_by(struct io *io, struct op *op, uint32_t how)
{
    bool was_clocked = op->scratch != BY_EVENT;
    op->scratch = how;
    if (was_clocked)
        io->clocked_count--;
    if (how != BY_EVENT && io->clocked_count++ == 0)
        backoff_start(&io->backoff);
}

static void complete(struct io *io, struct op *op, int32_t result)
{
    wait_by(io, op, BY_EVENT);
    list_remove(&op->link);
    io->pending_count--;
    answer(op, result);
    list_push(io->done, &op->link);
}

static bool park(struct io *io, struct op *op)
{
    if (io->pending_count + 2 > io->size && !entries_grow(io, io->pending_count + 2))
        return answer(op, -ENOMEM);
    list_push(&io->pending, &op->link);
    io->pending_count++;
    op->state = OP_PENDING;
    op->scratch = BY_EVENT;
    if (op->kind == OP_CONNECT && !(op->flags & OP_CONNECTING))
        wait_by(io, op, BY_CLOCK);
    return false;
}

static void cancel(struct io *io, struct op *op)
{
    if (op->state == OP_PENDING)
        complete(io, op, -ECANCELED);
}

static bool submit_close(struct io *io, struct op *op)
{
    list_for_each(at, &io->pending)
    {
        struct op *other = container_of(at, struct op, link);
        if (other->fd == op->fd)
            complete(io, other, -ECANCELED);
    }
    /* First, because the number may be another thread's the moment it is closed. */
    fd_generation_bump(op->fd);
    return answer(op, op_try(op));
}

static int32_t try(struct io *io, struct op *op)
{
    return op->flags & OP_LEND ? lender_recv(&io->lender, op) : op_try(op);
}

static bool submit(struct io *io, struct op *op)
{
    if (op->kind == OP_CLOSE)
        return submit_close(io, op);
    if (op->kind == OP_GIVE) {
        lender_give(&io->lender, op->give.buf);
        return answer(op, 0);
    }
    int32_t result = try(io, op);
    return result == -EAGAIN && op->kind >= OP_ACCEPT ? park(io, op) : answer(op, result);
}

/* ---- waiting ---- */

static void try_again(struct io *io, struct op *op, uint32_t events)
{
    int32_t result = try(io, op);
    if (result != -EAGAIN)
        complete(io, op, result);
    else if (op->flags & OP_FAKED)
        return;
    else if (op_is_mute(op, events))
        wait_by(io, op, BY_CLOCK);
    else if (op_is_noisy(op, events))
        wait_by(io, op, BY_PAUSE);
}

static nfds_t entries_fill(struct io *io, bool sleeps)
{
    nfds_t count = 0;
    io->entries[count++] = (struct pollfd){.fd = sleeps ? io->wake.fd : -1, .events = POLLIN};
    list_for_each(at, &io->pending)
    {
        const struct op *op = container_of(at, struct op, link);
        io->entries[count++] = (struct pollfd){
            .fd = op->scratch == BY_EVENT ? op->fd : -1,
            .events = (short)op_events(op),
        };
    }
    return count;
}

static void entries_report(struct io *io)
{
    const struct pollfd *entry = io->entries;
    if (entry->revents)
        wake_drain(&io->wake);
    list_for_each(at, &io->pending)
    {
        struct op *op = container_of(at, struct op, link);
        entry++;
        if (entry->revents && op->kind == OP_POLL)
            complete(io, op, entry->revents);
        else if (entry->revents)
            try_again(io, op, (uint16_t)entry->revents);
    }
}

/* A connect that has begun, and what only was to be kept from spinning, go back to events. */
static void clock_ask(struct io *io, struct op *op)
{
    int32_t result = try(io, op);
    if (result != -EAGAIN)
        complete(io, op, result);
    else if (op->scratch == BY_PAUSE || op->flags & OP_CONNECTING)
        wait_by(io, op, BY_EVENT);
}

static void clock_tick(struct io *io)
{
    if (!io->clocked_count || clock_monotonic() < io->backoff.until)
        return;
    size_t count = io->pending_count;
    list_for_each(at, &io->pending)
    {
        struct op *op = container_of(at, struct op, link);
        if (op->scratch != BY_EVENT)
            clock_ask(io, op);
    }
    backoff_next(&io->backoff, io->pending_count < count);
}

/* Sleeps with its ears open, or, when no eventfd can be had, briefly. */
static int64_t sleeps(struct io *io, weir_time until)
{
    if (!list_is_empty(io->done))
        return 0;
    if (io->clocked_count)
        until = time_min(until, io->backoff.until);
    int64_t left = clock_left(until);
    if (left > 0 && wake_open(&io->wake))
        left = time_min(left, DEAF_DELAY);
    return left > 0 && wake_sleeps(&io->wake) ? left : 0;
}

static void blocking_wait(struct io *io, weir_time until)
{
    struct timespec span;
    int64_t left = sleeps(io, until);
    nfds_t count = entries_fill(io, left > 0);
    int ready = ppoll(io->entries, count, clock_span(&span, left), NULL);
    wake_rises(&io->wake);
    if (ready > 0)
        entries_report(io);
    clock_tick(io);
}

static void blocking_wake(struct io *io)
{
    wake_up(&io->wake);
}

static weir_time now(struct io *io)
{
    (void)io;
    return clock_monotonic();
}

/* ---- birth and death ---- */

static void blocking_close(struct io *io)
{
    must(list_is_empty(&io->pending));
    wake_close(&io->wake);
    lender_close(&io->lender);
    free(io->entries);
    free(io);
}

static int blocking_open(struct io **out, struct list *done)
{
    struct io *io = calloc(1, sizeof *io);
    if (!io || !entries_grow(io, ENTRIES_FIRST)) {
        free(io);
        return -ENOMEM;
    }
    io->done = done;
    list_init(&io->pending);
    io->wake = (struct wake)WAKE_INIT;
    *out = io;
    return 0;
}

const struct io_backend io_blocking = {
    .name = "blocking",
    .open = blocking_open,
    .close = blocking_close,
    .submit = submit,
    .cancel = cancel,
    .wait = blocking_wait,
    .wake = blocking_wake,
    .now = now,
};
