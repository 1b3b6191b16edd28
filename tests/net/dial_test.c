/* dial_test.c -- endpoints, names, connecting, and what is said when it fails. */
#include "net_test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/un.h>

/* ---- endpoints ---- */

static const struct refused {
    const char *where;
    int error;
    const char *says;
} refused[] = {
    { "tcp://127.0.0.1", EINVAL, "port" },
    { "tcp://[::1]", EINVAL, "no port" },
    { "tcp://127.0.0.1:", EINVAL, "port" },
    { "tcp://127.0.0.1:65536", EINVAL, "65535" },
    { "tcp://127.0.0.1:http", EINVAL, "port" },
    { "tcp://127.0.0.1:80/", EINVAL, "port" },
    { "tcp://", EINVAL, "port" },
    { "tcp://::1:80", EINVAL, "brackets" },
    { "tcp://[::1:80", EINVAL, "brackets" },
    { "tcp://127.1:80", EINVAL, "neither" },
    { "tcp://0x7f.1:80", EINVAL, "neither" },
    { "tcp://1.2.3.4.:80", EINVAL, "neither" },
    { "tcp://[fe80::1%nothere]:80", ENODEV, "interface" },
    { "unix:", EINVAL, "path" },
    { "unix:@", EINVAL, "path" },
    { "fd:", EINVAL, "number" },
    { "fd:x", EINVAL, "number" },
    { "fd:-1", EINVAL, "number" },
    { "fd:99999999999", EINVAL, "number" },
    { "", EINVAL, "tcp://" },
    { "localhost", EINVAL, "tcp://" },
    { "tls://localhost:443", EPROTONOSUPPORT, "tcp://" },
    { "udp://:53", EPROTONOSUPPORT, "unix:" },
    { "vsock:2:80", EPROTONOSUPPORT, "fd:" },
    { "http://localhost:80", EPROTONOSUPPORT, "tcp://" },
    { "localhost:80", EPROTONOSUPPORT, "tcp://" },
    { NULL, EINVAL, "endpoint" },
};

NET_TEST(endpoints_refused, "an endpoint that makes no sense is refused with what would")
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct refused *r = &refused[i];
        CHECK_NULL_ERRNO(weir_dial(r->where, NULL), r->error);
        if (!strstr(weir_error()->text, r->says))
            FAIL("dial %s: \"%s\" does not say \"%s\"", r->where, weir_error()->text, r->says);
        CHECK_STR(weir_error()->op, "dial");
        CHECK_NULL_ERRNO(weir_listen(r->where, NULL), r->error);
        CHECK_EQ(weir_error()->code, r->error);
        CHECK_STR(weir_error()->op, "listen");
    }
}

NET_TEST(long_names, "a host name of more than 253 bytes is refused before anything else")
{
    char where[400] = "tcp://";
    memset(where + 6, 'a', 254);
    strcpy(where + 6 + 254, ":80");
    weir_addr a;
    CHECK_NULL_ERRNO(weir_dial(where, NULL), ENAMETOOLONG);
    CHECK_NULL_ERRNO(weir_listen(where, NULL), ENAMETOOLONG);
    where[6 + 254] = '\0';
    CHECK_ERRNO(weir_resolve(where + 6, "80", &a, 1), ENAMETOOLONG);
    memset(where + 6, 'a', 300);
    memcpy(where, "unix:/", 6);
    CHECK_NULL_ERRNO(weir_dial(where, NULL), ENAMETOOLONG);
}

/* ---- names ---- */

NET_TEST(resolve, "numeric hosts and ports are taken as they are, names are looked up")
{
    weir_addr a[4];
    char buf[WEIR_ADDRSTR];
    CHECK_EQ(weir_resolve("127.0.0.1", "80", a, 4), 1);
    CHECK_STR(weir_addr_str(a, buf, sizeof buf), "127.0.0.1:80");
    CHECK_EQ(weir_resolve("::1", NULL, a, 4), 1);
    CHECK_STR(weir_addr_str(a, buf, sizeof buf), "[::1]:0");
    int n = CHECK_OK(weir_resolve("localhost", "http", a, 4));
    CHECK(n >= 1 && n <= 4);
    CHECK(strstr(weir_addr_str(a, buf, sizeof buf), ":80") != NULL);
    CHECK_ERRNO(weir_resolve("", "80", a, 4), EINVAL);
    CHECK_ERRNO(weir_resolve(NULL, "80", a, 4), EINVAL);
    CHECK_ERRNO(weir_resolve("localhost", "80", a, 0), EINVAL);
    CHECK_ERRNO(weir_resolve("localhost", "no-such-service", a, 4), EINVAL);
    CHECK(strstr(weir_error()->text, "localhost") != NULL);
}

