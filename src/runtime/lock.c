/* lock.c -- mutexes and conditions for fibers of any worker and plain threads alike.
 *
 * A mutex is a word, a spin lock and a queue.  The word says free, held, or held with waiters;
 * as long as nobody waits, locking and unlocking are one atomic instruction each.  Unlocking a
 * mutex with waiters hands it to the one that has waited longest: it never becomes free between
 * them, so it cannot be snatched away, and nobody starves.
 *
 * A condition is its queue and nothing else: sixteen bytes.  The spin lock that guards it is one
 * of a few that all conditions share by address.
 *
 * Locking looks at deadline and cancellation only when it would wait; a mutex that is free is
 * always had, so clean-up code of a cancelled fiber takes its locks as long as they are not
 * contended, and WEIR_SHIELD covers the rest.                                                */
#include "runtime.h"

enum { FREE, HELD, CONTENDED };

struct mutex {
    _Atomic uint32_t word;
    struct spin lock;
    struct list waiters; /* all zero until the first one */
};

struct cond {
    struct list waiters; /* all zero until the first one */
};

static_assert(sizeof(struct mutex) == sizeof(weir_mutex), "the public mutex has this size");
static_assert(sizeof(struct cond) == sizeof(weir_cond), "the public condition has this size");

static inline struct mutex *mutex_of(weir_mutex *m)
{
    return (struct mutex *)(void *)m;
}

static inline struct cond *cond_of(weir_cond *c)
{
    return (struct cond *)(void *)c;
}

/* Zero is a valid initial state for the user, but not for a list. */
static struct list *queue(struct list *waiters)
{
    if (unlikely(!waiters->next))
        list_init(waiters);
    return waiters;
}

static struct waiter *waiter_pop(struct list *waiters)
{
    struct list *link = list_pop(queue(waiters));
    return link ? container_of(link, struct waiter, link) : NULL;
}

/* ---- mutexes ---- */

static inline bool mutex_try(struct mutex *m)
{
    uint32_t word = FREE;
    return atomic_compare_exchange_strong_explicit(&m->word, &word, HELD, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* 0: the caller holds it, either because it was free after all or because it was handed over. */
static __attribute__((noinline)) int mutex_wait(struct mutex *m, unsigned how)
{
    spin_lock(&m->lock);
    if (atomic_exchange_explicit(&m->word, CONTENDED, memory_order_acquire) == FREE) {
        spin_unlock(&m->lock);
        return 0;
    }
    struct waiter w;
    waiter_init(&w, "a mutex", NULL);
    list_push(queue(&m->waiters), &w.link);
    return waiter_wait(&w, &m->lock, how);
}

/* The word says CONTENDED: hands the mutex to the first waiter.  False when there is none, because
 * all gave up: then the word says HELD again.  It is not freed here, for a mutex may vanish with
 * the object it guards as soon as it is free, and this still has the spin lock to release. */
static __attribute__((noinline)) bool mutex_pass(struct mutex *m)
{
    spin_lock(&m->lock);
    struct waiter *next = waiter_pop(&m->waiters);
    if (!next)
        atomic_store_explicit(&m->word, HELD, memory_order_relaxed);
    spin_unlock(&m->lock);
    if (next)
        waiter_wake(next, 0);
    return next;
}

static inline int mutex_lock(struct mutex *m, unsigned how)
{
    return likely(mutex_try(m)) ? 0 : mutex_wait(m, how);
}

static inline void mutex_unlock(struct mutex *m)
{
    uint32_t word = HELD;
    while (unlikely(!atomic_compare_exchange_strong_explicit(
        &m->word, &word, FREE, memory_order_release, memory_order_relaxed))) {
        must(word == CONTENDED);
        if (mutex_pass(m))
            return;
        word = HELD;
    }
}

int weir_lock(weir_mutex *m)
{
    if (likely(mutex_try(mutex_of(m))))
        return 0;
    struct worker *self = worker_self();
    if (!self)
        return fail(-ENOMEM, "lock", NULL, NULL, 0);
    weir_time since = self->now;
    int error = mutex_wait(mutex_of(m), 0);
    return error ? fail(error, "lock", NULL, NULL, since) : 0;
}

int weir_unlock(weir_mutex *m)
{
    mutex_unlock(mutex_of(m));
    return 0;
}

/* ---- conditions ---- */

static struct spin cond_locks[64];

static struct spin *cond_lock_of(const struct cond *c)
{
    uintptr_t at = (uintptr_t)c / sizeof *c;
    return &cond_locks[(at ^ at >> 6) % ARRAY_COUNT(cond_locks)];
}

/* The caller is on the queue before it lets go of the mutex, so a signal given with the mutex
 * held, or after it was, finds it. */
int weir_cond_wait(weir_cond *cond, weir_mutex *m)
{
    struct cond *c = cond_of(cond);
    struct spin *lock = cond_lock_of(c);
    struct worker *self = worker_self();
    if (!self || self->native)
        return fail(self ? -EDEADLK : -ENOMEM, "condition", "wait", NULL, 0);
    weir_time since = self->now;
    struct waiter w;
    waiter_init(&w, "a condition", NULL);
    spin_lock(lock);
    list_push(queue(&c->waiters), &w.link);
    spin_unlock(lock);
    mutex_unlock(mutex_of(m));
    int error = waiter_await(&w, lock, 0);
    mutex_lock(mutex_of(m), AWAIT_ALWAYS);
    return error ? fail(error, "condition", "wait", NULL, since) : 0;
}

static bool cond_wake_one(struct cond *c, struct spin *lock)
{
    spin_lock(lock);
    struct waiter *first = waiter_pop(&c->waiters);
    spin_unlock(lock);
    if (first)
        waiter_wake(first, 0);
    return first;
}

int weir_cond_signal(weir_cond *cond)
{
    struct cond *c = cond_of(cond);
    cond_wake_one(c, cond_lock_of(c));
    return 0;
}

/* Who begins to wait while this runs, joins another list. */
int weir_cond_broadcast(weir_cond *cond)
{
    struct cond *c = cond_of(cond);
    struct spin *lock = cond_lock_of(c);
    struct cond now = { .waiters = LIST_INIT(now.waiters) };
    spin_lock(lock);
    list_splice(&now.waiters, queue(&c->waiters));
    spin_unlock(lock);
    while (cond_wake_one(&now, lock)) {
    }
    return 0;
}
