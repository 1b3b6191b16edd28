/* readiness.c -- the slots of descriptors, and completion made from readiness.
 *
 * Everything is written for one thread, the instance's owner.  The slots are one mapping, grown
 * by moving it, hence nothing but slots[fd] points into them for longer than a call.          */
#include <errno.h>
#include <sys/mman.h>

#include "readiness.h"

enum { SLOTS_FIRST = 1024 };

/* In op.scratch: how long the clock asks for an operation. */
enum { UNTIL_DONE, UNTIL_LATER };

/* ---- slots ---- */

static bool slots_grow(struct io *io, int fd)
{
    size_t count = io->slot_count;
    while (fd >= 0 && count <= (size_t)fd)
        count *= 2;
    void *slots = mremap(io->slots, io->slot_count * sizeof *io->slots, count * sizeof *io->slots,
                         MREMAP_MAYMOVE);
    if (slots == MAP_FAILED)
        return false;
    io->slots = slots;
    io->slot_count = count;
    return fd >= 0;
}

/* The slot of a descriptor, with nothing in it that was learnt of an earlier owner of the number;
 * NULL when there is no memory.  POLLs of foreign descriptors may pend across owners.        */
ALWAYS_INLINE struct slot *slot_of(struct io *io, int fd)
{
    struct slot *slot = &io->slots[fd];
    uint32_t generation = fd_generation(fd);
    if (unlikely(slot->generation != generation)) {
        slot->generation = generation;
        slot->watched = 0;
        slot->known = 0;
    }
    return likely(generation) ? slot : NULL;
}

/* Learns from the answer; see slot.h. */
ALWAYS_INLINE int32_t try(struct io *io, struct slot *slot, struct op *op, enum op_kind kind)
{
    bool is_lent = kind == OP_RECV && op->flags & OP_LEND;
    int32_t result = is_lent ? lender_recv(&io->lender, op) : op_try(op);
    slot_learn(slot, op, kind, result);
    return result;
}

/* ---- parking and completing ---- */

static bool answer(struct op *op, int32_t result)
{
    op->result = result;
    op->state = OP_DONE;
    return true;
}

ALWAYS_INLINE void unpark(struct io *io, struct slot *slot, struct op *op, enum op_kind kind)
{
    slot_remove(slot, op, kind);
    io->leave(io, slot, op);
}

static void complete(struct io *io, struct slot *slot, struct op *op, int32_t result)
{
    unpark(io, slot, op, (enum op_kind)op->kind);
    answer(op, result);
    fetch(op->waiter);
    list_push(io->done, &op->link);
}

/* A faked EAGAIN has hidden an edge, so the kernel is made to report anew what holds already. */
ALWAYS_INLINE int watch(struct io *io, struct slot *slot, struct op *op, enum op_kind kind)
{
    uint32_t events = op_events_as(op, kind);
    if (unlikely(op->flags & OP_FAKED))
        slot->watched &= (uint16_t)~events;
    return io->watch(io, slot, op, events);
}

/* The clock asks from now on, not events.  The delay is kept while others wait for the clock, or
 * every newcomer would hasten them all.                                                       */
static void clock_add(struct io *io, struct slot *slot, struct op *op, uint32_t how_long)
{
    if (list_is_empty(&io->clocked))
        backoff_start(&io->backoff);
    list_push(&io->clocked, &op->link);
    op->scratch = how_long;
    io->leave(io, slot, op);
}

ALWAYS_INLINE bool park(struct io *io, struct slot *slot, struct op *op, enum op_kind kind)
{
    op->state = OP_PENDING;
    slot_add(slot, op, kind);
    if (kind == OP_CONNECT && !(op->flags & OP_CONNECTING)) {
        clock_add(io, slot, op, UNTIL_DONE);
        return false;
    }
    int error = watch(io, slot, op, kind);
    if (likely(!error))
        return false;
    unpark(io, slot, op, kind);
    return answer(op, error);
}

/* ---- reports ---- */

