/* frame.c -- the buffered view, and lines and frames made of it.
 *
 * A line or frame is taken whole or not at all: when a deadline or a limit ends the call, what has
 * arrived stays buffered, and the next call goes on.  A frame too long for the view is read
 * straight into the caller's buffer, and an interrupted call is continued with that same buffer.
 * The stream's end between two of them is ENODATA, within one EPROTO.                         */
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "conn.h"

/* ---- the view itself ---- */

ssize_t weir_peek(weir_conn *name, const void **p, size_t min)
{
    struct call k;
    if (unlikely(call_begin(&k, name, SIDE_READ, "peek")))
        return -1;
    int error = likely(min <= VIEW_SIZE) ? conn_need(k.conn, min) : -EMSGSIZE;
    if (unlikely(error == -EMSGSIZE))
        return call_failed(k, error, "peek");
    *p = conn_bytes(k.conn);
    if (unlikely(error))
        return call_end_short(k, conn_buffered(k.conn), error == -ENODATA ? 0 : error, "peek");
    return call_end(&k, conn_buffered(k.conn), "peek");
}

int weir_skip(weir_conn *name, size_t n)
{
    struct call k;
    if (unlikely(call_begin(&k, name, SIDE_READ, "skip")))
        return -1;
    if (unlikely(n > conn_buffered(k.conn)))
        return (int)call_failed(k, -EINVAL, "skip");
    if (likely(n))
        conn_skip(k.conn, n);
    return (int)call_end(&k, 0, "skip");
}

/* ---- lines ---- */

/* The line at the front of the view, without its end: its length, -EMSGSIZE when it would not fit
 * `room` bytes, -EAGAIN when its end has not arrived.  *used: with its end. */
static ssize_t line_find(const struct conn *c, size_t room, uint32_t *searched, size_t *used)
{
    const char *bytes = conn_bytes(c);
    size_t buffered = conn_buffered(c);
    const char *end = memchr(bytes + *searched, '\n', buffered - *searched);
    size_t len = end ? (size_t)(end - bytes) : buffered;
    *searched = (uint32_t)buffered;
    *used = len + 1;
    if (len > 0 && bytes[len - 1] == '\r')
        len--;
    if (len > room)
        return -EMSGSIZE;
    return end ? (ssize_t)len : -EAGAIN;
}

static ssize_t conn_getline(struct conn *c, char *buf, size_t cap)
{
    uint32_t searched = 0;
    size_t used;
    if (cap == 0)
        return -EINVAL;
    for (;;) {
        ssize_t len = line_find(c, cap - 1, &searched, &used);
        if (len >= 0) {
            memcpy(buf, conn_bytes(c), (size_t)len);
            buf[len] = '\0';
            conn_skip(c, used);
            return len;
        }
        if (len != -EAGAIN)
            return len;
        if (searched >= VIEW_SIZE)
            return -EMSGSIZE;
        int error = conn_need(c, searched + 1);
        if (error)
            return error == -ENODATA && searched ? -EPROTO : error;
    }
}

ssize_t weir_getline(weir_conn *name, char *buf, size_t cap)
{
    struct call k;
    if (call_begin(&k, name, SIDE_READ, "getline"))
        return -1;
    return call_end(&k, conn_getline(k.conn, buf, cap), "getline");
}

/* ---- frames ---- */

static bool is_header_size(int bytes)
{
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

static uint64_t header_value(const char *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | (uint8_t)bytes[i];
    return value;
}

/* Goes on with a frame that does not fit the view. */
static ssize_t long_frame_go_on(struct conn *c, char *buf, size_t cap)
{
    if (c->frame_buf != buf || c->frame_len > cap)
        return -EINVAL;
    while (c->frame_done < c->frame_len) {
        ssize_t got = conn_read(c, buf + c->frame_done, c->frame_len - c->frame_done);
        if (got <= 0)
            return got ? got : -EPROTO;
        c->frame_done += (size_t)got;
    }
    c->frame_buf = NULL;
    return (ssize_t)c->frame_len;
}

static ssize_t conn_getframe(struct conn *c, char *buf, size_t cap, int hdr_bytes)
{
    if (!is_header_size(hdr_bytes))
        return -EINVAL;
    if (c->frame_buf)
        return long_frame_go_on(c, buf, cap);
    size_t header = (size_t)hdr_bytes;
    int error = conn_need(c, header);
    if (error)
        return error == -ENODATA && conn_buffered(c) ? -EPROTO : error;
    uint64_t len = header_value(conn_bytes(c), hdr_bytes);
    if (len > cap || len > SSIZE_MAX)
        return -EMSGSIZE;
    if (len <= VIEW_SIZE - header) {
        error = conn_need(c, header + (size_t)len);
        if (error)
            return error == -ENODATA ? -EPROTO : error;
        if (len)
            memcpy(buf, conn_bytes(c) + header, (size_t)len);
        conn_skip(c, header + (size_t)len);
        return (ssize_t)len;
    }
    conn_skip(c, header);
    c->frame_buf = buf;
    c->frame_len = (size_t)len;
    c->frame_done = 0;
    return long_frame_go_on(c, buf, cap);
}

ssize_t weir_getframe(weir_conn *name, void *buf, size_t cap, int hdr_bytes)
{
    struct call k;
    if (call_begin(&k, name, SIDE_READ, "getframe"))
        return -1;
    return call_end(&k, conn_getframe(k.conn, buf, cap, hdr_bytes), "getframe");
}

/* ---- writing them ---- */

/* All of it, or the writer's side is of no more use for frames and lines: what follows half a one
 * would be taken for its other half. */
static int write_whole(struct conn *c, const struct iovec *v, int count)
{
    size_t sent;
    if (c->torn)
        return -EPROTO;
    int error = conn_writev(c, v, count, &sent);
    c->torn = error && sent > 0;
    return error;
}

int weir_putframe(weir_conn *name, const void *buf, size_t n, int hdr_bytes)
{
    struct call k;
    uint8_t header[8];
    if (call_begin(&k, name, SIDE_WRITE, "putframe"))
        return -1;
    if (!is_header_size(hdr_bytes))
        return (int)call_end(&k, -EINVAL, "putframe");
    if (hdr_bytes < 8 && (uint64_t)n >> (8 * hdr_bytes))
        return (int)call_end(&k, -EMSGSIZE, "putframe");
    for (int i = 0; i < hdr_bytes; i++)
        header[i] = (uint8_t)((uint64_t)n >> (8 * (hdr_bytes - 1 - i)));
    struct iovec v[2] = { { header, (size_t)hdr_bytes }, { (void *)(uintptr_t)buf, n } };
    return (int)call_end(&k, write_whole(k.conn, v, 2), "putframe");
}

int weir_printf(weir_conn *name, const char *fmt, ...)
{
    struct call k;
    char *text;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        return fail(errno == ENOMEM ? -ENOMEM : -EINVAL, "printf", "format", NULL, 0);
    if (call_begin(&k, name, SIDE_WRITE, "printf")) {
        free(text);
        return -1;
    }
    int error = write_whole(k.conn, &(struct iovec){ text, (size_t)len }, 1);
    free(text);
    return (int)call_end(&k, error ? error : len, "printf");
}
