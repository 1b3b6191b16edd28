/* listener_test.c -- listening, accepting, and doing both with no descriptor left. */
#include "net_test.h"

#include "net/budget.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- accepting ---- */

NET_TEST_TROUBLED(accept_peer, "accept tells the peer's address, which stays known after a reset")
{
    char where[ENDPOINT], want[WEIR_ADDRSTR], got[WEIR_ADDRSTR];
    weir_addr peer, later;
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    weir_listener *l = listen_local(where, NULL);
    int fd = raw_connect(where);
    CHECK_OK(getsockname(fd, (struct sockaddr *)&in, &len));
    snprintf(want, sizeof want, "127.0.0.1:%d", ntohs(in.sin_port));
    weir_conn *c = weir_accept(l, &peer);
    CHECK(c != NULL);
    CHECK_STR(weir_addr_str(&peer, got, sizeof got), want);
    CHECK_EQ(peer.len, sizeof in);
    raw_reset(fd);
    char byte;
    CHECK_ERRNO(weir_read(c, &byte, 1), ECONNRESET);
    CHECK(strstr(weir_error()->text, want) != NULL);
    CHECK_OK(weir_peer(c, &later));
    CHECK_MEM(&later, &peer, sizeof(socklen_t) + peer.len);
    CHECK_ERRNO(weir_peer(l, &later), ENOTCONN);
    CHECK_OK(weir_close(c));
    CHECK_OK(weir_close(l));
}

NET_TEST(dual_stack,
         "tcp://:port is every interface and both families, and IPv4 peers look like it")
{
    static const char *const wheres[] = { "tcp://:0", "tcp://*:0" };
    for (int i = 0; i < 2; i++) {
        char where[ENDPOINT], buf[WEIR_ADDRSTR];
        weir_addr a;
        weir_listener *l = weir_listen(wheres[i], NULL);
        if (!l)
            FAIL("%s", weir_error()->text);
        CHECK_OK(weir_local(l, &a));
        weir_addr_str(&a, buf, sizeof buf);
        CHECK(strncmp(buf, "[::]:", 5) == 0);
        snprintf(where, sizeof where, "tcp://127.0.0.1:%d", atoi(buf + 5));
        weir_conn *c4 = weir_dial(where, NULL);
        weir_conn *s4 = weir_accept(l, &a);
        CHECK(c4 && s4);
        CHECK(strncmp(weir_addr_str(&a, buf, sizeof buf), "127.0.0.1:", 10) == 0);
        CHECK_OK(weir_local(s4, &a));
        CHECK(strncmp(weir_addr_str(&a, buf, sizeof buf), "127.0.0.1:", 10) == 0);
        snprintf(where, sizeof where, "tcp://[::1]:%d", atoi(strrchr(where, ':') + 1));
        weir_conn *c6 = weir_dial(where, NULL);
        weir_conn *s6 = weir_accept(l, &a);
        CHECK(c6 && s6);
        CHECK(strncmp(weir_addr_str(&a, buf, sizeof buf), "[::1]:", 6) == 0);
        CHECK_OK(weir_close(c4));
        CHECK_OK(weir_close(s4));
        CHECK_OK(weir_close(c6));
        CHECK_OK(weir_close(s6));
        CHECK_OK(weir_close(l));
    }
    weir_listener *l4 = weir_listen("tcp://:0", &(weir_opts){ .family = AF_INET });
    weir_addr a;
    CHECK(l4 != NULL);
    CHECK_OK(weir_local(l4, &a));
    CHECK_EQ(a.u.sa.sa_family, AF_INET);
    CHECK_OK(weir_close(l4));
}

static int get_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    CHECK_OK(getsockopt(fd, level, name, &value, &len));
    return value;
}

