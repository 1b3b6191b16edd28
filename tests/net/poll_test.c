/* poll_test.c -- waiting for connections, listeners, channels and descriptors at once. */
#include "net_test.h"

#include "io/op.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>

NET_TEST(poll_conns, "poll says which of several connections are ready, and for what")
{
    weir_conn *a[2], *b[2];
    tcp_pair(a);
    tcp_pair(b);
    weir_pollent e[3] = { { .h = a[0], .events = POLLIN }, { .h = b[0], .events = POLLIN },
                          { .h = b[0], .events = POLLOUT } };
    CHECK_EQ(weir_poll(e, 3), 1);
    CHECK_EQ(e[2].revents, POLLOUT);
    CHECK_EQ(e[0].revents | e[1].revents, 0);
    CHECK_EQ(weir_write(a[1], "x", 1), 1);
    await_bytes(a[0], 1);
    CHECK_EQ(weir_poll(e, 2), 1);
    CHECK_EQ(e[0].revents, POLLIN);
    CHECK_EQ(e[1].revents, 0);
    CHECK_EQ(weir_write(b[1], "x", 1), 1);
    await_bytes(b[0], 1);
    CHECK_EQ(weir_poll(e, 3), 3);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(weir_close(a[i]));
        CHECK_OK(weir_close(b[i]));
    }
}

NET_TEST(poll_buffered, "bytes the library has buffered are readable")
{
    weir_conn *c[2];
    const void *p;
    tcp_pair(c);
    CHECK_EQ(weir_write(c[1], "ab", 2), 2);
    CHECK_EQ(weir_peek(c[0], &p, 2), 2);
    weir_pollent e = { .h = c[0], .events = POLLIN };
    CHECK_EQ(weir_poll(&e, 1), 1);
    CHECK_EQ(e.revents, POLLIN);
    CHECK_OK(weir_skip(c[0], 2));
    WEIR_TRY;
    CHECK_ERRNO(weir_poll(&e, 1), EAGAIN);
    CHECK_EQ(e.revents, 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(poll_ends, "the peer's end, a reset and a stale handle are told apart")
{
    weir_conn *c[2];
    int fd;
    tcp_pair(c);
    weir_conn *reset = raw_pair(&fd);
    weir_pollent e[3] = { { .h = c[0], .events = POLLIN | POLLRDHUP },
                          { .h = reset, .events = POLLIN },
                          { .h = c[1], .events = POLLIN } };
    CHECK_OK(weir_close(c[1]));
    raw_reset(fd);
    CHECK_EQ(weir_poll(&e[0], 1), 1);
    CHECK_EQ(e[0].revents, POLLIN | POLLRDHUP);
    CHECK_EQ(weir_poll(&e[1], 1), 1);
    CHECK(e[1].revents & POLLERR);
    CHECK_EQ(weir_poll(&e[2], 1), 1);
    CHECK_EQ(e[2].revents, POLLNVAL);
    CHECK_EQ(weir_poll(e, 3), 3);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(reset));
}

static int poll_one(void *arg)
{
    weir_pollent *e = arg;
    CHECK_EQ(weir_poll(e, 1), 1);
    return 0;
}

NET_TEST(poll_closed, "closing a handle that is polled is POLLNVAL to who waits")
{
    for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
        weir_conn *c[2];
        char where[ENDPOINT];
        weir_group *g = weir_group_open(NULL);
        tcp_pair(c);
        weir_listener *l = listen_local(where, NULL);
        weir_pollent conn = { .h = c[0], .events = POLLIN };
        weir_pollent listener = { .h = l, .events = POLLIN };
        (elsewhere ? start_elsewhere : start)(g, poll_one, &conn);
        await_waiting("poll");
        CHECK_OK(weir_close(c[0]));
        finish_group(g);
        g = weir_group_open(NULL);
        (elsewhere ? start_elsewhere : start)(g, poll_one, &listener);
        await_waiting("poll");
        CHECK_OK(weir_close(l));
        finish_group(g);
        CHECK_EQ(conn.revents, POLLNVAL);
        CHECK_EQ(listener.revents, POLLNVAL);
        CHECK_OK(weir_close(c[1]));
    }
}

static int dial_one(void *arg)
{
    weir_conn *c = weir_dial(arg, NULL);
    CHECK(c != NULL);
    CHECK_OK(weir_close(c));
    return 0;
}