NET_TEST(resolve_port, "a port that cannot be is refused, for a name as for an address")
{
    static const char *const hosts[] = { "localhost", "127.0.0.1", "::1" };
    static const char *const ports[] = { "65536", "99999", "4294967376", "", "+65616" };
    weir_addr a;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        for (size_t j = 0; j < sizeof ports / sizeof *ports; j++) {
            CHECK_ERRNO(weir_resolve(hosts[i], ports[j], &a, 1), EINVAL);
            CHECK(strstr(weir_error()->text, "65535") != NULL);
        }
}

NET_TEST(resolve_fails, "a name that cannot be found says so, with the resolver's reason")
{
    char name[80], where[100];
    weir_addr a;
    memset(name, 'a', 64); /* no label of a name is that long, so no server is asked */
    strcpy(name + 64, ".test");
    CHECK_EQ(weir_resolve(name, "80", &a, 1), -1);
    CHECK(errno == ENOENT || errno == EPROTO);
    CHECK_STR(weir_error()->phase, "resolve");
    CHECK(strstr(weir_error()->text, name) != NULL);
    snprintf(where, sizeof where, "tcp://%s:80", name);
    CHECK_NULL_ERRNO(weir_dial(where, NULL), weir_error()->code);
    CHECK_STR(weir_error()->phase, "resolve");
    CHECK_EQ(strncmp(weir_error()->text, "dial tcp://aaa", 14), 0);
    CHECK_NULL_ERRNO(weir_listen(where, NULL), weir_error()->code);
    CHECK_EQ(strncmp(weir_error()->text, "listen tcp://aaa", 16), 0);
}