NET_TEST_TROUBLED(inherited, "a connection has weir's options although accepting sets none")
{
    weir_conn *c[2];
    tcp_pair(c);
    for (int i = 0; i < 2; i++) {
        int fd = weir_fileno(c[i]);
        CHECK_EQ(get_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        CHECK_EQ(get_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        CHECK_EQ(get_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
        CHECK_EQ(get_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
        CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
        CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
        CHECK_OK(weir_close(c[i]));
    }
    tcp_pair_with(c, &(weir_opts){ .delay = true, .keepalive = -1, .user_timeout = -1,
                                   .rcvbuf = 10000, .oob_inline = true, .backlog = 5,
                                   .fastopen = true, .reuse_port = true }, NULL);
    int fd = weir_fileno(c[0]);
    CHECK_EQ(get_option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    CHECK_EQ(get_option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    CHECK_EQ(get_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    CHECK_EQ(get_option(fd, SOL_SOCKET, SO_OOBINLINE), 1);
    CHECK_EQ(get_option(fd, SOL_SOCKET, SO_RCVBUF), 20000);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
    tcp_pair_with(c, &(weir_opts){ .mptcp = true }, &(weir_opts){ .mptcp = true });
    CHECK_EQ(weir_write(c[0], "x", 1), 1);
    char byte;
    CHECK_EQ(weir_read(c[1], &byte, 1), 1);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(accept_try, "accept honours WEIR_TRY, deadlines and drain")
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    {
        WEIR_TRY;
        CHECK_NULL_ERRNO(weir_accept(l, NULL), EAGAIN);
    }
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_NULL_ERRNO(weir_accept(l, NULL), ETIME);
    }
    int fd = raw_connect(where);
    {
        WEIR_TRY;
        weir_conn *c = weir_accept(l, NULL);
        CHECK(c != NULL);
        CHECK_OK(weir_close(c));
    }
    close(fd);
    CHECK_OK(weir_close(l));
}

static int accept_end(void *arg)
{
    weir_conn *c = weir_accept(arg, NULL);
    CHECK(c == NULL);
    return errno;
}

NET_TEST_TROUBLED(accept_drained, "draining ends an accept that waits with ESHUTDOWN")
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    weir_group *g = weir_group_open(NULL);
    start(g, accept_end, l);
    await_waiting("accept");
    CHECK_OK(weir_group_drain(g));
    CHECK_EQ(weir_group_wait(g), ESHUTDOWN);
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_close(l));
}

NET_TEST_TROUBLED(accept_closed,
                  "closing a listener ends all accepts with EBADF, wherever they wait")
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    weir_group *g = weir_group_open(NULL);
    start(g, accept_end, l);
    start_elsewhere(g, accept_end, l);
    start_elsewhere(g, accept_end, l);
    await_waiting("accept");
    CHECK_OK(weir_close(l));
    CHECK_EQ(weir_group_wait(g), EBADF);
    CHECK_OK(weir_close(g));
    CHECK_NULL_ERRNO(weir_accept(l, NULL), EBADF);
    CHECK_NULL_ERRNO(weir_dial(where, NULL), ECONNREFUSED);
}

NET_TEST(listen_again, "a port is free again at once after its listener is closed")
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    int fd = raw_connect(where);
    weir_conn *c = weir_accept(l, NULL);
    CHECK(c != NULL);
    CHECK_NULL_ERRNO(weir_listen(where, NULL), EADDRINUSE);
    char text[128], by_name[ENDPOINT];
    snprintf(text, sizeof text, "listen %s: address already in use", where);
    CHECK_STR(weir_error()->text, text);
    snprintf(by_name, sizeof by_name, "tcp://localhost:%s", strrchr(where, ':') + 1);
    const weir_opts by_v4 = { .family = AF_INET };
    CHECK_NULL_ERRNO(weir_listen(by_name, &by_v4), EADDRINUSE);
    snprintf(text, sizeof text, "listen %s: address already in use", by_name);
    CHECK_STR(weir_error()->text, text);
    CHECK_OK(weir_close(c)); /* our side first: TIME_WAIT is here */
    CHECK_OK(weir_close(l));
    close(fd);
    l = weir_listen(where, NULL);
    if (!l)
        FAIL("%s", weir_error()->text);
    CHECK_OK(weir_close(l));
}

NET_TEST(listen_fails, "an address that is not here, or not of the family, is refused")
{
    CHECK_NULL_ERRNO(weir_listen("tcp://192.0.2.1:0", NULL), EADDRNOTAVAIL);
    CHECK_NULL_ERRNO(weir_listen("tcp://127.0.0.1:0", &(weir_opts){ .family = AF_INET6 }),
                     EAFNOSUPPORT);
    CHECK_NULL_ERRNO(weir_listen("unix:/nonexistent/dir/x", NULL), ENOENT);
    weir_listener *l = weir_listen("tcp://localhost:0", NULL);
    CHECK(l != NULL);
    CHECK_OK(weir_close(l));
}

NET_TEST(opts_refused, "a limit that is negative is refused by its name, not passed on")
{
    static const struct {
        const char *name;
        weir_opts opts;
    } rows[] = {
        { "backlog", { .backlog = -1 } },       { "rcvbuf", { .rcvbuf = -1 } },
        { "sndbuf", { .sndbuf = -5 } },         { "read_stall", { .read_stall = -1 } },
        { "write_stall", { .write_stall = -1 } }, { "family", { .family = -1 } },
    };
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK_NULL_ERRNO(weir_listen("tcp://127.0.0.1:0", &rows[i].opts), EINVAL);
        CHECK(strstr(weir_error()->text, rows[i].name) != NULL);
        CHECK_NULL_ERRNO(weir_dial(where, &rows[i].opts), EINVAL);
        CHECK(strstr(weir_error()->text, rows[i].name) != NULL);
    }
    CHECK_OK(weir_close(l));
}

/* ---- no descriptor left ---- */

static atomic_int accepted;

static int accept_one(void *arg)
{
    weir_conn *c = weir_accept(arg, NULL);
    if (!c)
        FAIL("accept: %s", weir_error()->text);
    atomic_store(&accepted, 1);
    CHECK_OK(weir_close(c));
    return 0;
}

static int64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* A task that waits in accept, a client that connected, and not one descriptor left. */
struct scarce {
    weir_listener *l;
    weir_group *g;
    int client;
    struct rlimit limit;
    int fds[256], count;
};

static void scarce_begin(struct scarce *s)
{
    char where[ENDPOINT];
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    s->l = listen_local(where, NULL);
    s->g = weir_group_open(NULL);
    s->client = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    atomic_store(&accepted, 0);
    /* Before anybody accepts: a ring keeps the limit there was when it was asked. */
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &s->limit));
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 100, s->limit.rlim_max }));
    start(s->g, accept_one, s->l);
    await_waiting("accept");
    CHECK_OK(weir_sleep(WEIR_MS)); /* a thread takes a descriptor when it first waits */
    s->count = 0;
    while ((s->fds[s->count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        s->count++;
    CHECK_EQ(errno, EMFILE);
    in.sin_port = htons((uint16_t)atoi(strrchr(where, ':') + 1));
    CHECK_OK(connect(s->client, (struct sockaddr *)&in, sizeof in));
}

static void scarce_end(struct scarce *s)
{
    finish_group(s->g);
    while (s->count > 0)
        close(s->fds[--s->count]);
    close(s->client);
    CHECK_OK(weir_close(s->l));
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &s->limit));
}

