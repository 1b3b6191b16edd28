/* serve_chaos_test.c -- servers with every kind of client and handler, ended at any moment.
 *
 * What each does follows from a seed (CHAOS_SEED in the environment chooses another).  Promised
 * whatever happens: a server ends when told to, never has more conversations than it may, tells
 * on_close of each that it told on_open of and did not give away, and no socket stays behind. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/base/random.h"
#include "server.h"

enum { ROUNDS = 60, CLIENTS = 12, VISITS = 6, BUFFER = 20000 };

struct place {
    const char *words;
    bool plain;
    weir_model model;
    weir_backend backend;
};

static struct {
    const struct place *place;
    uint64_t seed;
    atomic_int number;
    char where[WEIR_ADDRSTR + 8];
    atomic_int opened, closed, kept, live;
    int most; /* conversations at one time; 0: any number */
} chaos;

static void seed_task(struct random *r)
{
    random_seed(r, chaos.seed * 1000003 + (uint64_t)atomic_fetch_add(&chaos.number, 1));
}

/* ---- the handler ---- */

static void opened(weir_conn *c, void *arg)
{
    (void)c;
    (void)arg;
    atomic_fetch_add(&chaos.opened, 1);
    int live = atomic_fetch_add(&chaos.live, 1) + 1;
    if (chaos.most)
        CHECK(live <= chaos.most);
}

static void closed(weir_conn *c, void *arg)
{
    (void)c;
    (void)arg;
    atomic_fetch_add(&chaos.closed, 1);
    atomic_fetch_sub(&chaos.live, 1);
}

static int keep(weir_conn *c, struct random *r)
{
    atomic_fetch_add(&chaos.kept, 1);
    atomic_fetch_sub(&chaos.live, 1);
    int fd = random_below(r, 2) ? weir_detach(c) : -1;
    if (fd >= 0)
        close(fd);
    else
        weir_close(c);
    return WEIR_KEEP;
}

static int handler(weir_conn *c, void *arg)
{
    char buf[2000] = "";
    const void *bytes;
    struct random r;
    (void)arg;
    seed_task(&r);
    WEIR_DEADLINE((int64_t)random_below(&r, 3 * WEIR_MS));
    for (uint64_t i = random_below(&r, 4); i > 0; i--) {
        ssize_t n = random_below(&r, 2) ? weir_read(c, buf, sizeof buf) : weir_peek(c, &bytes, 1);
        if (n <= 0 || weir_write(c, buf, (size_t)n % sizeof buf) < 0)
            break;
    }
    switch (random_below(&r, 8)) {
    case 0:
        return -1;
    case 1:
        return keep(c, &r);
    case 2:
        weir_close(c); /* a mistake, which harms nobody else */
        return WEIR_DONE;
    case 3:
        weir_sleep((int64_t)random_below(&r, WEIR_MS));
        return WEIR_DONE;
    case 4:
        return weir_idle(c) == 1 ? WEIR_PARK : WEIR_DONE;
    default:
        return random_below(&r, 4) ? WEIR_PARK : WEIR_DONE;
    }
}

/* ---- clients ---- */

static void visit(struct random *r, char *buf)
{
    weir_conn *c = weir_dial(chaos.where, NULL);
    if (!c)
        return;
    for (uint64_t i = random_below(r, 5); i > 0; i--) {
        if (weir_write(c, buf, random_below(r, BUFFER)) < 0)
            break;
        if (random_below(r, 2))
            weir_read(c, buf, BUFFER);
    }
    if (random_below(r, 3) == 0)
        weir_shutdown(c, SHUT_WR);
    if (random_below(r, 3) == 0)
        weir_sleep((int64_t)random_below(r, 2 * WEIR_MS));
    if (random_below(r, 3) == 0)
        weir_abort(c);
    else
        weir_close(c);
}

static int client(void *arg)
{
    struct random r;
    char *buf = calloc(1, BUFFER);
    (void)arg;
    CHECK(buf != NULL);
    seed_task(&r);
    for (int i = 0; i < VISITS; i++) {
        WEIR_DEADLINE((int64_t)random_below(&r, 3 * WEIR_MS));
        visit(&r, buf);
    }
    free(buf);
    return 0;
}

/* ---- a round ---- */

struct show {
    weir_listener *listener;
    weir_serve_opts opts;
};

static int perform(void *arg)
{
    struct show *show = arg;
    weir_serve(show->listener, handler, NULL, &show->opts);
    return 0;
}

static void one_round(struct random *r)
{
    weir_addr at;
    char text[WEIR_ADDRSTR];
    chaos.most = (int)random_below(r, 6);
    struct show show = { .opts = { .model = chaos.place->model, .max_conns = chaos.most,
                                   .drain = (int64_t)random_below(r, 3 * WEIR_MS) - 1,
                                   .fast_reject = random_below(r, 2), .no_signals = true,
                                   .on_open = opened, .on_close = closed } };
    show.listener = weir_listen("tcp://127.0.0.1:0", NULL);
    CHECK_OK(weir_local(show.listener, &at));
    snprintf(chaos.where, sizeof chaos.where, "tcp://%s", weir_addr_str(&at, text, sizeof text));
    weir_group *servers = weir_group_open(NULL), *clients = weir_group_open(NULL);
    CHECK_OK(weir_go(servers, perform, &show));
    for (int i = 0; i < CLIENTS; i++)
        CHECK_OK(weir_go(clients, client, NULL));
    weir_sleep((int64_t)random_below(r, 4 * WEIR_MS));
    switch (random_below(r, 3)) {
    case 0:
        CHECK_OK(weir_group_drain(servers));
        break;
    case 1:
        CHECK_OK(weir_group_cancel(servers));
        break;
    default:
        weir_close(show.listener);
    }
    CHECK_EQ(weir_group_wait(servers), 0);
    CHECK_EQ(atomic_load(&chaos.live), 0);
    CHECK_EQ(weir_group_wait(clients), 0);
    CHECK_OK(weir_close(servers));
    CHECK_OK(weir_close(clients));
}

static int perform_all(void *arg)
{
    struct random r;
    const char *seed = getenv("CHAOS_SEED");
    (void)arg;
    chaos.seed = seed ? strtoull(seed, NULL, 10) : 1;
    seed_task(&r);
    for (int i = 0; i < ROUNDS / test_slowness(); i++)
        one_round(&r);
    CHECK_EQ(atomic_load(&chaos.opened), atomic_load(&chaos.closed) + atomic_load(&chaos.kept));
    return 0;
}

static void run_place(const void *arg)
{
    chaos.place = arg;
    weir_config config = { .workers = 3, .backend = chaos.place->backend, .stall_warn = -1 };
    int result = chaos.place->plain ? perform_all(NULL) : weir_run(&config, perform_all, NULL);
    if (result == -1 && chaos.place->backend == WEIR_IO_URING)
        SKIP("io_uring is not usable here");
    CHECK_EQ(result, 0);
}

TEST_TABLE(serve_chaos)
{
    static const struct place places[] = {
        { "fibers on epoll", false, WEIR_FIBER, WEIR_EPOLL },
        { "fibers on io_uring", false, WEIR_FIBER, WEIR_IO_URING },
        { "one after the other, in a fiber", false, WEIR_ITERATIVE, WEIR_AUTO },
        { "one after the other", true, WEIR_ITERATIVE, WEIR_AUTO },
        { "threads", true, WEIR_THREAD, WEIR_AUTO },
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char words[160];
        snprintf(words, sizeof words,
                 "whatever clients and handlers do, a server ends in good order (%s)",
                 places[i].words);
        test_register(words, run_place, &places[i]);
    }
}
