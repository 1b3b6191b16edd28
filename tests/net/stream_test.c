/* stream_test.c -- reading and writing, their deadlines, and what ends them. */
#include "net_test.h"

/* ---- plain reading and writing ---- */

NET_TEST(read_write, "what is written is read, byte for byte")
{
    weir_conn *c[2];
    char buf[64];
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "hello", 5), 5);
    CHECK_EQ(weir_readn(c[1], buf, 5), 5);
    CHECK_MEM(buf, "hello", 5);
    CHECK_EQ(weir_write(c[1], "", 0), 0);
    CHECK_EQ(weir_read(c[0], buf, 0), 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 0);
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 0);
    CHECK_OK(weir_close(c[1]));
}

enum { LARGE = 8 << 20 };

static int write_large(void *arg)
{
    weir_conn *c = arg;
    char *buf = malloc(LARGE);
    pattern_fill(buf, LARGE, 0);
    CHECK_EQ(weir_write(c, buf, LARGE), LARGE);
    free(buf);
    CHECK_OK(weir_shutdown(c, SHUT_WR));
    return 0;
}

NET_TEST_TROUBLED(large,
                  "a write of more than the socket holds arrives whole, whoever reads it and where")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    static char buf[100000];
    size_t sum = 0;
    ssize_t n;
    tcp_pair(c);
    start_elsewhere(g, write_large, c[0]);
    while ((n = weir_read(c[1], buf, sizeof buf)) > 0) {
        CHECK(pattern_is(buf, (size_t)n, sum));
        sum += (size_t)n;
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(sum, LARGE);
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(pair, "the two ends of a pair are each other's peer, with half-close")
{
    weir_conn *c[2];
    char buf[16];
    CHECK_OK(weir_pair(c));
    CHECK_EQ(weir_write(c[0], "one", 3), 3);
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_EQ(weir_readn(c[1], buf, 3), 3);
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 0);
    CHECK_EQ(weir_write(c[1], "three", 5), 5);
    CHECK_EQ(weir_readn(c[0], buf, 5), 5);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(pieces, "gathered and scattered bytes keep their order, empty pieces and all")
{
    weir_conn *c[2];
    struct iovec out[40], in[3];
    char text[80], a[7], b[20], all[81] = "";
    tcp_pair(c);
    pattern_fill(text, sizeof text, 3);
    for (int i = 0; i < 40; i++)
        out[i] = (struct iovec){ text + 2 * i, i % 5 ? 2 : 0 };
    CHECK_EQ(weir_writev(c[0], out, 40), 64);
    CHECK_EQ(weir_writev(c[0], out, 0), 0);
    await_bytes(c[1], 64);
    in[0] = (struct iovec){ a, sizeof a };
    in[1] = (struct iovec){ NULL, 0 };
    in[2] = (struct iovec){ b, sizeof b };
    CHECK_EQ(weir_readv(c[1], in, 3), 27);
    CHECK_EQ(weir_readn(c[1], all, 37), 37);
    size_t at = 0;
    for (int i = 0; i < 80; i++) {
        if (i / 2 % 5 == 0)
            continue;
        char got = at < 7 ? a[at] : at < 27 ? b[at - 7] : all[at - 27];
        CHECK_EQ(got, text[i]);
        at++;
    }
    CHECK_ERRNO(weir_writev(c[0], out, -1), EINVAL);
    CHECK_ERRNO(weir_readv(c[1], in, -1), EINVAL);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

struct reader {
    weir_conn *c;
    char *buf;
};

static int read_pieces(void *arg)
{
    struct reader *r = arg;
    CHECK_EQ(weir_readn(r->c, r->buf, LARGE / 100 * 100), LARGE / 100 * 100);
    return 0;
}

NET_TEST_TROUBLED(pieces_large, "pieces of more than the socket holds arrive whole")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    struct iovec v[100];
    char *text = malloc(LARGE);
    tcp_pair(c);
    pattern_fill(text, LARGE, 0);
    for (size_t i = 0; i < 100; i++)
        v[i] = (struct iovec){ text + i * (LARGE / 100), LARGE / 100 };
    char *buf = malloc(LARGE);
    struct reader r = { c[1], buf };
    start_elsewhere(g, read_pieces, &r);
    CHECK_EQ(weir_writev(c[0], v, 100), LARGE / 100 * 100);
    finish_group(g);
    CHECK(pattern_is(buf, LARGE / 100 * 100, 0));
    free(text);
    free(buf);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- the end of the stream, the peer's and ours ---- */

NET_TEST_TROUBLED(readn_end, "readn at the end of the stream gives what was there, with errno 0")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "abc", 3), 3);
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    errno = EINVAL;
    CHECK_EQ(weir_readn(c[1], buf, 10), 3);
    CHECK_EQ(errno, 0);
    errno = EINVAL;
    CHECK_EQ(weir_readn(c[1], buf, 10), 0);
    CHECK_EQ(errno, 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(half_close, "after a half-close the other direction goes on, either way round")
{
    for (int side = 0; side < 2; side++) {
        weir_conn *c[2];
        char buf[16];
        tcp_pair(c);
        weir_conn *first = c[side], *second = c[!side];
        CHECK_OK(weir_shutdown(first, SHUT_WR));
        CHECK_OK(weir_shutdown(first, SHUT_WR));
        CHECK_EQ(weir_read(second, buf, sizeof buf), 0);
        CHECK_ERRNO(weir_write(first, "x", 1), EPIPE);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(weir_write(second, "answer", 6), 6);
            CHECK_EQ(weir_readn(first, buf, 6), 6);
        }
        CHECK_OK(weir_close(second));
        CHECK_EQ(weir_read(first, buf, sizeof buf), 0);
        CHECK_OK(weir_shutdown(first, SHUT_WR));
        CHECK_OK(weir_close(first));
    }
}