NET_TEST(no_fds,
         "without a descriptor accept waits without spinning, and goes on when one is closed")
{
    struct scarce s;
    weir_conn *c[2];
    CHECK_OK(weir_pair(c));
    scarce_begin(&s);
    int64_t before = cpu_us();
    CHECK_OK(weir_sleep(300 * WEIR_MS)); /* the time in which it must not spin */
    CHECK(cpu_us() - before < 30000 * test_slowness());
    CHECK_EQ(atomic_load(&accepted), 0);
    CHECK_EQ(weir_write(c[1], "x", 1), 1); /* the others live on */
    char byte;
    CHECK_EQ(weir_read(c[0], &byte, 1), 1);
    weir_time start = weir_now();
    CHECK_OK(weir_close(c[0]));
    await_flag(&accepted, 1);
    CHECK(weir_now() - start < 200 * WEIR_MS * test_slowness());
    scarce_end(&s);
    CHECK_OK(weir_close(c[1]));
}

NET_TEST_TROUBLED(no_fds_foreign, "accept also goes on when somebody else's descriptor is closed")
{
    struct scarce s;
    scarce_begin(&s);
    CHECK_OK(weir_sleep(20 * WEIR_MS));
    CHECK_EQ(atomic_load(&accepted), 0);
    close(s.fds[--s.count]);
    await_flag(&accepted, 1);
    scarce_end(&s);
}

static int accept_within_budget(void *arg)
{
    char where[ENDPOINT];
    (void)arg;
    weir_listener *l = listen_local(where, NULL);
    weir_group *g = weir_group_open(NULL);
    int client[4];
    weir_conn *c[3];
    for (int i = 0; i < 4; i++)
        client[i] = raw_connect(where);
    for (int i = 0; i < 3; i++)
        CHECK((c[i] = weir_accept(l, NULL)) != NULL);
    {
        WEIR_DEADLINE(20 * WEIR_MS);
        CHECK_NULL_ERRNO(weir_accept(l, NULL), ETIME);
    }
    atomic_store(&accepted, 0);
    start(g, accept_one, l);
    CHECK_OK(weir_sleep(5 * WEIR_MS));
    CHECK_EQ(atomic_load(&accepted), 0);
    CHECK_OK(weir_close(c[0]));
    await_flag(&accepted, 1);
    finish_group(g);
    for (int i = 0; i < 4; i++)
        close(client[i]);
    CHECK_OK(weir_close(c[1]));
    CHECK_OK(weir_close(c[2]));
    CHECK_OK(weir_close(l));
    return 0;
}

