/* relay_test.c -- copying between two connections. */
#include "net_test.h"

#include <stdatomic.h>

/* a.far - a.near | relay | b.near - b.far */
struct chain {
    weir_conn *a[2], *b[2]; /* [0] near, [1] far */
    weir_relay_opts o;
    weir_group *g;
};

static int relay_all(void *arg)
{
    struct chain *c = arg;
    return weir_relay(c->a[0], c->b[0], &c->o) ? errno : 0;
}

static void chain_open(struct chain *c, weir_relay_opts o)
{
    c->o = o;
    tcp_pair(c->a);
    tcp_pair(c->b);
    c->g = weir_group_open(NULL);
}

static void chain_close(struct chain *c, int result)
{
    CHECK_EQ(weir_group_wait(c->g), result);
    CHECK_OK(weir_close(c->g));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(weir_close(c->a[i]));
        CHECK_OK(weir_close(c->b[i]));
    }
}

NET_TEST_TROUBLED(relay,
                  "a relay copies both ways, passes each end on, and says how much went through")
{
    struct chain c;
    char buf[16];
    chain_open(&c, (weir_relay_opts){ 0 });
    start_elsewhere(c.g, relay_all, &c);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(weir_write(c.a[1], "question", 8), 8);
        CHECK_EQ(weir_readn(c.b[1], buf, 8), 8);
        CHECK_EQ(weir_write(c.b[1], "answer", 6), 6);
        CHECK_EQ(weir_readn(c.a[1], buf, 6), 6);
    }
    CHECK_OK(weir_shutdown(c.a[1], SHUT_WR));
    CHECK_EQ(weir_read(c.b[1], buf, sizeof buf), 0);
    CHECK_EQ(weir_write(c.b[1], "last", 4), 4);
    CHECK_EQ(weir_readn(c.a[1], buf, 4), 4);
    CHECK_OK(weir_shutdown(c.b[1], SHUT_WR));
    CHECK_EQ(weir_read(c.a[1], buf, sizeof buf), 0);
    chain_close(&c, 0);
    CHECK_EQ(c.o.a_to_b, 24);
    CHECK_EQ(c.o.b_to_a, 22);
}

enum { BULK = 4 << 20 };

static int write_bulk(void *arg)
{
    char *buf = malloc(BULK);
    pattern_fill(buf, BULK, 0);
    CHECK_EQ(weir_write(arg, buf, BULK), BULK);
    CHECK_OK(weir_shutdown(arg, SHUT_WR));
    free(buf);
    return 0;
}

static int read_bulk(void *arg)
{
    char *buf = malloc(BULK), byte;
    CHECK_EQ(weir_readn(arg, buf, BULK), BULK);
    CHECK_EQ(weir_read(arg, &byte, 1), 0);
    CHECK(pattern_is(buf, BULK, 0));
    free(buf);
    return 0;
}

NET_TEST_TROUBLED(relay_bulk, "a relay keeps the bytes of two full streams in opposite directions")
{
    struct chain c;
    chain_open(&c, (weir_relay_opts){ 0 });
    start(c.g, relay_all, &c);
    start_elsewhere(c.g, write_bulk, c.a[1]);
    start_elsewhere(c.g, write_bulk, c.b[1]);
    start(c.g, read_bulk, c.a[1]);
    CHECK_EQ(read_bulk(c.b[1]), 0);
    chain_close(&c, 0);
    CHECK_EQ(c.o.a_to_b, BULK);
    CHECK_EQ(c.o.b_to_a, BULK);
}

NET_TEST_TROUBLED(relay_buffered, "what was buffered before the relay goes first")
{
    struct chain c;
    const void *p;
    char buf[16];
    chain_open(&c, (weir_relay_opts){ 0 });
    CHECK_EQ(weir_write(c.a[1], "hello rest", 10), 10);
    CHECK_EQ(weir_peek(c.a[0], &p, 10), 10);
    CHECK_OK(weir_skip(c.a[0], 6));
    start(c.g, relay_all, &c);
    CHECK_EQ(weir_readn(c.b[1], buf, 4), 4);
    CHECK_MEM(buf, "rest", 4);
    CHECK_OK(weir_shutdown(c.a[1], SHUT_WR));
    CHECK_OK(weir_shutdown(c.b[1], SHUT_WR));
    chain_close(&c, 0);
    CHECK_EQ(c.o.a_to_b, 4);
}

