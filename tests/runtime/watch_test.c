/* watch_test.c -- the watch for workers that do not switch. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../../include/weir.h"
#include "capture.h"
#include "runtime/steward.h"

static struct capture captured;
static weir_config config = { .workers = 1, .stall_warn = 10 * WEIR_MS };

/* The fiber blocks its worker by waiting for the very report of that. */
static int stall_in_read(void *line)
{
    weir_name("bad %s", "citizen");
    capture_line(&captured, line, 400);
    return 0;
}

TEST(blocked, "a fiber that blocks its worker is named, with its entry and the system call")
{
    char line[400];
    captured = capture_begin();
    config.stall_warn *= test_slowness();
    CHECK_EQ(weir_run(&config, stall_in_read, line), 0);
    capture_end(&captured);
    unsigned long ms = 0;
    CHECK_EQ(sscanf(line, "weir: worker 1 has not switched for %lu ms: fiber ", &ms), 1);
    CHECK(ms >= 10 && ms < 10000);
    CHECK(strstr(line, "fiber \"bad citizen\" (") != NULL);
    char *call = strstr(line, ") is ");
    CHECK_STR(call, ") is in system call 0 (read)");
}

static atomic_int stalls;
static _Atomic int64_t stalled_ns;
static const void *_Atomic stalled_entry;

static void note_stall(const char *event, const void *h, int64_t v, void *arg)
{
    if (strcmp(event, "stall") != 0)
        return;
    atomic_store(&stalled_ns, v);
    atomic_store(&stalled_entry, h);
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* Until the stall is reported, and then for as long again, and again. */
static void compute_for_long(void)
{
    int before = atomic_load(&stalls);
    while (atomic_load(&stalls) == before) {
    }
    weir_time until = weir_after(8 * config.stall_warn);
    while (weir_now() < until) {
    }
    CHECK_EQ(atomic_load(&stalls), before + 1);
}

static int stall_twice(void *arg)
{
    for (int i = 0; i < 2; i++) {
        CHECK_OK(weir_sleep(3 * config.stall_warn)); /* what came before is over */
        compute_for_long();
    }
    return arg != NULL;
}

TEST(traced, "a stall is reported once, as an event, while a trace function is set")
{
    weir_trace(note_stall, &stalls);
    captured = capture_begin();
    CHECK_EQ(weir_run(&config, stall_twice, NULL), 0);
    CHECK(capture_is_empty(&captured));
    capture_end(&captured);
    CHECK(atomic_load(&stalls) >= 2);
    CHECK(atomic_load(&stalled_ns) >= config.stall_warn);
    CHECK_EQ(atomic_load(&stalled_entry), stall_twice);
}

static int many_short_turns(void *arg)
{
    weir_time until = weir_after(100 * WEIR_MS * test_slowness());
    while (weir_now() < until)
        CHECK_OK(weir_yield());
    return arg != NULL;
}

TEST(busy, "a worker that is busy but switches is not reported")
{
    weir_trace(note_stall, &stalls);
    for (int i = 0; i < 3; i++) {
        atomic_store(&stalls, 0);
        weir_config patient = { .workers = 1, .stall_warn = 50 * WEIR_MS * test_slowness() };
        CHECK_EQ(weir_run(&patient, many_short_turns, NULL), 0);
        if (atomic_load(&stalls) == 0)
            return;
        /* This machine may have stopped the worker itself for so long, but not each time. */
    }
    FAIL("a worker that yields all the time was reported %d times", atomic_load(&stalls));
}

static int compute_100_ms(void *arg)
{
    weir_time until = weir_after(100 * WEIR_MS);
    while (weir_now() < until) {
    }
    return arg != NULL;
}

TEST(off, "a negative stall_warn turns the watch off")
{
    weir_trace(note_stall, &stalls);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1, .stall_warn = -1 }, compute_100_ms, NULL), 0);
    CHECK_EQ(atomic_load(&stalls), 0);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1, .stall_warn = WEIR_MS }, compute_100_ms, NULL),
             0);
    CHECK(atomic_load(&stalls) > 0);
}

/* ---- an idle runtime ---- */

static int receive(void *arg)
{
    int v;
    while (weir_chan_recv(arg, &v) == 1) {
    }
    return 0;
}

static void *run_receiver(void *ch)
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2, .stall_warn = 2 * WEIR_MS }, receive, ch), 0);
    return NULL;
}

static void await_rest(bool wanted)
{
    while (atomic_load(&steward_rests) != wanted)
        weir_sleep(WEIR_MS);
}

TEST(rest, "the watch ends when all workers sleep, and goes on when one wakes")
{
    int v = 1;
    pthread_t thread;
    weir_chan *ch = weir_chan_open(sizeof v, 0);
    CHECK_EQ(pthread_create(&thread, NULL, run_receiver, ch), 0);
    for (int i = 0; i < 3; i++) {
        await_rest(true);
        CHECK_OK(weir_chan_send(ch, &v));
        await_rest(false);
    }
    CHECK_OK(weir_chan_done(ch));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(weir_close(ch));
}
