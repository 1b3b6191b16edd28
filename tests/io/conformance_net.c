/* conformance_net.c -- sockets and peers for the rows of the conformance table.
 *
 * The peers use plain blocking calls with a time limit of their own, so that a backend is judged
 * by something that is not built on it.                                                        */
#include "conformance.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- Addresses ------------------------------------------------------------------------------- */

struct address loopback(int family)
{
    if (family == AF_INET6)
        return (struct address){
            .len = sizeof(struct sockaddr_in6),
            .in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    return (struct address){
        .len = sizeof(struct sockaddr_in),
        .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
}

struct address unix_abstract(const char *name)
{
    struct address a = {.un = {.sun_family = AF_UNIX}};
    int n = snprintf(a.un.sun_path + 1, sizeof a.un.sun_path - 1, "weir-%d-%s", getpid(), name);
    a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    return a;
}

struct address name_of(int fd, bool peer)
{
    struct address a = {.len = sizeof a - offsetof(struct address, any)};
    CHECK_OK(peer ? getpeername(fd, &a.any, &a.len) : getsockname(fd, &a.any, &a.len));
    return a;
}

/* ---- Making sockets -------------------------------------------------------------------------- */

static void limit_waits(int fd)
{
    struct timeval limit = {.tv_sec = 5 * test_slowness()};
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
}

int adopt(int fd)
{
    int flags = CHECK_OK(fcntl(fd, F_GETFL));
    CHECK_OK(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
    fd_generation_bump(fd);
    return fd;
}

/* A call with a time limit is not restarted after an interruption, and a stopped and continued
 * process sees one without a signal handler (signal(7)). The connect goes on behind it. */
static void connect_plain(int fd, const struct address *at)
{
    if (connect(fd, &at->any, at->len) == 0)
        return;
    if (errno != EINTR)
        FAIL("a peer could not connect: %s", strerror(errno));
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    int error = -1;
    socklen_t len = sizeof error;
    CHECK_EQ(CHECK_OK(TEMP_FAILURE_RETRY(poll(&entry, 1, 5000 * test_slowness()))), 1);
    CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    CHECK_EQ(error, 0);
}

int dial_plain(const struct address *at)
{
    int fd = CHECK_OK(socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    limit_waits(fd);
    connect_plain(fd, at);
    if (at->any.sa_family != AF_UNIX)
        CHECK_OK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
    return fd;
}

static struct pair pair_tcp(int family)
{
    struct address at = loopback(family);
    int listener = CHECK_OK(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    /* With segments of loopback's 64 KiB, a window smaller than one is probed by a timer only. */
    CHECK_OK(setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &(int){1400}, sizeof(int)));
    CHECK_OK(bind(listener, &at.any, at.len));
    CHECK_OK(listen(listener, 1));
    at = name_of(listener, false);
    struct pair p = {.peer = dial_plain(&at)};
    p.ours = CHECK_OK(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    CHECK_OK(setsockopt(p.ours, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
    CHECK_OK(close(listener));
    fd_generation_bump(p.ours);
    return p;
}

static struct pair pair_unix(int type)
{
    int fds[2];
    CHECK_OK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds));
    limit_waits(fds[1]);
    return (struct pair){adopt(fds[0]), fds[1]};
}

struct pair pair_open(enum net net)
{
    return net == NET_UNIX ? pair_unix(SOCK_STREAM)
                           : pair_tcp(net == NET_TCP4 ? AF_INET : AF_INET6);
}

struct pair pair_dgram(int family)
{
    if (family == AF_UNIX)
        return pair_unix(SOCK_DGRAM);
    struct address a = loopback(family);
    struct pair p = {.ours = CHECK_OK(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
                     .peer = CHECK_OK(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0))};
    CHECK_OK(bind(p.ours, &a.any, a.len));
    CHECK_OK(bind(p.peer, &a.any, a.len));
    a = name_of(p.ours, false);
    CHECK_OK(connect(p.peer, &a.any, a.len));
    a = name_of(p.peer, false);
    CHECK_OK(connect(p.ours, &a.any, a.len));
    limit_waits(p.peer);
    adopt(p.ours);
    return p;
}

void pair_close(struct bench *b, struct pair p)
{
    shut(b, p.ours);
    CHECK_OK(close(p.peer));
}

void make_busy(struct bench *b, struct pair p)
{
    char c;
    for (int i = 0; i < 20; i++) {
        struct op op = recv_op(p.ours, &c, 1);
        start(b, &op);
        turn(b);
        peer_send(p.peer, "x", 1);
        CHECK_EQ(finish(b, &op), 1);
        send_all(b, p.ours, "y", 1);
        peer_recv(p.peer, &c, 1);
    }
}

void each_stream(struct bench *b, void (*body)(struct bench *b, struct pair p, enum net net))
{
    static const enum net nets[] = {NET_UNIX, NET_TCP4, NET_TCP6, NET_TCP4};
    for (size_t i = 0; i < ARRAY_COUNT(nets); i++) {
        struct pair p = pair_open(nets[i]);
        if (i >= NET_TCP6)
            make_busy(b, p);
        body(b, p, nets[i]);
        pair_close(b, p);
    }
}

int listener_open(struct bench *b, enum net net, int backlog, struct address *at)
{
    static int names;
    char name[16];
    int family = net == NET_UNIX ? AF_UNIX : net == NET_TCP4 ? AF_INET : AF_INET6;
    snprintf(name, sizeof name, "%d", names++);
    *at = net == NET_UNIX ? unix_abstract(name) : loopback(family);
    int fd = ask(b, socket_op(family, SOCK_STREAM));
    CHECK(fd >= 0);
    CHECK_EQ(ask(b, bind_op(fd, &at->any, at->len)), 0);
    CHECK_EQ(ask(b, listen_op(fd, backlog)), 0);
    *at = name_of(fd, false);
    return fd;
}

void small_buffers(struct pair p)
{
    for (int side = 0; side < 2; side++) {
        int fd = side ? p.peer : p.ours;
        CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){16384}, sizeof(int)));
        CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){16384}, sizeof(int)));
    }
}

