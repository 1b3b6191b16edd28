/* uring.c -- the io_uring backend: descriptors watched by polls in the ring, one enter per turn.
 *
 * Operations wait here as on the other readiness backends; the ring replaces the system calls of
 * registering, and one io_uring_enter(2) submits a turn's polls and waits.  Reads and writes stay
 * calls of their own, made when they can succeed: docs/decisions/polls.md has the figures,
 * and what the ring's own RECV, SEND and ACCEPT would have cost.
 *
 * A poll holds its file open, so that close(2) elsewhere would not end the connection.  Hence
 * none outlives its purpose: it is one-shot, and armed anew by the next wait, until a descriptor
 * has proved busy.  Then it is multishot, but taken back when no operation waits at the end of
 * the next turn, or at once before the ring sleeps.  A CLOSE takes back what is armed, first.
 *
 * The events a poll reports are those of the wake that ended it, true or not (Linux looks at the
 * descriptor only after several), and say nothing certain of urgent data.                     */
#include <errno.h>

#include "readiness.h"
#include "ring.h"

enum {
    SQ_SIZE = 256,  /* more in one turn cost one more enter */
    CQ_SIZE = 4096, /* more at once wait in the kernel */
    BATCH = 64, /* completions taken per wait: what is fetched for them stays warm */
    CHECK_BATCH = 64,
    /* One-shot polls after which a descriptor counts as busy, and after it was wrongly taken for
     * busy once. */
    BUSY_AFTER = 2,
    BUSY_AGAIN_AFTER = 16,
    LET_GO_TRIES = 100,
    LET_GO_DELAY = 10000000,
};

/* One poll at a time per descriptor and direction: for slot->input, slot->output, slot->polls. */
enum direction { INPUT, OUTPUT, POLLS, DIRECTIONS };

/* In slot->armed: four bits for each direction, */
enum { ARMED = 1, MULTISHOT = 2, ENDING = 4, DIRECTION_BITS = 4 };
/* which lists the descriptor is on, whether it was taken for busy wrongly, and above, how many
 * one-shot polls for input there have been. */
enum { IS_IDLE = 1 << 12, IS_UNCHECKED = 1 << 13, WAS_IDLE = 1 << 14, COUNT_ONE = 1 << 15 };

/* In slot->watched: slot->armed and slot->place tell of this generation. */
enum { IS_ADOPTED = 0x8000 };

/* What user data says besides the generation and the descriptor: a direction, or one of these. */
enum { MARK_CANCEL = 4 /* + direction */, MARK_WAKE = 3, MARK_BITS = 3 };
#define FD_MAX ((1 << (32 - MARK_BITS)) - 1)

struct fds {
    int *at;
    size_t count, size;
};

struct uring_io {
    struct io io;
    struct ring ring;
    unsigned armed;       /* polls the kernel holds */
    struct fds idle, old; /* what nobody waited for when it was listed: this turn, and the last */
    struct fds unchecked; /* multishot, and waited for on the word of a short read */
};

static struct uring_io *uring_of(struct io *io)
{
    return container_of(io, struct uring_io, io);
}

/* ---- lists of descriptors, each on a list at most once ---- */

static bool fds_add(struct fds *fds, int fd)
{
    if (unlikely(fds->count == fds->size)) {
        size_t size = fds->size ? 2 * fds->size : 64;
        int *at = reallocarray(fds->at, size, sizeof *at);
        if (!at)
            return false;
        fds->at = at;
        fds->size = size;
    }
    fds->at[fds->count++] = fd;
    return true;
}

/* ---- one direction of a slot ---- */

static uint32_t state_of(const struct slot *slot, enum direction way)
{
    return slot->armed >> (DIRECTION_BITS * way) & (ARMED | MULTISHOT | ENDING);
}

static void state_set(struct slot *slot, enum direction way, uint32_t state)
{
    uint32_t shift = DIRECTION_BITS * way, all = ARMED | MULTISHOT | ENDING;
    slot->armed = (slot->armed & ~(all << shift)) | state << shift;
}

static bool is_armed(const struct slot *slot)
{
    uint32_t all = ARMED | ARMED << DIRECTION_BITS | ARMED << 2 * DIRECTION_BITS;
    return slot->armed & all;
}

static enum direction way_of(const struct op *op)
{
    if (op->kind == OP_POLL)
        return POLLS;
    return op_is_input(op) ? INPUT : OUTPUT;
}

static bool is_closing(const struct slot *slot)
{
    return slot->output && slot->output->kind == OP_CLOSE;
}

