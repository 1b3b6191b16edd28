/* waiter.c -- waiting for another task, on any worker.
 *
 * Whoever takes a waiter off its list owes it one waiter_wake.  A task whose deadline passes
 * takes itself off; if somebody was faster, the wake is on its way and is waited for, so that
 * neither the result nor the mail's memory is lost.                                          */
#include "runtime.h"

static void wake_delivered(struct mail *m)
{
    struct waiter *w = container_of(m, struct waiter, mail);
    w->woken = true;
    task_ready(w->task);
}

void waiter_wake(struct waiter *w, int result)
{
    w->result = result;
    if (w->task->worker == worker_here) {
        w->woken = true;
        task_ready(w->task);
        return;
    }
    w->mail.deliver = wake_delivered;
    worker_mail(w->task->worker, &w->mail);
}

/* Off the list, unless a waker was faster. */
static bool give_up(struct waiter *w, struct spin *lock)
{
    spin_lock(lock);
    bool listed = !list_is_empty(&w->link);
    list_remove(&w->link);
    spin_unlock(lock);
    return listed;
}

int waiter_wait(struct waiter *w, struct spin *lock, unsigned how)
{
    spin_unlock(lock);
    return waiter_await(w, lock, how);
}

/* Waits with an eye on everything that may end the wait. */
static __attribute__((noinline)) int await_warily(struct waiter *w, struct spin *lock, unsigned how)
{
    struct task *t = w->task;
    struct worker *here = t->worker;
    int stop = 0;
    bool may_stop = !(how & AWAIT_ALWAYS);
    if (may_stop && !t->is_fiber && t->deadline != TIME_NEVER)
        here->now = here->backend->now(here->io);
    if (may_stop && t->deadline != TIME_NEVER && t->deadline > here->now)
        timer_arm(&here->timers, &t->timer, t->deadline);
    while (!w->woken) {
        if (may_stop)
            stop = here->native ? -EDEADLK : task_stop_reason(t, how & AWAIT_DRAINABLE);
        if (may_stop && stop) {
            if (give_up(w, lock))
                break;
            may_stop = false;
            continue;
        }
        task_park(t);
    }
    if (t->timer.slot)
        timer_disarm(&here->timers, &t->timer);
    t->waiting_for = NULL;
    return w->woken ? w->result : stop;
}

/* Most waits end with what they wait for: no deadline, nothing that stops the task. */
int waiter_await(struct waiter *w, struct spin *lock, unsigned how)
{
    struct task *t = w->task;
    if (likely(t->is_fiber && t->deadline == TIME_NEVER && !t->interrupt && !t->worker->native &&
               !atomic_load_explicit(&t->stops, memory_order_relaxed)))
        task_park(t);
    if (unlikely(!w->woken))
        return await_warily(w, lock, how);
    t->waiting_for = NULL;
    return w->result;
}
