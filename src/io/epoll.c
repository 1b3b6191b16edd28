/* epoll.c -- the epoll backend: each descriptor registered once, edge-triggered.
 *
 * A descriptor is added when an operation first waits on it, for input, the peer's end and urgent
 * data; output is added by one change when an operation first waits for that (asked for from the
 * start, it would be reported at once, a wake for nothing per connection).  Closing takes the
 * registration away.  What a registration says carries the generation of its descriptor, so that
 * an event of an earlier owner of the number is known as such.                               */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "readiness.h"

enum {
    BATCH = 64,  /* events taken per wait: what is fetched for them is warm when they are served */
    WATCH_INPUT = EPOLLIN | EPOLLRDHUP | EPOLLPRI,
    WATCH_FOREIGN = 0x8000, /* in slot.watched: registered by POLLs of a foreign descriptor only */
};

static const uint64_t WAKE_MARK = UINT64_MAX;

static_assert(EPOLLIN == POLLIN && EPOLLPRI == POLLPRI && EPOLLOUT == POLLOUT &&
                  EPOLLRDHUP == POLLRDHUP && EPOLLERR == POLLERR && EPOLLHUP == POLLHUP,
              "the events of epoll are those of poll");

struct epoll_io {
    struct io io;
    int fd;
    bool is_coarse; /* no epoll_pwait2 (before Linux 5.11, or filtered): milliseconds */
    struct epoll_event events[BATCH];
};

static struct epoll_io *epoll_of(struct io *io)
{
    return container_of(io, struct epoll_io, io);
}

/* ---- registration ---- */

/* Adds, or changes what is there already: a registration of ours, or one that outlived the
 * descriptor's former role (it was given away and came back).                                */
static int enroll(struct io *io, struct slot *slot, int fd, uint32_t events)
{
    int epoll_fd = epoll_of(io)->fd;
    uint64_t data = (uint64_t)slot->generation << 32 | (uint32_t)fd;
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = data};
    bool is_known = slot->watched && !(slot->watched & WATCH_FOREIGN);
    if (!epoll_ctl(epoll_fd, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event))
        return 0;
    if (errno == (is_known ? ENOENT : EEXIST) &&
        !epoll_ctl(epoll_fd, is_known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event))
        return 0;
    return -errno;
}

static int watch(struct io *io, struct slot *slot, const struct op *op, uint32_t events)
{
    /* POLLs are of the number, whoever owned it when they began. */
    if (!slot->watched)
        events |= slot_poll_events(slot);
    uint32_t wanted = WATCH_INPUT | (events & EVENTS_OUT ? EPOLLOUT : 0);
    bool is_foreign = op->flags & OP_FOREIGN && (!slot->watched || slot->watched & WATCH_FOREIGN);
    /* A foreign number may have changed its file since it was registered, so it is always told. */
    bool is_trusted = !is_foreign && !(slot->watched & WATCH_FOREIGN);
    if (is_trusted && (slot->watched & wanted) == wanted)
        return 0;
    wanted |= slot->watched & EPOLLOUT;
    int error = enroll(io, slot, op->fd, wanted);
    /* What epoll does not take (a file, a directory) never changes: poll(2) has said it all. */
    if (error == -EPERM)
        return 0;
    if (!error)
        slot->watched = (uint16_t)(wanted | (is_foreign ? WATCH_FOREIGN : 0));
    return error;
}

/* Of a number that is not ours any more.  Whoever owns it may be closing it at this moment, which
 * is as good; ThreadSanitizer would call that a race, and does not look into syscall(2). */
