/* interop_test.c -- descriptors that come and go, options, counters, messages. */
#include "net_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* ---- adopting and giving away ---- */

NET_TEST(adopt, "an adopted socket works like any other, and is given back as it came")
{
    for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
        int fd[2];
        char buf[4];
        CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0, fd));
        weir_conn *c = weir_conn_fd(fd[0]);
        CHECK(c != NULL);
        CHECK_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
        CHECK_EQ(write(fd[1], "abc", 3), 3);
        CHECK_EQ(weir_read(c, buf, sizeof buf), 3);
        {
            WEIR_DEADLINE(5 * WEIR_MS);
            CHECK_ERRNO(weir_read(c, buf, sizeof buf), ETIME);
        }
        CHECK_EQ(weir_detach(c), fd[0]);
        CHECK_ERRNO(weir_read(c, buf, sizeof buf), EBADF);
        CHECK_EQ(!!(fcntl(fd[0], F_GETFL) & O_NONBLOCK), nonblocking);
        CHECK_EQ(write(fd[0], "xy", 2), 2);
        CHECK_EQ(read(fd[1], buf, sizeof buf), 2);
        close(fd[0]);
        close(fd[1]);
    }
}

NET_TEST(adopt_again, "a descriptor that was given away may come back, also on another worker")
{
    weir_conn *c[2];
    char buf[4];
    CHECK_OK(weir_pair(c));
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(weir_write(c[1], "a", 1), 1);
        CHECK_EQ(weir_read(c[0], buf, sizeof buf), 1);
        {
            WEIR_DEADLINE(WEIR_MS);
            CHECK_ERRNO(weir_read(c[0], buf, sizeof buf), ETIME);
        }
        int fd = CHECK_OK(weir_detach(c[0]));
        c[0] = weir_conn_fd(fd);
        CHECK(c[0] != NULL);
    }
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(adopt_refused, "what is no connected stream socket is not adopted, and stays the caller's")
{
    int pipes[2];
    CHECK_OK(pipe2(pipes, O_CLOEXEC));
    CHECK_NULL_ERRNO(weir_conn_fd(pipes[0]), ENOTSOCK);
    CHECK(strstr(weir_error()->text, "weir_poll") != NULL);
    CHECK(!(fcntl(pipes[0], F_GETFL) & O_NONBLOCK));
    CHECK_NULL_ERRNO(weir_listener_fd(pipes[0]), ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
    CHECK_NULL_ERRNO(weir_conn_fd(pipes[0]), EBADF);
    CHECK(strstr(weir_error()->text, "not open") != NULL);
    CHECK_NULL_ERRNO(weir_conn_fd(-1), EBADF);
    int fd = CHECK_OK(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK_NULL_ERRNO(weir_conn_fd(fd), EPROTOTYPE);
    close(fd);
    fd = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_NULL_ERRNO(weir_conn_fd(fd), ENOTCONN);
    CHECK_NULL_ERRNO(weir_listener_fd(fd), EINVAL);
    CHECK(strstr(weir_error()->text, "does not listen") != NULL);
    CHECK_OK(listen(fd, 1));
    CHECK_NULL_ERRNO(weir_conn_fd(fd), EINVAL);
    CHECK(strstr(weir_error()->text, "weir_listener_fd") != NULL);
    weir_listener *l = weir_listener_fd(fd);
    CHECK(l != NULL);
    {
        WEIR_TRY;
        CHECK_NULL_ERRNO(weir_accept(l, NULL), EAGAIN);
    }
    CHECK_EQ(weir_detach(l), fd);
    CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 1
#elif defined(__has_feature)
#define OWN_MALLOC (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define OWN_MALLOC 0
#endif

/* Takes all the memory that malloc could give, in a list. */
struct hog {
    struct hog *next;
};

static struct hog *memory_take(void)
{
    struct hog *all = NULL, *h;
    CHECK_OK(setrlimit(RLIMIT_AS, &(struct rlimit){ 1, RLIM_INFINITY }));
    for (size_t size = 1 << 20; size >= sizeof *h; size /= 2)
        while ((h = malloc(size))) {
            h->next = all;
            all = h;
        }
    return all;
}

static void memory_give(struct hog *all)
{
    CHECK_OK(setrlimit(RLIMIT_AS, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }));
    while (all) {
        struct hog *next = all->next;
        free(all);
        all = next;
    }
}

NET_TEST(adopt_fails, "a descriptor that could not be adopted for lack of memory is as before")
{
    int fd[2];
    if (OWN_MALLOC)
        SKIP("this build has its own malloc");
    CHECK_NULL_ERRNO(weir_conn_fd(-1), EBADF); /* this task has a place for its errors */
    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    int listener = CHECK_OK(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(listen(listener, 1));
    struct hog *all = memory_take();
    weir_listener *l = weir_listener_fd(listener);
    int listener_error = errno;
    weir_conn *c = weir_conn_fd(fd[0]);
    int conn_error = errno;
    memory_give(all);
    CHECK(!l);
    CHECK_EQ(listener_error, ENOMEM);
    CHECK_EQ(fcntl(listener, F_GETFD), 0);
    CHECK(!(fcntl(listener, F_GETFL) & O_NONBLOCK));
    CHECK(!c);
    CHECK_EQ(conn_error, ENOMEM);
    CHECK_EQ(fcntl(fd[0], F_GETFD), 0);
    CHECK(!(fcntl(fd[0], F_GETFL) & O_NONBLOCK));
    close(listener);
    close(fd[0]);
    close(fd[1]);
}

NET_TEST(detach_buffered, "a connection with buffered bytes is not given away: they would be lost")
{
    weir_conn *c[2];
    const void *p;
    char byte;
    tcp_pair(c);
    CHECK_EQ(weir_write(c[1], "ab", 2), 2);
    CHECK_EQ(weir_peek(c[0], &p, 2), 2);
    CHECK_ERRNO(weir_detach(c[0]), EBUSY);
    CHECK(strstr(weir_error()->text, "2 bytes") != NULL);
    CHECK_OK(weir_skip(c[0], 1));
    CHECK_EQ(weir_read(c[0], &byte, 1), 1);
    int fd = CHECK_OK(weir_detach(c[0]));
    CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);
    CHECK_EQ(weir_read(c[1], &byte, 1), 0);
    CHECK_OK(weir_close(c[1]));
}

static int read_one(void *arg)
{
    char byte;
    CHECK_EQ(weir_read(arg, &byte, 1), 1);
    return 0;
}

NET_TEST(detach_busy, "a connection in use is not given away")
{
    weir_conn *c[2];
    weir_group *g = weir_group_open(NULL);
    tcp_pair(c);
    start_elsewhere(g, read_one, c[0]);
    await_waiting("recv");
    CHECK_ERRNO(weir_detach(c[0]), EBUSY);
    CHECK_EQ(weir_write(c[1], "x", 1), 1);
    finish_group(g);
    close(CHECK_OK(weir_detach(c[0])));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(wrong_kind, "calls on a handle of another kind fail and touch nothing")
{
    char where[ENDPOINT], byte;
    int64_t v;
    weir_addr a;
    weir_listener *l = listen_local(where, NULL);
    weir_group *g = weir_group_open(NULL);
    CHECK_ERRNO(weir_read((weir_conn *)l, &byte, 1), EBADF);
    CHECK_ERRNO(weir_fileno(g), EINVAL);
    CHECK_ERRNO(weir_set(g, WEIR_O_NODELAY, 1), EINVAL);
    CHECK_ERRNO(weir_get(g, WEIR_O_NODELAY, &v), EINVAL);
    CHECK_ERRNO(weir_local(g, &a), EINVAL);
    CHECK_ERRNO(weir_detach(g), EINVAL);
    CHECK_ERRNO(weir_fileno(NULL), EBADF);
    CHECK_ERRNO(weir_fileno((void *)(intptr_t)-1), EBADF);
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_close(l));
}

/* ---- options ---- */

NET_TEST(options, "an option that is set is what get reports and what the kernel has")
{
    static const struct {
        weir_opt o;
        int64_t set, get;
    } rows[] = {
        { WEIR_O_NODELAY, 0, 0 },
        { WEIR_O_NODELAY, 5, 1 },
        { WEIR_O_CORK, 1, 1 },
        { WEIR_O_CORK, 0, 0 },
        { WEIR_O_RCVBUF, 30000, 60000 },
        { WEIR_O_SNDBUF, 30000, 60000 },
        { WEIR_O_RCVLOWAT, 100, 100 },
        { WEIR_O_NOTSENT_LOWAT, 4096, 4096 },
        { WEIR_O_KEEPALIVE, 1, WEIR_SEC },
        { WEIR_O_KEEPALIVE, 0, 60 * WEIR_SEC },
        { WEIR_O_KEEPALIVE, -1, -1 },
        { WEIR_O_USER_TIMEOUT, 2 * WEIR_SEC, 2 * WEIR_SEC },
        { WEIR_O_USER_TIMEOUT, 0, 30 * WEIR_SEC },
        { WEIR_O_USER_TIMEOUT, -1, -1 },
        { WEIR_O_TOS, 0x10, 0x10 },
        { WEIR_O_TTL, 12, 12 },
        { WEIR_O_PRIORITY, 3, 3 },
        { WEIR_O_READ_STALL, WEIR_SEC, WEIR_SEC },
        { WEIR_O_WRITE_STALL, 7, 7 },
        { WEIR_O_PACING, INT64_C(10000000000), INT64_C(10000000000) },
        { WEIR_O_PACING, 0, 0 },
    };
    weir_conn *c[2];
    int64_t v;
    tcp_pair(c);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (weir_set(c[0], rows[i].o, rows[i].set))
            FAIL("option %d: %s", rows[i].o, weir_error()->text);
        CHECK_OK(weir_get(c[0], rows[i].o, &v));
        if (v != rows[i].get)
            FAIL("option %d: %lld, not %lld", rows[i].o, (long long)v, (long long)rows[i].get);
    }
    CHECK_ERRNO(weir_set(c[0], WEIR_O_TTL, 256), EINVAL);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_TTL, -1), EINVAL);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_RCVBUF, INT64_MAX), EINVAL);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_RCVBUF, -1), EINVAL);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_NOTSENT_LOWAT, -1), EINVAL);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_PACING, -1), EINVAL);
    CHECK_ERRNO(weir_set(c[0], WEIR_O_READ_STALL, -1), EINVAL);
    CHECK_ERRNO(weir_set(c[0], (weir_opt)99, 1), EINVAL);
    CHECK_ERRNO(weir_get(c[0], (weir_opt)99, &v), EINVAL);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(options_handed_down, "what is set on a listener holds for the connections after it")
{
    char where[ENDPOINT];
    int64_t v;
    weir_listener *l = listen_local(where, NULL);
    CHECK_OK(weir_set(l, WEIR_O_READ_STALL, 5 * WEIR_MS));
    CHECK_OK(weir_set(l, WEIR_O_NODELAY, 0));
    int fd = raw_connect(where);
    weir_conn *c = weir_accept(l, NULL);
    char byte;
    CHECK(c != NULL);
    CHECK_ERRNO(weir_read(c, &byte, 1), ETIMEDOUT);
    CHECK_OK(weir_get(c, WEIR_O_NODELAY, &v));
    CHECK_EQ(v, 0);
    CHECK_OK(weir_close(c));
    CHECK_OK(weir_close(l));
    close(fd);
}

