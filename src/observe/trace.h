/* trace.h -- the hook through which a program watches the library at work.
 *
 * An event is a constant string: "accept", "dial", "close" and so on; weir.h lists them all.  While
 * nobody watches, an event costs one load and one branch that is never taken.                */
#ifndef WEIR_TRACE_H
#define WEIR_TRACE_H

#include <stdatomic.h>

#include "../../include/weir.h"
#include "../base/base.h"

extern _Atomic(weir_trace_fn *) trace_fn;

void trace_emit(const char *event, const void *h, int64_t v);

static inline bool trace_is_on(void)
{
    return atomic_load_explicit(&trace_fn, memory_order_relaxed) != NULL;
}

static inline void trace(const char *event, const void *h, int64_t v)
{
    if (unlikely(trace_is_on()))
        trace_emit(event, h, v);
}

#endif