NET_TEST(poll_listener, "a listener is readable when somebody has connected")
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    weir_group *g = weir_group_open(NULL);
    weir_pollent e = { .h = l, .events = POLLIN };
    start_elsewhere(g, dial_one, where);
    CHECK_EQ(weir_poll(&e, 1), 1);
    CHECK_EQ(e.revents, POLLIN);
    weir_conn *c;
    {
        WEIR_TRY;
        c = weir_accept(l, NULL);
        CHECK(c != NULL);
    }
    finish_group(g);
    CHECK_OK(weir_close(c));
    CHECK_OK(weir_close(l));
}

/* ---- foreign descriptors ---- */

NET_TEST(poll_foreign, "any descriptor can be polled, and one that is none is POLLNVAL")
{
    int p[2];
    CHECK_OK(pipe2(p, O_CLOEXEC));
    weir_pollent e[4] = { { .fd = p[0], .events = POLLIN }, { .fd = p[1], .events = POLLOUT },
                          { .fd = 9999, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
    CHECK_EQ(weir_poll(&e[1], 1), 1);
    CHECK_EQ(e[1].revents, POLLOUT);
    CHECK_EQ(weir_poll(&e[2], 1), 1);
    CHECK_EQ(e[2].revents, POLLNVAL);
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(weir_poll(&e[0], 1), ETIME);
        CHECK_ERRNO(weir_poll(&e[3], 1), ETIME);
        CHECK_EQ(e[3].revents, 0);
        CHECK_ERRNO(weir_poll(NULL, 0), ETIME);
    }
    CHECK_EQ(write(p[1], "x", 1), 1);
    CHECK_EQ(weir_poll(e, 4), 3);
    CHECK_EQ(e[0].revents, POLLIN);
    int file = CHECK_OK(open("/dev/zero", O_RDONLY | O_CLOEXEC));
    weir_pollent zero = { .fd = file, .events = POLLIN };
    CHECK_EQ(weir_poll(&zero, 1), 1);
    CHECK_EQ(zero.revents, POLLIN);
    close(file);
    file = CHECK_OK(memfd_create("file", MFD_CLOEXEC));
    zero.fd = file;
    CHECK_EQ(weir_poll(&zero, 1), 1);
    CHECK_EQ(zero.revents, POLLIN);
    close(file);
    CHECK_ERRNO(weir_poll(e, -1), EINVAL);
    CHECK_ERRNO(weir_poll(NULL, 1), EINVAL);
    close(p[0]);
    close(p[1]);
}

static int exhausted_fd;

static int32_t exhausted(struct op *op)
{
    return op->kind == OP_POLL && op->fd == exhausted_fd ? -ENOMEM : 0;
}

NET_TEST(poll_exhausted, "a poll for which there is no memory fails, and calls nothing closed")
{
    int p[2];
    CHECK_OK(pipe2(p, O_CLOEXEC));
    weir_pollent e[2] = { { .fd = p[0], .events = POLLIN }, { .fd = p[1], .events = POLLOUT } };
    exhausted_fd = p[0];
    op_interpose = exhausted;
    CHECK_ERRNO(weir_poll(e, 1), ENOMEM);
    CHECK_EQ(e[0].revents, 0);
    CHECK_EQ(weir_poll(e, 2), 1);
    CHECK_EQ(e[0].revents, 0);
    CHECK_EQ(e[1].revents, POLLOUT);
    op_interpose = NULL;
    CHECK_EQ(write(p[1], "x", 1), 1);
    CHECK_EQ(weir_poll(e, 1), 1);
    CHECK_EQ(e[0].revents, POLLIN);
    close(p[0]);
    close(p[1]);
}

static int poll_high(void *arg)
{
    weir_pollent e = { .fd = *(int *)arg, .events = POLLIN };
    CHECK_ERRNO(weir_poll(&e, 1), ERANGE);
    CHECK_EQ(e.revents, 0);
    return 0;
}

TEST(poll_high, "a descriptor beyond the reach of select makes a poll fail, and is not closed")
{
    struct rlimit limit;
    int p[2];
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    CHECK_OK(pipe2(p, O_CLOEXEC));
    int high = fcntl(p[0], F_DUPFD_CLOEXEC, FD_SETSIZE);
    if (high < 0)
        SKIP("not enough descriptors");
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1, .backend = WEIR_SELECT }, poll_high, &high), 0);
    close(high);
    close(p[0]);
    close(p[1]);
}

static int write_byte(void *arg)
{
    CHECK_EQ(write(*(int *)arg, "x", 1), 1);
    return 0;
}

