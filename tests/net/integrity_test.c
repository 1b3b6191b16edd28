/* integrity_test.c -- a stream read and written in every way there is, in pieces of every size.
 *
 * One task writes a pattern, one reads it, each with calls, sizes and deadlines drawn by a seed
 * (INTEGRITY_SEED in the environment chooses another); some of their calls are cancelled midway.
 * Whatever a call says it has moved is believed, and each byte must be the one that is due.   */
#include <poll.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "../../src/base/random.h"
#include "net_test.h"

enum { BUFFER = 70000, TOTAL = 3 << 20, IN_TURN = 4 };

struct end {
    weir_conn *c;
    struct random random;
    size_t at; /* of the stream */
    bool over; /* its end was read, or all of it written */
    unsigned char buf[BUFFER];
};

static struct end reader, writer;

static size_t pick(struct end *e, uint64_t below)
{
    return (size_t)random_below(&e->random, below);
}

/* Few sizes are large, and some are just those of a buffer in between. */
static size_t size(struct end *e)
{
    static const size_t usual[] = { 1, 2, 4096, 8192, 65536, 65537 };
    if (pick(e, 4) == 0)
        return usual[pick(e, sizeof usual / sizeof *usual)];
    return 1 + pick(e, pick(e, 3) ? 300 : BUFFER);
}

static void take(struct end *e, ssize_t n)
{
    if (n > 0) {
        CHECK(pattern_is(e->buf, (size_t)n, e->at));
        e->at += (size_t)n;
    }
}

/* ---- reading ---- */

static void by_read(struct end *e)
{
    ssize_t n = weir_read(e->c, e->buf, size(e));
    take(e, n);
    e->over = n == 0;
}

static void by_readn(struct end *e)
{
    take(e, weir_readn(e->c, e->buf, size(e)));
}

static void by_readv(struct end *e)
{
    size_t first = pick(e, 200), second = pick(e, 200);
    struct iovec v[] = { { e->buf, first },
                         { e->buf + first, second },
                         { e->buf + first + second, 1 + pick(e, 20000) } };
    take(e, weir_readv(e->c, v, 3));
}

static void by_recv(struct end *e)
{
    static const int flags[] = { 0, MSG_DONTWAIT, MSG_WAITALL, MSG_PEEK };
    int flag = flags[pick(e, 4)];
    ssize_t n = weir_recv(e->c, e->buf, size(e), flag);
    if (flag != MSG_PEEK)
        take(e, n);
    else if (n > 0)
        CHECK(pattern_is(e->buf, (size_t)n, e->at));
}

static void by_peek(struct end *e)
{
    const void *bytes;
    ssize_t n = weir_peek(e->c, &bytes, size(e) % 65537);
    if (n <= 0)
        return;
    CHECK(pattern_is(bytes, (size_t)n, e->at));
    size_t used = pick(e, (uint64_t)n + 1);
    if (!weir_skip(e->c, used))
        e->at += used;
}

static void by_line(struct end *e)
{
    ssize_t n = weir_getline(e->c, (char *)e->buf, 1 + size(e) % 4096);
    if (n < 0)
        return;
    e->buf[n] = '\n';
    take(e, n + 1);
}

static void by_waiting(struct end *e)
{
    weir_pollent entry = { .h = e->c, .events = POLLIN };
    if (pick(e, 2))
        weir_poll(&entry, 1);
    else
        weir_idle(e->c);
}

/* Refused while bytes are buffered: they would be lost. */
static void by_moving(struct end *e)
{
    int fd = weir_detach(e->c);
    if (fd < 0)
        return;
    e->c = weir_conn_fd(fd);
    CHECK(e->c != NULL);
}

static void read_some(struct end *e)
{
    static void (*const ways[])(struct end *) = { by_read, by_readn, by_readv, by_recv,
                                                  by_peek, by_line, by_waiting, by_moving };
    ways[pick(e, sizeof ways / sizeof *ways)](e);
}

/* ---- writing ---- */

static void write_some(struct end *e)
{
    size_t n = size(e), part = pick(e, n);
    if (n > TOTAL - e->at)
        n = part = TOTAL - e->at;
    pattern_fill(e->buf, n, e->at);
    struct iovec v[] = { { e->buf, part }, { e->buf + part, n - part } };
    static const int flags[] = { 0, MSG_MORE, MSG_DONTWAIT };
    ssize_t done = 0;
    switch (pick(e, 4)) {
    case 0:
        done = weir_write(e->c, e->buf, n);
        break;
    case 1:
        done = weir_writev(e->c, v, 2);
        break;
    case 2:
        done = weir_send(e->c, e->buf, n, flags[pick(e, 3)]);
        break;
    default:
        by_moving(e);
    }
    e->at += done > 0 ? (size_t)done : 0;
    e->over = e->at == TOTAL;
}

/* ---- both ---- */

static int in_time(struct end *e, void (*some)(struct end *))
{
    static const int64_t spans[] = { 0, 20 * WEIR_US, 300 * WEIR_US, 20 * WEIR_MS };
    for (int i = 0; i < IN_TURN && !e->over; i++) {
        weir_time outer = weir_deadline_set(
            pick(e, 5) ? weir_after(spans[pick(e, 4)]) : INT64_MIN);
        some(e);
        weir_deadline_restore(outer);
    }
    return 0;
}

static int read_on(void *arg)
{
    return in_time(arg, read_some);
}

static int write_on(void *arg)
{
    return in_time(arg, write_some);
}

static void be_cancelled(struct end *e, int (*on)(void *))
{
    weir_group *g = weir_group_open(NULL);
    size_t turns = pick(e, 4);
    CHECK_OK(weir_go(g, on, e));
    while (turns-- > 0)
        weir_yield();
    CHECK_OK(weir_group_cancel(g));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_OK(weir_close(g));
}

static int go_on(struct end *e, int (*on)(void *))
{
    while (!e->over) {
        if (pick(e, 8) == 0)
            be_cancelled(e, on);
        else
            on(e);
    }
    return 0;
}

static int read_all(void *arg)
{
    return go_on(arg, read_on);
}

static int write_all(void *arg)
{
    struct end *e = arg;
    go_on(e, write_on);
    CHECK_OK(weir_shutdown(e->c, SHUT_WR));
    return 0;
}

static void stream_all(weir_conn *c[2])
{
    const char *words = getenv("INTEGRITY_SEED");
    uint64_t seed = words ? strtoull(words, NULL, 10) : 1;
    random_seed(&reader.random, seed);
    random_seed(&writer.random, seed + 1);
    reader.c = c[0];
    writer.c = c[1];
    weir_group *g = weir_group_open(NULL);
    start(g, read_all, &reader);
    start_elsewhere(g, write_all, &writer);
    finish_group(g);
    CHECK_EQ(reader.at, TOTAL);
    CHECK_OK(weir_close(reader.c));
    CHECK_OK(weir_close(writer.c));
}

NET_TEST_TROUBLED(integrity_tcp,
                  "however a TCP stream is read and written, each byte comes once and in order")
{
    weir_conn *c[2];
    tcp_pair(c);
    stream_all(c);
}

NET_TEST_TROUBLED(integrity_unix,
                  "however a Unix stream is read and written, each byte comes once and in order")
{
    weir_conn *c[2];
    CHECK_OK(weir_pair(c));
    stream_all(c);
}
