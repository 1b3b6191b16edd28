/* conn.c -- a connection: its birth, one operation on it, and how it ends.
 *
 * The kernel tells the end of a connection once: the read that sees ECONNRESET is followed by
 * reads that see a plain end, and by writes that see EPIPE.  So the first answer is kept as the
 * connection's fate, and given to whoever asks later.                                         */
#include <string.h>

#include "../base/slab.h"
#include "addr.h"
#include "budget.h"
#include "move.h"

const struct handle_type conn_type = { HANDLE_CONN, conn_evict, conn_destroy };

/* One send or receive answers with 31 bits. */
enum { CHUNK_MAX = 1 << 30 };

/* ---- birth ---- */

static void remember_peer(struct conn *c, const weir_addr *a)
{
    if (a->len == 0 || a->len > sizeof c->peer || !family_is_inet(a->u.sa.sa_family))
        return;
    memcpy(&c->peer, &a->u, a->len);
    c->peer_len = (uint8_t)a->len;
}

static struct slab conn_memory = SLAB_INIT(conn_memory, CONN_SIZE);

void conn_free(struct conn *c)
{
    slab_give(&conn_memory, c);
}

int conn_new(weir_conn **out, int fd, int family, const weir_addr *peer)
{
    struct conn *c = slab_take(&conn_memory);
    if (!c)
        return -ENOMEM;
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->family = (int16_t)family;
    c->stream = family_is_inet(family) ? OP_STREAM : 0;
    c->blocking = true;
    c->opened = task_clock(task_self());
    watch_init(&c->watch);
    if (peer)
        remember_peer(c, peer);
    *out = handle_new(&conn_type, c);
    if (!*out) {
        conn_free(c);
        return -ENFILE;
    }
    budget_take();
    return 0;
}

void conn_peer(struct conn *c, weir_addr *a)
{
    *a = (weir_addr){ 0 };
    spin_lock(&c->lock);
    a->len = c->peer_len;
    memcpy(&a->u, &c->peer, c->peer_len);
    spin_unlock(&c->lock);
    if (a->len || sock_name(c->fd, true, a))
        return;
    spin_lock(&c->lock);
    remember_peer(c, a);
    spin_unlock(&c->lock);
}

void weir_setdata(weir_conn *name, void *p)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return;
    atomic_store_explicit(&c->data, p, memory_order_release);
    handle_leave(name);
}

void *weir_data(weir_conn *name)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return fail(-EBADF, "data", "data", NULL, 0), NULL;
    void *p = atomic_load_explicit(&c->data, memory_order_acquire);
    handle_leave(name);
    return p;
}

/* ---- calls ---- */

int call_begin_how(struct call *k, weir_conn *name, enum handle_side side, unsigned how,
                   const char *op)
{
    struct task *t = task_self();
    if (unlikely(!t))
        return fail(-ENOMEM, op, op, NULL, 0);
    k->name = name;
    k->slot = slot_of(name);
    k->side = side;
    k->since = task_clock(t);
    int error = handle_lock_how(name, HANDLE_CONN, side, how, (void **)&k->conn);
    if (unlikely(error))
        return fail(error, op, op, NULL, k->since);
    t->warm = k->conn;
    return 0;
}

__attribute__((noinline, cold)) struct call
call_begin_slowly(weir_conn *name, enum handle_side side, const char *op)
{
    struct call k = { .conn = NULL };
    if (call_begin_how(&k, name, side, 0, op))
        k.conn = NULL;
    return k;
}

/* Apart, so that the address is in nobody's frame while it waits. */
__attribute__((noinline, cold)) ssize_t call_failed(struct call k, int error, const char *op)
{
    weir_addr peer = { 0 };
    if (error != -EAGAIN)
        conn_peer(k.conn, &peer);
    handle_unlock(k.name, k.side);
    return fail(error, op, op, &peer, k.since);
}

ssize_t call_end_short(struct call k, size_t count, int error, const char *op)
{
    if (error) {
        call_failed(k, error, op);
        return count ? (ssize_t)count : -1;
    }
    handle_unlock(k.name, k.side);
    errno = 0;
    return (ssize_t)count;
}

/* ---- one operation ---- */

static bool is_final(int error)
{
    static const int16_t final[] = { ECONNRESET, ETIMEDOUT, ECONNABORTED, EHOSTUNREACH,
                                     ENETUNREACH, ENETDOWN, EHOSTDOWN, ENETRESET };
    for (size_t i = 0; i < ARRAY_COUNT(final); i++)
        if (final[i] == error)
            return true;
    return false;
}

/* What a result that brought no bytes means. */
__attribute__((noinline)) int32_t conn_ending(struct conn *c, int32_t result, bool input)
{
    int16_t fate = atomic_load_explicit(&c->fate, memory_order_relaxed);
    if (result == CONN_STALLED)
        return -ETIMEDOUT;
    if (is_final(-result) && !fate) {
        int16_t now = (int16_t)-result;
        atomic_compare_exchange_strong(&c->fate, &fate, now);
        return result;
    }
    if (result == -ENOTCONN)
        return fate ? -fate : -ECONNRESET;
    if (result == -EPIPE || (result == 0 && input))
        return fate ? -fate : result;
    return result;
}

