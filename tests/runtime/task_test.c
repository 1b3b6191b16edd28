/* task_test.c -- fibers, groups and deadlines, seen through the public calls.
 *
 * Most promises hold for fibers of a worker and for plain threads alike, so a table runs each
 * body in both.                                                                              */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../include/weir.h"
#include "../test.h"

/* ---- where a body runs ---- */

struct row {
    const char *promise;
    int (*body)(void *);
};

struct place {
    const struct row *row;
    const char *name;
    weir_config config;
    bool plain;
};

static void run_place(const void *arg)
{
    const struct place *p = arg;
    int result = p->plain ? p->row->body(NULL) : weir_run(&p->config, p->row->body, NULL);
    CHECK_EQ(result, 0);
}

static void add_row(const struct row *row)
{
    static const struct place places[] = {
        { .name = "a plain thread", .plain = true },
        { .name = "one worker, epoll", .config = { .workers = 1, .backend = WEIR_EPOLL } },
        { .name = "four workers, epoll", .config = { .workers = 4, .backend = WEIR_EPOLL } },
        { .name = "two workers, any backend", .config = { .workers = 2 } },
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct place *p = malloc(sizeof *p);
        char words[200];
        CHECK(p != NULL);
        *p = places[i];
        p->row = row;
        snprintf(words, sizeof words, "%s: %s", p->name, row->promise);
        test_register(words, run_place, p);
    }
}

/* ---- bodies ---- */

static atomic_int counter;

static int count_up(void *arg)
{
    atomic_fetch_add(&counter, arg ? *(int *)arg : 1);
    return 0;
}

static int group_waits_for_all(void *arg)
{
    (void)arg;
    int two = 2;
    weir_group *g = weir_group_open(NULL);
    CHECK(g != NULL);
    for (int i = 0; i < 50; i++) {
        CHECK_OK(weir_go(g, count_up, NULL));
        CHECK_OK(weir_go_copy(g, count_up, &two, sizeof two, NULL));
    }
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(atomic_load(&counter), 150);
    CHECK_OK(weir_close(g));
    CHECK_ERRNO(weir_group_wait(g), EBADF);
    CHECK_ERRNO(weir_go(g, count_up, NULL), EBADF);
    return 0;
}

static int fail_with(void *arg)
{
    return *(int *)arg;
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    while (weir_sleep(WEIR_SEC) == 0) {
    }
    CHECK_EQ(errno, ECANCELED);
    CHECK_EQ(weir_cancelled(), ECANCELED);
    CHECK_ERRNO(weir_sleep(0), ECANCELED);
    atomic_fetch_add(&counter, 1);
    return 0;
}

static int fail_fast_cancels(void *arg)
{
    (void)arg;
    int seven = 7;
    weir_group *g = weir_group_open(&(weir_group_opts){ .fail_fast = true });
    for (int i = 0; i < 5; i++)
        CHECK_OK(weir_go(g, sleep_for_ever, NULL));
    CHECK_OK(weir_go_copy(g, fail_with, &seven, sizeof seven, NULL));
    CHECK_EQ(weir_group_wait(g), 7);
    CHECK_EQ(atomic_load(&counter), 5);
    CHECK_ERRNO(weir_go(g, count_up, NULL), ECANCELED);
    return weir_close(g);
}

static int opens_inner_group(void *arg)
{
    (void)arg;
    weir_group *inner = weir_group_open(NULL);
    CHECK_OK(weir_go(inner, sleep_for_ever, NULL));
    CHECK_OK(weir_go(inner, sleep_for_ever, NULL));
    if (weir_group_wait(inner) != 0) /* 0: both were faster than we */
        CHECK_EQ(errno, ECANCELED);
    return 0; /* left open: ending closes it */
}

static int cancel_reaches_inner_groups(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, opens_inner_group, NULL));
    CHECK_OK(weir_go(g, sleep_for_ever, NULL));
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(weir_group_wait(g), ETIME);
    }
    CHECK_OK(weir_group_cancel(g));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(atomic_load(&counter), 3);
    return weir_close(g);
}

static int closing_cancels_and_waits(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < 20; i++)
        CHECK_OK(weir_go(g, sleep_for_ever, NULL));
    CHECK_OK(weir_close(g));
    CHECK_EQ(atomic_load(&counter), 20);
    return 0;
}

