/* trace_test.c -- what the trace hook promises. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "../../include/weir.h"
#include "../test.h"
#include "observe/trace.h"

struct seen {
    weir_trace_fn *fn;
    atomic_int count;
    _Atomic int64_t last;
};

static struct seen seen[2];

static void first_hook(const char *event, const void *h, int64_t v, void *arg)
{
    struct seen *s = arg;
    CHECK_STR(event, "test");
    CHECK_EQ(h, &seen);
    CHECK(s->fn == first_hook);
    atomic_fetch_add(&s->count, 1);
    atomic_store(&s->last, v);
}

static void second_hook(const char *event, const void *h, int64_t v, void *arg)
{
    struct seen *s = arg;
    CHECK(event != NULL && h != NULL && v >= 0);
    CHECK(s->fn == second_hook);
    atomic_fetch_add(&s->count, 1);
}

TEST(calls, "the trace function gets event, handle, value and its argument, until it is taken off")
{
    seen[0].fn = first_hook;
    trace("test", &seen, 1);
    weir_trace(first_hook, &seen[0]);
    trace("test", &seen, 42);
    CHECK_EQ(atomic_load(&seen[0].count), 1);
    CHECK_EQ(atomic_load(&seen[0].last), 42);
    weir_trace(NULL, NULL);
    trace("test", &seen, 2);
    CHECK_EQ(atomic_load(&seen[0].count), 1);
}

static atomic_bool over;

static void *emit(void *arg)
{
    while (!atomic_load(&over))
        trace("test", &seen, 0);
    return arg;
}

TEST(pairs, "a trace function never sees the argument of another")
{
    pthread_t threads[2];
    seen[0].fn = first_hook;
    seen[1].fn = second_hook;
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, emit, NULL), 0);
    while (atomic_load(&seen[0].count) < 20000 || atomic_load(&seen[1].count) < 20000) {
        weir_trace(first_hook, &seen[0]);
        weir_trace(second_hook, &seen[1]);
        weir_trace(NULL, NULL);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}
