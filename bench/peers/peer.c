/* peer.c -- the parts that the C echo servers share: listening, and bytes that wait for room. */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* What a peer that does not read may make a server keep. */
enum { BACKLOG_MAX = 4 * 1024 * 1024 };

void peer_fail(const char *what)
{
    perror(what);
    exit(1);
}

void peer_files_raise(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        peer_fail("getrlimit");
    files.rlim_cur = files.rlim_max < PEER_FILES_MAX ? files.rlim_max : PEER_FILES_MAX;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        peer_fail("setrlimit");
}

void peer_announce(int listener)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        peer_fail("getsockname");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
}

int peer_listen(const char *port, int type_flags)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);

    peer_files_raise();
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, PEER_BACKLOG) != 0)
        peer_fail("listen");
    peer_announce(fd);
    return fd;
}

/* How much of it the socket took, or -errno. */
static ssize_t send_now(int fd, const char *bytes, size_t len)
{
    ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n >= 0)
        return n;
    return errno == EAGAIN ? 0 : -errno;
}

static int backlog_append(struct backlog *backlog, const char *bytes, size_t len)
{
    char *grown;

    if (backlog->len + len > BACKLOG_MAX)
        return -ENOBUFS;
    grown = realloc(backlog->bytes, backlog->len + len);
    if (!grown)
        return -ENOMEM;
    memcpy(grown + backlog->len, bytes, len);
    backlog->bytes = grown;
    backlog->len += len;
    return 0;
}

int backlog_send(struct backlog *backlog, int fd, const char *bytes, size_t len)
{
    ssize_t n = backlog_empty(backlog) ? send_now(fd, bytes, len) : 0;

    if (n < 0)
        return (int)n;
    if ((size_t)n == len)
        return 0;
    return backlog_append(backlog, bytes + n, len - (size_t)n);
}

int backlog_flush(struct backlog *backlog, int fd)
{
    ssize_t n = send_now(fd, backlog->bytes + backlog->sent, backlog->len - backlog->sent);

    if (n < 0)
        return (int)n;
    backlog->sent += (size_t)n;
    if (backlog->sent == backlog->len)
        backlog_drop(backlog);
    return 0;
}

void backlog_drop(struct backlog *backlog)
{
    free(backlog->bytes);
    *backlog = (struct backlog){0};
}
