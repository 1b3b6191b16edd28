/* lane_test.c -- what weir_blocking promises. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include "places.h"
#include "runtime/lane.h"

static int note_thread(void *arg)
{
    *(int *)arg = gettid();
    errno = ENOTDIR;
    return 42;
}

static void result_and_errno_come_back(void)
{
    int thread = 0;
    CHECK_EQ(weir_blocking(note_thread, &thread), 42);
    CHECK_EQ(errno, ENOTDIR);
    CHECK_EQ(thread == gettid(), !weir_in_fiber());
}

static sem_t gate;

static int wait_at_gate(void *arg)
{
    while (sem_wait(&gate)) {
    }
    return arg != NULL;
}

static int open_gate(void *arg)
{
    return sem_post(&gate) + (arg != NULL);
}

/* On one worker this could not end if the worker itself were blocked. */
static void worker_goes_on(void)
{
    CHECK_EQ(sem_init(&gate, 0, 0), 0);
    weir_group *g = group();
    start(g, open_gate, NULL);
    CHECK_EQ(weir_blocking(wait_at_gate, NULL), 0);
    finish(g);
}

static atomic_bool began;

static int begin_and_wait(void *arg)
{
    atomic_store(&began, true);
    return wait_at_gate(arg) + 7;
}

static int block_and_be_cancelled(void *arg)
{
    CHECK_EQ(weir_blocking(begin_and_wait, NULL), 7);
    CHECK_ERRNO(weir_sleep(0), ECANCELED);
    CHECK_ERRNO(weir_blocking(begin_and_wait, NULL), ECANCELED);
    return arg != NULL;
}

static void cancelled_caller_waits(void)
{
    CHECK_EQ(sem_init(&gate, 0, 0), 0);
    weir_group *g = group();
    start(g, block_and_be_cancelled, NULL);
    while (!atomic_load(&began))
        weir_sleep(50 * WEIR_US);
    CHECK_OK(weir_group_cancel(g));
    for (int i = 0; i < 10; i++)
        weir_yield();
    CHECK_EQ(sem_post(&gate), 0);
    finish(g);
}

/* ---- limits ---- */

enum { CALLS = 10, LIMIT = 3 };
static atomic_int now_inside, most_inside, entered;
static int order[CALLS];

static int pass_gate(void *arg)
{
    int inside = atomic_fetch_add(&now_inside, 1) + 1;
    if (inside > atomic_load(&most_inside))
        atomic_store(&most_inside, inside);
    order[atomic_fetch_add(&entered, 1)] = *(int *)arg;
    wait_at_gate(NULL);
    atomic_fetch_sub(&now_inside, 1);
    return 0;
}

static int pass_gate_in_lane(void *arg)
{
    return weir_blocking(pass_gate, arg);
}

static int dns_call(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return 5;
}

static void await_entered(int want)
{
    while (atomic_load(&entered) < want)
        weir_sleep(50 * WEIR_US);
}

static int crowd(void *arg)
{
    static int numbers[CALLS];
    static atomic_bool dns_came_through;
    int error;
    (void)arg;
    CHECK_EQ(sem_init(&gate, 0, 0), 0);
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < CALLS; i++) {
        numbers[i] = i;
        CHECK_OK(weir_go(g, pass_gate_in_lane, &numbers[i]));
        CHECK_OK(weir_yield());
    }
    await_entered(LIMIT);
    CHECK_EQ(lane_call(LANE_DNS, dns_call, &dns_came_through, &error), 5);
    CHECK_EQ(error, 0);
    CHECK(atomic_load(&dns_came_through));
    for (int i = 0; i < CALLS; i++) {
        CHECK_EQ(sem_post(&gate), 0);
        await_entered(i + 1 + LIMIT < CALLS ? i + 1 + LIMIT : CALLS);
    }
    finish(g);
    CHECK_EQ(atomic_load(&most_inside), LIMIT);
    for (int i = 0; i < LIMIT; i++) /* these began together */
        CHECK(order[i] < LIMIT);
    for (int i = LIMIT; i < CALLS; i++)
        CHECK_EQ(order[i], i);
    return 0;
}

TEST(limit, "a lane runs as many calls as its limit, first come first served, and no other lane "
            "waits for it")
{
    weir_config config = { .workers = 1, .blocking_threads = LIMIT, .stall_warn = -1 };
    CHECK_EQ(weir_run(&config, crowd, NULL), 0);
}

/* ---- the threads ---- */

static int look_at_mask(void *arg)
{
    sigset_t mask;
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK(sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD));
    return arg != NULL;
}

static bool thread_exists(int tid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", tid);
    return access(path, F_OK) == 0;
}

static int run_some(void *arg)
{
    CHECK_EQ(weir_blocking(look_at_mask, NULL), 0);
    CHECK_EQ(weir_blocking(note_thread, arg), 42);
    CHECK(thread_exists(*(int *)arg));
    return 0;
}

TEST(threads_end, "helper threads take no signals, and none outlives the runtime")
{
    int tid = 0;
    CHECK_EQ(weir_run(NULL, run_some, &tid), 0);
    CHECK(!thread_exists(tid));
}

static int wait_for_idle_end(void *arg)
{
    CHECK_EQ(weir_blocking(note_thread, arg), 42);
    while (thread_exists(*(int *)arg)) /* nothing announces the end of a thread */
        weir_sleep(20 * WEIR_MS);
    CHECK_EQ(weir_blocking(note_thread, arg), 42); /* a new one comes when it is needed */
    return 0;
}

TEST(idle_end, "a helper thread without work ends after some seconds")
{
    int tid = 0;
    CHECK_EQ(weir_run(NULL, wait_for_idle_end, &tid), 0);
}

TEST_TABLE(lanes)
{
    add_places(EVERYWHERE, "weir_blocking returns what the function returned, with its errno",
               result_and_errno_come_back);
    add_places(FIBERS, "other fibers run while one is in weir_blocking", worker_goes_on);
    add_places(FIBERS, "a cancelled caller still waits for its blocking call",
               cancelled_caller_waits);
}
