/* scope_chaos_test.c -- many tasks open, stop, wait for and close the same few groups, at once.
 *
 * What each does follows from a seed (CHAOS_SEED in the environment chooses another), and nothing
 * is expected of the answers.  What is promised holds all the same: a fiber never outlives its
 * group, a lock is held by one, every wait ends, and stale names harm nobody.                 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../../src/base/random.h"
#include "places.h"

enum { GROUPS = 4, ACTORS = 6, STEPS = 600 };

/* What a group's members must not outlive: counted by the members, looked at by whoever closed. */
struct scope {
    _Atomic(weir_group *) group;
    atomic_int members;
};

static struct {
    struct scope scopes[GROUPS];
    weir_chan *channel;
    weir_mutex mutex;
    weir_cond changed;
    bool inside;
    uint64_t seed;
    atomic_int number;
} chaos;

static void seed_task(struct random *r)
{
    random_seed(r, chaos.seed * 1000003 + (uint64_t)atomic_fetch_add(&chaos.number, 1));
}

/* ---- what members do ---- */

static int count_to_many(void *arg)
{
    volatile int *n = arg;
    while (*n < 2000)
        ++*n;
    return 0;
}

static void hold_lock(struct random *r)
{
    if (weir_lock(&chaos.mutex))
        return;
    CHECK(!chaos.inside);
    chaos.inside = true;
    if (random_below(r, 2))
        weir_yield();
    chaos.inside = false;
    if (random_below(r, 2))
        weir_cond_wait(&chaos.changed, &chaos.mutex);
    CHECK(!chaos.inside);
    CHECK_OK(weir_unlock(&chaos.mutex));
    weir_cond_broadcast(&chaos.changed);
}

static void do_leaf(struct random *r)
{
    int value = 0;
    weir_pollent e = { .h = chaos.channel, .events = random_below(r, 2) ? POLLIN : POLLOUT };
    switch (random_below(r, 9)) {
    case 0:
        weir_sleep((int64_t)random_below(r, 100000));
        break;
    case 1:
        weir_yield();
        break;
    case 2:
        weir_chan_send(chaos.channel, &value);
        break;
    case 3:
        weir_chan_recv(chaos.channel, &value);
        break;
    case 4:
        weir_poll(&e, 1);
        break;
    case 5:
        weir_blocking(count_to_many, &value);
        break;
    case 6:
        weir_native(count_to_many, &value);
        break;
    case 7:
        weir_signal(&(int){ SIGUSR1 }, 1);
        break;
    default:
        hold_lock(r);
    }
}

static weir_time random_deadline(struct random *r)
{
    return random_below(r, 4) ? weir_after((int64_t)random_below(r, 300000)) : INT64_MIN;
}

static void do_leaf_in_time(struct random *r)
{
    weir_time outer = weir_deadline_set(random_deadline(r));
    do_leaf(r);
    weir_deadline_restore(outer);
}

/* Half of the members know no deadline: a channel, a condition or a signal is waited for until
 * somebody stops the group. */
static int member(void *arg)
{
    struct scope *scope = *(struct scope **)arg;
    struct random r;
    seed_task(&r);
    bool patient = random_below(&r, 2);
    for (uint64_t i = random_below(&r, 8); i > 0; i--) {
        if (patient)
            do_leaf(&r);
        else
            do_leaf_in_time(&r);
    }
    atomic_fetch_sub(&scope->members, 1);
    return random_below(&r, 8) == 0;
}

/* ---- what actors do ---- */

static void add_member(struct random *r, struct scope *scope)
{
    int worker = (int)random_below(r, (uint64_t)workers + 1);
    weir_fiber_opts o = { .worker = worker, .name = "member" };
    weir_group *g = atomic_load(&scope->group);
    if (!g) /* which would be our own */
        return;
    atomic_fetch_add(&scope->members, 1);
    if (weir_go_copy(g, member, &scope, sizeof scope, &o))
        atomic_fetch_sub(&scope->members, 1);
}

/* Nobody else can add to a group whose name is out of its place, but who had read the name. */
static void close_scope(struct random *r, struct scope *scope)
{
    weir_group *g = atomic_exchange(&scope->group, NULL);
    weir_close(g);
    weir_group_opts o = { .max_fibers = (int)random_below(r, 8), .fail_fast = random_below(r, 2) };
    g = weir_group_open(&o);
    weir_group *none = NULL;
    if (g && !atomic_compare_exchange_strong(&scope->group, &none, g))
        weir_close(g);
}

static void act_once(struct random *r)
{
    struct scope *scope = &chaos.scopes[random_below(r, GROUPS)];
    switch (random_below(r, 16)) {
    case 0:
        close_scope(r, scope);
        break;
    case 1:
        weir_group_cancel(atomic_load(&scope->group));
        break;
    case 2:
        weir_group_drain(atomic_load(&scope->group));
        break;
    case 3:
        weir_group_wait(atomic_load(&scope->group));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        do_leaf(r);
        break;
    default:
        add_member(r, scope);
    }
}

static int act(void *arg)
{
    struct random r;
    (void)arg;
    seed_task(&r);
    for (int i = 0; i < STEPS / test_slowness(); i++) {
        weir_time outer = weir_deadline_set(random_deadline(&r));
        act_once(&r);
        weir_deadline_restore(outer);
    }
    return 0;
}

static void scope_chaos(void)
{
    const char *seed = getenv("CHAOS_SEED");
    chaos.seed = seed ? strtoull(seed, NULL, 10) : 1;
    chaos.channel = weir_chan_open(sizeof(int), 2);
    CHECK(chaos.channel != NULL);
    weir_group *g = group();
    for (int i = 0; i < ACTORS; i++)
        start(g, act, NULL);
    finish(g);
    for (int i = 0; i < GROUPS; i++)
        weir_close(atomic_load(&chaos.scopes[i].group));
    for (int i = 0; i < GROUPS; i++)
        CHECK_EQ(atomic_load(&chaos.scopes[i].members), 0);
    CHECK_OK(weir_close(chaos.channel));
}

TEST_TABLE(scope_chaos)
{
    add_places(EVERYWHERE, "whatever tasks do to each other's groups, nobody outlives one or hangs",
               scope_chaos);
}
