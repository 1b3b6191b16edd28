/* frame_test.c -- the buffered view, lines and frames, however the bytes are cut. */
#include "net_test.h"

#include <stdatomic.h>

/* ---- the view ---- */

NET_TEST(peek, "peek shows at least as much as was asked for, and takes nothing")
{
    weir_conn *c[2];
    const void *p;
    char buf[8];
    tcp_pair(c);
    CHECK_EQ(weir_peek(c[1], &p, 0), 0);
    CHECK_EQ(weir_write(c[0], "abcdef", 6), 6);
    CHECK_EQ(weir_peek(c[1], &p, 6), 6);
    CHECK_MEM(p, "abcdef", 6);
    CHECK_EQ(weir_peek(c[1], &p, 1), 6);
    CHECK_EQ(weir_peek(c[1], &p, 0), 6);
    CHECK_OK(weir_skip(c[1], 2));
    CHECK_OK(weir_skip(c[1], 0));
    CHECK_ERRNO(weir_skip(c[1], 5), EINVAL);
    CHECK_EQ(weir_read(c[1], buf, 3), 3);
    CHECK_MEM(buf, "cde", 3);
    CHECK_EQ(weir_write(c[0], "gh", 2), 2);
    CHECK_EQ(weir_peek(c[1], &p, 3), 3);
    CHECK_MEM(p, "fgh", 3);
    CHECK_ERRNO(weir_peek(c[1], &p, (64 << 10) + 1), EMSGSIZE);
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_EQ(weir_peek(c[1], &p, 4), 3);
    CHECK_EQ(errno, 0);
    CHECK_OK(weir_skip(c[1], 3));
    CHECK_EQ(weir_peek(c[1], &p, 1), 0);
    CHECK_ERRNO(weir_skip(c[1], 1), EINVAL);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

enum { STREAM = 1 << 20 };

static int write_pattern(void *arg)
{
    char *buf = malloc(STREAM);
    pattern_fill(buf, STREAM, 0);
    CHECK_EQ(weir_write(arg, buf, STREAM), STREAM);
    CHECK_OK(weir_shutdown(arg, SHUT_WR));
    free(buf);
    return 0;
}

NET_TEST_TROUBLED(peek_stream, "peeking and skipping by odd amounts walks through a long stream")
{
    weir_conn *c[2];
    const void *p;
    size_t at = 0, min = 1;
    ssize_t n;
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start_elsewhere(g, write_pattern, c[0]);
    while ((n = weir_peek(c[1], &p, min)) >= (ssize_t)min && n > 0) {
        CHECK(pattern_is(p, (size_t)n, at));
        size_t step = (size_t)n * 2 / 3 + 1;
        CHECK_OK(weir_skip(c[1], step));
        at += step;
        min = at * 31 % (64 << 10) + 1;
    }
    CHECK_EQ(at + (size_t)n, STREAM);
    CHECK(n == 0 || pattern_is(p, (size_t)n, at));
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(many_views,
                  "hundreds of connections hold half a message each, and each finds it again")
{
    enum { MANY = 150 };
    weir_conn *c[MANY][2];
    const void *p;
    char *large = malloc(40000);
    pattern_fill(large, 40000, 0);
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(weir_pair(c[i]));
        CHECK_EQ(weir_write(c[i][0], large, 100), 100);
        CHECK_EQ(weir_peek(c[i][1], &p, 100), 100);
        CHECK_OK(weir_skip(c[i][1], 10));
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(weir_write(c[i][0], large + 100, 39900), 39900);
        CHECK_EQ(weir_peek(c[i][1], &p, 39990), 39990);
        CHECK(pattern_is(p, 39990, 10));
        CHECK_OK(weir_close(c[i][1]));
        CHECK_OK(weir_close(c[i][0]));
    }
    free(large);
}

/* ---- lines ---- */

NET_TEST_TROUBLED(lines,
                  "lines come without their ends, in order, and the end of the stream is ENODATA")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_printf(c[0], "one\ntwo\r\n\n\r\n\rx\r\r\n%s\n", "6"), 19);
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 3);
    CHECK_STR(buf, "one");
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 3);
    CHECK_STR(buf, "two");
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 0);
    CHECK_STR(buf, "");
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 0);
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 3);
    CHECK_STR(buf, "\rx\r");
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 1);
    CHECK_STR(buf, "6");
    CHECK_ERRNO(weir_getline(c[1], buf, sizeof buf), ENODATA);
    CHECK_ERRNO(weir_getline(c[1], buf, sizeof buf), ENODATA);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(line_cut,
                  "a stream that ends within a line is EPROTO, and the bytes can still be read")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "delete /home", 12), 12);
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_ERRNO(weir_getline(c[1], buf, sizeof buf), EPROTO);
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 12);
    CHECK_MEM(buf, "delete /home", 12);
    CHECK_ERRNO(weir_getline(c[1], buf, sizeof buf), ENODATA);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(line_limit,
         "a line of exactly the limit fits, a longer one is EMSGSIZE and stays to be read")
{
    weir_conn *c[2];
    char buf[8];
    tcp_pair(c);
    CHECK_EQ(weir_printf(c[0], "1234567\n1234567\r\n12345678\nnext\n"), 31);
    CHECK_EQ(weir_getline(c[1], buf, 8), 7);
    CHECK_STR(buf, "1234567");
    CHECK_EQ(weir_getline(c[1], buf, 8), 7);
    CHECK_STR(buf, "1234567");
    CHECK_ERRNO(weir_getline(c[1], buf, 8), EMSGSIZE);
    CHECK_ERRNO(weir_getline(c[1], buf, 8), EMSGSIZE);
    char larger[9];
    CHECK_EQ(weir_getline(c[1], larger, 9), 8);
    CHECK_STR(larger, "12345678");
    CHECK_ERRNO(weir_getline(c[1], buf, 0), EINVAL);
    CHECK_EQ(weir_getline(c[1], buf, 5), 4);
    CHECK_STR(buf, "next");
    CHECK_EQ(weir_write(c[0], "12345678", 8), 8); /* too long before its end is known */
    CHECK_ERRNO(weir_getline(c[1], buf, 8), EMSGSIZE);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

static int write_long_line(void *arg)
{
    static char line[70000];
    memset(line, 'x', sizeof line);
    CHECK_EQ(weir_write(arg, line, sizeof line), (ssize_t)sizeof line);
    return 0;
}

NET_TEST_TROUBLED(line_huge,
                  "a line longer than the library buffers is EMSGSIZE, whatever the limit")
{
    weir_conn *c[2];
    static char buf[100000];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    memset(buf, 'y', 65535);
    buf[65535] = '\n';
    start(g, write_long_line, c[1]);
    CHECK_ERRNO(weir_getline(c[0], buf, sizeof buf), EMSGSIZE);
    CHECK_EQ(weir_readn(c[0], buf, 70000), 70000);
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(line_deadline,
                  "a deadline within a line loses nothing: the next call gets all of it")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "half ", 5), 5);
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_getline(c[1], buf, sizeof buf), ETIME);
    }
    CHECK_EQ(weir_write(c[0], "a line\n", 7), 7);
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 11);
    CHECK_STR(buf, "half a line");
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- however the bytes are cut ---- */

