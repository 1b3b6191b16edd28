/* trace.c -- the hook through which a program watches the library at work.
 *
 * Function and argument are two words that belong together and may be replaced while any number
 * of threads read them.  A counter, odd while they change, tells a reader to look again, so
 * nobody sees the function of one hook with the argument of another.  A thread that read the old
 * pair just before it was replaced still calls it: an argument must stay valid for that long.  */
#include "trace.h"
#include "../base/spin.h"

_Atomic(weir_trace_fn *) trace_fn;

static struct {
    struct spin writers;
    atomic_uint changes;
    _Atomic(void *) arg;
} hook;

void trace_emit(const char *event, const void *h, int64_t v)
{
    weir_trace_fn *fn;
    void *arg;
    unsigned before;
    do {
        before = atomic_load_explicit(&hook.changes, memory_order_acquire);
        fn = atomic_load_explicit(&trace_fn, memory_order_acquire);
        arg = atomic_load_explicit(&hook.arg, memory_order_acquire);
    } while (before % 2 || atomic_load_explicit(&hook.changes, memory_order_relaxed) != before);
    if (fn)
        fn(event, h, v, arg);
}

void weir_trace(weir_trace_fn *fn, void *arg)
{
    spin_lock(&hook.writers);
    unsigned changes = atomic_load_explicit(&hook.changes, memory_order_relaxed);
    atomic_store_explicit(&hook.changes, changes + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&trace_fn, fn, memory_order_release);
    atomic_store_explicit(&hook.arg, arg, memory_order_release);
    atomic_store_explicit(&hook.changes, changes + 2, memory_order_release);
    spin_unlock(&hook.writers);
}
