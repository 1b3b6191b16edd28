/* stream.c -- reading and writing.
 *
 * A read gives what is there, at least a byte; a write goes on until all is written.  What was
 * moved before a deadline, a cancellation or an error is never lost: the call returns a short
 * count with the reason in errno, and the next call fails with it.                            */
#include <limits.h>
#include <linux/sockios.h>
#include <string.h>

#include "conn.h"

/* ---- reading ---- */

ssize_t weir_read(weir_conn *name, void *buf, size_t n)
{
    struct call k;
    if (unlikely(call_begin(&k, name, SIDE_READ, "read")))
        return -1;
    return call_end(&k, conn_read(k.conn, buf, n), "read");
}

ssize_t weir_readn(weir_conn *name, void *buf, size_t n)
{
    struct call k;
    size_t done = 0;
    if (call_begin(&k, name, SIDE_READ, "readn"))
        return -1;
    while (done < n) {
        ssize_t got = conn_read(k.conn, (char *)buf + done, n - done);
        if (got <= 0)
            return call_end_short(k, done, (int)got, "readn");
        done += (size_t)got;
    }
    return call_end(&k, (ssize_t)done, "readn");
}

static ssize_t pieces_size(const struct iovec *v, int count)
{
    size_t sum = 0;
    if (count < 0)
        return -EINVAL;
    for (int i = 0; i < count; i++)
        if (__builtin_add_overflow(sum, v[i].iov_len, &sum) || sum > SSIZE_MAX)
            return -EINVAL;
    return (ssize_t)sum;
}

enum { PIECES_MAX = 1024 }; /* IOV_MAX; a read may stop anywhere */

static ssize_t conn_readv(struct conn *c, const struct iovec *v, int count)
{
    ssize_t size = pieces_size(v, count), done = 0;
    if (size <= 0 || (c->eof && !c->view))
        return size < 0 ? size : 0;
    if (c->view) {
        for (int i = 0; i < count; i++)
            done += (ssize_t)conn_take(c, v[i].iov_base, v[i].iov_len);
        return done;
    }
    struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)v,
                          .msg_iovlen = (size_t)(count < PIECES_MAX ? count : PIECES_MAX) };
    struct op op = {
        .kind = OP_RECVMSG, .flags = c->stream, .fd = c->fd, .recvmsg = { .msg = &msg }
    };
    int32_t result = conn_await_in(c, &op, 0);
    c->more = result == size;
    c->eof |= result == 0;
    return result;
}

ssize_t weir_readv(weir_conn *name, const struct iovec *v, int nv)
{
    struct call k;
    if (call_begin(&k, name, SIDE_READ, "readv"))
        return -1;
    return call_end(&k, conn_readv(k.conn, v, nv), "readv");
}

/* MSG_PEEK sees the buffered bytes first, and only them while there are some. */
static ssize_t peek_view(const struct conn *c, void *buf, size_t n)
{
    size_t buffered = conn_buffered(c);
    n = n < buffered ? n : buffered;
    if (n)
        memcpy(buf, conn_bytes(c), n);
    return (ssize_t)n;
}

static ssize_t conn_recv(struct conn *c, void *buf, size_t n, int flags)
{
    unsigned how = flags & MSG_DONTWAIT ? AWAIT_NOW : 0;
    bool apart = flags & (MSG_OOB | MSG_ERRQUEUE); /* not the stream's own bytes */
    flags &= ~(MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!flags && !how)
        return conn_read(c, buf, n);
    if (c->view && !apart)
        return flags & MSG_PEEK ? peek_view(c, buf, n) : (ssize_t)conn_take(c, buf, n);
    if (c->eof && !apart)
        return 0;
    struct op op = { .kind = OP_RECV,
                     .flags = OP_EAGER | c->stream,
                     .fd = c->fd,
                     .recv = { .buf = buf, .len = n < INT32_MAX ? n : INT32_MAX, .flags = flags } };
    ssize_t result = conn_await_in(c, &op, how);
    c->eof |= result == 0 && n && !apart;
    return result;
}

ssize_t weir_recv(weir_conn *name, void *buf, size_t n, int flags)
{
    struct call k;
    if ((flags & (MSG_WAITALL | MSG_PEEK | MSG_OOB | MSG_DONTWAIT)) == MSG_WAITALL)
        return weir_readn(name, buf, n);
    if (call_begin(&k, name, SIDE_READ, "recv"))
        return -1;
    return call_end(&k, conn_recv(k.conn, buf, n, flags & ~MSG_WAITALL), "recv");
}

