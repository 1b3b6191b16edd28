/* lock_test.c -- what mutexes and conditions promise, on workers and on threads. */
#include <pthread.h>

#include "places.h"

/* ---- mutexes ---- */

static weir_mutex mutex; /* all zero is ready */
static weir_cond changed;
static int value;
static bool inside;

enum { PARTIES = 8, ROUNDS = 2000 };

static int count_alone(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_OK(weir_lock(&mutex));
        CHECK(!inside);
        inside = true;
        value++;
        if (i % 16 == 0)
            weir_yield();
        inside = false;
        CHECK_OK(weir_unlock(&mutex));
    }
    return arg != NULL;
}

static void *count_alone_thread(void *arg)
{
    count_alone(arg);
    return NULL;
}

static int join(void *thread)
{
    return pthread_join(*(pthread_t *)thread, NULL);
}

static void one_at_a_time(void)
{
    pthread_t threads[2];
    weir_group *g = group();
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, count_alone_thread, NULL), 0);
    for (int i = 0; i < PARTIES; i++)
        start(g, count_alone, NULL);
    finish(g);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(weir_blocking(join, &threads[i]), 0);
    CHECK_EQ(value, (PARTIES + 2) * ROUNDS);
}

static int lock_in_vain(void *arg)
{
    (void)arg;
    {
        WEIR_TRY;
        CHECK_ERRNO(weir_lock(&mutex), EAGAIN);
    }
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(weir_lock(&mutex), ETIME);
    }
    return 0;
}

static int lock_until_cancelled(void *arg)
{
    (void)arg;
    CHECK_ERRNO(weir_lock(&mutex), ECANCELED);
    return 0;
}

static int lock_though_cancelled(void *arg)
{
    weir_mutex own = { { 0 } };
    (void)arg;
    while (!weir_cancelled())
        weir_yield();
    CHECK_OK(weir_lock(&own));
    CHECK_OK(weir_unlock(&own));
    return 0;
}

static void failed_lock_is_not_held(void)
{
    weir_group *g = group();
    CHECK_OK(weir_lock(&mutex));
    start(g, lock_in_vain, NULL);
    start(g, lock_in_vain, NULL);
    finish(g);
    start(g = group(), lock_until_cancelled, NULL);
    start(g, lock_until_cancelled, NULL);
    CHECK_OK(weir_group_cancel(g));
    finish(g);
    CHECK_OK(weir_unlock(&mutex));
    WEIR_TRY;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(weir_lock(&mutex));
        CHECK_OK(weir_unlock(&mutex));
    }
}

static void free_lock_is_always_had(void)
{
    weir_group *g = group();
    start(g, lock_though_cancelled, NULL);
    CHECK_OK(weir_group_cancel(g));
    finish(g);
    WEIR_DEADLINE(-WEIR_SEC);
    CHECK_OK(weir_lock(&mutex));
    CHECK_OK(weir_unlock(&mutex));
}

/* One worker: the order of arrival is known. */
static int order[8], arrived;

static int lock_in_turn(void *arg)
{
    CHECK_OK(weir_lock(&mutex));
    order[arrived++] = *(int *)arg;
    CHECK_OK(weir_unlock(&mutex));
    return 0;
}

static void first_come_first_served(void)
{
    static const int numbers[] = { 0, 1, 2, 3, 4, 5 };
    weir_group *g = group();
    CHECK_OK(weir_lock(&mutex));
    for (int i = 0; i < 6; i++) {
        CHECK_OK(weir_go(g, lock_in_turn, (void *)(uintptr_t)&numbers[i]));
        CHECK_OK(weir_yield());
    }
    CHECK_OK(weir_unlock(&mutex));
    CHECK_OK(weir_lock(&mutex)); /* comes after all who have waited */
    CHECK_EQ(arrived, 6);
    CHECK_OK(weir_unlock(&mutex));
    finish(g);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(order[i], i);
}

/* An object that its last user frees, mutex and all. */
struct shared {
    weir_mutex mutex;
    int users;
};

static int let_go(void *arg)
{
    struct shared *s = arg;
    CHECK_OK(weir_lock(&s->mutex));
    int left = --s->users;
    CHECK_OK(weir_unlock(&s->mutex));
    if (left == 0)
        free(s);
    return 0;
}

static void last_user_may_free_a_mutex(void)
{
    for (int i = 0; i < 300; i++) {
        struct shared *s = calloc(1, sizeof *s);
        CHECK(s != NULL);
        s->users = 4;
        weir_group *g = group();
        for (int j = 0; j < 4; j++)
            start(g, let_go, s);
        finish(g);
    }
}

/* ---- conditions ---- */

static int waiting, woken;

static int wait_once(void *arg)
{
    (void)arg;
    CHECK_OK(weir_lock(&mutex));
    waiting++;
    CHECK_OK(weir_cond_wait(&changed, &mutex));
    woken++;
    CHECK_OK(weir_unlock(&mutex));
    return 0;
}

/* Waits holding the mutex in between only, so that others get on. */
static void until(const int *count, int want)
{
    for (;;) {
        CHECK_OK(weir_lock(&mutex));
        int now = *count;
        CHECK_OK(weir_unlock(&mutex));
        CHECK(now <= want);
        if (now == want)
            return;
        weir_sleep(50 * WEIR_US);
    }
}

