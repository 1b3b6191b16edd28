/* close_test.c -- the ends of a connection: close, finish, abort, and names that went stale. */
#include "net_test.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>

/* ---- stale names ---- */

NET_TEST(stale, "every call on a closed handle is EBADF, also when its slot is in use again")
{
    weir_conn *c[2], *other[2];
    const void *p;
    char buf[8];
    weir_addr a;
    weir_conn_info info;
    int64_t v;
    tcp_pair(c);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_pair(other));
    CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), EBADF);
    CHECK_ERRNO(weir_write(c[0], "x", 1), EBADF);
    CHECK_ERRNO(weir_readn(c[0], buf, 1), EBADF);
    CHECK_ERRNO(weir_peek(c[0], &p, 1), EBADF);
    CHECK_ERRNO(weir_skip(c[0], 0), EBADF);
    CHECK_ERRNO(weir_idle(c[0]), EBADF);
    CHECK_ERRNO(weir_shutdown(c[0], SHUT_WR), EBADF);
    CHECK_ERRNO(weir_atmark(c[0]), EBADF);
    CHECK_ERRNO(weir_peer(c[0], &a), EBADF);
    CHECK_ERRNO(weir_local(c[0], &a), EBADF);
    CHECK_ERRNO(weir_info(c[0], &info), EBADF);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_NODELAY, 1), EBADF);
    CHECK_ERRNO(weir_get(c[0], WEIR_O_NODELAY, &v), EBADF);
    CHECK_ERRNO(weir_fileno(c[0]), EBADF);
    CHECK_ERRNO(weir_detach(c[0]), EBADF);
    CHECK_ERRNO(weir_relay(c[0], other[0], NULL), EBADF);
    CHECK_ERRNO(weir_finish(c[0]), EBADF);
    CHECK_ERRNO(weir_abort(c[0]), EBADF);
    CHECK_ERRNO(weir_close(c[0]), EBADF);
    CHECK_ERRNO(weir_close(NULL), EBADF);
    CHECK_NULL_ERRNO(weir_outbox_open(c[0], NULL), EBADF);
    CHECK_NULL_ERRNO(weir_accept((weir_listener *)other[0], NULL), EBADF);
    CHECK_OK(weir_close(c[1]));
    CHECK_OK(weir_close(other[0]));
    CHECK_OK(weir_close(other[1]));
}

/* ---- closing under somebody ---- */

static int read_closed(void *arg)
{
    char buf[8];
    CHECK_ERRNO(weir_read(arg, buf, sizeof buf), EBADF);
    return 0;
}

static int peek_closed(void *arg)
{
    const void *p;
    CHECK_ERRNO(weir_peek(arg, &p, 1), EBADF);
    return 0;
}

static int write_closed(void *arg)
{
    static const char zeros[1 << 20];
    ssize_t n;
    while ((n = weir_write(arg, zeros, sizeof zeros)) == sizeof zeros) {
    }
    CHECK_EQ(errno, EBADF);
    return 0;
}