static void try_again(struct io *io, struct slot *slot, struct op *op, uint32_t events)
{
    int32_t result = try(io, slot, op, (enum op_kind)op->kind);
    if (result != -EAGAIN)
        complete(io, slot, op, result);
    else if (unlikely(op->flags & OP_FAKED))
        (void)watch(io, slot, op, (enum op_kind)op->kind);
    else if (op_is_mute(op, events))
        clock_add(io, slot, op, UNTIL_DONE);
    else if (!io->is_edge && (!io->is_exact || op_is_noisy(op, events)))
        clock_add(io, slot, op, UNTIL_LATER);
}

static bool op_may_be_left(const struct op *op)
{
    unsigned kinds = 1u << OP_RECV | 1u << OP_SEND | 1u << OP_RECVMSG | 1u << OP_SENDMSG |
                     1u << OP_ACCEPT;
    return kinds >> op->kind & 1 && !(op->flags & OP_WAS_READY);
}

/* One that the clock asks for is left to it.  The first time, the system call is left to the
 * caller; if that was in vain, it is made here from then on, with an eye on false alarms. */
static void op_report(struct io *io, struct slot *slot, struct op *op, uint32_t events)
{
    if (!op || op_is_clocked(op))
        return;
    if (likely(op_may_be_left(op))) {
        unpark(io, slot, op, (enum op_kind)op->kind);
        op->flags |= OP_WAS_READY;
        op->state = OP_READY;
        fetch(op->waiter);
        fetch((const char *)op->waiter + CACHE_LINE);
        list_push(io->done, &op->link);
    } else {
        try_again(io, slot, op, events);
    }
}

static void poll_report(struct io *io, struct slot *slot, struct op *op, uint32_t events)
{
    int32_t result = (int32_t)(events & (op_events(op) | EVENTS_END));
    if (!io->is_exact || op->flags & OP_FOREIGN)
        result = op_try(op);
    if (result != 0 && result != -EAGAIN)
        complete(io, slot, op, result);
    else if (unlikely(op->flags & OP_FAKED))
        (void)watch(io, slot, op, (enum op_kind)op->kind);
}

static void polls_report(struct io *io, struct slot *slot, uint32_t events)
{
    struct op *op = slot->polls, *next = op;
    struct op *last = container_of(op->link.prev, struct op, link);
    do {
        op = next;
        next = container_of(op->link.next, struct op, link);
        poll_report(io, slot, op, events);
    } while (op != last);
}

void readiness_report(struct io *io, int fd, uint32_t events)
{
    struct slot *slot = &io->slots[fd];
    slot_note(slot, events);
    if (slot->polls)
        polls_report(io, slot, events);
    if (events & (EVENTS_IN | EVENTS_END))
        op_report(io, slot, slot->input, events);
    if (events & (EVENTS_OUT | EVENTS_END))
        op_report(io, slot, slot->output, events);
}

/* ---- the clock ---- */

/* True when the operation is complete.  A connect that has begun, and one that only was to be
 * kept from spinning, go back to events.                                                      */
static bool clock_ask(struct io *io, struct slot *slot, struct op *op)
{
    int32_t result = try(io, slot, op, (enum op_kind)op->kind);
    if (result == -EAGAIN && (op->scratch == UNTIL_LATER || op->flags & OP_CONNECTING)) {
        list_remove(&op->link);
        int error = watch(io, slot, op, (enum op_kind)op->kind);
        if (!error)
            return false;
        result = error;
    }
    if (result == -EAGAIN)
        return false;
    complete(io, slot, op, result);
    return true;
}

static void clock_tick(struct io *io)
{
    if (list_is_empty(&io->clocked) || clock_monotonic() < io->backoff.until)
        return;
    bool any = false;
    list_for_each(at, &io->clocked)
    {
        struct op *op = container_of(at, struct op, link);
        any |= clock_ask(io, &io->slots[op->fd], op);
    }
    backoff_next(&io->backoff, any);
}

/* ---- the interface ---- */