/* The stall limit is one more deadline, told apart from the caller's by when it passes. */
int32_t conn_await_stall(struct op *op, unsigned how, int64_t stall)
{
    struct task *t = task_self();
    weir_time outer = t->deadline, limit = weir_after(stall);
    if (outer <= limit)
        return await(op, how);
    t->deadline = limit;
    int32_t result = await(op, how);
    t->deadline = outer;
    return result == -ETIME ? CONN_STALLED : result;
}

int32_t conn_await_in(struct conn *c, struct op *op, unsigned how)
{
    return conn_await(c, &c->rx, &c->rx_times, op, how, true);
}

int32_t conn_await_out(struct conn *c, struct op *op, unsigned how)
{
    return conn_await(c, &c->tx, &c->tx_times, op, how, false);
}

/* ---- bytes ---- */

ssize_t conn_read(struct conn *c, void *buf, size_t n)
{
    if (unlikely(c->view))
        return (ssize_t)conn_take(c, buf, n);
    if (unlikely(c->eof || n == 0))
        return 0;
    n = n < CHUNK_MAX ? n : CHUNK_MAX;
    struct op op = { .kind = OP_RECV,
                     .flags = (uint16_t)(c->stream | (c->more ? OP_EAGER : 0)),
                     .fd = c->fd,
                     .recv = { .buf = buf, .len = n } };
    int32_t result = conn_await(c, &c->rx, &c->rx_times, &op, 0, true);
    c->more = result == (int32_t)n;
    if (unlikely(result == 0))
        c->eof = true;
    return result;
}

struct sent conn_write(struct conn *c, const void *buf, size_t n, int flags)
{
    size_t sent = 0;
    while (sent < n) {
        size_t rest = n - sent;
        struct op op = { .kind = OP_SEND,
                         .flags = c->stream,
                         .fd = c->fd,
                         .send = { .buf = (const char *)buf + sent,
                                   .len = rest < CHUNK_MAX ? rest : CHUNK_MAX,
                                   .flags = flags } };
        int32_t result = conn_await(c, &c->tx, &c->tx_times, &op, 0, false);
        if (unlikely(result < 0))
            return (struct sent){ sent, result };
        sent += (size_t)result;
    }
    return (struct sent){ sent, 0 };
}

ssize_t conn_send_once(struct conn *c, const struct iovec *v, int count, unsigned how)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)count };
    struct op op = {
        .kind = OP_SENDMSG, .flags = c->stream, .fd = c->fd, .sendmsg = { .msg = &msg }
    };
    return conn_await_out(c, &op, how);
}

enum { WINDOW = 16 }; /* pieces per system call; the array lies in the frame that waits */

/* Copies the pieces from `*at`, `offset` bytes into the first, to the window: how many. */
static int window_fill(struct iovec *window, const struct iovec *v, int count, int *at,
                       size_t *offset)
{
    size_t bytes = 0;
    int used = 0;
    while (*at < count && *offset >= v[*at].iov_len) {
        *offset -= v[*at].iov_len;
        ++*at;
    }
    for (int i = *at; i < count && used < WINDOW && bytes < CHUNK_MAX; i++) {
        size_t skipped = i == *at ? *offset : 0, len = v[i].iov_len - skipped;
        if (len > CHUNK_MAX - bytes)
            len = CHUNK_MAX - bytes;
        if (!len)
            continue;
        window[used++] = (struct iovec){ (char *)v[i].iov_base + skipped, len };
        bytes += len;
    }
    return used;
}

int conn_writev(struct conn *c, const struct iovec *v, int count, size_t *sent)
{
    struct iovec window[WINDOW];
    size_t offset = 0;
    int at = 0, used;
    *sent = 0;
    while ((used = window_fill(window, v, count, &at, &offset))) {
        ssize_t result = conn_send_once(c, window, used, 0);
        if (result < 0)
            return (int)result;
        *sent += (size_t)result;
        offset += (size_t)result;
    }
    return 0;
}

/* ---- ends ---- */

/* shutdown(2) says ENOTCONN both when all is over in good order and when the peer has reset. */
int conn_shutdown(struct conn *c, int how)
{
    bool again = how == SHUT_WR && atomic_load_explicit(&c->half_closed, memory_order_relaxed);
    int error = again ? 0 : sock_shutdown(c->fd, how);
    if (!error && how != SHUT_RD)
        atomic_store_explicit(&c->half_closed, true, memory_order_relaxed);
    return error == -ENOTCONN ? conn_ending(c, error, false) : error;
}

/* Its users learn of it by the end that shutdown(2) makes them see. */
void conn_kill(weir_conn *name, int error)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    int16_t none = 0;
    if (!c)
        return;
    atomic_compare_exchange_strong(&c->fate, &none, (int16_t)error);
    atomic_store_explicit(&c->aborted, true, memory_order_relaxed);
    if (family_is_inet(c->family))
        sock_reset_on_close(c->fd);
    sock_shutdown(c->fd, SHUT_RDWR);
    handle_leave(name);
}
