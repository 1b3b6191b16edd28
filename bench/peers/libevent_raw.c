/* libevent_raw.c -- an echo server on libevent's plain events: one persistent read event for each
   connection, and a write event only while output is stuck. */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
    struct event *readable;
    struct event *writable; /* while output is stuck */
    struct backlog backlog;
};

static char buffer[PEER_BUFFER_SIZE];
static struct event_base *base;

static void conn_close(struct conn *conn)
{
    int fd = event_get_fd(conn->readable);

    event_free(conn->readable);
    if (conn->writable)
        event_free(conn->writable);
    backlog_drop(&conn->backlog);
    close(fd);
    free(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct conn *conn = context;

    (void)what;
    if (backlog_flush(&conn->backlog, fd) != 0) {
        conn_close(conn);
    } else if (backlog_empty(&conn->backlog)) {
        event_free(conn->writable);
        conn->writable = NULL;
        event_add(conn->readable, NULL);
    }
}

static void output_stuck(struct conn *conn, int fd)
{
    event_del(conn->readable);
    conn->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, conn);
    if (!conn->writable || event_add(conn->writable, NULL) != 0)
        peer_fail("event");
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct conn *conn = context;
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);

    (void)what;
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || backlog_send(&conn->backlog, fd, buffer, (size_t)n) != 0)
        conn_close(conn);
    else if (!backlog_empty(&conn->backlog))
        output_stuck(conn, fd);
}

static void on_connection(evutil_socket_t listener, short what, void *context)
{
    int fd;

    (void)what;
    (void)context;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *conn = calloc(1, sizeof *conn);

        if (!conn)
            peer_fail("calloc");
        conn->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, conn);
        if (!conn->readable || event_add(conn->readable, NULL) != 0)
            peer_fail("event");
    }
}

int main(int argc, char **argv)
{
    int listener = peer_listen(argc > 1 ? argv[1] : "0", SOCK_NONBLOCK);
    struct event *accepting;

    base = event_base_new();
    if (!base)
        peer_fail("event_base_new");
    accepting = event_new(base, listener, EV_READ | EV_PERSIST, on_connection, NULL);
    if (!accepting || event_add(accepting, NULL) != 0)
        peer_fail("event");
    return event_base_dispatch(base);
}