static bool is_waited_for(const struct slot *slot, enum direction way)
{
    if (way == POLLS)
        return slot->polls;
    const struct op *op = way == INPUT ? slot->input : slot->output;
    return op && !op_is_clocked(op) && op->kind != OP_CLOSE;
}

static uint32_t events_of(const struct slot *slot, enum direction way)
{
    if (way == POLLS)
        return slot_poll_events(slot);
    return op_events(way == INPUT ? slot->input : slot->output);
}

/* ---- asking the kernel ---- */

static uint64_t user_data(const struct slot *slot, int fd, unsigned mark)
{
    return (uint64_t)slot->place << 32 | (unsigned)fd << MARK_BITS | mark;
}

static void ask_poll(struct uring_io *u, int fd, uint32_t events, bool is_multishot, uint64_t data)
{
    struct io_uring_sqe *sqe = ring_sqe(&u->ring);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = fd;
    sqe->len = is_multishot ? IORING_POLL_ADD_MULTI : 0;
    sqe->poll32_events = events;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    sqe->poll32_events = events << 16 | events >> 16;
#endif
    sqe->user_data = data;
    u->armed++;
}

static void arm(struct uring_io *u, struct slot *slot, int fd, enum direction way,
                bool is_multishot)
{
    uint32_t events = events_of(slot, way);
    /* Linux passes over POLLPRI when it compares a wake with what is waited for
     * (IO_ASYNC_POLL_COMMON); POLLRDBAND comes with every wake that may mean it. */
    if (events & POLLPRI)
        events |= POLLRDBAND;
    ask_poll(u, fd, events, is_multishot, user_data(slot, fd, way));
    state_set(slot, way, is_multishot ? ARMED | MULTISHOT : ARMED);
}

/* Its end is the poll's own last completion. */
static void ask_cancel(struct uring_io *u, struct slot *slot, int fd, enum direction way)
{
    struct io_uring_sqe *sqe = ring_sqe(&u->ring);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = user_data(slot, fd, way);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = user_data(slot, fd, MARK_CANCEL + way);
}

static void disarm(struct uring_io *u, struct slot *slot, int fd, enum direction way)
{
    uint32_t state = state_of(slot, way);
    if (!(state & ARMED) || state & ENDING)
        return;
    ask_cancel(u, slot, fd, way);
    state_set(slot, way, state | ENDING);
}

/* The descriptor's number has a new owner since the slot was last armed, or never was.  What may
 * be armed is the former owner's.                                                             */
static void adopt(struct uring_io *u, struct slot *slot, const struct op *op)
{
    int fd = op->fd;
    for (unsigned way = 0; way < DIRECTIONS; way++)
        disarm(u, slot, fd, way);
    slot->armed &= IS_IDLE | IS_UNCHECKED;
    slot->place = slot->generation;
    slot->watched = IS_ADOPTED;
    /* POLLs are of the number, whoever owns it; if `op` is one, watch() arms all of them. */
    if (slot->polls && way_of(op) != POLLS)
        arm(u, slot, fd, POLLS, false);
}

/* Decides between one-shot and multishot.  Busy is who reads again and again. */
static bool is_busy(struct slot *slot, const struct op *op)
{
    if (op->kind != OP_RECV && op->kind != OP_RECVMSG)
        return false;
    uint32_t count = slot->armed / COUNT_ONE;
    if (count >= (slot->armed & WAS_IDLE ? BUSY_AGAIN_AFTER : BUSY_AFTER))
        return true;
    slot->armed += COUNT_ONE;
    return false;
}

/* A short read has told that the descriptor is empty, which is wrong if it ended at an urgent
 * mark; and a multishot poll does not report again what it has reported.                     */
static void check_later(struct uring_io *u, struct slot *slot, int fd)
{
    if (!(slot->armed & IS_UNCHECKED) && fds_add(&u->unchecked, fd))
        slot->armed |= IS_UNCHECKED;
}

static int watch(struct io *io, struct slot *slot, const struct op *op, uint32_t events)
{
    struct uring_io *u = uring_of(io);
    enum direction way = way_of(op);
    (void)events;
    if (op->fd > FD_MAX)
        return -EMFILE;
    if (unlikely(!(slot->watched & IS_ADOPTED)))
        adopt(u, slot, op);
    uint32_t state = state_of(slot, way);
    if (!(state & ARMED))
        arm(u, slot, op->fd, way, is_busy(slot, op));
    else if (way == POLLS || op->flags & OP_FAKED)
        disarm(u, slot, op->fd, way); /* and arm anew: report() */
    else if (op->flags & OP_STREAM && state == (ARMED | MULTISHOT))
        check_later(u, slot, op->fd);
    return 0;
}

