/* bias.c -- how a spin lock gets an owner, and how it loses it. */
#include "bias.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_bool prepared;

static long barrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0);
}

/* ThreadSanitizer knows nothing of a barrier that others are made to pass, and would take every
 * ownership for a race; under it all locks are plain ones. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define UNDER_TSAN 0
#endif

void bias_prepare(void)
{
    if (UNDER_TSAN)
        return;
    if (!atomic_load_explicit(&prepared, memory_order_relaxed) &&
        barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
        barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        atomic_store_explicit(&prepared, true, memory_order_relaxed);
}

bool bias_is_prepared(void)
{
    return atomic_load_explicit(&prepared, memory_order_relaxed);
}

void bias_barrier(void)
{
    must(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
}

void bias_give(struct bias *b, const void *owner)
{
    const void *former = atomic_load_explicit(&b->owner, memory_order_relaxed);
    if (former && former != owner)
        bias_withdraw(b);
    if (bias_is_prepared())
        atomic_store_explicit(&b->owner, owner, memory_order_relaxed);
}

void bias_withdraw(struct bias *b)
{
    atomic_store_explicit(&b->owner, NULL, memory_order_relaxed);
    bias_barrier();
    for (unsigned tries = 1; atomic_load_explicit(&b->inside, memory_order_acquire); tries++) {
        if (tries % 64 == 0)
            sched_yield();
        spin_pause();
    }
}
