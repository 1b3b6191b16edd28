/* outbox_test.c -- messages and the bounded queues that send them. */
#include "net_test.h"

static weir_msg *msg_of(size_t n, size_t offset)
{
    char *buf = malloc(n + 1);
    pattern_fill(buf, n, offset);
    weir_msg *m = weir_msg_new(buf, n);
    CHECK(m != NULL);
    free(buf);
    return m;
}

/* Puts n bytes of the pattern; what weir_outbox_put said. */
static int put_pattern(weir_outbox *b, size_t n, size_t offset)
{
    weir_msg *m = msg_of(n, offset);
    int result = weir_outbox_put(b, m);
    int saved_errno = errno;
    weir_msg_unref(m);
    errno = saved_errno;
    return result;
}

static int put_text(weir_outbox *b, const char *text)
{
    weir_msg *m = weir_msg_new(text, strlen(text));
    CHECK(m != NULL);
    int result = weir_outbox_put(b, m);
    int saved_errno = errno;
    weir_msg_unref(m);
    errno = saved_errno;
    return result;
}

/* An outbox to a peer that does not read and whose socket is full: how much the peer has unread. */
static weir_outbox *full_outbox(weir_conn *c[2], weir_outbox_opts o, size_t *unread)
{
    tcp_pair(c);
    *unread = fill_socket(c[0]);
    weir_outbox *b = weir_outbox_open(c[0], &o);
    CHECK(b != NULL);
    return b;
}

static void discard(weir_conn *c, size_t n)
{
    static char buf[64 << 10];
    while (n > 0)
        n -= (size_t)CHECK_OK(weir_read(c, buf, n < sizeof buf ? n : sizeof buf));
}

static void check_text(weir_conn *c, const char *text)
{
    char buf[64];
    size_t len = strlen(text);
    CHECK(len < sizeof buf);
    CHECK_EQ(weir_readn(c, buf, len), (ssize_t)len);
    CHECK_MEM(buf, text, len);
}

static void check_silence(weir_conn *c)
{
    char byte;
    WEIR_DEADLINE(10 * WEIR_MS);
    CHECK_ERRNO(weir_read(c, &byte, 1), ETIME);
}

/* What had been sent may arrive first. */
static void discard_until_reset(weir_conn *c)
{
    static char buf[64 << 10];
    ssize_t n;
    while ((n = weir_read(c, buf, sizeof buf)) > 0) {
    }
    CHECK_EQ(n, -1);
    CHECK_EQ(errno, ECONNRESET);
}

/* ---- messages ---- */

NET_TEST_TROUBLED(messages,
                  "a message put into many outboxes is one copy, freed with the last of them")
{
    enum { MANY = 20 };
    weir_conn *c[MANY][2];
    weir_outbox *b[MANY];
    weir_msg *m = weir_msg_new("one for all", 11);
    CHECK(weir_msg_ref(m) == m);
    weir_msg_unref(m);
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(weir_pair(c[i]));
        b[i] = weir_outbox_open(c[i][0], NULL);
        CHECK(b[i] != NULL);
        CHECK_EQ(weir_outbox_put(b[i], m), 1);
    }
    weir_msg_unref(m);
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(weir_outbox_flush(b[i]));
        check_text(c[i][1], "one for all");
        CHECK_OK(weir_close(b[i]));
        CHECK_OK(weir_close(c[i][0]));
        CHECK_OK(weir_close(c[i][1]));
    }
    weir_msg_unref(NULL);
}

/* ---- sending ---- */

