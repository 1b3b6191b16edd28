/* slot.h -- what a readiness backend holds for one descriptor: who waits, and what is known.
 *
 * What teaches nothing is as important as what does: see slot_learn.
 *
 * Knowledge saves the system call that must fail: after a short read of a stream the next one
 * need not be tried.  It is sound by one rule.  That a descriptor is empty, or full, ends to be
 * known with the next report; and a descriptor that nobody watches is watched by parking on it,
 * which reports what holds already.                                                           */
#ifndef WEIR_SLOT_H
#define WEIR_SLOT_H

#include <errno.h>

#include "op.h"

/* Events of poll(2); epoll's are the same bits. */
enum {
    EVENTS_IN = POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI | POLLRDHUP,
    EVENTS_OUT = POLLOUT | POLLWRNORM | POLLWRBAND,
    EVENTS_END = POLLERR | POLLHUP | POLLNVAL, /* reported unasked */
};

enum {
    KNOWN_EMPTY = 1,  /* a recv or accept would have to wait */
    KNOWN_FULL = 2,   /* a send would have to wait */
    KNOWN_ENDING = 4, /* end of file or an error was reported, maybe together with data */
    KNOWN_URGENT = 8, /* there is or was an urgent mark, where reads end short of the data */
};

struct slot {
    struct op *input, *output;
    struct op *polls;    /* any one of a ring of POLLs, through op.link */
    uint32_t generation; /* what fd_generation said when all of this was learnt */
    uint32_t place;      /* the watcher's own: where it keeps the descriptor */
    uint16_t watched;    /* the watcher's own: what it has asked the kernel for */
    uint16_t known;
    uint32_t armed;      /* the watcher's own: what the kernel has been asked and not answered */
};

static_assert(sizeof(struct slot) <= 64, "an idle connection costs less than a cache line here");

/* Whether the clock asks for a waiting operation, instead of events. */
static inline bool op_is_clocked(const struct op *op)
{
    return op->kind != OP_POLL && !list_is_empty(&op->link);
}

/* The events waited for, and whether any operation waits by events at all (it may wait for an
 * error only).                                                                                */
uint32_t slot_events(const struct slot *slot);
uint32_t slot_poll_events(const struct slot *slot); /* those of its POLLs alone */
bool slot_waits(const struct slot *slot);

/* Fetches what waits here and is to be reported to soon. */
static inline void slot_fetch(const struct slot *slot)
{
    fetch(slot->input ? slot->input : slot->output ? slot->output : slot->polls);
}

/* Learns from what the kernel reports. */
static inline void slot_note(struct slot *slot, uint32_t events)
{
    if (events & (EVENTS_IN | EVENTS_END))
        slot->known &= (uint16_t)~KNOWN_EMPTY;
    if (events & (EVENTS_OUT | EVENTS_END))
        slot->known &= (uint16_t)~KNOWN_FULL;
    if (events & (EVENTS_END | POLLRDHUP))
        slot->known |= KNOWN_ENDING;
    if (events & POLLPRI)
        slot->known |= KNOWN_URGENT;
}

/* ---- who waits; `kind` is op->kind, known to the compiler where that pays ---- */

void slot_polls_add(struct slot *slot, struct op *op);
void slot_polls_remove(struct slot *slot, struct op *op);

static inline struct op **slot_place(struct slot *slot, const struct op *op, enum op_kind kind)
{
    return op_is_input_as(op, kind) ? &slot->input : &slot->output;
}

/* An operation joins those that wait.  Its link is on no other list, then. */
ALWAYS_INLINE void slot_add(struct slot *slot, struct op *op, enum op_kind kind)
{
    list_init(&op->link);
    if (kind == OP_POLL) {
        slot_polls_add(slot, op);
        return;
    }
    struct op **place = slot_place(slot, op, kind);
    must(!*place);
    *place = op;
}

/* It leaves them; one that the clock asks for leaves the list of those as well. */
ALWAYS_INLINE void slot_remove(struct slot *slot, struct op *op, enum op_kind kind)
{
    if (kind == OP_POLL) {
        slot_polls_remove(slot, op);
        return;
    }
    *slot_place(slot, op, kind) = NULL;
    list_remove(&op->link);
}

/* ---- what is known ---- */

bool slot_poll_must_wait(const struct slot *slot, const struct op *op);

/* Whether an operation is known to have to wait, so that it need not be tried. */
ALWAYS_INLINE bool slot_must_wait(const struct slot *slot, const struct op *op, enum op_kind kind)
{
    if (!(slot->known & (KNOWN_EMPTY | KNOWN_FULL)) || kind == OP_CONNECT)
        return false;
    if (kind == OP_POLL)
        return slot_poll_must_wait(slot, op);
    if (!op_is_input_as(op, kind))
        return slot->known & KNOWN_FULL;
    /* Urgent data and queued errors are not kept where other data is. */
    return slot->known & KNOWN_EMPTY && !(op->flags & OP_EAGER) &&
           !(op_recv_flags_as(op, kind) & (MSG_OOB | MSG_ERRQUEUE));
}

static inline bool is_short(int32_t result, size_t len)
{
    return result > 0 && (size_t)result < len;
}

ALWAYS_INLINE void slot_know(struct slot *slot, uint16_t known, bool is_so)
{
    slot->known = (uint16_t)(is_so ? slot->known | known : slot->known & ~known);
}

/* A report of data may have carried the end or the urgent mark behind it, and is not repeated:
 * then a short read says nothing.                                                             */
ALWAYS_INLINE void slot_learn_input(struct slot *slot, const struct op *op, enum op_kind kind,
                                    int32_t result)
{
    int flags = op_recv_flags_as(op, kind);
    if (unlikely(flags & MSG_OOB))
        slot->known |= KNOWN_URGENT;
    /* SO_PEEK_OFF lets a peek wait in front of data. */
    if (unlikely(flags & (MSG_OOB | MSG_ERRQUEUE | MSG_PEEK)))
        return;
    bool is_emptied = kind == OP_RECV && op->flags & OP_STREAM && !flags &&
                      is_short(result, op->recv.len) &&
                      !(slot->known & (KNOWN_ENDING | KNOWN_URGENT));
    slot_know(slot, KNOWN_EMPTY, result == -EAGAIN || is_emptied);
}

/* Learns from the answer to a try.  Nothing from a connect, nor from a send that is not on TCP: a
 * datagram may find one destination full and the next one not.  A poll's answer will be reported as
 * well.  A write that an error cut short is no exception: that error is reported after it. */
ALWAYS_INLINE void slot_learn(struct slot *slot, const struct op *op, enum op_kind kind,
                              int32_t result)
{
    if (unlikely(op->flags & OP_FAKED) || kind == OP_POLL || kind == OP_CONNECT)
        return;
    if (op_is_input_as(op, kind))
        slot_learn_input(slot, op, kind, result);
    else if (op->flags & OP_STREAM)
        slot_know(slot, KNOWN_FULL,
                  result == -EAGAIN || (kind == OP_SEND && is_short(result, op->send.len)));
}

#endif
