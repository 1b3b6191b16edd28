/* base.h -- the few macros and types every layer uses.
 *
 * Time is a signed 64-bit count of nanoseconds on CLOCK_MONOTONIC; sums saturate, so that
 * "for ever" plus anything stays "for ever".                                                 */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include <stdbool.h>
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef int64_t weir_time;
#define TIME_NEVER INT64_MAX
#define TIME_PAST INT64_MIN /* already over: try once, never wait */

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CACHE_LINE 64

/* Assertions stay on in release builds; they are for this library's own failures only.
 * The process stops at the guilty line, with a trap a debugger understands.                  */
#define must(claim) (likely(claim) ? (void)0 : __builtin_trap())

/* Fetches the line at `p`, to be written soon. The statement without instructions keeps gcc from
 * finding that a function which only does this has no effect, and leaving out its calls. */
static inline void fetch(const void *p)
{
    __builtin_prefetch(p, 1);
    __asm__ volatile("");
}

static inline weir_time time_add(weir_time t, int64_t ns)
{
    weir_time sum;
    if (__builtin_add_overflow(t, ns, &sum))
        return ns > 0 ? TIME_NEVER : TIME_PAST;
    return sum;
}

static inline weir_time time_min(weir_time a, weir_time b)
{
    return a < b ? a : b;
}

#endif