TEST(budget, "with max_fds in use accept waits until one of them is closed")
{
    weir_config config = { .workers = 1, .max_fds = 4 };
    CHECK_EQ(weir_run(&config, accept_within_budget, NULL), 0);
}

NET_TEST(budget_race, "a descriptor that comes free before its waiter is listed is not missed")
{
    weir_conn *c[2];
    CHECK_OK(weir_pair(c));
    unsigned given = budget_given();
    CHECK_OK(weir_close(c[0])); /* between the look for one and the wait */
    weir_time start = weir_now();
    CHECK_EQ(budget_wait(given, 10 * WEIR_SEC), 0);
    CHECK(weir_now() - start < 5 * WEIR_SEC);
    start = weir_now();
    CHECK_EQ(budget_wait(budget_given(), 5 * WEIR_MS), 0);
    CHECK(weir_now() - start >= 5 * WEIR_MS);
    CHECK_OK(weir_close(c[1]));
}

/* ---- Unix sockets ---- */

static void unix_path(char *path, const char *name)
{
    snprintf(path, ENDPOINT, "/tmp/weir-%s.%d", name, (int)getpid());
}

static weir_listener *listen_unix(const char *path, bool unlinks)
{
    char where[200];
    snprintf(where, sizeof where, "unix:%s", path);
    return weir_listen(where, &(weir_opts){ .unlink_on_close = unlinks });
}

NET_TEST(unix_stale, "the file of a server that is gone is replaced, that of a live one is not")
{
    char path[ENDPOINT];
    unix_path(path, "stale");
    weir_listener *l = listen_unix(path, false);
    CHECK(l != NULL);
    CHECK_NULL_ERRNO(listen_unix(path, false), EADDRINUSE);
    CHECK_OK(weir_close(l));
    CHECK_OK(access(path, F_OK));
    l = listen_unix(path, true);
    if (!l)
        FAIL("%s", weir_error()->text);
    CHECK_OK(weir_close(l));
    CHECK_ERRNO(access(path, F_OK), ENOENT);
}

NET_TEST(unix_other_file, "a file that is no socket is never replaced")
{
    char path[ENDPOINT];
    unix_path(path, "file");
    close(CHECK_OK(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
    CHECK_NULL_ERRNO(listen_unix(path, true), EADDRINUSE);
    CHECK_OK(unlink(path));
    CHECK_OK(symlink("/tmp/weir-nowhere", path));
    CHECK_NULL_ERRNO(listen_unix(path, true), EADDRINUSE);
    CHECK_OK(unlink(path));
}

NET_TEST(unix_taken_over, "closing does not unlink a path that another server has taken over")
{
    char path[ENDPOINT], moved[ENDPOINT + 4];
    unix_path(path, "over");
    snprintf(moved, sizeof moved, "%s.old", path);
    weir_listener *first = listen_unix(path, true);
    CHECK(first != NULL);
    CHECK_OK(rename(path, moved)); /* keeps its inode in use */
    weir_listener *second = listen_unix(path, true);
    CHECK(second != NULL);
    CHECK_OK(weir_close(first));
    CHECK_OK(access(path, F_OK));
    CHECK_OK(weir_close(second));
    CHECK_ERRNO(access(path, F_OK), ENOENT);
    CHECK_OK(unlink(moved));
}

NET_TEST(unix_length, "a path of 107 bytes is the file's whole name, one of 108 is refused")
{
    char path[120], longer[121];
    snprintf(path, sizeof path, "/tmp/weir-%d-", (int)getpid());
    size_t len = strlen(path);
    memset(path + len, 'p', 107 - len);
    path[107] = '\0';
    snprintf(longer, sizeof longer, "%sp", path);
    weir_listener *l = listen_unix(path, true);
    if (!l)
        FAIL("%s", weir_error()->text);
    CHECK_OK(access(path, F_OK));
    CHECK_NULL_ERRNO(listen_unix(longer, true), ENAMETOOLONG);
    CHECK_OK(weir_close(l));
    CHECK_ERRNO(access(path, F_OK), ENOENT);
}
