/* clock.h -- the time as backends that wait in a system call need it.
 *
 * The clock itself, what is left of a wait and in which form such calls take it, and when to
 * ask again for what the kernel never announces.                                              */
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include <time.h>

#include "../base/base.h"

static inline weir_time clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (weir_time)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The nanoseconds until then: 0 when it has passed, TIME_NEVER when it never will. */
static inline int64_t clock_left(weir_time until)
{
    if (until == TIME_NEVER || until == TIME_PAST)
        return until == TIME_NEVER ? TIME_NEVER : 0;
    weir_time now = clock_monotonic();
    return until > now ? until - now : 0;
}

/* What ppoll(2) and its kin are told: NULL is for ever. */
static inline const struct timespec *clock_span(struct timespec *span, int64_t left)
{
    *span = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    return left == TIME_NEVER ? NULL : span;
}

/* A delay that doubles while asking is in vain, from 1 to 50 ms. */
struct backoff {
    weir_time until;
    int64_t delay;
};

static inline void backoff_next(struct backoff *b, bool had_success)
{
    b->delay = had_success ? 1000000 : time_min(2 * b->delay, 50000000);
    b->until = clock_monotonic() + b->delay;
}

static inline void backoff_start(struct backoff *b)
{
    backoff_next(b, true);
}

#endif
