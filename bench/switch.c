/* switch.c -- what fibers cost without any I/O: a switch, a new fiber, a stack.
 *
 * Each figure is the least of several rounds, in nanoseconds: other programs on the machine can
 * only add to it. The ring is what a worker does at best, every fiber going straight to the next;
 * its size shows when the tops of the stacks no longer fit the caches.
 */
#include <stdio.h>
#include <time.h>

#include "fiber/fiber.h"

enum { FIBERS = 10000, ROUNDS = 7 };

static struct fiber_context fibers[FIBERS];
static struct fiber_context loop;
static char *tops[FIBERS];
static struct stack_pool pool;
static long ring;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The least time of one of `count` things that run() does, over the rounds. */
static double least(void (*run)(long), long count)
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        run(count);
        double each = (now_ns() - start) / (double)count;
        best = each < best ? each : best;
    }
    return best;
}

static void station(void *arg)
{
    long i = (long)arg;
    for (;;)
        fiber_switch(&fibers[i], i + 1 < ring ? &fibers[i + 1] : &loop);
}

static void prepare_ring(long size)
{
    ring = size;
    for (long i = 0; i < size; i++)
        fiber_context_init(&fibers[i], stack_low(&pool, tops[i]), tops[i], station, (void *)i);
}

static void go_round(long switches)
{
    for (long i = 0; i < switches; i += ring + 1)
        fiber_switch(&loop, &fibers[0]);
}

static void end_at_once(void *arg)
{
    fiber_switch_last(arg, &loop);
}

static void spawn(long count)
{
    for (long i = 0; i < count; i++) {
        struct fiber_context context;
        void *top = stack_take(&pool);
        fiber_context_init(&context, stack_low(&pool, top), top, end_at_once, &context);
        fiber_switch(&loop, &context);
        fiber_context_destroy(&context);
        stack_give(&pool, top);
    }
}

static void take_and_give(long count)
{
    for (long i = 0; i < count; i++) {
        void *top = stack_take(&pool);
        __asm__ volatile("" : : "r"(top) : "memory");
        stack_give(&pool, top);
    }
}

static int nothing(void *arg)
{
    return arg != NULL;
}

static void call(long count)
{
    for (long i = 0; i < count; i++)
        fiber_call_on(&fibers[0], nothing, NULL);
}

int main(void)
{
    struct stack_arena *arena;
    if (stack_arena_new(&arena, 256 << 10, FIBERS + 1) != 0)
        return 1;
    stack_pool_init(&pool, arena);
    fiber_context_thread(&loop);

    double start = now_ns();
    for (int i = 0; i < FIBERS; i++)
        tops[i] = stack_take(&pool);
    printf("%-34s %8.1f ns\n", "a fresh stack, guarded", (now_ns() - start) / FIBERS);

    static const long sizes[] = {1, 16, 100, 1000, 10000};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        prepare_ring(sizes[i]);
        double each = least(go_round, 3000000);
        printf("a switch, %5ld fibers in a ring     %8.2f ns\n", sizes[i], each);
    }
    printf("%-34s %8.2f ns\n", "a call on another stack", least(call, 3000000));
    printf("%-34s %8.2f ns\n", "a stack taken and given", least(take_and_give, 3000000));
    printf("%-34s %8.2f ns\n", "a fiber begun and ended", least(spawn, 3000000));
    return 0;
}
