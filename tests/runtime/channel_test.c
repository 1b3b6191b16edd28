/* channel_test.c -- what channels promise, on workers and on threads. */
#include <pthread.h>
#include <string.h>

#include "places.h"

static const size_t capacities[] = { 0, 1, 3, 64 };
enum { CAPACITIES = sizeof capacities / sizeof *capacities };

static weir_chan *channel(size_t elem, size_t capacity)
{
    weir_chan *ch = weir_chan_open(elem, capacity);
    CHECK(ch != NULL);
    return ch;
}

/* ---- order and capacity ---- */

enum { COUNT = 5000 };

static int send_numbers(void *arg)
{
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK_EQ(weir_chan_send(arg, &i), 0);
    CHECK_OK(weir_chan_done(arg));
    return 0;
}

static void elements_come_in_order(void)
{
    for (int c = 0; c < CAPACITIES; c++) {
        weir_chan *ch = channel(sizeof(uint32_t), capacities[c]);
        weir_group *g = group();
        start(g, send_numbers, ch);
        uint32_t v = 0;
        for (uint32_t i = 0; i < COUNT; i++) {
            CHECK_EQ(weir_chan_recv(ch, &v), 1);
            CHECK_EQ(v, i);
        }
        CHECK_EQ(weir_chan_recv(ch, &v), 0);
        CHECK_EQ(weir_chan_recv(ch, &v), 0);
        finish(g);
        CHECK_OK(weir_close(ch));
    }
}

static void capacity_is_exact(void)
{
    WEIR_TRY;
    for (int c = 0; c < CAPACITIES; c++) {
        weir_chan *ch = channel(sizeof(int), capacities[c]);
        int v = 0;
        for (int round = 0; round < 3; round++) {
            for (; v < (int)capacities[c]; v++)
                CHECK_OK(weir_chan_send(ch, &v));
            CHECK_ERRNO(weir_chan_send(ch, &v), EAGAIN);
            for (int i = 0; i < (int)capacities[c]; i++) {
                CHECK_EQ(weir_chan_recv(ch, &v), 1);
                CHECK_EQ(v, i);
            }
            CHECK_ERRNO(weir_chan_recv(ch, &v), EAGAIN);
            v = 0;
        }
        CHECK_OK(weir_close(ch));
    }
}

struct big {
    char bytes[4099];
};

static int send_big(void *arg)
{
    struct big b;
    for (int i = 0; i < 10; i++) {
        memset(&b, 'a' + i, sizeof b);
        CHECK_OK(weir_chan_send(arg, &b));
    }
    return 0;
}

static void elements_have_any_size(void)
{
    for (int c = 0; c < CAPACITIES; c++) {
        weir_chan *ch = channel(sizeof(struct big), capacities[c]);
        weir_group *g = group();
        struct big got, want;
        start(g, send_big, ch);
        for (int i = 0; i < 10; i++) {
            memset(&want, 'a' + i, sizeof want);
            CHECK_EQ(weir_chan_recv(ch, &got), 1);
            CHECK_MEM(&got, &want, sizeof want);
        }
        finish(g);
        CHECK_OK(weir_close(ch));
    }
}

static void elements_may_be_empty(void)
{
    weir_chan *ch = channel(0, 2);
    WEIR_TRY;
    CHECK_OK(weir_chan_send(ch, NULL));
    CHECK_OK(weir_chan_send(ch, NULL));
    CHECK_ERRNO(weir_chan_send(ch, NULL), EAGAIN);
    CHECK_EQ(weir_chan_recv(ch, NULL), 1);
    CHECK_EQ(weir_chan_recv(ch, NULL), 1);
    CHECK_ERRNO(weir_chan_recv(ch, NULL), EAGAIN);
    CHECK_OK(weir_close(ch));
}

static void impossible_sizes_are_refused(void)
{
    CHECK_NULL_ERRNO(weir_chan_open(SIZE_MAX / 2, 4), ENOMEM);
    CHECK_NULL_ERRNO(weir_chan_open((size_t)1 << 40, (size_t)1 << 40), ENOMEM);
}

/* ---- first come, first served (one worker: then the order of arrival is known) ---- */

static int order[8];
static int arrived;

struct turn {
    weir_chan *ch;
    int number;
};

static int take_a_turn(void *arg)
{
    struct turn *t = arg;
    int v;
    CHECK_EQ(weir_chan_recv(t->ch, &v), 1);
    CHECK_EQ(v, t->number);
    order[arrived++] = t->number;
    return 0;
}

static void receivers_are_served_in_turn(void)
{
    struct turn turns[8];
    weir_chan *ch = channel(sizeof(int), 0);
    weir_group *g = group();
    for (int i = 0; i < 8; i++) {
        turns[i] = (struct turn){ ch, i };
        CHECK_OK(weir_go(g, take_a_turn, &turns[i]));
        CHECK_OK(weir_yield());
    }
    for (int i = 0; i < 8; i++)
        CHECK_OK(weir_chan_send(ch, &i));
    finish(g);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(order[i], i);
    CHECK_OK(weir_close(ch));
}

