/* deadline.c -- time, scoped deadlines, and why a task must not wait.
 *
 * The ambient deadline and the cancel state belong to the task; every wait reads them here.
 * A deadline of TIME_PAST is WEIR_TRY: whatever would wait answers EAGAIN.                    */
#include <time.h>

#include "runtime.h"

enum { GUARD_DEADLINE = 1, GUARD_TRY = 2, GUARD_SHIELD = 3 };

weir_time weir_now(void)
{
    struct worker *w = worker_self();
    if (likely(w))
        return w->backend->now(w->io);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * WEIR_SEC + t.tv_nsec;
}

weir_time weir_after(int64_t ns)
{
    return time_add(weir_now(), ns);
}

weir_time weir_deadline(void)
{
    struct task *t = task_self();
    return t ? t->deadline : TIME_NEVER;
}

weir_time weir_deadline_set(weir_time deadline)
{
    struct task *t = task_self();
    if (!t)
        return TIME_NEVER;
    weir_time previous = t->deadline;
    t->deadline = time_min(previous, deadline);
    return previous;
}

void weir_deadline_restore(weir_time previous)
{
    struct task *t = task_self();
    if (t)
        t->deadline = previous;
}

struct weir_guard_ weir_guard_push_(int kind, int64_t ns)
{
    struct task *t = task_self();
    if (!t)
        return (struct weir_guard_){ TIME_NEVER, 0 };
    struct weir_guard_ guard = { t->deadline, kind };
    if (kind == GUARD_TRY) {
        t->deadline = TIME_PAST;
    } else if (kind == GUARD_SHIELD) {
        t->shield++;
        t->deadline = weir_after(ns);
    } else {
        t->deadline = time_min(t->deadline, weir_after(ns));
    }
    return guard;
}

void weir_guard_pop_(struct weir_guard_ *guard)
{
    struct task *t = task_self();
    if (!t || !guard->kind)
        return;
    t->deadline = guard->prev;
    if (guard->kind == GUARD_SHIELD)
        t->shield--;
}

int task_stop_reason(struct task *t, bool drainable)
{
    if (t->interrupt)
        return -t->interrupt;
    unsigned stops = t->shield ? 0 : atomic_load_explicit(&t->stops, memory_order_relaxed);
    if (stops & STOP_CANCEL)
        return -ECANCELED;
    if (drainable && (stops & STOP_DRAIN))
        return -ESHUTDOWN;
    if (t->deadline == TIME_PAST)
        return -EAGAIN;
    if (t->deadline <= t->worker->now)
        return -ETIME;
    return 0;
}

int weir_cancelled(void)
{
    struct task *t = task_self();
    unsigned stops = t && !t->shield ? atomic_load_explicit(&t->stops, memory_order_relaxed) : 0;
    return stops & STOP_CANCEL ? ECANCELED : stops & STOP_DRAIN ? ESHUTDOWN : 0;
}

/* ---- stopping tasks ---- */

void task_interrupt(struct task *t, int error)
{
    t->interrupt = (uint8_t)error;
    task_ready(t);
}

static void stop_delivered(struct mail *m)
{
    struct task *t = container_of(m, struct task, stop_mail);
    atomic_store_explicit(&t->stop_mailed, false, memory_order_release); /* the mail is free */
    task_ready(t);
}

void task_stop(struct task *t, unsigned stops)
{
    atomic_fetch_or_explicit(&t->stops, stops, memory_order_relaxed);
    if (t->worker == worker_here) {
        task_ready(t);
    } else if (!atomic_exchange_explicit(&t->stop_mailed, true, memory_order_acquire)) {
        t->stop_mail.deliver = stop_delivered;
        worker_mail(t->worker, &t->stop_mail);
    }
}