static bool submit_give(struct io *io, struct op *op)
{
    lender_give(&io->lender, op->give.buf);
    return answer(op, 0);
}

struct slot *readiness_end(struct io *io, int fd)
{
    if ((size_t)fd >= io->slot_count)
        return NULL;
    struct slot *slot = &io->slots[fd];
    if (slot->input)
        complete(io, slot, slot->input, -ECANCELED);
    if (slot->output)
        complete(io, slot, slot->output, -ECANCELED);
    while (slot->polls)
        complete(io, slot, slot->polls, -ECANCELED);
    return slot;
}

bool readiness_close_fd(struct op *op)
{
    /* First, because the number may be another thread's the moment it is closed. */
    fd_generation_bump(op->fd);
    return answer(op, op_try(op));
}

static bool submit_close(struct io *io, struct op *op)
{
    (void)readiness_end(io, op->fd);
    return readiness_close_fd(op);
}

/* Room for a slot is made once the kernel has vouched for the descriptor: numbers come from
 * users, too, and any would do to exhaust the memory.                                         */
static bool submit_beyond(struct io *io, struct op *op)
{
    int32_t result = op->flags & OP_LEND ? lender_recv(&io->lender, op) : op_try(op);
    if (result != -EAGAIN)
        return answer(op, result);
    if (!slots_grow(io, op->fd))
        return answer(op, -ENOMEM);
    return readiness_submit(io, op);
}

ALWAYS_INLINE bool submit(struct io *io, struct op *op, enum op_kind kind)
{
    if (unlikely((size_t)op->fd >= io->slot_count))
        return submit_beyond(io, op);
    struct slot *slot = slot_of(io, op->fd);
    if (unlikely(!slot))
        return answer(op, -ENOMEM);
    if (!slot_must_wait(slot, op, kind)) {
        int32_t result = try(io, slot, op, kind);
        if (likely(result != -EAGAIN))
            return answer(op, result);
    }
    return park(io, slot, op, kind);
}

bool readiness_submit(struct io *io, struct op *op)
{
    if (op->kind == OP_RECV)
        return submit(io, op, OP_RECV);
    if (op->kind == OP_SEND)
        return submit(io, op, OP_SEND);
    if (op->kind == OP_CLOSE)
        return submit_close(io, op);
    if (op->kind == OP_GIVE)
        return submit_give(io, op);
    if (op->kind < OP_ACCEPT)
        return answer(op, op_try(op));
    return submit(io, op, (enum op_kind)op->kind);
}

void readiness_cancel(struct io *io, struct op *op)
{
    if (op->state == OP_PENDING)
        complete(io, &io->slots[op->fd], op, -ECANCELED);
}

void readiness_wake(struct io *io)
{
    wake_up(&io->wake);
}

weir_time readiness_now(struct io *io)
{
    (void)io;
    return clock_monotonic();
}

int64_t readiness_sleeps(struct io *io, weir_time until)
{
    if (!list_is_empty(io->done))
        return 0;
    if (!list_is_empty(&io->clocked))
        until = time_min(until, io->backoff.until);
    int64_t delay = clock_left(until);
    return delay > 0 && wake_sleeps(&io->wake) ? delay : 0;
}

void readiness_rises(struct io *io)
{
    wake_rises(&io->wake);
    clock_tick(io);
}

int readiness_open(struct io *io, struct list *done)
{
    io->done = done;
    list_init(&io->clocked);
    io->wake = (struct wake)WAKE_INIT;
    int error = wake_open(&io->wake);
    if (error)
        return error;
    io->slots = mmap(NULL, SLOTS_FIRST * sizeof *io->slots, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (io->slots == MAP_FAILED) {
        wake_close(&io->wake);
        return -ENOMEM;
    }
    io->slot_count = SLOTS_FIRST;
    return 0;
}

void readiness_close(struct io *io)
{
    must(list_is_empty(&io->clocked));
    lender_close(&io->lender);
    munmap(io->slots, io->slot_count * sizeof *io->slots);
    wake_close(&io->wake);
}