/* A name server on 127.0.0.1 that hears and never answers, for this process alone. */
static int silent_name_server(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(53) };
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x4d00);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char path[] = "/tmp/weir-resolv-XXXXXX";
    int file = mkostemp(path, O_CLOEXEC);
    static const char text[] = "nameserver 127.0.77.1\noptions timeout:1 attempts:1\n";
    CHECK(fd >= 0 && file >= 0);
    CHECK_EQ(write(file, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(file);
    bool made = unshare(CLONE_NEWNS) == 0 &&
                mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0 &&
                bind(fd, (struct sockaddr *)&in, sizeof in) == 0;
    unlink(path);
    if (!made)
        SKIP("a name server of one's own takes privileges");
    return fd;
}

static int dial_late(void *arg)
{
    (void)arg;
    weir_time start = weir_now();
    WEIR_DEADLINE(50 * WEIR_MS);
    CHECK_NULL_ERRNO(weir_dial("tcp://silent.test:80", NULL), ETIME);
    CHECK(weir_now() - start < 2 * WEIR_SEC);
    CHECK_STR(weir_error()->phase, "resolve");
    CHECK(weir_error()->elapsed >= 50 * WEIR_MS);
    CHECK(strstr(weir_error()->text, "dial tcp://silent.test:80: ") != NULL);
    return 0;
}

static int thread_count(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

TEST(resolve_deadline, "a deadline also ends the wait for a name server that does not answer")
{
    int before = thread_count();
    int fd = silent_name_server();
    weir_config config = { .workers = 1 };
    CHECK_EQ(dial_late(NULL), 0);
    CHECK_EQ(weir_run(&config, dial_late, NULL), 0); /* ends after the lookup */
    while (thread_count() > before) /* the one that looks up for a plain thread ends by itself */
        CHECK_OK(weir_sleep(WEIR_MS));
    close(fd);
}

/* ---- connecting ---- */

NET_TEST_TROUBLED(dial_name, "a host name is dialled at its addresses until one answers")
{
    char where[ENDPOINT], by_name[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    snprintf(by_name, sizeof by_name, "tcp://localhost:%s", strrchr(where, ':') + 1);
    weir_conn *c = weir_dial(by_name, NULL);
    if (!c)
        FAIL("%s", weir_error()->text);
    weir_conn *s = weir_accept(l, NULL);
    CHECK(s != NULL);
    CHECK_OK(weir_close(c));
    CHECK_OK(weir_close(s));
    CHECK_OK(weir_close(l));
}

NET_TEST_TROUBLED(dial_refused,
                  "where nobody listens, dialling says ECONNREFUSED with a line per address")
{
    char where[ENDPOINT], any[ENDPOINT], text[256];
    weir_addr a;
    CHECK_OK(weir_close(listen_local(where, NULL)));
    CHECK_NULL_ERRNO(weir_dial(where, NULL), ECONNREFUSED);
    snprintf(text, sizeof text, "dial %s: connect %s: connection refused", where, where + 6);
    CHECK_EQ(strncmp(weir_error()->text, text, strlen(text)), 0);
    CHECK_STR(weir_error()->op, "dial");
    CHECK_STR(weir_error()->phase, "connect");
    CHECK_OK(weir_addr_parse(&a, where + 6));
    CHECK_MEM(&weir_error()->addr, &a, sizeof(socklen_t) + a.len);
    snprintf(any, sizeof any, "tcp://:%s", strrchr(where, ':') + 1);
    CHECK_NULL_ERRNO(weir_dial(any, NULL), ECONNREFUSED);
    snprintf(text, sizeof text, "dial %s: connect [::1]:%s: ", any, strrchr(where, ':') + 1);
    CHECK_EQ(strncmp(weir_error()->text, text, strlen(text)), 0);
    snprintf(text, sizeof text, "\nconnect %s: connection refused", where + 6);
    CHECK(strstr(weir_error()->text, text) != NULL);
    CHECK_NULL_ERRNO(weir_dial(any, &(weir_opts){ .family = AF_INET }), ECONNREFUSED);
    CHECK(strstr(weir_error()->text, "[::1]:") == NULL);
    CHECK_NULL_ERRNO(weir_dial(where, &(weir_opts){ .family = AF_INET6 }), EAFNOSUPPORT);
}

NET_TEST(dial_long, "of the longest path that is dialled, the text of the error tells all and why")
{
    char where[128] = "unix:/";
    memset(where + 6, 'x', 106);
    CHECK_NULL_ERRNO(weir_dial(where, NULL), ENOENT);
    CHECK(strstr(weir_error()->text, where) != NULL);
    CHECK(strstr(weir_error()->text, ": connect: no such file or directory") != NULL);
}

/* A listening socket whose queue is full: the kernel drops what else comes. */
static int full_listener(char *where, int clients[2])
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;
    int fd = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_OK(bind(fd, (struct sockaddr *)&in, len));
    CHECK_OK(listen(fd, 0));
    CHECK_OK(getsockname(fd, (struct sockaddr *)&in, &len));
    snprintf(where, ENDPOINT, "tcp://127.0.0.1:%d", ntohs(in.sin_port));
    clients[0] = raw_connect(where);
    clients[1] = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    connect(clients[1], (struct sockaddr *)&in, len);
    return fd;
}

NET_TEST(dial_late,
         "a host that does not answer is ETIME when the deadline passes, and leaves nothing")
{
    char where[ENDPOINT];
    int clients[2];
    int fd = full_listener(where, clients);
    weir_time start = weir_now();
    {
        WEIR_DEADLINE(50 * WEIR_MS);
        CHECK_NULL_ERRNO(weir_dial(where, NULL), ETIME);
    }
    CHECK(weir_now() - start >= 50 * WEIR_MS);
    CHECK(strstr(weir_error()->text, "no answer in time") != NULL);
    {
        WEIR_TRY;
        CHECK_NULL_ERRNO(weir_dial(where, NULL), EAGAIN);
    }
    close(clients[0]);
    close(clients[1]);
    close(fd);
}

static int dial_cancelled(void *arg)
{
    CHECK_NULL_ERRNO(weir_dial(arg, NULL), ECANCELED);
    return 0;
}

NET_TEST(dial_cancelled, "cancelling ends a dial that waits, and leaves nothing")
{
    char where[ENDPOINT];
    int clients[2];
    int fd = full_listener(where, clients);
    weir_group *g = weir_group_open(NULL);
    start(g, dial_cancelled, where);
    await_waiting("connect");
    CHECK_OK(weir_group_cancel(g));
    finish_group(g);
    close(clients[0]);
    close(clients[1]);
    close(fd);
}

NET_TEST_TROUBLED(dial_options, "what is asked of a dialled connection is so before it is used")
{
    weir_conn *c[2];
    int64_t v;
    weir_addr a;
    char buf[WEIR_ADDRSTR];
    tcp_pair_with(c, NULL,
                  &(weir_opts){ .bind_to = "127.0.0.9", .delay = true, .keepalive = 90 * WEIR_SEC,
                                .user_timeout = 1500 * WEIR_MS, .sndbuf = 20000 });
    CHECK_OK(weir_get(c[1], WEIR_O_NODELAY, &v));
    CHECK_EQ(v, 0);
    CHECK_OK(weir_get(c[1], WEIR_O_KEEPALIVE, &v));
    CHECK_EQ(v, 90 * WEIR_SEC);
    CHECK_OK(weir_get(c[1], WEIR_O_USER_TIMEOUT, &v));
    CHECK_EQ(v, 1500 * WEIR_MS);
    CHECK_OK(weir_get(c[1], WEIR_O_SNDBUF, &v));
    CHECK_EQ(v, 40000); /* socket(7): doubled */
    CHECK_OK(weir_peer(c[0], &a));
    CHECK(strncmp(weir_addr_str(&a, buf, sizeof buf), "127.0.0.9:", 10) == 0);
    CHECK_OK(weir_close(c[0]));
    CHECK_OK(weir_close(c[1]));
}

NET_TEST(dial_bind,
         "bind_to takes an address, one with a port, or a device, and says what it cannot")
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    static const char *const good[] = { "127.0.0.1", "127.0.0.1:0", "lo" };
    for (size_t i = 0; i < 3; i++) {
        weir_conn *c = weir_dial(where, &(weir_opts){ .bind_to = good[i] });
        if (!c)
            FAIL("%s: %s", good[i], weir_error()->text);
        CHECK_OK(weir_abort(c));
        c = weir_accept(l, NULL);
        CHECK(c != NULL);
        CHECK_OK(weir_close(c));
    }
    CHECK_NULL_ERRNO(weir_dial(where, &(weir_opts){ .bind_to = "[::1]" }), EAFNOSUPPORT);
    CHECK_NULL_ERRNO(weir_dial(where, &(weir_opts){ .bind_to = "192.0.2.1" }), EADDRNOTAVAIL);
    CHECK_NULL_ERRNO(weir_dial(where, &(weir_opts){ .bind_to = "nothere" }), ENODEV);
    CHECK_NULL_ERRNO(weir_dial(where, &(weir_opts){ .bind_to = "no such device at all" }), EINVAL);
    CHECK_OK(weir_close(l));
}

NET_TEST(dial_self, "a connection never connects to itself")
{
    char where[ENDPOINT], local[ENDPOINT];
    CHECK_OK(weir_close(listen_local(where, NULL)));
    snprintf(local, sizeof local, "127.0.0.1:%s", strrchr(where, ':') + 1);
    CHECK_NULL_ERRNO(weir_dial(where, &(weir_opts){ .bind_to = local }), ECONNREFUSED);
}

NET_TEST_TROUBLED(dial_unix, "Unix sockets are dialled by path and by abstract name")
{
    static const char *const names[] = { "unix:/tmp/weir-dial-test", "unix:@weir-dial-test" };
    for (int i = 0; i < 2; i++) {
        char where[ENDPOINT], buf[WEIR_ADDRSTR];
        weir_addr a;
        snprintf(where, sizeof where, "%s.%d", names[i], (int)getpid());
        CHECK_NULL_ERRNO(weir_dial(where, NULL), i == 0 ? ENOENT : ECONNREFUSED);
        char text[128];
        snprintf(text, sizeof text, "dial %s: connect: %s", where,
                 i == 0 ? "no such file or directory" : "connection refused");
        CHECK_EQ(strncmp(weir_error()->text, text, strlen(text)), 0);
        weir_listener *l = weir_listen(where, &(weir_opts){ .unlink_on_close = true });
        if (!l)
            FAIL("%s", weir_error()->text);
        weir_conn *c = weir_dial(where, NULL);
        CHECK(c != NULL);
        weir_conn *s = weir_accept(l, &a);
        CHECK(s != NULL);
        CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "unix:");
        CHECK_OK(weir_peer(c, &a));
        CHECK_STR(weir_addr_str(&a, buf, sizeof buf), where);
        CHECK_EQ(weir_printf(s, "hi\n"), 3);
        CHECK_EQ(weir_getline(c, buf, sizeof buf), 2);
        CHECK_OK(weir_close(c));
        CHECK_OK(weir_close(s));
        CHECK_OK(weir_close(l));
    }
}

NET_TEST(dial_fd, "fd:number takes over a connection that is open already")
{
    int fd[2];
    char where[ENDPOINT], buf[4];
    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
    snprintf(where, sizeof where, "fd:%d", fd[0]);
    weir_conn *c = weir_dial(where, NULL);
    CHECK(c != NULL);
    CHECK_EQ(weir_fileno(c), fd[0]);
    CHECK_EQ(weir_write(c, "x", 1), 1);
    CHECK_EQ(read(fd[1], buf, sizeof buf), 1);
    CHECK_OK(weir_close(c));
    close(fd[1]);
    CHECK_NULL_ERRNO(weir_dial(where, NULL), EBADF);
}
