/* ring.c -- setting up an io_uring and entering the kernel with it.
 *
 * The kernel's own interface, without a library between (docs/decisions/ring.md).
 * Which set-up flags exist depends on the kernel and on what a distribution took back, so they
 * are asked for, best set first, and never concluded from a version number.                  */
#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    WANTED_ALWAYS = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
    /* Without these a wait cannot be bounded, completions may be dropped, memory of the call
     * must outlive it, or every cancel costs a completion.                                   */
    NEEDED_FEATURES = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                      IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP,
};

/* From the newest kernel's to the oldest's: 6.6, 6.1, 6.0, 5.19, 5.18. */
static const unsigned wanted[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL,
};

static int ring_register(const struct ring *ring, unsigned what, void *arg, unsigned count)
{
    int n = (int)syscall(__NR_io_uring_register, ring->fd, what, arg, count);
    return n < 0 ? -errno : n;
}

static int sys_setup(unsigned sq_size, struct io_uring_params *params)
{
    int fd = (int)syscall(__NR_io_uring_setup, sq_size, params);
    return fd < 0 ? -errno : fd;
}

unsigned ring_setup_denied;

/* The descriptor of a ring with the best set of flags this kernel takes.  The kernel makes it
 * close-on-exec.                                                                              */
static int setup_best(struct io_uring_params *params, unsigned sq_size, unsigned cq_size)
{
    int fd = -EINVAL;
    for (size_t i = 0; i < ARRAY_COUNT(wanted) && fd == -EINVAL; i++) {
        *params =
            (struct io_uring_params){.flags = WANTED_ALWAYS | wanted[i], .cq_entries = cq_size};
        if (!(params->flags & ring_setup_denied))
            fd = sys_setup(sq_size, params);
    }
    return fd;
}

static void *map(const struct ring *ring, size_t len, off_t offset)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, offset);
    return at == MAP_FAILED ? NULL : at;
}

static int map_queues(struct ring *ring, const struct io_uring_params *p)
{
    size_t sq_len = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t cq_len = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);

    if (ring->setup & IORING_SETUP_NO_SQARRAY)
        sq_len = 0;
    ring->queues_len = sq_len > cq_len ? sq_len : cq_len;
    ring->queues = map(ring, ring->queues_len, (off_t)IORING_OFF_SQ_RING);
    ring->sqes_len = p->sq_entries * sizeof(struct io_uring_sqe);
    ring->sqes = map(ring, ring->sqes_len, (off_t)IORING_OFF_SQES);
    return ring->queues && ring->sqes ? 0 : -errno;
}

static void find_queues(struct ring *ring, const struct io_uring_params *p)
{
    char *base = ring->queues;

    ring->shared_sq_head = (void *)(base + p->sq_off.head);
    ring->shared_sq_tail = (void *)(base + p->sq_off.tail);
    ring->shared_sq_flags = (void *)(base + p->sq_off.flags);
    ring->shared_cq_head = (void *)(base + p->cq_off.head);
    ring->shared_cq_tail = (void *)(base + p->cq_off.tail);
    ring->cqes = (void *)(base + p->cq_off.cqes);
    ring->sq_size = p->sq_entries;
    ring->sq_mask = p->sq_entries - 1;
    ring->cq_mask = p->cq_entries - 1;
    if (ring->setup & IORING_SETUP_NO_SQARRAY)
        return;
    /* Entries are always used in order: the array of indices is filled once. */
    unsigned *array = (void *)(base + p->sq_off.array);
    for (unsigned i = 0; i < p->sq_entries; i++)
        array[i] = i;
}

int ring_open(struct ring *ring, unsigned sq_size, unsigned cq_size)
{
    struct io_uring_params params;
    int error = setup_best(&params, sq_size, cq_size);

    if (error < 0)
        return error;
    ring->fd = ring->enter_fd = error;
    ring->setup = params.flags;
    ring->features = params.features;
    error = -EINVAL;
    if ((params.features & NEEDED_FEATURES) == NEEDED_FEATURES)
        error = map_queues(ring, &params);
    if (error) {
        ring_close(ring);
        return error;
    }
    find_queues(ring, &params);
    return 0;
}

void ring_close(struct ring *ring)
{
    if (ring->sqes)
        munmap(ring->sqes, ring->sqes_len);
    if (ring->queues)
        munmap(ring->queues, ring->queues_len);
    /* Registered rings are numbered per thread: in another the number is another ring's. */
    if (ring->enter & IORING_ENTER_REGISTERED_RING && ring->issuer == gettid()) {
        struct io_uring_rsrc_update index = {.offset = (unsigned)ring->enter_fd};
        (void)ring_register(ring, IORING_UNREGISTER_RING_FDS, &index, 1);
    }
    if (ring->features)
        close(ring->fd);
    *ring = (struct ring){0};
}

/* Makes the calling thread the issuer.  A thread's table of registered rings saves it the look-up
 * of the descriptor in each enter; a full table (16) or an old kernel costs no more than that. */
static int enable(struct ring *ring)
{
    struct io_uring_rsrc_update index = {.offset = UINT32_MAX, .data = (unsigned)ring->fd};
    int error = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (error)
        return error;
    ring->enabled = true;
    ring->issuer = gettid();
    if (ring_register(ring, IORING_REGISTER_RING_FDS, &index, 1) == 1) {
        ring->enter_fd = (int)index.offset;
        ring->enter = IORING_ENTER_REGISTERED_RING;
    }
    return 0;
}

static int sys_enter(struct ring *ring, unsigned submit, unsigned wait,
                     const struct __kernel_timespec *time)
{
    struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)time};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | ring->enter;
    long n = syscall(__NR_io_uring_enter, ring->enter_fd, submit, wait, flags, &arg, sizeof arg);
    return n < 0 ? -errno : 0;
}

/* What the kernel says only in an enter: completions it had no room for, or has not run yet. */
static bool has_more(const struct ring *ring)
{
    unsigned flags = IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN;
    return atomic_load_explicit(ring->shared_sq_flags, memory_order_acquire) & flags;
}

bool ring_has_work(const struct ring *ring)
{
    return ring_cqe(ring) || has_more(ring);
}

/* Shortages, of memory or of room until completions are taken, pass. */
static bool is_passing(int error)
{
    return error == -EINTR || error == -ETIME || error == -EAGAIN || error == -EBUSY ||
           error == -ENOMEM;
}

int ring_enter(struct ring *ring, int64_t delay)
{
    struct __kernel_timespec time, *bound = NULL;
    bool sleeps = delay > 0 && !ring_cqe(ring);
    int error = likely(ring->enabled) ? 0 : enable(ring);
    if (error)
        return error;
    if (sleeps && delay != TIME_NEVER) {
        time = (struct __kernel_timespec){delay / 1000000000, delay % 1000000000};
        bound = &time;
    }
    atomic_store_explicit(ring->shared_sq_tail, ring->sq_tail, memory_order_release);
    unsigned count = ring_unsubmitted(ring);
    if (!sleeps && !count && !has_more(ring))
        return 0;
    error = sys_enter(ring, count, sleeps, bound);
    return is_passing(error) ? 0 : error;
}

/* Out of memory, the kernel takes nothing for a moment, and there is nothing else to do. */
struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    while (unlikely(ring_unsubmitted(ring) == ring->sq_size))
        must(!ring_enter(ring, 0));
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_tail++ & ring->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}