NET_TEST(relay_stalled, "a receiver that does not read stops its sender, not the other direction")
{
    struct chain c;
    char buf[8];
    chain_open(&c, (weir_relay_opts){ 0 });
    start(c.g, relay_all, &c);
    size_t sum = 0, more;
    do { /* until the whole chain is full */
        more = fill_socket(c.a[1]);
        sum += more;
        CHECK_EQ(weir_write(c.b[1], "x", 1), 1);
        CHECK_EQ(weir_readn(c.a[1], buf, 1), 1);
    } while (more > 0);
    CHECK(sum < 64 << 20);
    CHECK_OK(weir_abort(c.b[1]));
    int result = weir_group_wait(c.g);
    CHECK(result == ECONNRESET || result == EPIPE);
    CHECK_OK(weir_close(c.g));
    CHECK_OK(weir_abort(c.a[0]));
    CHECK_OK(weir_abort(c.b[0]));
    CHECK_OK(weir_close(c.a[1]));
}

NET_TEST(relay_idle, "an idle relay ends with ETIMEDOUT, and one that is not idle does not")
{
    struct chain c;
    char byte;
    chain_open(&c, (weir_relay_opts){ .idle = 500 * WEIR_MS }); /* a busy machine may stand still */
    start(c.g, relay_all, &c);
    weir_time begin = weir_now();
    while (weir_now() - begin < 800 * WEIR_MS) {
        CHECK_EQ(weir_write(c.a[1], "x", 1), 1);
        CHECK_EQ(weir_read(c.b[1], &byte, 1), 1);
        CHECK_OK(weir_sleep(WEIR_MS));
    }
    begin = weir_now();
    chain_close(&c, ETIMEDOUT);
    CHECK(weir_now() - begin < 5 * WEIR_SEC);
}

NET_TEST_TROUBLED(relay_half_idle, "half closed, the other limit counts")
{
    struct chain c;
    chain_open(&c, (weir_relay_opts){ .idle = 20 * WEIR_SEC, .half_closed_idle = 20 * WEIR_MS });
    start(c.g, relay_all, &c);
    CHECK_OK(weir_shutdown(c.a[1], SHUT_WR));
    chain_close(&c, ETIMEDOUT);
}

NET_TEST(relay_ends, "a relay ends with the caller's deadline, a cancel, a close or a reset")
{
    struct chain c;
    chain_open(&c, (weir_relay_opts){ .idle = WEIR_SEC });
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_relay(c.a[0], c.b[0], NULL), ETIME);
    }
    CHECK_ERRNO(weir_relay(c.a[0], c.a[0], NULL), EINVAL);
    CHECK_ERRNO(weir_relay(c.a[0], c.b[0], &(weir_relay_opts){ .idle = -1 }), EINVAL);
    start(c.g, relay_all, &c);
    await_waiting("poll");
    CHECK_OK(weir_group_cancel(c.g));
    chain_close(&c, ECANCELED);

    chain_open(&c, (weir_relay_opts){ 0 });
    start_elsewhere(c.g, relay_all, &c);
    await_waiting("poll");
    CHECK_OK(weir_close(c.b[0]));
    CHECK_EQ(weir_group_wait(c.g), EBADF);
    CHECK_OK(weir_close(c.g));
    CHECK_OK(weir_close(c.a[0]));
    CHECK_OK(weir_close(c.a[1]));
    CHECK_OK(weir_close(c.b[1]));

    chain_open(&c, (weir_relay_opts){ 0 });
    start_elsewhere(c.g, relay_all, &c);
    await_waiting("poll");
    CHECK_OK(weir_abort(c.a[1]));
    CHECK_EQ(weir_group_wait(c.g), ECONNRESET);
    CHECK_OK(weir_close(c.g));
    CHECK_OK(weir_close(c.a[0]));
    CHECK_OK(weir_close(c.b[0]));
    CHECK_OK(weir_close(c.b[1]));
}

/* Between the two ends of one connection a byte goes round for ever. */
NET_TEST(relay_never_dry, "a relay that always has something to move heeds deadline and cancel")
{
    struct chain c = { .g = weir_group_open(NULL) };
    CHECK_OK(weir_pair(c.a));
    c.b[0] = c.a[1];
    CHECK_EQ(weir_write(c.a[0], "round", 5), 5);
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_relay(c.a[0], c.b[0], &c.o), ETIME);
        CHECK(c.o.b_to_a > 5);
    }
    start_elsewhere(c.g, relay_all, &c);
    CHECK_OK(weir_sleep(WEIR_MS));
    CHECK_OK(weir_group_cancel(c.g));
    CHECK_EQ(weir_group_wait(c.g), ECANCELED);
    CHECK_OK(weir_close(c.g));
    CHECK_OK(weir_close(c.a[0]));
    CHECK_OK(weir_close(c.a[1]));
}
