/* sock.c -- sockets on the loopback for experiments, by plain system calls. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

enum { PATIENCE_MS = 1000, PIECE_MAX = 64 << 10 };

struct sockaddr_in address(const char *host, uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, host, &a.sin_addr);
    return a;
}

int bind_host(int fd, const char *host, uint16_t port)
{
    struct sockaddr_in at = address(host, port);
    return bind(fd, (struct sockaddr *)&at, sizeof at);
}

int connect_host(int fd, const char *host, uint16_t port)
{
    struct sockaddr_in to = address(host, port);
    return connect(fd, (struct sockaddr *)&to, sizeof to);
}

struct sockaddr_in local_address(struct lab *lab, int fd)
{
    struct sockaddr_in a = { 0 };
    socklen_t len = sizeof a;
    must(lab, getsockname(fd, (struct sockaddr *)&a, &len), "getsockname");
    return a;
}

struct sockaddr_in peer_address(struct lab *lab, int fd)
{
    struct sockaddr_in a = { 0 };
    socklen_t len = sizeof a;
    must(lab, getpeername(fd, (struct sockaddr *)&a, &len), "getpeername");
    return a;
}

uint16_t local_port(struct lab *lab, int fd)
{
    return ntohs(local_address(lab, fd).sin_port);
}

int tcp_socket(struct lab *lab)
{
    return must(lab, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

int udp_socket(struct lab *lab)
{
    return must(lab, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
}

static void bind_loopback(struct lab *lab, int fd)
{
    struct sockaddr_in a = address("127.0.0.1", 0);
    must(lab, bind(fd, (struct sockaddr *)&a, sizeof a), "bind");
}

int tcp_listen(struct lab *lab, int backlog)
{
    int fd = tcp_socket(lab);
    bind_loopback(lab, fd);
    must(lab, listen(fd, backlog), "listen");
    return fd;
}

int unix_listen(struct lab *lab, int backlog, struct sockaddr_un *at)
{
    int fd = must(lab, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    *at = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(at->sun_path, sizeof at->sun_path, "%s", lab_path(lab, "listener"));
    must(lab, bind(fd, (struct sockaddr *)at, sizeof *at), "bind");
    must(lab, listen(fd, backlog), "listen");
    return fd;
}

int tcp_connect(struct lab *lab, struct sockaddr_in to, int *fd)
{
    *fd = tcp_socket(lab);
    return connect(*fd, (struct sockaddr *)&to, sizeof to);
}

int tcp_connect_begin(struct lab *lab, int listener)
{
    struct sockaddr_in to = local_address(lab, listener);
    int fd = tcp_socket(lab);
    set_nonblocking(lab, fd);
    int result = connect(fd, (struct sockaddr *)&to, sizeof to);
    must(lab, result < 0 && errno != EINPROGRESS ? -1 : 0, "connect");
    return fd;
}

struct tcp_pair tcp_pair(struct lab *lab)
{
    return tcp_pair_receiving(lab, 0);
}

struct tcp_pair tcp_pair_receiving(struct lab *lab, int size)
{
    struct tcp_pair pair;
    int listener = tcp_listen(lab, 1);
    if (size > 0)
        set_option(lab, listener, SOL_SOCKET, SO_RCVBUF, size);
    must(lab, tcp_connect(lab, local_address(lab, listener), &pair.client), "connect");
    pair.server = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    close(listener);
    return pair;
}

struct udp_pair udp_pair(struct lab *lab)
{
    struct udp_pair pair = { .a = udp_socket(lab), .b = udp_socket(lab) };
    bind_loopback(lab, pair.a);
    bind_loopback(lab, pair.b);
    struct sockaddr_in a = local_address(lab, pair.a), b = local_address(lab, pair.b);
    must(lab, connect(pair.a, (struct sockaddr *)&b, sizeof b), "connect");
    must(lab, connect(pair.b, (struct sockaddr *)&a, sizeof a), "connect");
    return pair;
}

void set_option(struct lab *lab, int fd, int level, int name, int value)
{
    must(lab, setsockopt(fd, level, name, &value, sizeof value), text("setsockopt %d", name));
}

int get_option(struct lab *lab, int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    must(lab, getsockopt(fd, level, name, &value, &len), text("getsockopt %d", name));
    return value;
}

void set_nonblocking(struct lab *lab, int fd)
{
    must(lab, fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), "fcntl");
}

void send_text(struct lab *lab, int fd, const char *words)
{
    must(lab, send(fd, words, strlen(words), MSG_NOSIGNAL), "send");
}

const char *recv_text(struct lab *lab, int fd, char *buf, size_t size)
{
    errno = ETIMEDOUT;
    must(lab, wait_events(fd, POLLIN, PATIENCE_MS) ? 0 : -1, "nothing came");
    int len = must(lab, recv(fd, buf, size - 1, 0), "recv");
    buf[len] = '\0';
    return buf;
}

int wait_events(int fd, int events, int milliseconds)
{
    struct pollfd watched = { .fd = fd, .events = (short)events };
    int64_t begin = clock_ns();
    for (;;) {
        int left = milliseconds - (int)ms_since(begin);
        int count = poll(&watched, 1, left > 0 ? left : 0);
        if (count >= 0 || errno != EINTR)
            return count > 0 ? watched.revents : 0;
    }
}

const char *poll_words(int events)
{
    static const struct {
        int event;
        const char *word;
    } words[] = { { POLLIN, "IN" },   { POLLPRI, "PRI" },     { POLLOUT, "OUT" },
                  { POLLERR, "ERR" }, { POLLHUP, "HUP" },     { POLLRDHUP, "RDHUP" },
                  { POLLNVAL, "NVAL" } };
    const char *all = "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (events & words[i].event)
            all = text("%s%s%s", all, *all ? "|" : "", words[i].word);
    return *all ? all : "none";
}

uint16_t unused_port(struct lab *lab)
{
    int fd = tcp_socket(lab);
    bind_loopback(lab, fd);
    uint16_t port = local_port(lab, fd);
    close(fd);
    return port;
}

void reset_peer(struct lab *lab, int fd)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    must(lab, setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "SO_LINGER");
    close(fd);
}

long long fill_buffers(struct lab *lab, int fd, size_t piece)
{
    static const char zeros[PIECE_MAX];
    long long total = 0;
    piece = piece > PIECE_MAX ? PIECE_MAX : piece;
    for (;;) {
        ssize_t sent = send(fd, zeros, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return total;
        total += must(lab, sent, "send");
    }
}

long long fill_for_good(struct lab *lab, int fd)
{
    long long total = 0;
    for (;;) {
        WAIT_UNTIL(500, tcp_look(fd).unacked == 0);
        long long more = fill_buffers(lab, fd, 64 << 10);
        total += more;
        if (more == 0)
            return total;
    }
}

void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}