struct cut {
    weir_conn *c;
    const char *bytes;
    size_t len, at;
    atomic_int *first_seen;
};

/* Sends the first part, waits until it was seen, then the rest. */
static int send_in_two(void *arg)
{
    struct cut *cut = arg;
    CHECK_EQ(weir_write(cut->c, cut->bytes, cut->at), (ssize_t)cut->at);
    await_flag(cut->first_seen, 1);
    CHECK_EQ(weir_write(cut->c, cut->bytes + cut->at, cut->len - cut->at),
             (ssize_t)(cut->len - cut->at));
    return 0;
}

static void with_every_cut(const char *bytes, size_t len, void (*check)(weir_conn *c))
{
    for (size_t at = 0; at <= len; at++) {
        weir_conn *c[2];
        const void *p;
        atomic_int first_seen = 0;
        weir_group *g = weir_group_open(NULL);
        CHECK_OK(weir_pair(c));
        struct cut cut = { c[0], bytes, len, at, &first_seen };
        start(g, send_in_two, &cut);
        CHECK_EQ(weir_peek(c[1], &p, at), (ssize_t)at);
        atomic_store(&first_seen, 1);
        check(c[1]);
        finish_group(g);
        CHECK_OK(weir_close(c[0]));
        CHECK_OK(weir_close(c[1]));
    }
}