NET_TEST_TROUBLED(outbox_order, "messages leave whole and in order, the empty ones too")
{
    weir_conn *c[2];
    static char buf[300000];
    size_t offset = 0;
    tcp_pair(c);
    weir_outbox *b = weir_outbox_open(c[0], &(weir_outbox_opts){ .max_bytes = 1 << 20 });
    CHECK(b != NULL);
    for (size_t i = 0; i < 200; i++) {
        size_t n = i * 37 % 2000;
        CHECK_EQ(put_pattern(b, n, offset), 1);
        offset += n;
    }
    CHECK_OK(weir_outbox_flush(b));
    CHECK_EQ(weir_readn(c[1], buf, offset), (ssize_t)offset);
    CHECK(pattern_is(buf, offset, 0));
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

enum { LONG = 4 << 20 };

static int read_long(void *arg)
{
    char *buf = malloc(LONG);
    CHECK_EQ(weir_readn(arg, buf, LONG), LONG);
    CHECK(pattern_is(buf, LONG, 0));
    free(buf);
    return 0;
}

NET_TEST_TROUBLED(outbox_wait, "with WEIR_WAIT putting waits for room, and nothing is lost")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    weir_outbox *b = weir_outbox_open(c[0], &(weir_outbox_opts){ .max_bytes = 100000 });
    CHECK(b != NULL);
    start_elsewhere(g, read_long, c[1]);
    for (size_t at = 0; at < LONG; at += 32768)
        CHECK_EQ(put_pattern(b, 32768, at), 1);
    CHECK_OK(weir_outbox_flush(b));
    finish_group(g);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_wait_ends, "the wait for room honours deadlines and WEIR_TRY")
{
    weir_conn *c[2];
    size_t unread;
    weir_outbox *b = full_outbox(c, (weir_outbox_opts){ .max_msgs = 2 }, &unread);
    CHECK_EQ(put_text(b, "one"), 1);
    CHECK_EQ(put_text(b, "two"), 1);
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(put_text(b, "three"), ETIME);
        CHECK_ERRNO(weir_outbox_flush(b), ETIME);
    }
    {
        WEIR_TRY;
        CHECK_ERRNO(put_text(b, "three"), EAGAIN);
        CHECK_ERRNO(weir_outbox_flush(b), EAGAIN);
    }
    discard(c[1], unread);
    CHECK_OK(weir_outbox_flush(b));
    check_text(c[1], "onetwo");
    check_silence(c[1]);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_drop_new, "with WEIR_DROP_NEW what does not fit is dropped, and the rest arrives")
{
    weir_conn *c[2];
    size_t unread;
    weir_outbox *b = full_outbox(
        c, (weir_outbox_opts){ .max_msgs = 3, .overflow = WEIR_DROP_NEW }, &unread);
    CHECK_EQ(put_text(b, "1"), 1);
    CHECK_EQ(put_text(b, "2"), 1);
    CHECK_EQ(put_text(b, "3"), 1);
    CHECK_EQ(put_text(b, "4"), 0);
    CHECK_EQ(put_text(b, "5"), 0);
    discard(c[1], unread);
    CHECK_OK(weir_outbox_flush(b));
    CHECK_EQ(put_text(b, "6"), 1);
    check_text(c[1], "1236");
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_drop_old, "with WEIR_DROP_OLD the oldest that are not being sent make room")
{
    weir_conn *c[2];
    size_t unread;
    char buf[16];
    weir_outbox *b = full_outbox(
        c, (weir_outbox_opts){ .max_msgs = 3, .overflow = WEIR_DROP_OLD }, &unread);
    CHECK_EQ(put_text(b, "1"), 1);
    if (in_runtime())
        await_waiting("sendmsg"); /* with the first one in hand */
    CHECK_EQ(put_text(b, "2"), 1);
    CHECK_EQ(put_text(b, "3"), 1);
    CHECK_EQ(put_text(b, "4"), 1);
    CHECK_EQ(put_text(b, "5"), 1);
    discard(c[1], unread);
    CHECK_OK(weir_outbox_flush(b));
    CHECK_EQ(weir_readn(c[1], buf, 3), 3);
    CHECK_MEM(buf, in_runtime() ? "145" : "345", 3);
    check_silence(c[1]);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_bytes, "bytes are limited as well as messages; one larger than all is EMSGSIZE")
{
    weir_conn *c[2];
    size_t unread;
    weir_outbox *b = full_outbox(
        c, (weir_outbox_opts){ .max_bytes = 100, .overflow = WEIR_DROP_NEW }, &unread);
    CHECK_ERRNO(put_pattern(b, 101, 0), EMSGSIZE);
    CHECK_EQ(put_pattern(b, 60, 0), 1);
    CHECK_EQ(put_pattern(b, 41, 0), 0);
    CHECK_EQ(put_pattern(b, 40, 0), 1);
    CHECK_EQ(put_pattern(b, 1, 0), 0);
    CHECK_EQ(put_pattern(b, 0, 0), 1);
    CHECK_NULL_ERRNO(weir_outbox_open(c[0], &(weir_outbox_opts){ .max_msgs = -1 }), EINVAL);
    CHECK_NULL_ERRNO(
        weir_outbox_open(c[0], &(weir_outbox_opts){ .overflow = (weir_overflow)9 }), EINVAL);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_abort(c[0]));
    CHECK_OK(weir_close(c[1]));
}

