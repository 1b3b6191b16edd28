/* timer_test.c -- the timers' promises: order, cancellation, saturation, never early. */
#include "../../src/base/random.h"
#include "../../src/runtime/runtime.h"
#include "../test.h"

enum { COUNT = 20000 };

static struct timer *some_timers(struct timers *heap, weir_time *latest)
{
    struct random random;
    random_seed(&random, 7);
    struct timer *timers = calloc(COUNT, sizeof *timers);
    CHECK(timers && timers_reserve(heap, COUNT) == 0);
    for (int i = 0; i < COUNT; i++) {
        weir_time at = (weir_time)(random_next(&random) % 1000000);
        timer_arm(heap, &timers[i], at);
        *latest = at > *latest ? at : *latest;
    }
    return timers;
}

TEST(timers_in_order, "20,000 timers fire in the order of their times, each once")
{
    struct timers heap = { 0 };
    weir_time latest = 0, last = 0;
    struct timer *timers = some_timers(&heap, &latest), *due;
    int fired = 0;
    for (; (due = timers_pop(&heap, latest)); fired++) {
        CHECK(due->at >= last && due->fired);
        last = due->at;
    }
    CHECK_EQ(fired, COUNT);
    CHECK(timers_next(&heap) == TIME_NEVER);
    free(timers);
    free(heap.heap);
}

TEST(timers_cancelled, "a cancelled timer never fires, and the others still do")
{
    struct timers heap = { 0 };
    weir_time latest = 0;
    struct timer *timers = some_timers(&heap, &latest), *due;
    int left = 0;
    for (int i = 0; i < COUNT; i++)
        if (i % 3) {
            timer_disarm(&heap, &timers[i]);
            timer_disarm(&heap, &timers[i]);
        } else {
            left++;
        }
    for (; (due = timers_pop(&heap, latest)); left--)
        CHECK_EQ((due - timers) % 3, 0);
    CHECK_EQ(left, 0);
    free(timers);
    free(heap.heap);
}

TEST(timers_never_early, "a timer does not fire before its time, not even by a nanosecond")
{
    struct timers heap = { 0 };
    struct timer timer = { 0 };
    CHECK_EQ(timers_reserve(&heap, 1), 0);
    timer_arm(&heap, &timer, 1000);
    CHECK(!timers_pop(&heap, 999));
    CHECK(timers_pop(&heap, 1000) == &timer);
    free(heap.heap);
}

TEST(time_saturates, "time arithmetic saturates at both ends instead of wrapping")
{
    CHECK(weir_after(INT64_MAX) == WEIR_NEVER);
    CHECK(time_add(TIME_NEVER, 1) == TIME_NEVER);
    CHECK(time_add(TIME_PAST, -1) == TIME_PAST);
    CHECK(weir_after(INT64_MIN) < weir_now());
}