int weir_atmark(weir_conn *name)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return fail(-EBADF, "atmark", "atmark", NULL, 0);
    /* Buffered bytes were read up to the mark at most, and stand before it. */
    int result = conn_buffered(c) ? 0 : sock_query(c->fd, SIOCATMARK);
    handle_leave(name);
    return result >= 0 ? result : fail(result, "atmark", "atmark", NULL, 0);
}

/* ---- writing ---- */

ssize_t weir_write(weir_conn *name, const void *buf, size_t n)
{
    struct call k;
    if (unlikely(call_begin(&k, name, SIDE_WRITE, "write")))
        return -1;
    struct sent sent = conn_write(k.conn, buf, n, 0);
    if (unlikely(sent.error))
        return call_end_short(k, sent.count, sent.error, "write");
    return call_end(&k, (ssize_t)sent.count, "write");
}

ssize_t weir_writev(weir_conn *name, const struct iovec *v, int nv)
{
    struct call k;
    size_t sent;
    if (call_begin(&k, name, SIDE_WRITE, "writev"))
        return -1;
    ssize_t size = pieces_size(v, nv);
    if (size < 0)
        return call_end(&k, size, "writev");
    int error = conn_writev(k.conn, v, nv, &sent);
    if (error)
        return call_end_short(k, sent, error, "writev");
    return call_end(&k, (ssize_t)sent, "writev");
}

/* What fits now, for a caller who will not wait. */
static ssize_t send_now(struct conn *c, const void *buf, size_t n, int flags)
{
    struct op op = {
        .kind = OP_SEND,
        .flags = c->stream,
        .fd = c->fd,
        .send = { .buf = buf, .len = n < INT32_MAX ? n : INT32_MAX, .flags = flags },
    };
    return conn_await_out(c, &op, AWAIT_NOW);
}

ssize_t weir_send(weir_conn *name, const void *buf, size_t n, int flags)
{
    struct call k;
    if (call_begin(&k, name, SIDE_WRITE, "send"))
        return -1;
    int rest = flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL);
    if (flags & MSG_DONTWAIT)
        return call_end(&k, send_now(k.conn, buf, n, rest), "send");
    struct sent sent = conn_write(k.conn, buf, n, rest);
    if (sent.error)
        return call_end_short(k, sent.count, sent.error, "send");
    return call_end(&k, (ssize_t)sent.count, "send");
}

/* ---- between messages, and half the end ---- */

/* Readable may mean bytes, the end or an error; only the last two are worth another question. */
static int idle_answer(struct conn *c, int32_t revents)
{
    char byte;
    if (!(revents & (POLLRDHUP | POLLHUP | POLLERR)))
        return 1;
    struct op op = { .kind = OP_RECV,
                     .flags = OP_EAGER,
                     .fd = c->fd,
                     .recv = { .buf = &byte, .len = 1, .flags = MSG_PEEK } };
    int32_t result = conn_await_in(c, &op, 0);
    c->eof |= result == 0;
    return result;
}

static int conn_idle(struct conn *c)
{
    struct op op = { .kind = OP_POLL, .fd = c->fd, .poll = { .events = POLLIN | POLLRDHUP } };
    int stop = task_stop_reason(task_self(), true);
    if (stop == -ECANCELED)
        return stop;
    if (c->view)
        return 1; /* a message that has come is answered, even while the group drains */
    if (stop == -ESHUTDOWN || c->eof)
        return stop == -ESHUTDOWN ? stop : 0;
    int32_t revents = conn_await_in(c, &op, AWAIT_DRAINABLE | AWAIT_IDLE);
    return revents < 0 ? revents : idle_answer(c, revents);
}

int weir_idle(weir_conn *name)
{
    struct call k;
    if (unlikely(call_begin_how(&k, name, SIDE_READ, AWAIT_DRAINABLE, "idle")))
        return -1;
    return (int)call_end(&k, conn_idle(k.conn), "idle");
}

/* Takes effect at once, as in POSIX: a writer that waits is told EPIPE, a reader the end. */
int weir_shutdown(weir_conn *name, int how)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return fail(-EBADF, "shutdown", "shutdown", NULL, 0);
    int error = conn_shutdown(c, how);
    handle_leave(name);
    return error ? fail(error, "shutdown", "shutdown", NULL, 0) : 0;
}
