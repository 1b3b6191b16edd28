/* slot.c -- the operations that wait on one descriptor: what slot.h leaves to a call. */
#include "slot.h"

/* ---- who waits ---- */

void slot_polls_add(struct slot *slot, struct op *op)
{
    if (slot->polls)
        list_insert_before(&slot->polls->link, &op->link);
    else
        slot->polls = op;
}

void slot_polls_remove(struct slot *slot, struct op *op)
{
    struct op *next = container_of(op->link.next, struct op, link);
    if (slot->polls == op)
        slot->polls = next == op ? NULL : next;
    list_remove(&op->link);
}

static bool by_events(const struct op *op)
{
    return op && !op_is_clocked(op);
}

bool slot_waits(const struct slot *slot)
{
    return slot->polls || by_events(slot->input) || by_events(slot->output);
}

uint32_t slot_poll_events(const struct slot *slot)
{
    uint32_t events = 0;
    const struct op *poll = slot->polls;
    if (poll)
        do {
            events |= op_events(poll);
            poll = container_of(poll->link.next, struct op, link);
        } while (poll != slot->polls);
    return events;
}

uint32_t slot_events(const struct slot *slot)
{
    uint32_t events = slot_poll_events(slot);
    events |= by_events(slot->input) ? op_events(slot->input) : 0;
    events |= by_events(slot->output) ? op_events(slot->output) : 0;
    return events;
}

/* ---- what is known ---- */

bool slot_poll_must_wait(const struct slot *slot, const struct op *op)
{
    uint32_t events = op_events(op);
    if (slot->known & (KNOWN_ENDING | KNOWN_URGENT))
        return false;
    if (events & EVENTS_OUT && !(slot->known & KNOWN_FULL))
        return false;
    return slot->known & KNOWN_EMPTY || !(events & EVENTS_IN);
}