static void check_lines(weir_conn *c)
{
    char buf[16];
    CHECK_EQ(weir_getline(c, buf, sizeof buf), 2);
    CHECK_STR(buf, "ab");
    CHECK_EQ(weir_getline(c, buf, sizeof buf), 0);
    CHECK_EQ(weir_getline(c, buf, sizeof buf), 1);
    CHECK_STR(buf, "c");
}

NET_TEST_TROUBLED(lines_cut, "lines are the same wherever the network cuts them")
{
    with_every_cut("ab\r\n\r\nc\n", 8, check_lines);
}

static void check_frames(weir_conn *c)
{
    char buf[8];
    CHECK_EQ(weir_getframe(c, buf, sizeof buf, 4), 3);
    CHECK_MEM(buf, "xyz", 3);
    CHECK_EQ(weir_getframe(c, buf, sizeof buf, 2), 0);
    CHECK_EQ(weir_getframe(c, buf, sizeof buf, 1), 2);
    CHECK_MEM(buf, "ab", 2);
    CHECK_EQ(weir_getframe(c, buf, sizeof buf, 8), 1);
    CHECK_EQ(buf[0], '!');
}

NET_TEST_TROUBLED(frames_cut, "frames are the same wherever the network cuts them")
{
    static const char bytes[] = "\0\0\0\3xyz\0\0\2ab\0\0\0\0\0\0\0\1!";
    with_every_cut(bytes, sizeof bytes - 1, check_frames);
}

/* ---- frames ---- */

