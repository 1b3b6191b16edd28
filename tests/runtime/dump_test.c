/* dump_test.c -- what weir_dump tells. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "places.h"

static char *dump(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    CHECK(f != NULL);
    weir_dump(f);
    CHECK_EQ(fclose(f), 0);
    return text;
}

static void check_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        FAIL("\"%s\" is not in the dump:\n%s", part, text);
}

static weir_chan *ch;

static int wait_for_element(void *arg)
{
    int v;
    weir_name("reader %d", *(int *)arg);
    CHECK_EQ(weir_chan_recv(ch, &v), 0);
    return 0;
}

static int sleep_long(void *arg)
{
    weir_name("%s", (const char *)arg);
    CHECK_ERRNO(weir_sleep(100 * WEIR_SEC), ECANCELED);
    return 0;
}

static int look_from_thread(void *arg)
{
    *(char **)arg = dump();
    return 0;
}

static int times(const char *text, const char *part)
{
    int n = 0;
    while ((text = strstr(text, part))) {
        text += strlen(part);
        n++;
    }
    return n;
}

/* The dump is asked for until both readers and the dreamer have got as far as to wait. */
static char *dump_of_waiting(int (*ask)(void *))
{
    for (;;) {
        char *text = NULL;
        CHECK_EQ(ask(&text), 0);
        if (times(text, "waits for an element of a channel, ") == 2 &&
            times(text, "waits for sleep, ") == 1)
            return text;
        free(text);
        weir_sleep(WEIR_MS);
    }
}

static int look_through_lane(void *arg)
{
    return weir_blocking(look_from_thread, arg);
}

static void fibers_are_told(void)
{
    static int numbers[] = { 1, 2 };
    char count[64];
    weir_group *g = group();
    ch = weir_chan_open(sizeof(int), 0);
    start(g, wait_for_element, &numbers[0]);
    start(g, wait_for_element, &numbers[1]);
    start(g, sleep_long, (void *)(uintptr_t) "dreamer");
    weir_name("asker");
    for (int round = 0; round < 2; round++) {
        char *text = dump_of_waiting(round ? look_through_lane : look_from_thread);
        check_contains(text, "\"reader 1\" (");
        check_contains(text, "\"reader 2\" (");
        check_contains(text, "\"dreamer\" (");
        check_contains(text, round ? "waits for a blocking call" : "runs");
        check_contains(text, "; group ");
        snprintf(count, sizeof count, "worker %d: ", workers);
        check_contains(text, count);
        free(text);
    }
    CHECK_OK(weir_chan_done(ch));
    CHECK_OK(weir_group_cancel(g));
    finish(g);
    CHECK_OK(weir_close(ch));
}

TEST(nobody, "without a runtime there is nothing to dump, and that is said")
{
    char *text = dump();
    CHECK_STR(text, "weir: no runtime runs in this process\n");
    free(text);
}

static int ends[2];

static int stall(void *arg)
{
    char c;
    weir_name("rock");
    return read(ends[0], &c, 1) == 1 && arg == NULL ? 0 : 1;
}

static int dump_beside_a_stall(void *arg)
{
    (void)arg;
    weir_group *g = group();
    CHECK_OK(weir_go_copy(g, stall, NULL, 0, &(weir_fiber_opts){ .worker = 2 }));
    for (bool stalls = false; !stalls;) {
        weir_time begin = weir_now();
        char *text = dump();
        CHECK(weir_now() - begin < 5 * WEIR_SEC);
        stalls = strstr(text, "worker 2: does not answer: fiber \"rock\" (") &&
                 strstr(text, "is in system call 0 (read)");
        check_contains(text, "worker 1: ");
        check_contains(text, "worker 3: ");
        free(text);
    }
    CHECK_EQ(write(ends[1], "x", 1), 1);
    finish(g);
    free(dump()); /* the late answer was taken back */
    return 0;
}

TEST(stalled, "a worker that does not answer in time is reported as such, and delays nobody long")
{
    CHECK_EQ(pipe(ends), 0);
    weir_config config = { .workers = 3, .stall_warn = -1 };
    CHECK_EQ(weir_run(&config, dump_beside_a_stall, NULL), 0);
    close(ends[0]);
    close(ends[1]);
}

TEST_TABLE(dumps)
{
    add_places(FIBERS, "a dump names every fiber and what it waits for", fibers_are_told);
}