static atomic_int present, present_most;

static int be_present(void *arg)
{
    (void)arg;
    int now = atomic_fetch_add(&present, 1) + 1;
    int most = atomic_load(&present_most);
    while (now > most && !atomic_compare_exchange_weak(&present_most, &most, now)) {
    }
    CHECK_OK(weir_sleep(WEIR_MS));
    atomic_fetch_sub(&present, 1);
    return 0;
}

static int limit_holds(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(&(weir_group_opts){ .max_fibers = 3 });
    for (int i = 0; i < 12; i++)
        CHECK_OK(weir_go(g, be_present, NULL));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK(atomic_load(&present_most) <= 3);
    for (int i = 0; i < 3; i++)
        CHECK_OK(weir_go(g, sleep_for_ever, NULL));
    {
        WEIR_TRY;
        CHECK_ERRNO(weir_go(g, count_up, NULL), EAGAIN);
    }
    return weir_close(g);
}

static weir_group *full;

static int starts_one(void *arg)
{
    (void)arg;
    CHECK_ERRNO(weir_go(full, sleep_for_ever, NULL), ECANCELED);
    return 0;
}

static int cancel_wakes_starters(void *arg)
{
    (void)arg;
    full = weir_group_open(&(weir_group_opts){ .max_fibers = 1 });
    weir_group *starters = weir_group_open(NULL);
    CHECK_OK(weir_go(full, sleep_for_ever, NULL));
    for (int i = 0; i < 3; i++)
        CHECK_OK(weir_go(starters, starts_one, NULL));
    CHECK_OK(weir_sleep(WEIR_MS)); /* most of them wait by now; all must end either way */
    CHECK_OK(weir_group_cancel(full));
    CHECK_EQ(weir_group_wait(starters), 0);
    CHECK_OK(weir_close(starters));
    return weir_close(full);
}

static atomic_int released;

static int ends_when_released(void *arg)
{
    (void)arg;
    WEIR_SHIELD(20 * WEIR_SEC);
    while (!atomic_load(&released))
        CHECK_OK(weir_sleep(100 * WEIR_US));
    return 0;
}

static int opens_and_leaves(void *arg)
{
    (void)arg;
    full = weir_group_open(NULL);
    CHECK_OK(weir_go(full, ends_when_released, NULL));
    atomic_store(&counter, 1);
    while (atomic_load(&counter) == 1)
        CHECK_OK(weir_yield());
    return 0; /* while another closes what it opened */
}

static int releases(void *arg)
{
    (void)arg;
    atomic_store(&counter, 2);
    CHECK_OK(weir_sleep(WEIR_MS));
    atomic_store(&released, 1);
    return 0;
}

static int two_close_one_group(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, opens_and_leaves, NULL));
    while (atomic_load(&counter) == 0)
        CHECK_OK(weir_sleep(100 * WEIR_US));
    CHECK_OK(weir_go(g, releases, NULL));
    if (weir_close(full) != 0) /* the opener was faster */
        CHECK_EQ(errno, EBADF);
    CHECK_EQ(weir_group_wait(g), 0);
    return weir_close(g);
}

static int deadlines_nest(void *arg)
{
    (void)arg;
    weir_time outer_at, before = weir_now();
    {
        WEIR_DEADLINE(3600 * WEIR_SEC);
        outer_at = weir_deadline();
        {
            WEIR_DEADLINE(5 * WEIR_MS);
            CHECK(weir_deadline() < outer_at);
            CHECK_ERRNO(weir_sleep(WEIR_SEC), ETIME);
            CHECK(weir_now() - before >= 5 * WEIR_MS);
            {
                WEIR_DEADLINE(WEIR_SEC); /* cannot loosen */
                CHECK_ERRNO(weir_sleep(WEIR_MS), ETIME);
            }
            {
                WEIR_SHIELD(WEIR_SEC); /* can, for so long */
                CHECK_OK(weir_sleep(WEIR_MS));
            }
            CHECK_ERRNO(weir_sleep(WEIR_MS), ETIME);
        }
        CHECK_EQ(weir_deadline(), outer_at);
        CHECK_OK(weir_sleep(WEIR_MS));
    }
    CHECK_EQ(weir_deadline(), WEIR_NEVER);
    return 0;
}

