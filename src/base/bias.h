/* bias.h -- a spin lock that costs its usual user nothing.
 *
 * Nearly every lock of a channel, a group or a handle is only ever taken by the fibers of one
 * worker, and an atomic exchange is the dearest instruction of what they do with it.  So a lock
 * may belong to an owner: one thread, which enters with plain stores.  The first time anybody
 * else wants it, the ownership ends for good: the newcomer takes the spin lock beneath,
 * withdraws the owner's name, makes every running thread of the process pass a memory barrier
 * (membarrier(2)) and waits until the owner, which either saw the withdrawal or was inside
 * before it, has left.  From then on both take the spin lock.
 *
 *     owner                                   newcomer, holding `spin`
 *     inside = 1                              owner = none
 *     (compiler barrier)                      membarrier
 *     owner still me?  yes: enter; no: back   wait until inside == 0
 *
 * A waiter that gives up takes the spin lock alone, whoever owns: if that is its own thread,
 * nobody else is inside at that moment.  docs/decisions/ownership.md has the numbers.         */
#ifndef WEIR_BIAS_H
#define WEIR_BIAS_H

#include "base.h"
#include "spin.h"

struct bias {
    struct spin spin;
    atomic_uint inside;          /* the owner is in */
    _Atomic(const void *) owner; /* names a thread; NULL: nobody, all take the spin lock */
};

/* Before the process has many threads, when the kernel does this in microseconds: makes
 * ownership possible.  Without it bias_give does nothing. */
void bias_prepare(void);

/* Whether ownership is possible here, and what makes every running thread of the process pass a
 * memory barrier then: for objects that do the same with a state of their own. */
bool bias_is_prepared(void);
void bias_barrier(void);

/* Called with the spin lock held: makes `owner` the owner instead of whoever was. */
void bias_give(struct bias *b, const void *owner);

/* Called with the spin lock held: ends the ownership. */
void bias_withdraw(struct bias *b);

/* Locks; `self` names the calling thread and is not NULL.  True when it entered as the owner,
 * without the spin lock: bias_unlock wants to know. */
static inline bool bias_lock(struct bias *b, const void *self)
{
    if (likely(atomic_load_explicit(&b->owner, memory_order_relaxed) == self)) {
        atomic_store_explicit(&b->inside, 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        if (likely(atomic_load_explicit(&b->owner, memory_order_relaxed) == self))
            return true;
        atomic_store_explicit(&b->inside, 0, memory_order_release);
    }
    spin_lock(&b->spin);
    if (unlikely(atomic_load_explicit(&b->owner, memory_order_relaxed)))
        bias_withdraw(b);
    return false;
}

static inline void bias_unlock(struct bias *b, bool as_owner)
{
    if (likely(as_owner))
        atomic_store_explicit(&b->inside, 0, memory_order_release);
    else
        spin_unlock(&b->spin);
}

#endif