static void signal_wakes_one(void)
{
    weir_group *g = group();
    for (int i = 0; i < 5; i++)
        start(g, wait_once, NULL);
    until(&waiting, 5);
    for (int i = 1; i <= 2; i++) {
        CHECK_OK(weir_cond_signal(&changed));
        until(&woken, i);
        for (int j = 0; j < 20; j++) {
            weir_yield();
            until(&woken, i);
        }
    }
    CHECK_OK(weir_cond_broadcast(&changed));
    finish(g);
    CHECK_EQ(woken, 5);
    CHECK_OK(weir_cond_signal(&changed)); /* nobody is there: nothing to keep */
    CHECK_OK(weir_lock(&mutex));
    WEIR_DEADLINE(5 * WEIR_MS);
    CHECK_ERRNO(weir_cond_wait(&changed, &mutex), ETIME);
    CHECK_OK(weir_unlock(&mutex));
}

/* A witness, so that the one who holds the mutex can show that it does. */
static atomic_int stage;

static void await_stage(int want)
{
    while (atomic_load(&stage) < want)
        weir_sleep(50 * WEIR_US);
}

static int witness(void *arg)
{
    (void)arg;
    await_stage(1);
    {
        WEIR_TRY;
        CHECK_ERRNO(weir_lock(&mutex), EAGAIN);
    }
    atomic_store(&stage, 2);
    return 0;
}

static void show_that_it_is_held(void)
{
    WEIR_SHIELD(10 * WEIR_SEC);
    atomic_store(&stage, 1);
    await_stage(2);
    CHECK_OK(weir_unlock(&mutex));
}

static void late_wait_holds_the_mutex(void)
{
    weir_group *g = group();
    start(g, witness, NULL);
    CHECK_OK(weir_lock(&mutex));
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(weir_cond_wait(&changed, &mutex), ETIME);
    }
    show_that_it_is_held();
    finish(g);
}

static int wait_until_cancelled(void *arg)
{
    (void)arg;
    CHECK_OK(weir_lock(&mutex));
    waiting++;
    CHECK_ERRNO(weir_cond_wait(&changed, &mutex), ECANCELED);
    show_that_it_is_held();
    return 0;
}

static void cancelled_wait_holds_the_mutex(void)
{
    weir_group *witnesses = group(), *g = group();
    start(witnesses, witness, NULL);
    start(g, wait_until_cancelled, NULL);
    until(&waiting, 1);
    CHECK_OK(weir_group_cancel(g));
    finish(g);
    finish(witnesses);
}

/* ---- no wake-up is lost ---- */

enum { TOKENS = 20000 };
static int tokens, taken;

/* Each token comes with one signal, and waits end early all the time: if a signal went to a
 * waiter that was leaving, somebody would wait for ever. */
static int take_tokens(void *arg)
{
    (void)arg;
    CHECK_OK(weir_lock(&mutex));
    while (taken + tokens < TOKENS || tokens) {
        if (!tokens) {
            WEIR_DEADLINE(taken % 3 ? 20 * WEIR_US : 10 * WEIR_SEC);
            CHECK(weir_cond_wait(&changed, &mutex) == 0 || errno == ETIME);
            continue;
        }
        tokens--;
        taken++;
    }
    CHECK_OK(weir_unlock(&mutex));
    CHECK_OK(weir_cond_broadcast(&changed));
    return 0;
}

static int give_tokens(void *arg)
{
    for (int i = 0; i < TOKENS / 4; i++) {
        CHECK_OK(weir_lock(&mutex));
        tokens++;
        CHECK_OK(weir_unlock(&mutex));
        CHECK_OK(weir_cond_signal(&changed));
        if (i % 8 == 0)
            weir_yield();
    }
    return arg != NULL;
}

static void no_wake_up_is_lost(void)
{
    weir_time begin = weir_now();
    weir_group *g = group();
    for (int i = 0; i < 4; i++) {
        start(g, take_tokens, NULL);
        start(g, give_tokens, NULL);
    }
    finish(g);
    CHECK_EQ(taken, TOKENS);
    CHECK(weir_now() - begin < 9 * WEIR_SEC);
}

TEST_TABLE(locks)
{
    add_places(FIBERS, "a mutex admits one at a time, fibers and threads alike", one_at_a_time);
    add_places(EVERYWHERE, "a lock that failed is not held", failed_lock_is_not_held);
    add_places(EVERYWHERE, "a free mutex is had in spite of cancellation and deadlines",
               free_lock_is_always_had);
    add_places(ONE_WORKER, "who came first gets the mutex first, and nobody overtakes",
               first_come_first_served);
    add_places(EVERYWHERE, "the last user of an object may free it with its mutex",
               last_user_may_free_a_mutex);
    add_places(EVERYWHERE, "a signal wakes one waiter, a broadcast all", signal_wakes_one);
    add_places(EVERYWHERE, "a wait for a condition that is too late returns with the mutex",
               late_wait_holds_the_mutex);
    add_places(EVERYWHERE, "a wait for a condition that is cancelled returns with the mutex",
               cancelled_wait_holds_the_mutex);
    add_places(EVERYWHERE, "no wake-up is lost to a waiter that gives up", no_wake_up_is_lost);
}