static int deadline_set_restores(void *arg)
{
    (void)arg;
    weir_time previous = weir_deadline_set(weir_after(-1));
    CHECK_EQ(previous, WEIR_NEVER);
    CHECK_ERRNO(weir_sleep(WEIR_SEC), ETIME);
    weir_deadline_restore(previous);
    CHECK_OK(weir_sleep(1));
    WEIR_DEADLINE(INT64_MAX);
    CHECK_EQ(weir_deadline(), WEIR_NEVER);
    {
        WEIR_DEADLINE(INT64_MIN);
        CHECK_ERRNO(weir_sleep(1), ETIME);
    }
    WEIR_TRY;
    CHECK_ERRNO(weir_sleep(1), EAGAIN);
    return 0;
}

static int sleep_is_never_early(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        weir_time before = weir_now();
        CHECK_OK(weir_sleep(100 * WEIR_US));
        CHECK(weir_now() - before >= 100 * WEIR_US);
    }
    CHECK_OK(weir_sleep(-5));
    WEIR_DEADLINE(0);
    CHECK_OK(weir_sleep(0)); /* nothing to wait for */
    WEIR_TRY;
    CHECK_OK(weir_sleep(-5));
    return 0;
}

static int shielded_cleanup(void *arg)
{
    (void)arg;
    CHECK_ERRNO(weir_sleep(WEIR_NEVER), ECANCELED);
    {
        WEIR_SHIELD(WEIR_SEC);
        CHECK_EQ(weir_cancelled(), 0);
        CHECK_OK(weir_sleep(WEIR_MS));
        WEIR_DEADLINE(WEIR_MS);
        CHECK_ERRNO(weir_sleep(WEIR_SEC), ETIME);
    }
    CHECK_ERRNO(weir_sleep(1), ECANCELED);
    atomic_fetch_add(&counter, 1);
    return 0;
}

static int shield_hides_cancel(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, shielded_cleanup, NULL));
    CHECK_OK(weir_group_cancel(g));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(atomic_load(&counter), 1);
    return weir_close(g);
}

static int drains_politely(void *arg)
{
    (void)arg;
    while (weir_cancelled() != ESHUTDOWN)
        CHECK_OK(weir_sleep(100 * WEIR_US)); /* not disturbed by a drain */
    atomic_fetch_add(&counter, 1);
    return 0;
}

static int drain_is_not_cancel(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < 5; i++)
        CHECK_OK(weir_go(g, drains_politely, NULL));
    CHECK_OK(weir_group_drain(g));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(atomic_load(&counter), 5);
    return weir_close(g);
}

static const struct row rows[] = {
    { "a group waits for all its fibers, and its name is stale once closed", group_waits_for_all },
    { "one failure cancels a fail_fast group, and its result is the group's", fail_fast_cancels },
    { "a cancel reaches groups inside, and a fiber never outlives its group",
      cancel_reaches_inner_groups },
    { "closing a group cancels and awaits its fibers", closing_cancels_and_waits },
    { "a group never holds more fibers than its limit; the starter waits", limit_holds },
    { "cancelling a full group also ends the waits of those who would start in it",
      cancel_wakes_starters },
    { "a group that somebody else closes is gone before its opener is", two_close_one_group },
    { "a deadline inside a deadline takes the nearer one and restores the other", deadlines_nest },
    { "an explicit deadline is restored, and extremes neither wrap nor hang",
      deadline_set_restores },
    { "a sleep is never early", sleep_is_never_early },
    { "a shield hides cancel for its time only", shield_hides_cancel },
    { "a drain does not disturb a sleep, and can be seen", drain_is_not_cancel },
};

TEST_TABLE(everywhere)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        add_row(&rows[i]);
}

/* ---- fibers only ---- */

static int fails_differently(void *arg)
{
    int code = *(int *)arg;
    for (int i = 0; i < 100; i++) {
        errno = code;
        CHECK_OK(weir_yield());
        CHECK_EQ(errno, code);
    }
    return 0;
}

static int errno_apart(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    for (int code = 1; code < 20; code++)
        CHECK_OK(weir_go_copy(g, fails_differently, &code, sizeof code, NULL));
    CHECK_EQ(weir_group_wait(g), 0);
    return weir_close(g);
}