NET_TEST(poll_reused, "a foreign number that was closed and is another file is that other file")
{
    for (int i = 0; i < 10; i++) {
        int p[2];
        weir_group *g = weir_group_open(NULL);
        CHECK_OK(pipe2(p, O_CLOEXEC));
        weir_pollent e = { .fd = p[0], .events = POLLIN };
        {
            WEIR_DEADLINE(WEIR_MS);
            CHECK_ERRNO(weir_poll(&e, 1), ETIME);
        }
        start_elsewhere(g, write_byte, &p[1]);
        CHECK_EQ(weir_poll(&e, 1), 1);
        finish_group(g);
        close(p[0]);
        close(p[1]);
    }
}

/* ---- channels ---- */

static int send_number(void *arg)
{
    int number = 7;
    CHECK_OK(weir_chan_send(arg, &number));
    return 0;
}

static int finish_chan(void *arg)
{
    CHECK_OK(weir_chan_done(arg));
    return 0;
}

NET_TEST(poll_chan, "a channel is readable, writable, done and closed beside connections")
{
    weir_conn *c[2];
    int number = 1;
    tcp_pair(c);
    weir_chan *ch = weir_chan_open(sizeof(int), 1);
    weir_pollent e[2] = { { .h = ch, .events = POLLIN | POLLOUT },
                          { .h = c[0], .events = POLLIN } };
    CHECK_EQ(weir_poll(e, 2), 1);
    CHECK_EQ(e[0].revents, POLLOUT);
    CHECK_OK(weir_chan_send(ch, &number));
    CHECK_EQ(weir_poll(e, 2), 1);
    CHECK_EQ(e[0].revents, POLLIN);
    CHECK_EQ(weir_chan_recv(ch, &number), 1);
    e[0].events = POLLIN;
    for (int i = 0; i < 3; i++) {
        weir_group *g = weir_group_open(NULL);
        (i % 2 ? start : start_elsewhere)(g, i < 2 ? send_number : finish_chan, ch);
        CHECK_EQ(weir_poll(e, 2), 1);
        CHECK(e[0].revents & (i < 2 ? POLLIN : POLLHUP));
        CHECK_EQ(e[1].revents, 0);
        finish_group(g);
        if (i < 2)
            CHECK_EQ(weir_chan_recv(ch, &number), 1);
    }
    CHECK_OK(weir_close(ch));
    CHECK_EQ(weir_poll(e, 2), 1);
    CHECK_EQ(e[0].revents, POLLNVAL);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(poll_chan_late, "while a channel is polled a connection or the deadline may be first")
{
    weir_conn *c[2];
    tcp_pair(c);
    weir_chan *ch = weir_chan_open(0, 1);
    weir_pollent e[2] = { { .h = ch, .events = POLLIN }, { .h = c[0], .events = POLLIN } };
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_poll(e, 2), ETIME);
        CHECK_ERRNO(weir_poll(e, 1), ETIME);
    }
    CHECK_EQ(weir_write(c[1], "x", 1), 1);
    CHECK_EQ(weir_poll(e, 2), 1);
    CHECK_EQ(e[1].revents, POLLIN);
    CHECK_EQ(e[0].revents, 0);
    CHECK_OK(weir_close(ch));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- ends of the wait, and many ---- */

static int poll_cancelled(void *arg)
{
    CHECK_ERRNO(weir_poll(arg, 1), ECANCELED);
    return 0;
}

NET_TEST(poll_cancelled, "cancelling ends a poll")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    weir_pollent e = { .h = c[0], .events = POLLIN };
    start_elsewhere(g, poll_cancelled, &e);
    await_waiting("poll");
    CHECK_OK(weir_group_cancel(g));
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(poll_many, "thousands can be polled at once")
{
    enum { MANY = 2000 };
    static weir_pollent e[MANY];
    struct rlimit limit;
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
    if (limit.rlim_cur < 2 * MANY + 100)
        CHECK_OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ limit.rlim_max, limit.rlim_max }));
    static weir_conn *c[MANY][2];
    for (int i = 0; i < MANY; i++) {
        if (weir_pair(c[i]))
            SKIP("not enough descriptors");
        e[i] = (weir_pollent){ .h = c[i][0], .events = POLLIN };
    }
    for (int i = 0; i < 5; i++) {
        int at = i * 397 + 1;
        CHECK_EQ(weir_write(c[at][1], "x", 1), 1);
        CHECK_EQ(weir_poll(e, MANY), 1);
        CHECK_EQ(e[at].revents, POLLIN);
        char byte;
        CHECK_EQ(weir_read(c[at][0], &byte, 1), 1);
    }
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_poll(e, MANY), ETIME);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(weir_close(c[i][0]));
        CHECK_OK(weir_close(c[i][1]));
    }
}
