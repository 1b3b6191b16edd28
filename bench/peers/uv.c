/* uv.c -- an echo server on libuv. Answers go out by uv_try_write; what does not fit is copied and
   queued by uv_write, and reading stops until it is out. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct rest {
    uv_write_t request;
    char bytes[];
};

static char shared_buffer[PEER_BUFFER_SIZE];

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);

static void check(int status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
        exit(1);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void conn_close(uv_stream_t *stream)
{
    if (!uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(shared_buffer, sizeof shared_buffer);
}

static void on_written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;

    free(request);
    if (status < 0 || uv_read_start(stream, on_alloc, on_read) != 0)
        conn_close(stream);
}

static void write_rest(uv_stream_t *stream, const char *bytes, size_t len)
{
    struct rest *rest = malloc(sizeof *rest + len);
    uv_buf_t buf;

    if (!rest) {
        conn_close(stream);
        return;
    }
    memcpy(rest->bytes, bytes, len);
    buf = uv_buf_init(rest->bytes, (unsigned)len);
    uv_read_stop(stream);
    if (uv_write(&rest->request, stream, &buf, 1, on_written) != 0) {
        free(rest);
        conn_close(stream);
    }
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    uv_buf_t answer;
    int sent;

    if (count == 0)
        return;
    if (count < 0) {
        conn_close(stream);
        return;
    }
    answer = uv_buf_init(buf->base, (unsigned)count);
    sent = uv_try_write(stream, &answer, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0)
        conn_close(stream);
    else if (sent < count)
        write_rest(stream, buf->base + sent, (size_t)(count - sent));
}

static void on_connection(uv_stream_t *server, int status)
{
    uv_tcp_t *conn;

    check(status, "connection");
    conn = malloc(sizeof *conn);
    if (!conn)
        peer_fail("malloc");
    check(uv_tcp_init(server->loop, conn), "uv_tcp_init");
    check(uv_accept(server, (uv_stream_t *)conn), "uv_accept");
    uv_tcp_nodelay(conn, 1);
    check(uv_read_start((uv_stream_t *)conn, on_alloc, on_read), "uv_read_start");
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct sockaddr_in address;
    uv_tcp_t server;
    uv_os_fd_t fd;

    peer_files_raise();
    check(uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &address), "address");
    check(uv_tcp_init(loop, &server), "uv_tcp_init");
    check(uv_tcp_bind(&server, (struct sockaddr *)&address, 0), "uv_tcp_bind");
    check(uv_listen((uv_stream_t *)&server, PEER_BACKLOG, on_connection), "uv_listen");
    check(uv_fileno((uv_handle_t *)&server, &fd), "uv_fileno");
    peer_announce(fd);
    return uv_run(loop, UV_RUN_DEFAULT);
}
