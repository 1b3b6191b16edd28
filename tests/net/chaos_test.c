/* chaos_test.c -- many tasks do whatever they like to the same few handles, at once.
 *
 * Nobody knows here what a call should answer, so nothing is expected of the answers. What is
 * promised holds all the same: no call crashes or waits for ever, stale names harm nobody, every
 * group ends, and no descriptor stays behind. What each task does follows from a seed; CHAOS_SEED
 * in the environment chooses another, for a search that lasts. */
#include <poll.h>
#include <stdatomic.h>

#include "../../src/base/random.h"
#include "net_test.h"

enum { CONNS = 6, CHANNELS = 2, TASKS = 8, STEPS = 500, BUFFER = 20000 };

static struct {
    _Atomic(void *) conns[CONNS], channels[CHANNELS], listener;
    char where[ENDPOINT];
    uint64_t seed;
    atomic_int number;
} chaos;

struct actor {
    struct random random;
    char *buf;
};

static uint64_t pick(struct actor *a, uint64_t below)
{
    return random_below(&a->random, below);
}

static void *some_conn(struct actor *a)
{
    return atomic_load(&chaos.conns[pick(a, CONNS)]);
}

static void *some_channel(struct actor *a)
{
    return atomic_load(&chaos.channels[pick(a, CHANNELS)]);
}

/* A new connection takes the place of another, whose name others may still hold. */
static void place(struct actor *a, weir_conn *c)
{
    if (c)
        weir_close(atomic_exchange(&chaos.conns[pick(a, CONNS)], c));
}

/* ---- what can be done ---- */

static void do_pair(struct actor *a)
{
    weir_conn *c[2];
    if (weir_pair(c))
        return;
    place(a, c[0]);
    place(a, c[1]);
}

static void do_dial(struct actor *a)
{
    place(a, weir_dial(chaos.where, NULL));
}

static void do_accept(struct actor *a)
{
    place(a, weir_accept(atomic_load(&chaos.listener), NULL));
}

static void do_listen(struct actor *a)
{
    if (atomic_load(&chaos.listener) && pick(a, 8))
        return;
    weir_close(atomic_exchange(&chaos.listener, NULL));
    weir_close(atomic_exchange(&chaos.listener, weir_listen(chaos.where, NULL)));
}

static void do_read(struct actor *a)
{
    weir_read(some_conn(a), a->buf, pick(a, BUFFER));
}

static void do_readn(struct actor *a)
{
    weir_readn(some_conn(a), a->buf, pick(a, BUFFER));
}

static void do_write(struct actor *a)
{
    weir_write(some_conn(a), a->buf, pick(a, BUFFER));
}

static void do_peek(struct actor *a)
{
    const void *bytes;
    void *c = some_conn(a);
    ssize_t n = weir_peek(c, &bytes, 1 + pick(a, 3000));
    if (n > 0)
        weir_skip(c, pick(a, (uint64_t)n + 2));
}

static void do_line(struct actor *a)
{
    if (pick(a, 2))
        weir_getline(some_conn(a), a->buf, BUFFER);
    else
        weir_printf(some_conn(a), "%d\n", (int)pick(a, 1000));
}

static void do_frame(struct actor *a)
{
    if (pick(a, 2))
        weir_getframe(some_conn(a), a->buf, BUFFER, 2);
    else
        weir_putframe(some_conn(a), a->buf, pick(a, BUFFER), 2);
}

static void do_urgent(struct actor *a)
{
    void *c = some_conn(a);
    if (pick(a, 2))
        weir_send(c, "!", 1, MSG_OOB);
    else if (weir_atmark(c) == 1)
        weir_recv(c, a->buf, 1, MSG_OOB);
}

static void do_idle(struct actor *a)
{
    weir_idle(some_conn(a));
}

static void do_end(struct actor *a)
{
    static int (*const ends[])(weir_conn *) = { weir_finish, weir_abort };
    void *c = some_conn(a);
    uint64_t way = pick(a, 6);
    if (way < 2)
        ends[way](c);
    else if (way < 4)
        weir_shutdown(c, way == 2 ? SHUT_WR : SHUT_RD);
    else
        weir_close(c);
}

static void do_move(struct actor *a)
{
    int fd = weir_detach(some_conn(a));
    if (fd < 0)
        return;
    weir_conn *c = pick(a, 2) ? weir_conn_fd(fd) : NULL;
    if (c)
        place(a, c);
    else
        close(fd);
}

static void do_ask(struct actor *a)
{
    weir_conn_info info;
    weir_addr addr;
    int64_t value;
    weir_info(some_conn(a), &info);
    weir_peer(some_conn(a), &addr);
    weir_local(atomic_load(&chaos.listener), &addr);
    weir_set(some_conn(a), WEIR_O_LINGER, (int64_t)pick(a, 3) - 1);
    weir_set(some_conn(a), WEIR_O_READ_STALL, (int64_t)pick(a, 2) * 1000);
    weir_get(some_conn(a), WEIR_O_RCVBUF, &value);
}