static int read_aborted(void *arg)
{
    char byte;
    CHECK_ERRNO(weir_read(arg, &byte, 1), ECONNABORTED);
    return 0;
}

NET_TEST(outbox_drop_conn,
         "with WEIR_DROP_CONN a full outbox ends the connection for all its users")
{
    weir_conn *c[2];
    size_t unread;
    weir_group *g = weir_group_open(NULL);
    weir_outbox *b = full_outbox(
        c, (weir_outbox_opts){ .max_msgs = 2, .overflow = WEIR_DROP_CONN }, &unread);
    start_elsewhere(g, read_aborted, c[0]);
    await_waiting("recv");
    CHECK_EQ(put_text(b, "1"), 1);
    CHECK_EQ(put_text(b, "2"), 1);
    CHECK_ERRNO(put_text(b, "3"), ECONNABORTED);
    CHECK_ERRNO(put_text(b, "4"), ECONNABORTED);
    CHECK_ERRNO(weir_outbox_flush(b), ECONNABORTED);
    finish_group(g);
    CHECK_ERRNO(weir_write(c[0], "x", 1), ECONNABORTED);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    discard_until_reset(c[1]);
    CHECK_OK(weir_close(c[1]));
}

/* ---- the end ---- */

NET_TEST(outbox_conn_closed, "once its connection is closed an outbox is EBADF, and can be closed")
{
    weir_conn *c[2];
    size_t unread;
    weir_outbox *b = full_outbox(c, (weir_outbox_opts){ .max_msgs = 9 }, &unread);
    CHECK_EQ(put_text(b, "1"), 1);
    CHECK_OK(weir_abort(c[0]));
    CHECK_ERRNO(weir_outbox_flush(b), EBADF);
    CHECK_ERRNO(put_text(b, "2"), EBADF);
    CHECK_OK(weir_close(b));
    CHECK_ERRNO(weir_close(b), EBADF);
    CHECK_ERRNO(put_text(b, "3"), EBADF);
    CHECK_ERRNO(weir_outbox_flush(b), EBADF);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_conn_gone, "what is put after the connection was closed is not taken for sent")
{
    weir_conn *c[2];
    tcp_pair(c);
    weir_outbox *b = weir_outbox_open(c[0], NULL);
    CHECK(b != NULL);
    CHECK_EQ(put_text(b, "1"), 1);
    CHECK_OK(weir_outbox_flush(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_ERRNO(put_text(b, "2"), EBADF);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_reset, "a reset by the peer is what putting and flushing report")
{
    int fd;
    weir_conn *c = raw_pair(&fd);
    fill_socket(c);
    weir_outbox *b = weir_outbox_open(c, NULL);
    CHECK(b != NULL);
    CHECK_EQ(put_text(b, "1"), 1);
    raw_reset(fd);
    CHECK_ERRNO(weir_outbox_flush(b), ECONNRESET);
    CHECK_ERRNO(put_text(b, "2"), ECONNRESET);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c));
}

static int flush_closed(void *arg)
{
    CHECK_ERRNO(weir_outbox_flush(arg), EBADF);
    return 0;
}

static int put_closed(void *arg)
{
    CHECK_ERRNO(put_text(arg, "more"), EBADF);
    return 0;
}