static void unenroll(struct io *io, int fd)
{
    (void)syscall(SYS_epoll_ctl, epoll_of(io)->fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Only a foreign descriptor is let go; it may be closed already, which is as good. */
static void leave(struct io *io, struct slot *slot, const struct op *op)
{
    if (slot->watched & WATCH_FOREIGN && !slot->polls) {
        unenroll(io, op->fd);
        slot->watched = 0;
    }
}

/* Sockets other than TCP are called writable each time the peer reads.  Nobody waits for that. */
static void stop_output(struct io *io, struct slot *slot, int fd)
{
    if (slot->watched & WATCH_FOREIGN || slot_events(slot) & EVENTS_OUT)
        return;
    if (!enroll(io, slot, fd, WATCH_INPUT))
        slot->watched = WATCH_INPUT;
}

/* ---- waiting ---- */

static void report(struct io *io, const struct epoll_event *event)
{
    int fd = (int)(uint32_t)event->data.u64;
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);
    if (event->data.u64 == WAKE_MARK)
        return;
    struct slot *slot = &io->slots[fd];
    if (slot->generation != generation)
        return;
    /* Given away, and its new owner's business from now on.  A registration of the number's own
     * next life would have renewed the slot. */
    if (unlikely(generation != fd_generation(fd)) && !slot_waits(slot)) {
        unenroll(io, fd);
        return;
    }
    /* Only who waits keeps another thread from closing the descriptor meanwhile. */
    bool is_held = slot_waits(slot);
    readiness_report(io, fd, event->events);
    if (event->events == EPOLLOUT && is_held)
        stop_output(io, slot, fd);
}

/* Linux takes the delay in nanoseconds since 5.11; before, rounded up, a wait is not ended early
 * again and again just before its time.                                                      */
static int sleep_for(struct epoll_io *epoll, int64_t delay)
{
    struct timespec span;
    const struct timespec *timeout = clock_span(&span, delay);
    if (!epoll->is_coarse) {
        long count = syscall(SYS_epoll_pwait2, epoll->fd, epoll->events, BATCH, timeout, NULL, 0);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return (int)count;
        epoll->is_coarse = true;
    }
    int64_t ms = delay / 1000000 + (delay % 1000000 > 0);
    return epoll_wait(epoll->fd, epoll->events, BATCH, timeout ? (int)time_min(ms, INT32_MAX) : -1);
}

/* What waits for the events' descriptors lies on stacks nobody has used for a while. */
static void fetch_waiting(const struct io *io, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++)
        if (events[i].data.u64 != WAKE_MARK)
            slot_fetch(&io->slots[(int)(uint32_t)events[i].data.u64]);
}

static void epoll_backend_wait(struct io *io, weir_time until)
{
    struct epoll_io *epoll = epoll_of(io);
    int count = sleep_for(epoll, readiness_sleeps(io, until));
    fetch_waiting(io, epoll->events, count);
    for (int i = 0; i < count; i++)
        report(io, &epoll->events[i]);
    readiness_rises(io);
}

/* ---- birth and death ---- */

static void epoll_backend_close(struct io *io)
{
    struct epoll_io *epoll = epoll_of(io);
    readiness_close(io);
    close(epoll->fd);
    free(epoll);
}

/* The eventfd is an edge too, and so never needs to be read. */
static int open_epoll(struct epoll_io *epoll)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = WAKE_MARK};
    epoll->fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->fd < 0)
        return -errno;
    if (!epoll_ctl(epoll->fd, EPOLL_CTL_ADD, epoll->io.wake.fd, &event))
        return 0;
    int error = -errno;
    close(epoll->fd);
    return error;
}

static int epoll_backend_open(struct io **out, struct list *done)
{
    struct epoll_io *epoll = calloc(1, sizeof *epoll);
    if (!epoll)
        return -ENOMEM;
    epoll->io = (struct io){.watch = watch, .leave = leave, .is_edge = true, .is_exact = true};
    int error = readiness_open(&epoll->io, done);
    if (!error) {
        error = open_epoll(epoll);
        if (error)
            readiness_close(&epoll->io);
    }
    if (error) {
        free(epoll);
        return error;
    }
    *out = &epoll->io;
    return 0;
}

const struct io_backend io_epoll = {
    .name = "epoll",
    .open = epoll_backend_open,
    .close = epoll_backend_close,
    .submit = readiness_submit,
    .cancel = readiness_cancel,
    .wait = epoll_backend_wait,
    .wake = readiness_wake,
    .now = readiness_now,
};
