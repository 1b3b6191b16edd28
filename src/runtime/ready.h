/* ready.h -- the tasks of a worker that can go on, and going from one to the next.
 *
 * All inline: a fiber that waits does so in the frame of whoever let it wait, because each frame
 * more is a line of the stack more, which thousands of others will have pushed out of the cache
 * when the fiber goes on.                                                                     */
#ifndef WEIR_READY_H
#define WEIR_READY_H

#include "runtime.h"

enum { WARM_LINES = 7 }; /* of a waiting fiber's stack: what its innermost calls touch */

void worker_bury(struct worker *w); /* worker.c: what is left of the fiber that ended last */

static inline struct task *ready_pop(struct worker *w)
{
    struct task *t = w->ready_head;
    if (likely(t)) {
        w->ready_head = t->next_ready;
        t->queued = false;
    }
    return t;
}

static inline void ready_push(struct worker *w, struct task *t)
{
    t->next_ready = NULL;
    if (w->ready_head)
        w->ready_last->next_ready = t;
    else
        w->ready_head = t;
    w->ready_last = t;
    t->queued = true;
}

static inline void ready(struct worker *w, struct task *t)
{
    if (t->queued)
        return;
    if (likely(t->is_fiber))
        ready_push(w, t);
    else
        t->queued = true;
}

/* The same for one that the kernel has been asked about: a while ago, then. */
static inline void task_heard(struct worker *w, struct task *t)
{
    t->is_cold = true;
    ready(w, t);
}

static inline void arrive(struct worker *w)
{
    if (unlikely(w->dead))
        worker_bury(w);
}

/* With many connections a fiber that goes on finds nothing of its own in the cache. While one
 * runs, the lines that the next will touch first are fetched, and the task of the one after it. */
static inline void fetch_ahead(const struct task *next)
{
    struct task *after = next->next_ready;
    if (!after || !after->is_cold)
        return;
    after->is_cold = false;
    const char *sp = after->context.sp;
    for (int line = 0; line < WARM_LINES; line++)
        fetch(sp + line * CACHE_LINE);
    fetch(after->warm);
    fetch((const char *)after->warm + CACHE_LINE);
    fetch(after->warm_name);
    fetch(after->next_ready);
}

static inline struct fiber_context *leave_for_next(struct worker *w)
{
    struct task *next = likely(--w->budget > 0) ? ready_pop(w) : NULL;
    if (likely(next != NULL))
        fetch_ahead(next);
    w->current = next;
    w->streak = 0;
    return likely(next) ? &next->context : &w->loop;
}

/* errno is a thread's; each fiber keeps its own while others run. */
static inline void switch_to_next(struct worker *w, struct task *t)
{
    int saved_errno = *w->errno_at;
    struct fiber_context *next = leave_for_next(w);
    if (likely(next != &t->context))
        fiber_switch(&t->context, next);
    arrive(w);
    *w->errno_at = saved_errno;
}

#endif
