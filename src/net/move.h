/* move.h -- one operation that moves bytes of a connection, laid out where it is called.
 *
 * For the calls that every request makes; the others use conn_await_in and conn_await_out.     */
#ifndef WEIR_MOVE_H
#define WEIR_MOVE_H

#include "conn.h"

static inline void side_moved(struct conn_count *counts, struct conn_times *times, weir_time now,
                              int32_t result)
{
    count_add(&counts->calls, 1);
    count_add(&counts->bytes, (uint64_t)result);
    atomic_store_explicit(&times->last, now, memory_order_relaxed);
}

ALWAYS_INLINE int32_t
conn_await(struct conn *c, struct conn_count *counts, struct conn_times *times, struct op *op,
           unsigned how, bool input)
{
    struct task *t = task_self();
    weir_time before = task_clock(t);
    int64_t stall = atomic_load_explicit(&times->stall, memory_order_relaxed);
    int32_t result = likely(!stall) ? await_inline(op, how) : conn_await_stall(op, how, stall);
    weir_time now = task_clock(t);
    if (now != before)
        count_add(&times->wait_ns, (uint64_t)(now - before));
    if (unlikely(result <= 0))
        return conn_ending(c, result, input && op->kind != OP_POLL);
    if (op->kind != OP_POLL)
        side_moved(counts, times, now, result);
    return result;
}

#endif
