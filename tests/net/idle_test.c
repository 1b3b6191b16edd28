/* idle_test.c -- connections on which nothing happens, and what they cost. */
#include "net_test.h"

#include <malloc.h>
#include <stdatomic.h>

/* ---- idle ---- */

NET_TEST(idle, "idle tells bytes, the end and an error apart, and takes nothing")
{
    weir_conn *c[2];
    char buf[16];
    int fd;
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "ab\n", 3), 3);
    CHECK_EQ(weir_idle(c[1]), 1);
    CHECK_EQ(weir_idle(c[1]), 1);
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_EQ(weir_idle(c[1]), 1);
    CHECK_EQ(weir_getline(c[1], buf, sizeof buf), 2);
    CHECK_EQ(weir_idle(c[1]), 0);
    CHECK_EQ(weir_idle(c[1]), 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
    weir_conn *other = raw_pair(&fd);
    raw_reset(fd);
    CHECK_ERRNO(weir_idle(other), ECONNRESET);
    CHECK_OK(weir_close(other));
}

NET_TEST(idle_view, "idle returns at once while bytes are buffered")
{
    weir_conn *c[2];
    const void *p;
    tcp_pair(c);
    CHECK_EQ(weir_write(c[0], "abcd", 4), 4);
    CHECK_EQ(weir_peek(c[1], &p, 4), 4);
    CHECK_EQ(weir_idle(c[1]), 1);
    CHECK_OK(weir_skip(c[1], 4));
    {
        WEIR_TRY;
        CHECK_ERRNO(weir_idle(c[1]), EAGAIN);
    }
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

static int idle_drained(void *arg)
{
    CHECK_ERRNO(weir_idle(arg), ESHUTDOWN);
    CHECK_ERRNO(weir_idle(arg), ESHUTDOWN);
    CHECK_EQ(weir_write(arg, "x", 1), 1); /* draining stops only between messages */
    return 0;
}

NET_TEST(drain, "draining a group ends idle with ESHUTDOWN, and leaves the rest alone")
{
    weir_conn *c[2];
    char buf[4];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start(g, idle_drained, c[0]);
    await_waiting("poll");
    CHECK_OK(weir_group_drain(g));
    CHECK_EQ(weir_read(c[1], buf, sizeof buf), 1);
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- one after the other ---- */

static atomic_int turn;

static int read_in_turn(void *arg)
{
    char buf[1];
    CHECK_EQ(weir_read(arg, buf, 1), 1);
    atomic_fetch_add(&turn, 1);
    return buf[0];
}

NET_TEST_TROUBLED(two_readers, "of two readers one waits for its turn, and each gets bytes")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    atomic_store(&turn, 0);
    start(g, read_in_turn, c[0]);
    start_elsewhere(g, read_in_turn, c[0]);
    await_waiting("recv");
    CHECK_EQ(weir_write(c[1], "\0", 1), 1);
    await_flag(&turn, 1);
    CHECK_EQ(weir_write(c[1], "\0", 1), 1);
    finish_group(g);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

/* ---- memory ---- */

static int write_until_end(void *arg)
{
    static const char zeros[1 << 20];
    ssize_t n;
    while ((n = weir_write(arg, zeros, sizeof zeros)) == sizeof zeros) {
    }
    return errno;
}

NET_TEST(slow_reader, "a reader that does not read stops the writer, and the heap does not grow")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start(g, write_until_end, c[0]);
    await_waiting("send");
    size_t before = mallinfo2().uordblks;
    {
        WEIR_DEADLINE(50 * WEIR_MS);
        CHECK_ERRNO(weir_write(c[0], "x", 1), ETIME); /* it waits for its turn */
    }
    CHECK(mallinfo2().uordblks < before + (64 << 10)); /* a megabyte waits to be sent */
    CHECK_OK(weir_abort(c[1]));
    int result = weir_group_wait(g);
    CHECK(result == ECONNRESET || result == EPIPE);
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_close(c[0]));
}

/* Resident bytes, by proc(5). */
static size_t resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static atomic_int waiting;

static int read_idly(void *arg)
{
    char buf[1];
    atomic_fetch_add(&waiting, 1);
    CHECK_EQ(weir_read(arg, buf, 1), 0);
    return 0;
}

static int peek_idly(void *arg)
{
    const void *p;
    atomic_fetch_add(&waiting, 1);
    CHECK_EQ(weir_peek(arg, &p, 1), 0);
    return 0;
}

enum { IDLE = 400 };

/* A first round makes what is shared: tables, and the queues of the backend. */
static size_t bytes_per_idle(int (*fn)(void *), int rounds)
{
    static weir_conn *c[IDLE][2];
    size_t grown = 0;
    for (int round = 0; round < rounds; round++) {
        weir_group *g = weir_group_open(NULL);
        int made = round ? IDLE : IDLE / 10;
        atomic_store(&waiting, 0);
        size_t before = resident();
        for (int i = 0; i < made; i++) {
            CHECK_OK(weir_pair(c[i]));
            start(g, fn, c[i][0]);
        }
        await_flag(&waiting, made);
        grown = (resident() - before) / (size_t)made;
        for (int i = 0; i < made; i++)
            CHECK_OK(weir_close(c[i][1]));
        finish_group(g);
        for (int i = 0; i < made; i++)
            CHECK_OK(weir_close(c[i][0]));
    }
    return grown;
}

NET_TEST(idle_page, "a fiber that waits for input costs one page of stack and half a one beside it")
{
    if (!in_runtime())
        SKIP("a plain thread's stack is not weir's");
    if (test_slowness() > 1)
        SKIP("a sanitizer's frames are larger");
    size_t read_size = bytes_per_idle(read_idly, 2), peek_size = bytes_per_idle(peek_idly, 2);
    if (read_size > 6144 || peek_size > 6144)
        FAIL("%zu bytes in weir_read, %zu in weir_peek", read_size, peek_size);
}
