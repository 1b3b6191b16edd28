/* budget.c -- the count of descriptors, and who waits for a free one.
 *
 * Accepting stops when the budget of weir_config is spent or the kernel has no descriptor left,
 * and goes on the moment one of ours is closed.  What others in the process close is not seen
 * here, hence every wait has an end of its own.                                               */
#include "budget.h"

static struct {
    atomic_uint taken, given; /* how often, ever: the difference is in use */
    atomic_int waiting;
    struct spin lock;
    struct list waiters;
} budget = { .waiters = LIST_INIT(budget.waiters) };

void budget_take(void)
{
    atomic_fetch_add_explicit(&budget.taken, 1, memory_order_relaxed);
}

void budget_give(void)
{
    atomic_fetch_add_explicit(&budget.given, 1, memory_order_seq_cst);
    if (likely(!atomic_load_explicit(&budget.waiting, memory_order_seq_cst)))
        return;
    spin_lock(&budget.lock);
    struct list *link = list_pop(&budget.waiters);
    if (link)
        waiter_wake(container_of(link, struct waiter, link), 0);
    spin_unlock(&budget.lock);
}

unsigned budget_given(void)
{
    return atomic_load_explicit(&budget.given, memory_order_seq_cst);
}

/* What is given back between the two looks makes it seem spent, and budget_wait sees that. */
bool budget_is_spent(void)
{
    const struct runtime *r = task_self()->worker->runtime;
    unsigned given = budget_given();
    unsigned used = atomic_load_explicit(&budget.taken, memory_order_relaxed) - given;
    return r && used >= (unsigned)r->config.max_fds;
}

/* Called with the lock, returns without.  Who gives one back counts it first and then looks for
 * who waits; here it is the other way round, so that one of both sees the other. */
static int line_up(unsigned given)
{
    struct waiter w;
    if (budget_given() != given) {
        spin_unlock(&budget.lock);
        return 0;
    }
    waiter_init(&w, "a free descriptor", NULL);
    list_push(&budget.waiters, &w.link);
    return waiter_wait(&w, &budget.lock, AWAIT_DRAINABLE);
}

int budget_wait(unsigned given, int64_t at_most)
{
    struct task *t = task_self();
    weir_time outer = t->deadline, until = weir_after(at_most);
    if (outer == TIME_PAST)
        return -EAGAIN;
    t->deadline = time_min(outer, until);
    atomic_fetch_add_explicit(&budget.waiting, 1, memory_order_seq_cst);
    spin_lock(&budget.lock);
    int error = line_up(given);
    atomic_fetch_sub_explicit(&budget.waiting, 1, memory_order_relaxed);
    t->deadline = outer;
    return error == -ETIME && until <= outer ? 0 : error;
}
