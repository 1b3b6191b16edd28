/* places.h -- where the promises of tasks are kept: on workers, and on plain threads.
 *
 * A body is run as the first fiber of a runtime, or straight on the test's own thread.  What it
 * starts in a group are then fibers of the same worker, fibers of several, or threads.        */
#ifndef WEIR_PLACES_H
#define WEIR_PLACES_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../include/weir.h"
#include "../test.h"

enum place { ONE_WORKER = 1, MANY_WORKERS = 2, THREADS = 4, EVERYWHERE = 7, FIBERS = 3 };

struct placed {
    enum place place;
    void (*body)(void);
};

static int workers; /* of the running test; 0: threads */

static int placed_main(void *arg)
{
    ((const struct placed *)arg)->body();
    return 0;
}

static void placed_run(const void *arg)
{
    struct placed p = *(const struct placed *)arg;
    workers = p.place == THREADS ? 0 : p.place == ONE_WORKER ? 1 : 4;
    weir_config config = { .workers = workers, .stall_warn = -1 };
    if (p.place == THREADS)
        p.body();
    else
        CHECK_EQ(weir_run(&config, placed_main, &p), 0);
}

/* Registers `body` once for each of `places`. */
static inline void add_places(unsigned places, const char *promise, void (*body)(void))
{
    static const struct {
        enum place place;
        const char *words;
    } all[] = {
        { ONE_WORKER, "one worker" }, { MANY_WORKERS, "four workers" }, { THREADS, "threads" }
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!(places & all[i].place))
            continue;
        struct placed *p = malloc(sizeof *p);
        char words[240];
        *p = (struct placed){ all[i].place, body };
        snprintf(words, sizeof words, "%s (%s)", promise, all[i].words);
        test_register(words, placed_run, p);
    }
}

/* Starts fn(arg) in the group, on the next worker in turn. */
static inline void start(weir_group *g, int (*fn)(void *), void *arg)
{
    static atomic_int turn;
    weir_fiber_opts o = { .worker = workers ? atomic_fetch_add(&turn, 1) % workers + 1 : 0 };
    CHECK_OK(weir_go_copy(g, fn, arg, 0, &o));
}

static inline weir_group *group(void)
{
    weir_group *g = weir_group_open(NULL);
    CHECK(g != NULL);
    return g;
}

/* On one worker, all others have got as far as they can; elsewhere it is likely. */
static inline void settle(void)
{
    for (int i = 0; i < 20; i++)
        weir_yield();
}

/* All members of the group ended well, and the group with them. */
static inline void finish(weir_group *g)
{
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_OK(weir_close(g));
}

#endif
