/* park_end_test.c -- parked connections when their server ends and no more fibers are to be had. */
#include <stdio.h>

#include "../../include/weir.h"
#include "../test.h"

enum { GUESTS = 40 };

static struct {
    weir_listener *listener;
    weir_group *group;
    weir_conn *member[2];
    int opened, closed;
    bool ends;
} hall;

static int answer_and_park(weir_conn *c, void *arg)
{
    const void *bytes;
    (void)arg;
    weir_name("a visit"); /* so that the next one begins in a fiber of its own */
    if (weir_peek(c, &bytes, 1) <= 0)
        return WEIR_DONE;
    CHECK_OK(weir_skip(c, 1));
    if (hall.ends) {
        CHECK_OK(weir_group_drain(hall.group));
        return WEIR_DONE;
    }
    CHECK_EQ(weir_write(c, "k", 1), 1);
    return WEIR_PARK;
}

static void is_opened(weir_conn *c, void *arg)
{
    (void)arg;
    if (hall.opened < 2)
        hall.member[hall.opened] = c;
    hall.opened++;
}

static void is_closed(weir_conn *c, void *arg)
{
    (void)c;
    (void)arg;
    hall.closed++;
}

static void takes_the_other_along(weir_conn *c, void *arg)
{
    is_closed(c, arg);
    for (int i = 0; i < 2; i++) {
        weir_conn *other = hall.member[1 - i];
        if (c != hall.member[i] || !other)
            continue;
        hall.member[0] = hall.member[1] = NULL;
        CHECK_OK(weir_close(other));
        return;
    }
}

static int serve_hall(void *arg)
{
    (void)weir_serve(hall.listener, answer_and_park, NULL, arg);
    return 0;
}

static void exchange(weir_conn *c)
{
    char byte;
    CHECK_EQ(weir_write(c, "x", 1), 1);
    CHECK_EQ(weir_read(c, &byte, 1), 1);
}

/* Opens the server and as many clients, each of which has been answered once. */
static void hall_open(weir_serve_opts *o, weir_conn **clients, int count)
{
    char text[WEIR_ADDRSTR], where[WEIR_ADDRSTR + 8];
    weir_addr at;
    hall.listener = weir_listen("tcp://127.0.0.1:0", NULL);
    CHECK(hall.listener != NULL);
    CHECK_OK(weir_local(hall.listener, &at));
    snprintf(where, sizeof where, "tcp://%s", weir_addr_str(&at, text, sizeof text));
    hall.group = weir_group_open(NULL);
    CHECK_OK(weir_go(hall.group, serve_hall, o));
    for (int i = 0; i < count; i++) {
        clients[i] = weir_dial(where, NULL);
        CHECK(clients[i] != NULL);
        exchange(clients[i]);
    }
}

static int cancel_partners(void *arg)
{
    weir_conn *clients[2];
    weir_serve_opts o = { .no_signals = true,
                          .on_open = is_opened,
                          .on_close = takes_the_other_along };
    (void)arg;
    hall_open(&o, clients, 2);
    CHECK_OK(weir_group_cancel(hall.group));
    CHECK_EQ(weir_group_wait(hall.group), 0);
    CHECK_EQ(hall.closed, hall.opened);
    for (int i = 0; i < 2; i++)
        CHECK_OK(weir_close(clients[i]));
    return weir_close(hall.group);
}

TEST(partners, "a parked connection is closed by another's on_close while the server is cancelled")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, cancel_partners, NULL), 0);
}

static int leave_at_once(void *arg)
{
    weir_conn *clients[GUESTS];
    weir_serve_opts o = {
        .no_signals = true, .on_open = is_opened, .on_close = is_closed, .drain = -1
    };
    char byte;
    (void)arg;
    hall_open(&o, clients, GUESTS);
    hall.ends = true;
    for (int i = 0; i < GUESTS; i++)
        CHECK_EQ(weir_write(clients[i], "x", 1), 1);
    CHECK_EQ(weir_group_wait(hall.group), 0);
    CHECK_EQ(hall.opened, GUESTS);
    CHECK_EQ(hall.closed, GUESTS);
    for (int i = 0; i < GUESTS; i++) {
        CHECK(weir_read(clients[i], &byte, 1) <= 0);
        CHECK_OK(weir_close(clients[i]));
    }
    return weir_close(hall.group);
}

TEST(leave, "of many parked connections that speak as their server ends none is forgotten")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, leave_at_once, NULL), 0);
}