static void leave(struct io *io, struct slot *slot, const struct op *op)
{
    struct uring_io *u = uring_of(io);
    enum direction way = way_of(op);
    if (!(state_of(slot, way) & ARMED) || slot->armed & IS_IDLE)
        return;
    if (fds_add(&u->idle, op->fd))
        slot->armed |= IS_IDLE;
    else
        disarm(u, slot, op->fd, way);
}

/* ---- completions ---- */

static void finish_close(struct io *io, struct slot *slot)
{
    struct op *op = slot->output;
    slot_remove(slot, op, OP_CLOSE);
    readiness_close_fd(op);
    list_push(io->done, &op->link);
}

/* An operation that was called ready and is not waits for edges from here on: a level may hold
 * for ever without being of use to it (POLLRDHUP, which is always reported, to one that sends;
 * a queued error to one that receives).                                                      */
static void report(struct uring_io *u, int fd, enum direction way, const struct io_uring_cqe *cqe)
{
    struct slot *slot = &u->io.slots[fd];
    if (!(cqe->flags & IORING_CQE_F_MORE))
        state_set(slot, way, 0);
    if (is_closing(slot)) {
        if (!is_armed(slot))
            finish_close(&u->io, slot);
        return;
    }
    /* Any other error is the descriptor's, and for the operations to find. */
    uint32_t events = cqe->res < 0 ? POLLERR : (uint32_t)cqe->res & ~(uint32_t)POLLPRI;
    if (cqe->res != -ECANCELED)
        readiness_report(&u->io, fd, events);
    /* EINVAL: what cannot be waited for, a file, never changes; poll(2) has said it all. */
    if (is_waited_for(slot, way) && !(state_of(slot, way) & ARMED) && cqe->res != -EINVAL)
        arm(u, slot, fd, way, cqe->res >= 0);
}

static void completion(struct uring_io *u, const struct io_uring_cqe *cqe)
{
    unsigned mark = cqe->user_data & ((1 << MARK_BITS) - 1);
    int fd = (int)((uint32_t)cqe->user_data >> MARK_BITS);
    if (mark < MARK_CANCEL && !(cqe->flags & IORING_CQE_F_MORE))
        u->armed--;
    if (mark == MARK_WAKE) {
        if (!(cqe->flags & IORING_CQE_F_MORE))
            ask_poll(u, u->io.wake.fd, POLLIN, true, MARK_WAKE);
        return;
    }
    struct slot *slot = &u->io.slots[fd];
    enum direction way = mark & (MARK_CANCEL - 1);
    if (slot->place != cqe->user_data >> 32 || !(state_of(slot, way) & ARMED))
        return;
    if (mark < MARK_CANCEL)
        report(u, fd, way, cqe);
    else if (state_of(slot, way) & ENDING)
        ask_cancel(u, slot, fd, way); /* has missed a poll that is between two states */
}

/* ---- before a wait ---- */

static void take_back(struct uring_io *u, struct fds *fds)
{
    for (size_t i = 0; i < fds->count; i++) {
        struct slot *slot = &u->io.slots[fds->at[i]];
        slot->armed &= ~(uint32_t)IS_IDLE;
        for (unsigned way = 0; way < DIRECTIONS; way++) {
            if (is_waited_for(slot, way) || !(state_of(slot, way) & ARMED))
                continue;
            disarm(u, slot, fds->at[i], way);
            slot->armed = (slot->armed & (COUNT_ONE - 1)) | WAS_IDLE;
        }
    }
    fds->count = 0;
}

/* What went idle in this turn is given the next one to be waited for again, but not a sleep. */
static void take_back_idle(struct uring_io *u, bool sleeps)
{
    take_back(u, &u->old);
    if (sleeps) {
        take_back(u, &u->idle);
        return;
    }
    struct fds idle = u->idle;
    u->idle = u->old;
    u->old = idle;
}

static void check_batch(struct uring_io *u, struct pollfd *batch, nfds_t count)
{
    int ready = count ? poll(batch, count, 0) : 0;
    for (nfds_t i = 0; ready > 0 && i < count; i++)
        if (batch[i].revents)
            readiness_report(&u->io, batch[i].fd, (uint16_t)batch[i].revents);
}

