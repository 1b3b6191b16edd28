/* ev.c -- an echo server on libev: one watcher for each connection, which watches for reading, or
   for writing while output is stuck. */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
    ev_io watcher; /* first, so that libev's pointer is ours */
    struct backlog backlog;
};

static char buffer[PEER_BUFFER_SIZE];

static void conn_close(struct ev_loop *loop, struct conn *conn)
{
    ev_io_stop(loop, &conn->watcher);
    close(conn->watcher.fd);
    backlog_drop(&conn->backlog);
    free(conn);
}

static void watch_for(struct ev_loop *loop, struct conn *conn, int events)
{
    ev_io_stop(loop, &conn->watcher);
    ev_io_set(&conn->watcher, conn->watcher.fd, events);
    ev_io_start(loop, &conn->watcher);
}

static void on_writable(struct ev_loop *loop, struct conn *conn)
{
    if (backlog_flush(&conn->backlog, conn->watcher.fd) != 0)
        conn_close(loop, conn);
    else if (backlog_empty(&conn->backlog))
        watch_for(loop, conn, EV_READ);
}

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct conn *conn = (struct conn *)watcher;
    ssize_t n;

    if (events & EV_WRITE) {
        on_writable(loop, conn);
        return;
    }
    n = recv(watcher->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || backlog_send(&conn->backlog, watcher->fd, buffer, (size_t)n) != 0)
        conn_close(loop, conn);
    else if (!backlog_empty(&conn->backlog))
        watch_for(loop, conn, EV_WRITE);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
    int fd;

    (void)events;
    while ((fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *conn = calloc(1, sizeof *conn);

        if (!conn)
            peer_fail("calloc");
        ev_io_init(&conn->watcher, on_ready, fd, EV_READ);
        ev_io_start(loop, &conn->watcher);
    }
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(0);
    int listener = peer_listen(argc > 1 ? argv[1] : "0", SOCK_NONBLOCK);
    ev_io accepting;

    ev_io_init(&accepting, on_connection, listener, EV_READ);
    ev_io_start(loop, &accepting);
    ev_run(loop, 0);
    return 0;
}