/* ---- counters ---- */

NET_TEST(info, "the counters say what moved, when and in how many calls")
{
    weir_conn *c[2];
    weir_conn_info a, b;
    char buf[16];
    tcp_pair(c);
    weir_time start = weir_now();
    CHECK_OK(weir_info(c[0], &a));
    CHECK(a.opened > 0 && a.opened <= start);
    CHECK_EQ(a.rx + a.tx + a.reads + a.writes, 0);
    CHECK_EQ(a.last_rx, 0);
    CHECK_EQ(weir_write(c[0], "12345", 5), 5);
    CHECK_EQ(weir_write(c[0], "678", 3), 3);
    CHECK_EQ(weir_readn(c[1], buf, 8), 8);
    {
        WEIR_DEADLINE(20 * WEIR_MS);
        CHECK_ERRNO(weir_read(c[1], buf, 1), ETIME);
    }
    CHECK_OK(weir_info(c[0], &a));
    CHECK_OK(weir_info(c[1], &b));
    CHECK_EQ(a.tx, 8);
    CHECK_EQ(a.writes, 2);
    CHECK_EQ(a.rx, 0);
    CHECK_EQ(b.rx, 8);
    CHECK(b.reads == 1 || b.reads == 2);
    CHECK(b.rx_wait_ns >= 15 * WEIR_MS);
    CHECK(b.last_rx > 0 && a.last_tx > 0);
    CHECK(a.rtt_us > 0 && a.cwnd > 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
    CHECK_OK(weir_pair(c));
    CHECK_OK(weir_info(c[0], &a));
    CHECK_EQ(a.rtt_us, 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(data, "a connection carries a pointer of the program's")
{
    weir_conn *c[2];
    int x;
    CHECK_OK(weir_pair(c));
    CHECK(weir_data(c[0]) == NULL);
    weir_setdata(c[0], &x);
    CHECK(weir_data(c[0]) == &x);
    CHECK(weir_data(c[1]) == NULL);
    CHECK_OK(weir_close(c[0]));
    CHECK_NULL_ERRNO(weir_data(c[0]), EBADF);
    CHECK_OK(weir_close(c[1]));
}
