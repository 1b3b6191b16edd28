/* ring.h -- the two queues an io_uring shares with the kernel, and the system call between them.
 *
 * This is the kernel's interface and nothing else: no operation, no policy.  Submission entries
 * are written into shared memory and reach the kernel with the next ring_enter; completions are
 * read from shared memory in place.  One thread owns a ring.  It is born disabled and enabled by
 * its first ring_enter, because the thread that enables a ring is the one issuer the kernel then
 * accepts (IORING_SETUP_SINGLE_ISSUER, io_uring_setup(2)).                                    */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "../base/base.h"

/* Newer than the oldest kernel headers this builds with (6.1). */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16) /* 6.6 */
#endif

struct ring {
    int fd;
    unsigned setup;    /* the IORING_SETUP flags this kernel granted */
    unsigned features; /* IORING_FEAT flags */
    unsigned enter;    /* flags of every enter: IORING_ENTER_REGISTERED_RING or 0 */
    int enter_fd;      /* the descriptor, or its registered index */
    bool enabled;
    pid_t issuer; /* the thread that enabled it */

    unsigned sq_tail, sq_size, sq_mask; /* the tail as written by us, published by ring_enter */
    unsigned cq_head, cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    atomic_uint *shared_sq_head, *shared_sq_tail, *shared_sq_flags;
    atomic_uint *shared_cq_head, *shared_cq_tail;

    void *queues; /* the mappings */
    size_t queues_len, sqes_len;
};

/* 0, or what the kernel answers: -ENOSYS, -EPERM, -EINVAL, -ENOMEM...  `ring` is zero before,
 * and nothing is left behind on failure.                                                     */
int ring_open(struct ring *ring, unsigned sq_size, unsigned cq_size);

/* For tests: set-up flags to do without, as if the kernel did not know them. */
extern unsigned ring_setup_denied;

/* Accepts a zeroed or half-opened ring. */
void ring_close(struct ring *ring);

/* Gives everything written so far to the kernel, lets it post what is due, and waits until
 * there is a completion, at most `delay` nanoseconds (0: not at all, TIME_NEVER: for ever); it
 * may return early.  A kernel short of memory leaves entries for the next time.  0, or -errno:
 * not usable here, used by a second thread, or completions were lost.                        */
int ring_enter(struct ring *ring, int64_t delay);

/* Whether a wait would find completions at once. */
bool ring_has_work(const struct ring *ring);

/* A zeroed entry, with room made by an enter if the queue is full. */
struct io_uring_sqe *ring_sqe(struct ring *ring);

/* 0 when a ring on this kernel does what weir asks of it, by trying; else why not. */
int ring_probe(void);

/* The oldest completion, or NULL.  It is gone with ring_cqe_seen. */
static inline const struct io_uring_cqe *ring_cqe(const struct ring *ring)
{
    if (ring->cq_head == atomic_load_explicit(ring->shared_cq_tail, memory_order_acquire))
        return NULL;
    return &ring->cqes[ring->cq_head & ring->cq_mask];
}

/* The one that many completions later, or NULL. */
static inline const struct io_uring_cqe *ring_cqe_after(const struct ring *ring, unsigned count)
{
    unsigned tail = atomic_load_explicit(ring->shared_cq_tail, memory_order_acquire);
    unsigned at = ring->cq_head + count;
    return tail - ring->cq_head > count ? &ring->cqes[at & ring->cq_mask] : NULL;
}

static inline void ring_cqe_seen(struct ring *ring)
{
    atomic_store_explicit(ring->shared_cq_head, ++ring->cq_head, memory_order_release);
}

static inline unsigned ring_unsubmitted(const struct ring *ring)
{
    return ring->sq_tail - atomic_load_explicit(ring->shared_sq_head, memory_order_acquire);
}

#endif