NET_TEST(reset, "a reset is ECONNRESET to every later read and write, after the bytes before it")
{
    int fd;
    char buf[16];
    weir_conn *c = raw_pair(&fd);
    CHECK_EQ(send(fd, "last", 4, 0), 4);
    await_bytes(c, 4);
    raw_reset(fd);
    CHECK_EQ(weir_readn(c, buf, 4), 4);
    for (int i = 0; i < 3; i++) {
        CHECK_ERRNO(weir_read(c, buf, sizeof buf), ECONNRESET);
        CHECK_ERRNO(weir_write(c, "x", 1), ECONNRESET);
    }
    CHECK(strstr(weir_error()->text, "write") != NULL);
    CHECK_ERRNO(weir_shutdown(c, SHUT_WR), ECONNRESET);
    CHECK_OK(weir_close(c));
}

static int read_until_end(void *arg)
{
    weir_conn *c = arg;
    char buf[16];
    ssize_t n = weir_read(c, buf, sizeof buf);
    return n < 0 ? errno : (int)n;
}

NET_TEST(reset_waiting, "a reset ends a read that waits with ECONNRESET")
{
    int fd;
    weir_conn *c = raw_pair(&fd);
    weir_group *g = weir_group_open(NULL);
    start(g, read_until_end, c);
    await_waiting("recv");
    raw_reset(fd);
    CHECK_EQ(weir_group_wait(g), ECONNRESET);
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_close(c));
}

static int write_until_end(void *arg)
{
    static const char zeros[1 << 20];
    ssize_t n;
    while ((n = weir_write(arg, zeros, sizeof zeros)) == sizeof zeros) {
    }
    return errno;
}

