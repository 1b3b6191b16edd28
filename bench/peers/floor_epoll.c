/* floor_epoll.c -- a hand-written echo server on epoll: the floor that every other server here is
   compared with. One thread, one 64 KiB buffer for all connections, no memory per connection unless
   the peer does not read. A connection that owes bytes is not read from.

   The second argument chooses the way of waiting:
     level    (default) registered once for reading; a change of interest only when output is stuck
     edge     registered once for both directions, edge-triggered; a short read ends the reading
     drain    the same, but reads until EAGAIN
     oneshot  one-shot registrations, armed again after each event */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum waiting { LEVEL, EDGE, DRAIN, ONESHOT };

static struct backlog backlogs[PEER_FILES_MAX]; /* by descriptor */
static char buffer[PEER_BUFFER_SIZE];
static int epoll_fd;
static enum waiting waiting;

static void watch(int change, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(epoll_fd, change, fd, &event) != 0)
        peer_fail("epoll_ctl");
}

static void conn_close(int fd)
{
    backlog_drop(&backlogs[fd]);
    close(fd);
}

static void accept_all(int listener)
{
    static const uint32_t interest[] = {
        [LEVEL] = EPOLLIN,
        [EDGE] = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        [DRAIN] = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        [ONESHOT] = EPOLLIN | EPOLLONESHOT,
    };
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(EPOLL_CTL_ADD, fd, interest[waiting]);
}

/* Whether another recv can bring something now. */
static bool more_expected(ssize_t n, uint32_t events)
{
    switch (waiting) {
    case LEVEL:
    case ONESHOT:
        return false;
    case EDGE:
        return n == sizeof buffer || (events & (EPOLLRDHUP | EPOLLHUP));
    case DRAIN:
        return true;
    }
    return false;
}

/* False once the connection is gone. */
static bool echo(int fd, uint32_t events)
{
    struct backlog *backlog = &backlogs[fd];
    ssize_t n;

    do {
        n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0 || backlog_send(backlog, fd, buffer, (size_t)n) != 0) {
            conn_close(fd);
            return false;
        }
    } while (backlog_empty(backlog) && more_expected(n, events));
    return true;
}

static void conn_ready(int fd, uint32_t events)
{
    struct backlog *backlog = &backlogs[fd];
    bool owed = !backlog_empty(backlog);

    if (owed && backlog_flush(backlog, fd) != 0) {
        conn_close(fd);
        return;
    }
    if (backlog_empty(backlog) && !echo(fd, events))
        return;
    if (waiting == ONESHOT)
        watch(EPOLL_CTL_MOD, fd, (backlog_empty(backlog) ? EPOLLIN : EPOLLOUT) | EPOLLONESHOT);
    else if (waiting == LEVEL && owed == backlog_empty(backlog))
        watch(EPOLL_CTL_MOD, fd, owed ? EPOLLIN : EPOLLOUT);
}

static enum waiting waiting_parse(const char *word)
{
    static const char *const words[] = {
        [LEVEL] = "level", [EDGE] = "edge", [DRAIN] = "drain", [ONESHOT] = "oneshot"};

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], word) == 0)
            return (enum waiting)i;
    fprintf(stderr, "floor_epoll: no way of waiting is called %s\n", word);
    exit(2);
}

int main(int argc, char **argv)
{
    static struct epoll_event events[1024];
    int listener;

    if (argc > 2)
        waiting = waiting_parse(argv[2]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listener = peer_listen(argc > 1 ? argv[1] : "0", SOCK_NONBLOCK);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 1024, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                conn_ready(events[i].data.fd, events[i].events);
        }
    }
}
