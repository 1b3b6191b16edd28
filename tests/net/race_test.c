/* race_test.c -- cancelling races data, a million times, and no byte is lost or seen twice.
 *
 * The bytes of the stream count up, so whoever reads knows what must come next.  In every round
 * one task reads while another writes a few bytes and cancels, in an order drawn anew.         */
#include <stdatomic.h>

#include "../../include/weir.h"
#include "../../src/base/random.h"
#include "../test.h"

struct race {
    weir_config config;
    int rounds;
    int reader_worker;
};

enum { OUTSTANDING = 64 }; /* a writer that had to wait for this reader would wait for ever */

static weir_conn *ends[2];
static uint64_t written, got;
static atomic_long cancelled, served;

static int read_once(void *arg)
{
    (void)arg;
    unsigned char buf[16];
    ssize_t n = weir_read(ends[0], buf, sizeof buf);
    if (n < 0) {
        CHECK_EQ(errno, ECANCELED);
        atomic_fetch_add(&cancelled, 1);
        return 0;
    }
    CHECK(n > 0);
    for (ssize_t i = 0; i < n; i++)
        CHECK_EQ(buf[i], (unsigned char)got++);
    atomic_fetch_add(&served, 1);
    return 0;
}

static void write_some(struct random *random)
{
    unsigned char buf[4];
    size_t n = 1 + random_below(random, sizeof buf);
    for (size_t i = 0; i < n; i++)
        buf[i] = (unsigned char)written++;
    CHECK_EQ(weir_write(ends[1], buf, n), n);
}

static void pause_some(struct random *random)
{
    for (uint64_t turns = random_below(random, 4); turns > 0; turns--)
        CHECK_OK(weir_yield());
}

static void one_round(struct random *random, const struct race *race)
{
    weir_group *g = weir_group_open(NULL);
    weir_fiber_opts o = { .worker = race->reader_worker };
    uint64_t order = written - got < OUTSTANDING ? random_below(random, 4) : 0;
    CHECK_OK(weir_go_copy(g, read_once, NULL, 0, &o));
    pause_some(random);
    if (order & 1)
        write_some(random);
    if (order == 3)
        pause_some(random);
    CHECK_OK(weir_group_cancel(g));
    if (order == 2)
        write_some(random);
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_OK(weir_close(g));
}

static int race_on(void *arg)
{
    const struct race *race = arg;
    struct random random;
    unsigned char buf[4096];
    random_seed(&random, 42);
    CHECK_OK(weir_pair(ends));
    for (int i = 0; i < race->rounds; i++)
        one_round(&random, race);
    CHECK_OK(weir_shutdown(ends[1], SHUT_WR));
    for (ssize_t n; (n = CHECK_OK(weir_read(ends[0], buf, sizeof buf))) > 0;)
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(buf[i], (unsigned char)got++);
    CHECK_EQ(got, written);
    CHECK(atomic_load(&cancelled) > race->rounds / 1000);
    CHECK(atomic_load(&served) > race->rounds / 1000);
    CHECK_OK(weir_close(ends[0]));
    return weir_close(ends[1]);
}

static void run_race(const void *arg)
{
    struct race race = *(const struct race *)arg;
    test_limit(60);
    if (test_slowness() > 1)
        race.rounds /= 10;
    int result = weir_run(&race.config, race_on, &race);
    if (result == -1 && race.config.backend == WEIR_IO_URING)
        SKIP("io_uring is denied here");
    CHECK_EQ(result, 0);
}

TEST_TABLE(races)
{
    static const struct race million = { { .workers = 1 }, 1000000, 0 };
    static const struct race epoll = { { .workers = 1, .backend = WEIR_EPOLL }, 200000, 0 };
    static const struct race across = { { .workers = 2 }, 50000, 2 };
    test_register("a million cancels race data on one worker: no byte is lost or seen twice",
                  run_race, &million);
    test_register("200,000 cancels race data on epoll: no byte is lost or seen twice", run_race,
                  &epoll);
    test_register("50,000 cancels race data across two workers: no byte is lost or seen twice",
                  run_race, &across);
}