static int give_a_turn(void *arg)
{
    struct turn *t = arg;
    CHECK_OK(weir_chan_send(t->ch, &t->number));
    return 0;
}

static void senders_are_served_in_turn(void)
{
    struct turn turns[8];
    weir_chan *ch = channel(sizeof(int), 2);
    weir_group *g = group();
    for (int i = 0; i < 8; i++) {
        turns[i] = (struct turn){ ch, i };
        CHECK_OK(weir_go(g, give_a_turn, &turns[i]));
        CHECK_OK(weir_yield());
    }
    for (int i = 0, v; i < 8; i++) {
        CHECK_EQ(weir_chan_recv(ch, &v), 1);
        CHECK_EQ(v, i);
    }
    finish(g);
    CHECK_OK(weir_close(ch));
}

static bool others_ran;

static int note_turn(void *arg)
{
    (void)arg;
    others_ran = true;
    return 0;
}

static void ready_channel_starves_nobody(void)
{
    weir_chan *ch = channel(sizeof(int), 1);
    weir_group *g = group();
    CHECK_OK(weir_go(g, note_turn, NULL));
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(weir_chan_send(ch, &i));
        CHECK_EQ(weir_chan_recv(ch, &i), 1);
    }
    CHECK(others_ran);
    finish(g);
    CHECK_OK(weir_close(ch));
}

/* ---- deadlines and cancellation ---- */

static void deadline_ends_a_wait(void)
{
    weir_chan *empty = channel(sizeof(int), 1), *full = channel(sizeof(int), 0);
    int v = 1;
    weir_time until = weir_after(20 * WEIR_MS);
    {
        WEIR_DEADLINE(20 * WEIR_MS);
        CHECK_ERRNO(weir_chan_recv(empty, &v), ETIME);
        CHECK(weir_now() >= until - WEIR_MS);
        CHECK_ERRNO(weir_chan_send(full, &v), ETIME);
        CHECK_OK(weir_chan_send(empty, &v)); /* what need not wait has no deadline to miss */
    }
    v = 0;
    CHECK_EQ(weir_chan_recv(empty, &v), 1);
    CHECK_EQ(v, 1);
    WEIR_TRY;
    CHECK_ERRNO(weir_chan_recv(full, &v), EAGAIN); /* the late element was not left behind */
    CHECK_OK(weir_close(empty));
    CHECK_OK(weir_close(full));
}

static int recv_until_cancelled(void *arg)
{
    int v;
    CHECK_ERRNO(weir_chan_recv(arg, &v), ECANCELED);
    CHECK_ERRNO(weir_chan_recv(arg, &v), ECANCELED);
    CHECK_ERRNO(weir_chan_send(arg, &v), ECANCELED);
    return 0;
}

static int send_until_cancelled(void *arg)
{
    int v = 0;
    CHECK_ERRNO(weir_chan_send(arg, &v), ECANCELED);
    return 0;
}

static void cancel_ends_a_wait(void)
{
    weir_chan *a = channel(sizeof(int), 1), *b = channel(sizeof(int), 0);
    weir_group *g = group();
    for (int i = 0; i < 8; i++)
        start(g, i % 2 ? recv_until_cancelled : send_until_cancelled, i % 2 ? a : b);
    settle();
    CHECK_OK(weir_group_cancel(g));
    finish(g);
    int v;
    WEIR_TRY;
    CHECK_ERRNO(weir_chan_recv(b, &v), EAGAIN);
    CHECK_OK(weir_close(a));
    CHECK_OK(weir_close(b));
}

/* ---- done and close ---- */

static int recv_the_end(void *arg)
{
    int v;
    CHECK_EQ(weir_chan_recv(arg, &v), 0);
    return 0;
}

static void done_wakes_receivers(void)
{
    weir_chan *ch = channel(sizeof(int), 1);
    weir_group *g = group();
    for (int i = 0; i < 6; i++)
        start(g, recv_the_end, ch);
    settle();
    CHECK_OK(weir_chan_done(ch));
    finish(g);
    CHECK_OK(weir_close(ch));
}

static int send_in_vain(void *arg)
{
    int v = 9;
    CHECK_ERRNO(weir_chan_send(arg, &v), EPIPE);
    return 0;
}

static void done_refuses_senders_but_keeps_elements(void)
{
    weir_chan *ch = channel(sizeof(int), 2);
    weir_group *g = group();
    int v = 1;
    CHECK_OK(weir_chan_send(ch, &v));
    v = 2;
    CHECK_OK(weir_chan_send(ch, &v));
    for (int i = 0; i < 4; i++)
        start(g, send_in_vain, ch);
    settle();
    CHECK_OK(weir_chan_done(ch));
    CHECK_OK(weir_chan_done(ch));
    finish(g);
    for (int i = 1; i <= 2; i++) {
        CHECK_EQ(weir_chan_recv(ch, &v), 1);
        CHECK_EQ(v, i);
    }
    CHECK_EQ(weir_chan_recv(ch, &v), 0);
    CHECK_OK(weir_close(ch));
}

static int recv_from_closed(void *arg)
{
    int v;
    CHECK_ERRNO(weir_chan_recv(arg, &v), EBADF);
    return 0;
}