NET_TEST(outbox_closed,
         "closing an outbox ends those who wait for it with EBADF, and drops the rest")
{
    weir_conn *c[2];
    size_t unread;
    weir_group *g = weir_group_open(NULL);
    weir_outbox *b = full_outbox(c, (weir_outbox_opts){ .max_msgs = 1 }, &unread);
    CHECK_EQ(put_text(b, "dropped"), 1);
    start_elsewhere(g, flush_closed, b);
    start(g, put_closed, b);
    await_waiting(in_runtime() ? "room in an outbox" : "");
    CHECK_OK(weir_close(b));
    finish_group(g);
    discard(c[1], unread);
    CHECK_EQ(weir_write(c[0], "alive", 5), 5); /* no message was cut, so it goes on */
    check_text(c[1], "alive");
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(outbox_torn, "closing an outbox in the middle of a message ends the connection")
{
    weir_conn *c[2];
    char byte;
    tcp_pair(c);
    weir_outbox *b = weir_outbox_open(c[0], &(weir_outbox_opts){ .max_bytes = 64 << 20 });
    CHECK(b != NULL);
    CHECK_EQ(put_pattern(b, 64 << 20, 0), 1);
    await_bytes(c[1], 1); /* it has begun */
    {
        WEIR_DEADLINE(20 * WEIR_MS);
        CHECK_ERRNO(weir_outbox_flush(b), ETIME);
    }
    CHECK_OK(weir_close(b));
    CHECK_ERRNO(weir_read(c[0], &byte, 1), ECONNABORTED);
    CHECK_OK(weir_close(c[0]));
    discard_until_reset(c[1]);
    CHECK_OK(weir_close(c[1]));
}

static int flush_cancelled(void *arg)
{
    weir_outbox *b = arg;
    CHECK_ERRNO(weir_sleep(20 * WEIR_SEC), ECANCELED);
    CHECK_EQ(put_text(b, "last words"), 1);
    CHECK_ERRNO(weir_outbox_flush(b), ECANCELED);
    WEIR_SHIELD(5 * WEIR_SEC);
    CHECK_OK(weir_outbox_flush(b));
    return 0;
}

NET_TEST(outbox_cancelled, "a cancelled group can still flush under a shield")
{
    weir_conn *c[2];
    size_t unread;
    weir_group *g = weir_group_open(NULL);
    weir_outbox *b = full_outbox(c, (weir_outbox_opts){ .max_msgs = 9 }, &unread);
    start(g, flush_cancelled, b);
    await_waiting(in_runtime() ? "sleep" : "");
    CHECK_OK(weir_group_cancel(g));
    discard(c[1], unread);
    check_text(c[1], "last words");
    finish_group(g);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- from everywhere ---- */

struct putter {
    weir_outbox *b;
    uint8_t id;
};

enum { PUTTERS = 4, ROUNDS = 500 };

static int put_many(void *arg)
{
    struct putter *p = arg;
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t bytes[4] = { p->id, (uint8_t)(i >> 8), (uint8_t)i, 0xee };
        weir_msg *m = weir_msg_new(bytes, sizeof bytes);
        CHECK_EQ(weir_outbox_put(p->b, m), 1);
        weir_msg_unref(m);
    }
    CHECK_OK(weir_outbox_flush(p->b));
    return 0;
}

NET_TEST_TROUBLED(outbox_many, "many may put at once: each one's messages stay in order and whole")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    struct putter p[PUTTERS];
    int next[PUTTERS] = { 0 };
    tcp_pair(c);
    weir_outbox *b = weir_outbox_open(c[0], &(weir_outbox_opts){ .max_msgs = 20 });
    CHECK(b != NULL);
    for (int i = 0; i < PUTTERS; i++) {
        p[i] = (struct putter){ b, (uint8_t)i };
        (i % 2 ? start : start_elsewhere)(g, put_many, &p[i]);
    }
    for (int i = 0; i < PUTTERS * ROUNDS; i++) {
        uint8_t bytes[4];
        CHECK_EQ(weir_readn(c[1], bytes, 4), 4);
        CHECK_EQ(bytes[3], 0xee);
        CHECK(bytes[0] < PUTTERS);
        CHECK_EQ(bytes[1] << 8 | bytes[2], next[bytes[0]]++);
    }
    finish_group(g);
    CHECK_OK(weir_close(b));
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}