static void do_poll(struct actor *a)
{
    weir_pollent e[4] = {
        { .h = some_conn(a), .events = POLLIN },
        { .h = some_conn(a), .events = POLLIN | POLLOUT },
        { .h = some_channel(a), .events = pick(a, 2) ? POLLIN : POLLOUT },
        { .h = atomic_load(&chaos.listener), .events = POLLIN },
    };
    weir_poll(e, 1 + (int)pick(a, 4));
}

static void do_channel(struct actor *a)
{
    int value = 0;
    uint64_t way = pick(a, 16);
    if (way == 0) {
        _Atomic(void *) *at = &chaos.channels[pick(a, CHANNELS)];
        weir_close(atomic_exchange(at, weir_chan_open(sizeof value, pick(a, 3))));
    } else if (way == 1) {
        weir_chan_done(some_channel(a));
    } else if (way < 9) {
        weir_chan_send(some_channel(a), &value);
    } else {
        weir_chan_recv(some_channel(a), &value);
    }
}

static void do_outbox(struct actor *a)
{
    weir_outbox_opts o = { .max_msgs = 4, .overflow = (weir_overflow)pick(a, 4) };
    weir_outbox *b = weir_outbox_open(some_conn(a), &o);
    if (!b)
        return;
    for (int i = 0; i < 6; i++) {
        weir_msg *m = weir_msg_new(a->buf, pick(a, BUFFER));
        weir_outbox_put(b, m);
        weir_msg_unref(m);
    }
    weir_outbox_flush(b);
    weir_close(b);
}

static void do_relay(struct actor *a)
{
    weir_relay_opts o = { .idle = 200 * WEIR_US };
    weir_relay(some_conn(a), some_conn(a), &o);
}

static void do_one(struct actor *a, uint64_t what);

static int do_other(void *arg)
{
    struct actor a = { .buf = calloc(1, BUFFER) };
    (void)arg;
    uint64_t number = (uint64_t)atomic_fetch_add(&chaos.number, 1);
    random_seed(&a.random, chaos.seed * 1000003 + number);
    CHECK(a.buf != NULL);
    WEIR_DEADLINE(WEIR_SEC);
    do_one(&a, pick(&a, 12));
    free(a.buf);
    return 0;
}

/* Somebody begins one of the calls, without a deadline to speak of, and is cancelled. */
static void do_cancel(struct actor *a)
{
    weir_group *g = weir_group_open(NULL);
    if (!g)
        return;
    weir_go_copy(g, do_other, NULL, 0, &(weir_fiber_opts){ .worker = (int)pick(a, 3) });
    for (uint64_t turns = pick(a, 3); turns > 0; turns--)
        weir_yield();
    weir_group_cancel(g);
    weir_close(g);
}

static void do_one(struct actor *a, uint64_t what)
{
    static void (*const things[])(struct actor *) = {
        do_read, do_write, do_peek, do_readn, do_line, do_frame, do_urgent, do_idle, do_accept,
        do_poll, do_channel, do_relay, /* those above may also be cancelled midway */
        do_pair, do_dial, do_listen, do_end, do_move, do_ask, do_outbox, do_cancel,
    };
    things[what % (sizeof things / sizeof *things)](a);
}

/* ---- a round ---- */

static int act(void *arg)
{
    struct actor a = { .buf = calloc(1, BUFFER) };
    (void)arg;
    CHECK(a.buf != NULL);
    random_seed(&a.random, chaos.seed * 1000003 + (uint64_t)atomic_fetch_add(&chaos.number, 1));
    for (int i = 0; i < STEPS / test_slowness(); i++) {
        weir_time outer = weir_deadline_set(pick(&a, 4) ? weir_after((int64_t)pick(&a, 300000))
                                                        : INT64_MIN);
        do_one(&a, pick(&a, 1000));
        weir_deadline_restore(outer);
    }
    free(a.buf);
    return 0;
}

static void close_all(void)
{
    for (int i = 0; i < CONNS; i++)
        weir_close(atomic_exchange(&chaos.conns[i], NULL));
    for (int i = 0; i < CHANNELS; i++)
        weir_close(atomic_exchange(&chaos.channels[i], NULL));
    weir_close(atomic_exchange(&chaos.listener, NULL));
}

NET_TEST_TROUBLED(chaos,
                  "whatever many tasks do to shared handles at once, nothing breaks or stays")
{
    const char *seed = getenv("CHAOS_SEED");
    chaos.seed = seed ? strtoull(seed, NULL, 10) : 1;
    atomic_store(&chaos.listener, listen_local(chaos.where, NULL));
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < TASKS; i++)
        (i % 2 ? start : start_elsewhere)(g, act, NULL);
    finish_group(g);
    close_all();
}