static int send_to_closed(void *arg)
{
    int v = 0;
    CHECK_ERRNO(weir_chan_send(arg, &v), EBADF);
    return 0;
}

static void close_wakes_everybody(void)
{
    weir_chan *a = channel(sizeof(int), 1), *b = channel(sizeof(int), 0);
    weir_group *g = group();
    for (int i = 0; i < 8; i++)
        start(g, i % 2 ? recv_from_closed : send_to_closed, i % 2 ? a : b);
    settle();
    CHECK_OK(weir_close(a));
    CHECK_OK(weir_close(b));
    finish(g);
    CHECK_ERRNO(weir_close(a), EBADF);
    CHECK_ERRNO(weir_chan_done(a), EBADF);
}

static void old_name_stays_closed(void)
{
    weir_chan *old = channel(sizeof(int), 4);
    int v = 1;
    CHECK_OK(weir_chan_send(old, &v));
    CHECK_OK(weir_close(old));
    for (int i = 0; i < 100; i++) {
        weir_chan *ch = channel(sizeof(int), 4);
        CHECK_ERRNO(weir_chan_send(old, &v), EBADF);
        CHECK_ERRNO(weir_chan_recv(old, &v), EBADF);
        WEIR_TRY;
        CHECK_ERRNO(weir_chan_recv(ch, &v), EAGAIN);
        CHECK_OK(weir_close(ch));
    }
    CHECK_ERRNO(weir_chan_send(NULL, &v), EBADF);
    CHECK_ERRNO(weir_close(NULL), EBADF);
}

/* ---- waiting for a channel beside others ---- */

static int poll_for_input(void *arg)
{
    weir_pollent e = { .h = arg, .fd = -1, .events = POLLIN };
    int v;
    CHECK_EQ(weir_poll(&e, 1), 1);
    CHECK_EQ(e.revents, POLLIN);
    WEIR_TRY;
    CHECK_EQ(weir_chan_recv(arg, &v), 1);
    return 0;
}

static void poll_sees_channels(void)
{
    weir_chan *ch = channel(sizeof(int), 1);
    weir_pollent e[] = { { .h = ch, .fd = -1, .events = POLLIN } };
    int v = 1;
    weir_group *g = group();
    start(g, poll_for_input, ch);
    settle();
    CHECK_OK(weir_chan_send(ch, &v));
    finish(g);
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(weir_poll(e, 1), ETIME);
    }
    e[0].events = POLLIN | POLLOUT;
    CHECK_EQ(weir_poll(e, 1), 1);
    CHECK_EQ(e[0].revents, POLLOUT);
    CHECK_OK(weir_chan_done(ch));
    CHECK_EQ(weir_poll(e, 1), 1);
    CHECK_EQ(e[0].revents & POLLHUP, POLLHUP);
    CHECK_OK(weir_close(ch));
}

static int poll_until_closed(void *arg)
{
    weir_pollent e = { .h = arg, .fd = -1, .events = POLLIN };
    int n = weir_poll(&e, 1);
    CHECK(n == 1 ? e.revents == POLLNVAL : errno == EBADF);
    return 0;
}

static void poll_sees_a_close(void)
{
    weir_chan *ch = channel(sizeof(int), 1);
    weir_group *g = group();
    for (int i = 0; i < 4; i++)
        start(g, poll_until_closed, ch);
    settle();
    CHECK_OK(weir_close(ch));
    finish(g);
}

TEST_TABLE(channels)
{
    add_places(EVERYWHERE, "elements come in the order they were sent", elements_come_in_order);
    add_places(EVERYWHERE, "a channel takes as many elements as its capacity", capacity_is_exact);
    add_places(EVERYWHERE, "elements of thousands of bytes arrive whole", elements_have_any_size);
    add_places(EVERYWHERE, "an element may have no bytes at all", elements_may_be_empty);
    add_places(EVERYWHERE, "a channel too large for memory is refused",
               impossible_sizes_are_refused);
    add_places(ONE_WORKER, "the receiver that came first is served first",
               receivers_are_served_in_turn);
    add_places(ONE_WORKER, "the sender that came first is served first",
               senders_are_served_in_turn);
    add_places(ONE_WORKER, "a fiber that never has to wait for its channel lets others run",
               ready_channel_starves_nobody);
    add_places(EVERYWHERE, "a deadline ends the wait for a channel", deadline_ends_a_wait);
    add_places(EVERYWHERE, "cancelling ends the wait for a channel", cancel_ends_a_wait);
    add_places(EVERYWHERE, "receivers of a done and empty channel get 0", done_wakes_receivers);
    add_places(EVERYWHERE, "a done channel refuses elements and gives out what it has",
               done_refuses_senders_but_keeps_elements);
    add_places(EVERYWHERE, "closing a channel wakes everybody with EBADF", close_wakes_everybody);
    add_places(EVERYWHERE, "the name of a closed channel never means another one",
               old_name_stays_closed);
    add_places(EVERYWHERE, "weir_poll sees when a channel is ready", poll_sees_channels);
    add_places(EVERYWHERE, "weir_poll sees when a channel is closed", poll_sees_a_close);
}