static void close_under(int (*fn)(void *), const char *what, bool elsewhere)
{
    weir_conn *c[2];
    char buf[64 << 10];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    if (elsewhere)
        start_elsewhere(g, fn, c[0]);
    else
        start(g, fn, c[0]);
    await_waiting(what);
    CHECK_OK(weir_close(c[0]));
    while (weir_read(c[1], buf, sizeof buf) > 0) {
    }
    finish_group(g);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(close_reader, "closing a connection ends a read that waits with EBADF")
{
    close_under(read_closed, "recv", false);
    close_under(read_closed, "recv", true);
    close_under(peek_closed, "recv", false);
    close_under(peek_closed, "recv", true);
}

NET_TEST_TROUBLED(close_writer, "closing a connection ends a write that waits with EBADF")
{
    close_under(write_closed, "send", false);
    close_under(write_closed, "send", true);
}

NET_TEST_TROUBLED(close_queue, "closing a connection also ends those who wait for their turn")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    for (int i = 0; i < 4; i++)
        (i % 2 ? start : start_elsewhere)(g, read_closed, c[0]);
    await_waiting("recv");
    CHECK_OK(weir_close(c[0]));
    finish_group(g);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(close_fin, "the peer of a closed connection sees the end at once, also when a read waited")
{
    int fd;
    char byte;
    weir_conn *c = raw_pair(&fd);
    weir_group *g = weir_group_open(NULL);
    start_elsewhere(g, read_closed, c);
    await_waiting("recv");
    CHECK_OK(weir_close(c));
    struct pollfd e = { .fd = fd, .events = POLLIN };
    CHECK_EQ(poll(&e, 1, 2000), 1);
    CHECK_EQ(recv(fd, &byte, 1, 0), 0);
    close(fd);
    finish_group(g);
}

static int close_it(void *arg)
{
    return weir_close(arg) ? errno : 0;
}

NET_TEST(close_twice, "of two who close a connection at once, one does and the other learns EBADF")
{
    for (int i = 0; i < 50; i++) {
        weir_conn *c[2];
        weir_group *g = weir_group_open(NULL);
        CHECK_OK(weir_pair(c));
        start_elsewhere(g, close_it, c[0]);
        start(g, close_it, c[0]);
        int result = weir_group_wait(g);
        CHECK_EQ(result, EBADF);
        CHECK_OK(weir_close(g));
        CHECK_OK(weir_close(c[1]));
    }
}

/* ---- unread input ---- */

static ssize_t read_all_raw(int fd, char *buf, size_t size)
{
    size_t sum = 0;
    ssize_t n;
    while ((n = recv(fd, buf + sum, size - sum, 0)) > 0)
        sum += (size_t)n;
    return n < 0 ? -errno : (ssize_t)sum;
}

/* With room for what is sent: the kernel's own buffers decide how much that may be. */
enum { ANSWER = 100000 };

NET_TEST(lingering, "closing with unread input does not destroy the answer under way")
{
    int fd;
    char *answer = malloc(ANSWER), *got = malloc(ANSWER + 1);
    weir_conn *c = raw_pair(&fd);
    pattern_fill(answer, ANSWER, 0);
    CHECK_EQ(send(fd, "request and more than is read", 29, 0), 29);
    await_bytes(c, 29);
    CHECK_EQ(weir_write(c, answer, ANSWER), ANSWER);
    WEIR_DEADLINE(in_runtime() ? WEIR_SEC : 0); /* a plain thread would wait for the peer: itself */
    CHECK_OK(weir_close(c));
    if (!in_runtime()) { /* nobody lingers for it, but what was there was taken */
        WEIR_SHIELD(WEIR_SEC);
        CHECK_EQ(read_all_raw(fd, got, ANSWER + 1), ANSWER);
    } else {
        for (int i = 0; i < 3; i++) { /* more input meets an open socket, not a reset */
            CHECK_EQ(send(fd, "more", 4, MSG_NOSIGNAL), 4);
            CHECK_OK(weir_sleep(WEIR_MS));
        }
        CHECK_EQ(read_all_raw(fd, got, ANSWER + 1), ANSWER);
    }
    CHECK(pattern_is(got, ANSWER, 0));
    close(fd);
    free(answer);
    free(got);
}

static int read_answer(void *arg)
{
    int fd = *(int *)arg;
    char got[16];
    CHECK_EQ(read_all_raw(fd, got, sizeof got), 6);
    close(fd);
    return 0;
}

NET_TEST(lingering_wait, "a connection kept aside is closed once the peer has closed")
{
    int fd;
    weir_conn *c = raw_pair(&fd);
    weir_group *g = weir_group_open(NULL);
    CHECK_EQ(send(fd, "unread", 6, 0), 6);
    await_bytes(c, 6);
    CHECK_EQ(weir_write(c, "answer", 6), 6);
    start_elsewhere(g, read_answer, &fd);
    CHECK_OK(weir_close(c)); /* the census of descriptors at the end is the check */
    finish_group(g);
}

NET_TEST(lingering_end, "a connection kept aside for a peer that stays is closed after two seconds")
{
    int fd;
    weir_conn *c = raw_pair(&fd);
    weir_time begin = weir_now();
    CHECK_EQ(send(fd, "unread", 6, 0), 6);
    await_bytes(c, 6);
    CHECK_OK(weir_close(c));
    CHECK(!in_runtime() || weir_now() - begin < WEIR_SEC); /* the closer itself does not wait */
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
        CHECK_OK(weir_sleep(10 * WEIR_MS));
    CHECK(weir_now() - begin >= 19 * WEIR_SEC / 10);
    CHECK(weir_now() - begin < 3 * WEIR_SEC * test_slowness());
    close(fd);
}

NET_TEST(lingering_flood,
         "what a peer goes on sending to a closed connection is read up to a limit")
{
    int fd;
    static const char flood[32 << 10];
    size_t sum = 0;
    ssize_t n;
    weir_conn *c = raw_pair(&fd);
    CHECK_EQ(send(fd, "unread", 6, 0), 6);
    await_bytes(c, 6);
    {
        WEIR_DEADLINE(in_runtime() ? WEIR_SEC : 0);
        CHECK_OK(weir_close(c));
    }
    weir_time begin = weir_now();
    while ((n = send(fd, flood, sizeof flood, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0 ||
           errno == EAGAIN) {
        sum += n > 0 ? (size_t)n : 0;
        CHECK_OK(weir_sleep(WEIR_MS / 10));
    }
    CHECK(weir_now() - begin < WEIR_SEC * test_slowness()); /* before the two seconds are over */
    CHECK(sum < 16 << 20);
    close(fd);
}

NET_TEST(close_buffered, "bytes that are only buffered do not make a close a reset")
{
    int fd;
    const void *p;
    char buf[8];
    weir_conn *c = raw_pair(&fd);
    CHECK_EQ(send(fd, "peeked", 6, 0), 6);
    CHECK_EQ(weir_peek(c, &p, 6), 6);
    CHECK_OK(weir_close(c));
    CHECK_EQ(recv(fd, buf, sizeof buf, 0), 0);
    close(fd);
}

NET_TEST(close_unix, "closing a Unix connection with unread input is a plain end to its peer")
{
    weir_conn *c[2];
    char buf[8];
    CHECK_OK(weir_pair(c));
    CHECK_EQ(weir_write(c[1], "unread", 6), 6);
    CHECK_EQ(weir_write(c[0], "answer", 6), 6);
    CHECK_OK(weir_close(c[0]));
    CHECK_EQ(weir_readn(c[1], buf, 6), 6);
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 0);
    CHECK_OK(weir_close(c[1]));
}

/* ---- finish ---- */

static int read_slowly(void *arg)
{
    weir_conn *c = arg;
    static char buf[10000];
    ssize_t n;
    size_t sum = 0;
    while ((n = weir_read(c, buf, sizeof buf)) > 0)
        sum += (size_t)n;
    CHECK_EQ(n, 0);
    CHECK_EQ(sum, 1 << 20);
    CHECK_EQ(weir_write(c, "thanks", 6), 6);
    CHECK_OK(weir_close(c));
    return 0;
}

NET_TEST_TROUBLED(finish, "finish says 0 when the peer has read everything and closed")
{
    weir_conn *c[2];
    char *buf = calloc(1, 1 << 20);
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start_elsewhere(g, read_slowly, c[1]);
    CHECK_EQ(weir_write(c[0], buf, 1 << 20), 1 << 20);
    CHECK_OK(weir_finish(c[0]));
    CHECK_ERRNO(weir_close(c[0]), EBADF);
    finish_group(g);
    free(buf);
}

static int finish_it(void *arg)
{
    return weir_finish(arg);
}

NET_TEST_TROUBLED(finish_pair, "finish works on Unix connections")
{
    weir_conn *c[2];
    char buf[8];
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_pair(c));
    CHECK_EQ(weir_write(c[0], "bye", 3), 3);
    CHECK_OK(weir_shutdown(c[1], SHUT_WR));
    start_elsewhere(g, finish_it, c[0]);
    CHECK_EQ(weir_readn(c[1], buf, 3), 3);
    finish_group(g);
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 0);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(finish_late, "finish closes in any case, and says ETIME when the peer stays")
{
    weir_conn *c[2];
    tcp_pair(c);
    WEIR_DEADLINE(10 * WEIR_MS);
    CHECK_ERRNO(weir_finish(c[0]), ETIME);
    CHECK_ERRNO(weir_close(c[0]), EBADF);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(finish_unread, "finish says ETIME when the peer half-closed but does not read")
{
    weir_conn *c[2];
    tcp_pair(c);
    fill_socket(c[0]);
    CHECK_OK(weir_shutdown(c[1], SHUT_WR));
    WEIR_DEADLINE(20 * WEIR_MS);
    CHECK_ERRNO(weir_finish(c[0]), ETIME);
    CHECK_OK(weir_abort(c[1]));
}

NET_TEST(finish_reset, "finish says ECONNRESET when the peer did not read everything")
{
    int fd;
    weir_conn *c = raw_pair(&fd);
    CHECK_EQ(weir_write(c, "unread", 6), 6);
    struct pollfd e = { .fd = fd, .events = POLLIN };
    CHECK_EQ(poll(&e, 1, 2000), 1);
    close(fd);
    CHECK_ERRNO(weir_finish(c), ECONNRESET);
}

/* ---- abort ---- */

NET_TEST(abort, "abort is a reset to the peer, even with nothing unread")
{
    int fd;
    char byte;
    weir_conn *c = raw_pair(&fd);
    CHECK_OK(weir_abort(c));
    CHECK_ERRNO(recv(fd, &byte, 1, 0), ECONNRESET);
    CHECK_ERRNO(weir_close(c), EBADF);
    close(fd);
}

NET_TEST(linger_option, "WEIR_O_LINGER 0 makes close a reset, and -1 takes it back")
{
    for (int back = 0; back < 2; back++) {
        int fd;
        char byte;
        int64_t v;
        weir_conn *c = raw_pair(&fd);
        CHECK_OK(weir_set(c, WEIR_O_LINGER, 0));
        CHECK_OK(weir_get(c, WEIR_O_LINGER, &v));
        CHECK_EQ(v, 0);
        if (back)
            CHECK_OK(weir_set(c, WEIR_O_LINGER, -1));
        CHECK_ERRNO(weir_set(c, WEIR_O_LINGER, WEIR_SEC), EOPNOTSUPP);
        CHECK_OK(weir_close(c));
        if (back)
            CHECK_EQ(recv(fd, &byte, 1, 0), 0);
        else
            CHECK_ERRNO(recv(fd, &byte, 1, 0), ECONNRESET);
        close(fd);
    }
}
