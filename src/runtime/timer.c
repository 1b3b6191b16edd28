/* timer.c -- a heap of timers for one worker.
 *
 * A 4-ary heap whose entries hold the time beside the pointer, so that sifting reads one cache
 * line per level and never the timers.  Deadlines are mostly set in rising order and cancelled
 * before they fire, which costs an append and a removal near the end; millions are fine.       */
#include "runtime.h"

enum { ARITY = 4 };

static void place(struct timers *t, uint32_t at, struct timer_entry entry)
{
    t->heap[at] = entry;
    entry.timer->slot = at + 1;
}

static void sift_up(struct timers *t, uint32_t at, struct timer_entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / ARITY;
        if (t->heap[parent].at <= entry.at)
            break;
        place(t, at, t->heap[parent]);
        at = parent;
    }
    place(t, at, entry);
}

static uint32_t earliest_child(const struct timers *t, uint32_t first)
{
    uint32_t last = first + ARITY < t->count ? first + ARITY : t->count, best = first;
    for (uint32_t at = first + 1; at < last; at++)
        if (t->heap[at].at < t->heap[best].at)
            best = at;
    return best;
}

static void sift_down(struct timers *t, uint32_t at, struct timer_entry entry)
{
    for (;;) {
        uint32_t first = at * ARITY + 1;
        if (first >= t->count)
            break;
        uint32_t child = earliest_child(t, first);
        if (t->heap[child].at >= entry.at)
            break;
        place(t, at, t->heap[child]);
        at = child;
    }
    place(t, at, entry);
}

int timers_reserve(struct timers *t, uint32_t count)
{
    if (count <= t->size)
        return 0;
    uint32_t size = t->size ? t->size : 64;
    while (size < count)
        size *= 2;
    struct timer_entry *heap = realloc(t->heap, size * sizeof *heap);
    if (!heap)
        return -ENOMEM;
    t->heap = heap;
    t->size = size;
    return 0;
}

void timer_arm(struct timers *t, struct timer *timer, weir_time at)
{
    must(timer->slot == 0 && t->count < t->size);
    timer->at = at;
    timer->fired = false;
    sift_up(t, t->count++, (struct timer_entry){ at, timer });
}

void timer_disarm(struct timers *t, struct timer *timer)
{
    if (timer->slot == 0)
        return;
    uint32_t at = timer->slot - 1;
    timer->slot = 0;
    struct timer_entry last = t->heap[--t->count];
    if (at == t->count)
        return;
    if (at > 0 && t->heap[(at - 1) / ARITY].at > last.at)
        sift_up(t, at, last);
    else
        sift_down(t, at, last);
}

weir_time timers_next(const struct timers *t)
{
    return t->count ? t->heap[0].at : TIME_NEVER;
}

struct timer *timers_pop(struct timers *t, weir_time now)
{
    if (!t->count || t->heap[0].at > now)
        return NULL;
    struct timer *timer = t->heap[0].timer;
    timer_disarm(t, timer);
    timer->fired = true;
    return timer;
}
