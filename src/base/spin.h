/* spin.h -- a lock for a handful of instructions.
 *
 * Holders never park, and nearly always hold it for tens of nanoseconds.  The exceptions are rare
 * or last no longer than a short system call: waking a worker that sleeps, by one write(2); the
 * start of a fiber under its group's lock, which may map a stack; more room in the table of
 * handles; the end of an ownership, by membarrier(2).  So a waiter spins, and when that takes
 * long, or the holder has been preempted (more threads than cores), it yields the processor
 * instead of burning the holder's time.                                                       */
#ifndef WEIR_SPIN_H
#define WEIR_SPIN_H

#include <sched.h>
#include <stdatomic.h>

struct spin {
    atomic_uint held;
};

static inline void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline void spin_lock(struct spin *s)
{
    for (unsigned tries = 1; atomic_exchange_explicit(&s->held, 1, memory_order_acquire); tries++)
        while (atomic_load_explicit(&s->held, memory_order_relaxed)) {
            if (tries++ % 64 == 0)
                sched_yield();
            spin_pause();
        }
}

static inline void spin_unlock(struct spin *s)
{
    atomic_store_explicit(&s->held, 0, memory_order_release);
}

#endif