/* Nothing may sleep on the word of a short read: see check_later. */
static void check(struct uring_io *u)
{
    struct pollfd batch[CHECK_BATCH];
    nfds_t count = 0;
    while (u->unchecked.count) {
        int fd = u->unchecked.at[--u->unchecked.count];
        struct slot *slot = &u->io.slots[fd];
        slot->armed &= ~(uint32_t)IS_UNCHECKED;
        if (is_waited_for(slot, INPUT))
            batch[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        if (count < CHECK_BATCH)
            continue;
        check_batch(u, batch, count);
        count = 0;
    }
    check_batch(u, batch, count);
}

/* ---- the interface ---- */

/* What the completions are for lies on stacks nobody has used for a while. */
static void fetch_waiting(const struct uring_io *u)
{
    const struct io_uring_cqe *cqe;
    for (unsigned i = 0; i < BATCH && (cqe = ring_cqe_after(&u->ring, i)); i++)
        if ((cqe->user_data & ((1 << MARK_BITS) - 1)) != MARK_WAKE)
            slot_fetch(&u->io.slots[(uint32_t)cqe->user_data >> MARK_BITS]);
}

static void uring_wait(struct io *io, weir_time until)
{
    struct uring_io *u = uring_of(io);
    const struct io_uring_cqe *cqe;
    int64_t delay = readiness_sleeps(io, until);

    take_back_idle(u, delay > 0);
    if (delay > 0 && u->unchecked.count && !ring_has_work(&u->ring))
        check(u);
    must(!ring_enter(&u->ring, list_is_empty(io->done) ? delay : 0));
    fetch_waiting(u);
    for (int i = 0; i < BATCH && (cqe = ring_cqe(&u->ring)); i++) {
        completion(u, cqe);
        ring_cqe_seen(&u->ring);
    }
    readiness_rises(io);
}

static bool submit_close(struct uring_io *u, struct op *op)
{
    struct slot *slot = readiness_end(&u->io, op->fd);
    if (!slot || !is_armed(slot))
        return readiness_close_fd(op);
    for (unsigned way = 0; way < DIRECTIONS; way++)
        disarm(u, slot, op->fd, way);
    op->state = OP_PENDING;
    slot_add(slot, op, OP_CLOSE);
    return false;
}

static bool uring_submit(struct io *io, struct op *op)
{
    if (unlikely(op->kind == OP_CLOSE))
        return submit_close(uring_of(io), op);
    return readiness_submit(io, op);
}

static void uring_cancel(struct io *io, struct op *op)
{
    if (op->kind != OP_CLOSE)
        readiness_cancel(io, op);
}

/* ---- birth and death ---- */

/* A ring that is closed lets its polls go at some later time, and their files with them. */
static void let_go(struct uring_io *u)
{
    const struct io_uring_cqe *cqe;
    struct io_uring_sqe *sqe = ring_sqe(&u->ring);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    sqe->user_data = MARK_CANCEL;
    for (int tries = 0; u->armed && tries < LET_GO_TRIES; tries++) {
        if (ring_enter(&u->ring, LET_GO_DELAY))
            return;
        while ((cqe = ring_cqe(&u->ring))) {
            u->armed -= !(cqe->flags & IORING_CQE_F_MORE) && !(cqe->user_data & MARK_CANCEL);
            ring_cqe_seen(&u->ring);
        }
    }
}

static void uring_close(struct io *io)
{
    struct uring_io *u = uring_of(io);
    if (u->ring.enabled && u->armed)
        let_go(u);
    ring_close(&u->ring);
    readiness_close(io);
    free(u->idle.at);
    free(u->old.at);
    free(u->unchecked.at);
    free(u);
}

/* Rings that answer and do not work have been seen; once per process one is put to the test. */
static int probe_once(void)
{
    static atomic_bool has_passed;
    if (atomic_load(&has_passed))
        return 0;
    int error = ring_probe();
    if (!error)
        atomic_store(&has_passed, true);
    return error;
}

static int uring_open(struct io **out, struct list *done)
{
    int error = probe_once();
    if (error)
        return error;
    struct uring_io *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->io = (struct io){.watch = watch, .leave = leave, .is_edge = true};
    error = ring_open(&u->ring, SQ_SIZE, CQ_SIZE);
    if (!error)
        error = readiness_open(&u->io, done);
    if (error) {
        ring_close(&u->ring);
        free(u);
        return error;
    }
    ask_poll(u, u->io.wake.fd, POLLIN, true, MARK_WAKE);
    *out = &u->io;
    return 0;
}

const struct io_backend io_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .wait = uring_wait,
    .wake = readiness_wake,
    .now = readiness_now,
};
