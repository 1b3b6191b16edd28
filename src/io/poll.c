/* poll.c -- the poll backend: one array of the descriptors that operations wait on.
 *
 * The array is kept as operations come and go, never rebuilt: a slot knows its entry, and the
 * last entry takes the place of one that leaves.  Entry 0 is the eventfd that wakes.          */
#include <errno.h>
#include <unistd.h>

#include "readiness.h"

enum { ENTRIES_FIRST = 64 };

struct poll_io {
    struct io io;
    struct pollfd *entries;
    uint32_t count, size;
};

static struct poll_io *poll_of(struct io *io)
{
    return container_of(io, struct poll_io, io);
}

static bool entries_grow(struct poll_io *p)
{
    uint32_t size = p->size ? 2 * p->size : ENTRIES_FIRST;
    struct pollfd *entries = reallocarray(p->entries, size, sizeof *entries);
    if (!entries)
        return false;
    p->entries = entries;
    p->size = size;
    return true;
}

/* A slot that is not in the array has place 0. */
static int watch(struct io *io, struct slot *slot, const struct op *op, uint32_t events)
{
    struct poll_io *p = poll_of(io);
    if (!slot->place) {
        if (p->count == p->size && !entries_grow(p))
            return -ENOMEM;
        slot->place = p->count++;
        p->entries[slot->place] = (struct pollfd){.fd = op->fd};
    }
    p->entries[slot->place].events |= (short)events;
    return 0;
}

static void leave(struct io *io, struct slot *slot, const struct op *op)
{
    struct poll_io *p = poll_of(io);
    (void)op;
    if (!slot->place)
        return;
    struct pollfd *entry = &p->entries[slot->place];
    entry->events = (short)slot_events(slot);
    if (slot_waits(slot))
        return;
    *entry = p->entries[--p->count];
    io->slots[entry->fd].place = slot->place;
    slot->place = 0;
}

/* From the last to the first, because an entry that leaves is replaced by the last, which has
 * been looked at by then.                                                                     */
static void report(struct poll_io *p, int ready)
{
    for (uint32_t i = p->count - 1; ready > 0 && i > 0; i--) {
        const struct pollfd *entry = &p->entries[i];
        if (!entry->revents)
            continue;
        ready--;
        readiness_report(&p->io, entry->fd, (uint16_t)entry->revents);
    }
    if (ready > 0 && p->entries[0].revents)
        wake_drain(&p->io.wake);
}

static void poll_backend_wait(struct io *io, weir_time until)
{
    struct poll_io *p = poll_of(io);
    struct timespec span;
    int64_t delay = readiness_sleeps(io, until);
    report(p, ppoll(p->entries, p->count, clock_span(&span, delay), NULL));
    readiness_rises(io);
}

static void poll_backend_close(struct io *io)
{
    struct poll_io *p = poll_of(io);
    readiness_close(io);
    free(p->entries);
    free(p);
}

static int poll_backend_open(struct io **out, struct list *done)
{
    struct poll_io *p = calloc(1, sizeof *p);
    if (!p || !entries_grow(p)) {
        free(p);
        return -ENOMEM;
    }
    p->io = (struct io){.watch = watch, .leave = leave, .is_exact = true};
    int error = readiness_open(&p->io, done);
    if (error) {
        free(p->entries);
        free(p);
        return error;
    }
    p->entries[p->count++] = (struct pollfd){.fd = p->io.wake.fd, .events = POLLIN};
    *out = &p->io;
    return 0;
}

const struct io_backend io_poll = {
    .name = "poll",
    .open = poll_backend_open,
    .close = poll_backend_close,
    .submit = readiness_submit,
    .cancel = readiness_cancel,
    .wait = poll_backend_wait,
    .wake = readiness_wake,
    .now = readiness_now,
};
