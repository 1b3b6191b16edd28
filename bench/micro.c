/* micro.c -- what the scheduler itself costs: a switch, a start, a message, a timer.
 *
 * One worker, no I/O.  Each figure is the median of nine runs of the process's CPU clock, so that
 * other work on the machine does not count, and the least of them beside it.                  */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/runtime.h"

enum { RUNS = 9, ROUNDS = 1000000, BATCH = 100 };

static double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int yields(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++)
        weir_yield();
    return 0;
}

static int sends(void *arg)
{
    for (long i = 0; i < ROUNDS; i++)
        weir_chan_send(arg, &i);
    return 0;
}

static int receives(void *arg)
{
    long got;
    for (long i = 0; i < ROUNDS; i++)
        if (weir_chan_recv(arg, &got) != 1 || got != i)
            abort();
    return 0;
}

/* ---- what is measured: each does its thing `ROUNDS` times ---- */

static void switches(weir_group *g)
{
    weir_go(g, yields, NULL);
    weir_go(g, yields, NULL);
    weir_group_wait(g);
}

static void spawn_and_join(weir_group *g)
{
    for (int i = 0; i < ROUNDS; i++) {
        weir_go(g, nothing, NULL);
        weir_group_wait(g);
    }
}

static void spawn_many_and_join(weir_group *g)
{
    for (int i = 0; i < ROUNDS / BATCH; i++) {
        for (int j = 0; j < BATCH; j++)
            weir_go(g, nothing, NULL);
        weir_group_wait(g);
    }
}

static void hand_over(weir_group *g, size_t capacity)
{
    weir_chan *chan = weir_chan_open(sizeof(long), capacity);
    if (!chan)
        abort();
    weir_go(g, receives, chan);
    weir_go(g, sends, chan);
    weir_group_wait(g);
    weir_close(chan);
}

static void hand_over_0(weir_group *g)
{
    hand_over(g, 0);
}

static void hand_over_1(weir_group *g)
{
    hand_over(g, 1);
}

static void hand_over_64(weir_group *g)
{
    hand_over(g, 64);
}

/* Among ten thousand others, as a busy server has them. */
static void set_and_cancel(weir_group *g)
{
    enum { OTHERS = 10000 };
    static struct timer others[OTHERS], timer;
    struct timers heap = { 0 };
    (void)g;
    if (timers_reserve(&heap, OTHERS + 1))
        abort();
    for (int i = 0; i < OTHERS; i++)
        timer_arm(&heap, &others[i], i);
    for (int i = 0; i < ROUNDS; i++) {
        timer_arm(&heap, &timer, OTHERS + i);
        timer_disarm(&heap, &timer);
    }
    for (int i = 0; i < OTHERS; i++)
        timer_disarm(&heap, &others[i]);
    free(heap.heap);
}

static const struct figure {
    const char *name;
    void (*run)(weir_group *);
    int per_round;
} figures[] = {
    { "fiber switch through the scheduler (weir_yield)", switches, 2 },
    { "spawn and join, one at a time", spawn_and_join, 1 },
    { "spawn and join, a hundred at a time", spawn_many_and_join, 1 },
    { "channel hand-over, capacity 0", hand_over_0, 1 },
    { "channel hand-over, capacity 1", hand_over_1, 1 },
    { "channel hand-over, capacity 64", hand_over_64, 1 },
    { "timer set and cancel, among 10,000", set_and_cancel, 1 },
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    if (!g)
        return 1;
    for (size_t i = 0; i < ARRAY_COUNT(figures); i++) {
        double ns[RUNS];
        for (int run = 0; run < RUNS; run++) {
            double before = clock_now();
            figures[i].run(g);
            ns[run] = (clock_now() - before) / ROUNDS / figures[i].per_round;
        }
        qsort(ns, RUNS, sizeof *ns, by_size);
        printf("%-52s %7.1f ns  (least %.1f)\n", figures[i].name, ns[RUNS / 2], ns[0]);
        fflush(stdout);
    }
    return weir_close(g);
}

int main(void)
{
    return weir_run(&(weir_config){ .workers = 1, .backend = WEIR_EPOLL }, measure, NULL);
}