/* ---- Peers ----------------------------------------------------------------------------------- */

void peer_send(int fd, const void *buf, size_t len)
{
    for (size_t at = 0; at < len;)
        at += (size_t)CHECK_OK(
            TEMP_FAILURE_RETRY(send(fd, (const char *)buf + at, len - at, MSG_NOSIGNAL)));
}

void peer_recv(int fd, void *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = CHECK_OK(TEMP_FAILURE_RETRY(recv(fd, (char *)buf + at, len - at, 0)));
        CHECK(n > 0);
        at += (size_t)n;
    }
}

void peer_skip(int fd, size_t len)
{
    char buf[4096];
    for (; len > sizeof buf; len -= sizeof buf)
        peer_recv(fd, buf, sizeof buf);
    peer_recv(fd, buf, len);
}

void peer_sees_end(int fd)
{
    char c;
    CHECK_EQ(CHECK_OK(TEMP_FAILURE_RETRY(recv(fd, &c, 1, 0))), 0);
}

void peer_sees_end_now(int fd)
{
    char c;
    int domain = 0;
    socklen_t len = sizeof domain;
    CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len));
    if (domain == AF_UNIX)
        CHECK_EQ(CHECK_OK(recv(fd, &c, 1, MSG_DONTWAIT)), 0);
    else
        peer_sees_end(fd);
}

uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 167 + (at >> 8) * 13);
}

size_t peer_drain(int fd)
{
    uint8_t buf[16384];
    size_t at = 0;
    for (;;) {
        ssize_t n = CHECK_OK(TEMP_FAILURE_RETRY(recv(fd, buf, sizeof buf, 0)));
        if (n == 0)
            return at;
        for (ssize_t i = 0; i < n; i++, at++)
            CHECK_EQ(buf[i], pattern(at));
    }
}

/* Of what was sent, the bytes the peer has not acknowledged, or not read. */
static int unacknowledged(int fd)
{
    int bytes = 0;
    CHECK_OK(ioctl(fd, SIOCOUTQ, &bytes));
    return bytes;
}

/* The kernel is asked directly, so that a shortened or delayed send is not taken for a full
 * socket. Less room than poll(2) calls writable is enough for a send, hence the last one. */
size_t fill(struct bench *b, struct pair p)
{
    uint8_t buf[16384];
    size_t at = 0;
    for (bool is_full = false;;) {
        for (size_t i = 0; i < sizeof buf; i++)
            buf[i] = pattern(at + i);
        ssize_t n = send(p.ours, buf, sizeof buf, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
            is_full = false;
            continue;
        }
        CHECK_EQ(errno, EAGAIN);
        if (is_full)
            break;
        /* A delayed acknowledgement (tcp(7)) would make room much later. */
        (void)setsockopt(p.peer, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
        struct pollfd entry = {.fd = p.ours, .events = POLLOUT};
        int before = unacknowledged(p.ours);
        is_full = poll(&entry, 1, 10) == 0 && unacknowledged(p.ours) == before;
    }
    turn(b);
    return at;
}

void peer_reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    CHECK_OK(close(fd));
}

bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}