NET_TEST(shutdown_waiting, "a shutdown takes effect at once: the writer that waits gets EPIPE")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start(g, write_until_end, c[0]);
    await_waiting("send");
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_EQ(weir_group_wait(g), EPIPE);
    CHECK_OK(weir_close(g));
    g = weir_group_open(NULL);
    start(g, read_until_end, c[0]);
    await_waiting("recv");
    CHECK_ERRNO(weir_shutdown(c[0], 9), EINVAL);
    CHECK_OK(weir_shutdown(c[0], SHUT_RD));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_abort(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- deadlines and trying ---- */

NET_TEST(try, "under WEIR_TRY what would wait is EAGAIN, and what would not succeeds")
{
    weir_conn *c[2];
    const void *p;
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "x", 1), 1);
    await_bytes(c[1], 1);
    WEIR_TRY;
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 1);
    CHECK_ERRNO(weir_read(c[1], buf, sizeof buf), EAGAIN);
    CHECK_ERRNO(weir_readn(c[1], buf, sizeof buf), EAGAIN);
    CHECK_ERRNO(weir_peek(c[1], &p, 1), EAGAIN);
    CHECK_ERRNO(weir_idle(c[1]), EAGAIN);
    CHECK_ERRNO(weir_getline(c[1], buf, sizeof buf), EAGAIN);
    fill_socket(c[0]);
    CHECK_ERRNO(weir_write(c[0], "x", 1), EAGAIN);
    CHECK_OK(weir_abort(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(deadline,
         "a deadline is ETIME, not before it passes; the shorter of two nested ones counts")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    {
        WEIR_DEADLINE(10 * WEIR_SEC);
        weir_time start = weir_now();
        {
            WEIR_DEADLINE(20 * WEIR_MS);
            CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIME);
            CHECK(weir_now() - start >= 20 * WEIR_MS);
            CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIME);
            {
                WEIR_DEADLINE(10 * WEIR_SEC);
                CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIME);
            }
            CHECK_EQ(weir_write(c[1], "late", 4), 4);
            WEIR_SHIELD(WEIR_SEC);
            await_bytes(c[0], 4);
            CHECK_EQ(weir_read(c[0], buf, sizeof buf), 4);
        }
        CHECK(weir_now() - start < 5 * WEIR_SEC);
        CHECK_EQ(weir_write(c[1], "more", 4), 4);
        CHECK_EQ(weir_readn(c[0], buf, 4), 4);
    }
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(short_counts,
                  "what moved before a deadline is returned, and the next call says why")
{
    weir_conn *c[2];
    char buf[16];
    char *large = calloc(1, LARGE);
    tcp_pair(c);
    CHECK_EQ(weir_write(c[1], "abc", 3), 3);
    {
        WEIR_DEADLINE(20 * WEIR_MS);
        CHECK_EQ(weir_readn(c[0], buf, 10), 3);
        CHECK_EQ(errno, ETIME);
        CHECK_ERRNO(weir_readn(c[0], buf, 10), ETIME);
    }
    ssize_t sent, got;
    {
        WEIR_DEADLINE(20 * WEIR_MS);
        sent = weir_write(c[0], large, LARGE);
        CHECK_EQ(errno, ETIME);
        CHECK(sent > 0 && sent < LARGE);
        CHECK_ERRNO(weir_write(c[0], large, 1), ETIME);
    }
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    size_t sum = 0;
    while ((got = weir_read(c[1], large, LARGE)) > 0)
        sum += (size_t)got;
    CHECK_EQ(sum, (size_t)sent);
    free(large);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(stall, "no progress for the stall limit is ETIMEDOUT, told apart from the caller's ETIME")
{
    weir_conn *c[2];
    char buf[4];
    tcp_pair_with(c, &(weir_opts){ .read_stall = 20 * WEIR_MS, .write_stall = 20 * WEIR_MS },
                  NULL);
    CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIMEDOUT);
    CHECK_EQ(weir_write(c[1], "x", 1), 1);
    CHECK_EQ(weir_read(c[0], buf, sizeof buf), 1); /* not the end of the connection */
    fill_socket(c[0]);
    CHECK_ERRNO(weir_write(c[0], "x", 1), ETIMEDOUT);
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIME);
    }
    CHECK_OK(weir_set(c[0], WEIR_O_READ_STALL, 0));
    {
        WEIR_DEADLINE(40 * WEIR_MS);
        CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIME);
    }
    CHECK_OK(weir_abort(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- cancellation ---- */

static int read_cancelled(void *arg)
{
    char buf[16];
    CHECK_ERRNO(weir_read(arg, buf, sizeof buf), ECANCELED);
    CHECK_ERRNO(weir_write(arg, "x", 1), ECANCELED);
    WEIR_SHIELD(WEIR_SEC);
    CHECK_EQ(weir_write(arg, "bye", 3), 3);
    return 0;
}

NET_TEST(cancel, "cancelling a group ends a read that waits; a shield lets the last words out")
{
    weir_conn *c[2];
    char buf[16];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start(g, read_cancelled, c[0]);
    await_waiting("recv");
    CHECK_OK(weir_group_cancel(g));
    CHECK_EQ(weir_readn(c[1], buf, 3), 3);
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- urgent data ---- */

NET_TEST(urgent, "urgent data is read apart, at its mark")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_send(c[0], "123ab", 5, 0), 5);
    CHECK_EQ(weir_send(c[0], "c", 1, MSG_OOB), 1);
    CHECK_EQ(weir_send(c[0], "123", 3, 0), 3);
    await_bytes(c[1], 5);
    weir_pollent e = { .h = c[1], .events = POLLPRI };
    CHECK_EQ(weir_poll(&e, 1), 1);
    CHECK_EQ(e.revents, POLLPRI);
    CHECK_EQ(weir_recv(c[1], buf, sizeof buf, MSG_OOB), 1);
    CHECK_EQ(buf[0], 'c');
    CHECK_EQ(weir_atmark(c[1]), 0);
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 5);
    CHECK_MEM(buf, "123ab", 5);
    CHECK_EQ(weir_atmark(c[1]), 1);
    CHECK_EQ(weir_readn(c[1], buf, 3), 3);
    CHECK_MEM(buf, "123", 3);
    CHECK_EQ(weir_atmark(c[1]), 0);
    CHECK_ERRNO(weir_recv(c[1], buf, 1, MSG_OOB), EINVAL);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(urgent_inline, "with oob_inline urgent data stays in line")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair_with(c, &(weir_opts){ .oob_inline = true }, NULL);
    CHECK_EQ(weir_send(c[1], "ab", 2, MSG_OOB), 2);
    CHECK_EQ(weir_readn(c[0], buf, 1), 1);
    CHECK_EQ(weir_readn(c[0], buf, 1), 1);
    CHECK_EQ(buf[0], 'b');
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(recv_flags, "recv looks without taking, takes all, and does not wait, as flags say")
{
    weir_conn *c[2];
    char buf[16];
    const void *p;
    tcp_pair(c);
    CHECK_ERRNO(weir_recv(c[1], buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(weir_send(c[0], "abcdef", 6, MSG_MORE), 6);
    CHECK_EQ(weir_send(c[0], "ghi", 3, 0), 3);
    CHECK_EQ(weir_recv(c[1], buf, 9, MSG_WAITALL), 9);
    CHECK_MEM(buf, "abcdefghi", 9);
    CHECK_EQ(weir_write(c[0], "xyz", 3), 3);
    CHECK_EQ(weir_recv(c[1], buf, 2, MSG_PEEK), 2);
    CHECK_MEM(buf, "xy", 2);
    CHECK_EQ(weir_peek(c[1], &p, 3), 3);
    CHECK_EQ(weir_recv(c[1], buf, sizeof buf, MSG_PEEK), 3);
    CHECK_EQ(weir_recv(c[1], buf, 2, MSG_DONTWAIT), 2);
    CHECK_EQ(weir_recv(c[1], buf, 2, 0), 1);
    CHECK_EQ(buf[0], 'z');
    CHECK_ERRNO(weir_recv(c[1], buf, 2, MSG_DONTWAIT), EAGAIN);
    fill_socket(c[0]);
    CHECK_ERRNO(weir_send(c[0], "x", 1, MSG_DONTWAIT), EAGAIN);
    CHECK_OK(weir_abort(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(no_sigpipe, "writing to a connection that is gone is an error, never a signal")
{
    weir_conn *c[2];
    CHECK_OK(weir_pair(c));
    CHECK_OK(weir_close(c[1]));
    CHECK_ERRNO(weir_write(c[0], "x", 1), EPIPE);
    CHECK_ERRNO(weir_writev(c[0], &(struct iovec){ (void *)(uintptr_t) "x", 1 }, 1), EPIPE);
    CHECK_ERRNO(weir_printf(c[0], "x"), EPIPE);
    CHECK_OK(weir_close(c[0]));
}
