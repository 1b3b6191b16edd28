/* native_test.c -- calls on the worker's own stack. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "../../include/weir.h"
#include "../test.h"

static weir_conn *native_conn;
static atomic_int native_others;

static int native_depth(void *arg)
{
    char room[4 << 20];
    memset(room, *(int *)arg, sizeof room);
    CHECK_ERRNO(weir_sleep(1), EDEADLK);
    CHECK_ERRNO(weir_close(native_conn), EDEADLK);
    int before = atomic_load(&native_others);
    for (int i = 0; i < 5000; i++) /* calls that would let others run, elsewhere */
        CHECK_OK(weir_yield());
    CHECK_EQ(atomic_load(&native_others), before);
    return room[sizeof room / 2] + 1;
}

static int run_often(void *arg)
{
    while (!weir_yield())
        atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int goes_native(void *arg)
{
    (void)arg;
    int value = 41;
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, run_often, &native_others));
    CHECK_OK(weir_yield());
    CHECK_OK(weir_pair(c));
    native_conn = c[0];
    CHECK_EQ(weir_native(native_depth, &value), 42);
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_close(c[0]));
    return weir_close(c[1]);
}

TEST(native, "weir_native runs on the worker's big stack, where waiting is refused")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, goes_native, NULL), 0);
}

enum { NATIVE_SENT = 20000 };

/* Each poll puts itself on the channel's list and takes itself off, while a sender on another
 * worker may have found it there. */
static int native_receive(void *arg)
{
    int got = 0, value;
    while (got < NATIVE_SENT) {
        weir_pollent e = { .h = arg, .events = POLLIN };
        int n = weir_poll(&e, 1);
        if (n != 1)
            CHECK_ERRNO(n, EDEADLK);
        WEIR_TRY;
        while (weir_chan_recv(arg, &value) == 1)
            CHECK_EQ(value, got++);
    }
    return 0;
}

static int send_all(void *arg)
{
    for (int i = 0; i < NATIVE_SENT; i++)
        CHECK_OK(weir_chan_send(*(weir_chan **)arg, &i));
    return 0;
}

static int polls_native(void *arg)
{
    (void)arg;
    weir_group *g = weir_group_open(NULL);
    weir_chan *ch = weir_chan_open(sizeof(int), 1);
    CHECK_OK(weir_go_copy(g, send_all, &ch, sizeof ch, &(weir_fiber_opts){ .worker = 2 }));
    CHECK_EQ(weir_native(native_receive, ch), 0);
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_OK(weir_close(ch));
    return weir_close(g);
}

TEST(native_poll, "a poll in weir_native that a waker has found already waits for that and no more")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, polls_native, NULL), 0);
}