TEST(errno_per_fiber, "errno is each fiber's own across switches")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, errno_apart, NULL), 0);
}

static int sleeps_its_number(void *arg)
{
    int64_t ns = *(int *)arg % 200 * 100 * WEIR_US;
    weir_time before = weir_now();
    CHECK_OK(weir_sleep(ns));
    CHECK(weir_now() - before >= ns);
    atomic_fetch_add(&counter, 1);
    return 0;
}

/* ThreadSanitizer counts fibers as threads, and knows no more than 8,128. */
#if defined(__SANITIZE_THREAD__)
enum { SLEEPERS = 5000 };
#elif defined(__has_feature)
enum { SLEEPERS = __has_feature(thread_sanitizer) ? 5000 : 20000 };
#else
enum { SLEEPERS = 20000 };
#endif

static int many_sleepers(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < SLEEPERS; i++)
        CHECK_OK(weir_go_copy(g, sleeps_its_number, &i, sizeof i, NULL));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(atomic_load(&counter), SLEEPERS);
    return weir_close(g);
}

TEST(sleepers, "20,000 fibers sleep at once, each at least as long as it asked")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, many_sleepers, NULL), 0);
}

static int note_thread(void *arg)
{
    **(pthread_t **)arg = pthread_self();
    return weir_in_fiber() ? 0 : 1;
}

static int workers_differ(void *arg)
{
    (void)arg;
    pthread_t threads[3];
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < 3; i++) {
        pthread_t *slot = &threads[i];
        weir_fiber_opts o = { .worker = i + 1, .name = "placed" };
        CHECK_OK(weir_go_copy(g, note_thread, &slot, sizeof slot, &o));
    }
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK(!pthread_equal(threads[0], threads[1]) && !pthread_equal(threads[1], threads[2]));
    CHECK_ERRNO(weir_go_copy(g, note_thread, NULL, 0, &(weir_fiber_opts){ .worker = 4 }), EINVAL);
    return weir_close(g);
}

TEST(placed,
     "a fiber runs on the worker it was asked for, and a worker that is not there is EINVAL")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 3 }, workers_differ, NULL), 0);
}

static int run_inside(void *arg)
{
    (void)arg;
    CHECK_ERRNO(weir_run(NULL, count_up, NULL), EBUSY);
    return 3;
}

TEST(run_once, "a second weir_run at the same time is EBUSY, one after the other is fine")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, run_inside, NULL), 3);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, run_inside, NULL), 3);
}

static int leaves_others(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        CHECK_OK(weir_go(NULL, be_present, NULL));
    return 5;
}

TEST(run_waits, "weir_run returns what its function returned, once every fiber has ended")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, leaves_others, NULL), 5);
    CHECK_EQ(atomic_load(&present), 0);
    CHECK(!weir_in_fiber());
}

TEST(run_refuses, "a configuration that cannot be is EINVAL")
{
    CHECK_ERRNO(weir_run(&(weir_config){ .workers = -1 }, count_up, NULL), EINVAL);
    CHECK_ERRNO(weir_run(&(weir_config){ .stack_size = 10 }, count_up, NULL), EINVAL);
    CHECK_ERRNO(weir_run(&(weir_config){ .backend = (weir_backend)99 }, count_up, NULL), EINVAL);
    CHECK_ERRNO(weir_go(NULL, count_up, NULL), EINVAL);
    CHECK_EQ(atomic_load(&counter), 0);
}

static int hog_stops(void *arg)
{
    atomic_bool *stop = arg;
    while (!atomic_load(stop))
        CHECK_OK(weir_yield());
    return 0;
}

static int sleeper_beside_hog(void *arg)
{
    (void)arg;
    atomic_bool stop = false;
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, hog_stops, &stop));
    for (int i = 0; i < 20; i++)
        CHECK_OK(weir_sleep(WEIR_MS)); /* hangs if yielding starves the timers */
    atomic_store(&stop, true);
    CHECK_EQ(weir_group_wait(g), 0);
    return weir_close(g);
}

TEST(yielding_is_fair, "a fiber that only yields does not keep another's timer from firing")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, sleeper_beside_hog, NULL), 0);
}
