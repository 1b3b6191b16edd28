/* select.c -- the select backend: three sets of descriptors, all below FD_SETSIZE.
 *
 * An operation that may wait on a higher descriptor fails with -ERANGE at once, before it is
 * tried, so that it never works by luck.  The sets say less than poll(2): which POLLs have come
 * true is asked of that call, and those that ask for what no set tells (a hang-up, while unread
 * input keeps the descriptor readable) are asked every BLIND_DELAY.                          */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include "readiness.h"

enum { READ, WRITE, EXCEPT, SETS };
enum { WORDS = FD_SETSIZE / 64 };

static const int64_t BLIND_DELAY = 10 * 1000 * 1000;
static const uint32_t set_events[SETS] = {
    [READ] = POLLIN | POLLRDNORM | POLLRDBAND | POLLERR,
    [WRITE] = EVENTS_OUT,
    [EXCEPT] = POLLPRI,
};

union bits {
    fd_set set;
    unsigned long words[WORDS];
};

static_assert(sizeof(union bits) == sizeof(fd_set) && sizeof(long) == 8,
              "a set is an array of 64-bit words");

struct select_io {
    struct io io;
    union bits wanted[SETS];
    union bits blind; /* descriptors with POLLs no set can tell of */
    int blind_count;
    weir_time blind_at;
    int top; /* no descriptor in any set is above */
};

static struct select_io *select_of(struct io *io)
{
    return container_of(io, struct select_io, io);
}

static bool has(const union bits *bits, int fd)
{
    return bits->words[fd / 64] >> (fd % 64) & 1;
}

static void put(union bits *bits, int fd, bool is_in)
{
    unsigned long bit = 1UL << (fd % 64);
    if (is_in)
        bits->words[fd / 64] |= bit;
    else
        bits->words[fd / 64] &= ~bit;
}

/* ---- what is waited for ---- */

static bool is_blind(const struct op *op)
{
    uint32_t events = (uint16_t)op->poll.events;
    if (events & set_events[READ])
        return false;
    return events & POLLRDHUP || !(events & EVENTS_OUT);
}

static bool slot_is_blind(const struct slot *slot)
{
    const struct op *op = slot->polls;
    if (op)
        do {
            if (is_blind(op))
                return true;
            op = container_of(op->link.next, struct op, link);
        } while (op != slot->polls);
    return false;
}

static void update(struct io *io, const struct slot *slot, int fd)
{
    struct select_io *s = select_of(io);
    uint32_t events = slot_events(slot);
    for (int i = 0; i < SETS; i++)
        put(&s->wanted[i], fd, events & set_events[i]);
    bool was_blind = has(&s->blind, fd), blind = slot_is_blind(slot);
    put(&s->blind, fd, blind);
    if (!s->blind_count && blind)
        s->blind_at = time_add(clock_monotonic(), BLIND_DELAY);
    s->blind_count += blind - was_blind;
    if (fd > s->top)
        s->top = fd;
}

static int watch(struct io *io, struct slot *slot, const struct op *op, uint32_t events)
{
    (void)events;
    update(io, slot, op->fd);
    return 0;
}

static void leave(struct io *io, struct slot *slot, const struct op *op)
{
    update(io, slot, op->fd);
}

static bool select_backend_submit(struct io *io, struct op *op)
{
    if (unlikely(op->fd >= FD_SETSIZE && op->kind >= OP_ACCEPT && op->kind != OP_CLOSE)) {
        op->result = -ERANGE;
        op->state = OP_DONE;
        return true;
    }
    return readiness_submit(io, op);
}

/* ---- waiting ---- */

static void report(struct io *io, const union bits *ready, int fd)
{
    uint32_t events = (has(&ready[READ], fd) ? POLLIN : 0) |
                      (has(&ready[WRITE], fd) ? POLLOUT : 0) |
                      (has(&ready[EXCEPT], fd) ? POLLPRI : 0);
    if (fd == io->wake.fd)
        wake_drain(&io->wake);
    else
        readiness_report(io, fd, events);
}

static void report_all(struct select_io *s, const union bits *ready)
{
    for (int i = 0; i <= s->top / 64; i++) {
        unsigned long word = ready[READ].words[i] | ready[WRITE].words[i] | ready[EXCEPT].words[i];
        for (; word; word &= word - 1)
            report(&s->io, ready, 64 * i + __builtin_ctzl(word));
    }
}

/* select(2) refuses all the sets for one descriptor that was closed behind us. */
static void report_closed(struct select_io *s)
{
    for (int fd = 0; fd <= s->top; fd++)
        if (fd != s->io.wake.fd && fcntl(fd, F_GETFD) < 0 && slot_waits(&s->io.slots[fd]))
            readiness_report(&s->io, fd, POLLNVAL);
}

static void blind_tick(struct select_io *s)
{
    if (!s->blind_count || clock_monotonic() < s->blind_at)
        return;
    for (int fd = 0; fd <= s->top; fd++)
        if (has(&s->blind, fd))
            readiness_report(&s->io, fd, 0);
    s->blind_at = time_add(clock_monotonic(), BLIND_DELAY);
}

static void select_backend_wait(struct io *io, weir_time until)
{
    struct select_io *s = select_of(io);
    union bits ready[SETS];
    struct timespec span;
    if (s->blind_count)
        until = time_min(until, s->blind_at);
    int64_t delay = readiness_sleeps(io, until);
    memcpy(ready, s->wanted, sizeof ready);
    int count = pselect(s->top + 1, &ready[READ].set, &ready[WRITE].set, &ready[EXCEPT].set,
                        clock_span(&span, delay), NULL);
    if (count > 0)
        report_all(s, ready);
    else if (count < 0 && errno == EBADF)
        report_closed(s);
    blind_tick(s);
    readiness_rises(io);
}

/* ---- birth and death ---- */

static void select_backend_close(struct io *io)
{
    readiness_close(io);
    free(select_of(io));
}

static int select_backend_open(struct io **out, struct list *done)
{
    struct select_io *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->io = (struct io){.watch = watch, .leave = leave};
    int error = readiness_open(&s->io, done);
    if (error) {
        free(s);
        return error;
    }
    if (s->io.wake.fd >= FD_SETSIZE) {
        select_backend_close(&s->io);
        return -ERANGE;
    }
    put(&s->wanted[READ], s->io.wake.fd, true);
    s->top = s->io.wake.fd;
    *out = &s->io;
    return 0;
}

const struct io_backend io_select = {
    .name = "select",
    .open = select_backend_open,
    .close = select_backend_close,
    .submit = select_backend_submit,
    .cancel = readiness_cancel,
    .wait = select_backend_wait,
    .wake = readiness_wake,
    .now = readiness_now,
};