NET_TEST_TROUBLED(frames, "a frame that is put is got, with headers of 1, 2, 4 and 8 bytes")
{
    weir_conn *c[2];
    char buf[300], text[300];
    tcp_pair(c);
    pattern_fill(text, sizeof text, 1);
    for (int header = 1; header <= 8; header *= 2) {
        size_t len = header == 1 ? 255 : 300;
        CHECK_OK(weir_putframe(c[0], text, len, header));
        CHECK_OK(weir_putframe(c[0], "", 0, header));
        CHECK_EQ(weir_getframe(c[1], buf, sizeof buf, header), (ssize_t)len);
        CHECK_MEM(buf, text, len);
        CHECK_EQ(weir_getframe(c[1], buf, sizeof buf, header), 0);
    }
    for (int header = -1; header <= 16; header++) {
        if (header == 1 || header == 2 || header == 4 || header == 8)
            continue;
        CHECK_ERRNO(weir_putframe(c[0], text, 1, header), EINVAL);
        CHECK_ERRNO(weir_getframe(c[1], buf, sizeof buf, header), EINVAL);
    }
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_ERRNO(weir_getframe(c[1], buf, sizeof buf, 4), ENODATA);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(frame_limit,
                  "a frame longer than header or buffer allow is EMSGSIZE, and nothing moves")
{
    weir_conn *c[2];
    static char text[65536];
    char buf[8];
    tcp_pair(c);
    CHECK_ERRNO(weir_putframe(c[0], text, 256, 1), EMSGSIZE);
    CHECK_ERRNO(weir_putframe(c[0], text, 65536, 2), EMSGSIZE);
    CHECK_OK(weir_putframe(c[0], "12345678", 8, 2));
    CHECK_ERRNO(weir_getframe(c[1], buf, 7, 2), EMSGSIZE);
    CHECK_EQ(weir_getframe(c[1], buf, 8, 2), 8);
    CHECK_EQ(weir_write(c[0], "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 8);
    CHECK_ERRNO(weir_getframe(c[1], buf, SIZE_MAX, 8), EMSGSIZE);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(frame_cut, "a stream that ends within a frame or its header is EPROTO")
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = { { "\0", 1 }, { "\0\0\0", 3 }, { "\0\0\0\5", 4 }, { "\0\0\0\5abcd", 8 },
                 { "\0\2\0\0abcd", 8 } };
    char *buf = malloc(1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_conn *c[2];
        tcp_pair(c);
        CHECK_EQ(weir_write(c[0], rows[i].bytes, rows[i].len), (ssize_t)rows[i].len);
        CHECK_OK(weir_shutdown(c[0], SHUT_WR));
        CHECK_ERRNO(weir_getframe(c[1], buf, 1 << 20, 4), EPROTO);
        CHECK_OK(weir_close(c[0]));
        CHECK_OK(weir_close(c[1]));
    }
    free(buf);
}

static int put_large_frames(void *arg)
{
    char *buf = malloc(STREAM);
    pattern_fill(buf, STREAM, 0);
    for (size_t len = 60000; len < STREAM; len = len * 5 / 4)
        CHECK_OK(weir_putframe(arg, buf, len, 4));
    free(buf);
    return 0;
}

NET_TEST_TROUBLED(frame_large,
                  "frames longer than the library buffers go straight to the caller's buffer")
{
    weir_conn *c[2];
    char *buf = malloc(STREAM);
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start_elsewhere(g, put_large_frames, c[0]);
    for (size_t len = 60000; len < STREAM; len = len * 5 / 4) {
        CHECK_EQ(weir_getframe(c[1], buf, STREAM, 4), (ssize_t)len);
        CHECK(pattern_is(buf, len, 0));
    }
    finish_group(g);
    free(buf);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(frame_deadline,
                  "a frame that a deadline interrupts is got by the next call, however long")
{
    for (size_t len = 1000; len <= 100000; len *= 100) {
        weir_conn *c[2];
        char *buf = malloc(len), *text = malloc(len), other;
        uint8_t header[4] = { 0, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
        CHECK_OK(weir_pair(c));
        pattern_fill(text, len, 0);
        CHECK_EQ(weir_write(c[0], header, 4), 4);
        CHECK_EQ(weir_write(c[0], text, 700), 700);
        {
            WEIR_DEADLINE(10 * WEIR_MS);
            CHECK_ERRNO(weir_getframe(c[1], buf, len, 4), ETIME);
            CHECK_ERRNO(weir_getframe(c[1], buf, len, 4), ETIME);
        }
        if (len > 64 << 10) {
            CHECK_ERRNO(weir_getframe(c[1], &other, len, 4), EINVAL);
            CHECK_ERRNO(weir_getframe(c[1], buf, len - 1, 4), EINVAL);
        }
        CHECK_EQ(weir_write(c[0], text + 700, len - 700), (ssize_t)(len - 700));
        CHECK_EQ(weir_getframe(c[1], buf, len, 4), (ssize_t)len);
        CHECK(pattern_is(buf, len, 0));
        free(buf);
        free(text);
        CHECK_OK(weir_close(c[0]));
        CHECK_OK(weir_close(c[1]));
    }
}

/* ---- writing ---- */

NET_TEST_TROUBLED(printf, "printf sends what printf prints, however long")
{
    weir_conn *c[2];
    char buf[16];
    tcp_pair(c);
    CHECK_EQ(weir_printf(c[0], "%d %s %.2f", 42, "x", 1.5), 9);
    CHECK_EQ(weir_readn(c[1], buf, 9), 9);
    CHECK_MEM(buf, "42 x 1.50", 9);
    CHECK_EQ(weir_printf(c[0], "%s", ""), 0);
    CHECK_EQ(weir_printf(c[0], "%100000s", "end"), 100000);
    char *large = malloc(100000);
    CHECK_EQ(weir_readn(c[1], large, 100000), 100000);
    CHECK_MEM(large + 99997, "end", 3);
    free(large);
    CHECK_OK(weir_close(c[0]));
    CHECK_ERRNO(weir_printf(c[0], "x"), EBADF);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(torn, "after half a frame went out, no other one follows it into the stream")
{
    weir_conn *c[2];
    char *large = calloc(1, 64 << 20);
    tcp_pair(c);
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_putframe(c[0], large, 64 << 20, 4), ETIME);
    }
    CHECK_ERRNO(weir_putframe(c[0], large, 1, 4), EPROTO);
    CHECK_ERRNO(weir_printf(c[0], "x"), EPROTO);
    free(large);
    CHECK_OK(weir_abort(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(whole_frame_late, "a frame of which nothing went out may be sent again")
{
    weir_conn *c[2];
    static char buf[64 << 10];
    tcp_pair(c);
    size_t filled = fill_socket(c[0]);
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_putframe(c[0], "again", 5, 1), ETIME);
    }
    while (filled > 0) {
        ssize_t n = CHECK_OK(weir_read(c[1], buf, filled < sizeof buf ? filled : sizeof buf));
        filled -= (size_t)n;
    }
    CHECK_OK(weir_putframe(c[0], "again", 5, 1));
    CHECK_EQ(weir_getframe(c[1], buf, sizeof buf, 1), 5);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}
