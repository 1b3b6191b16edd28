/* outbox.c -- a bounded queue of messages to one connection.
 *
 * Whoever puts a message in does not wait for the peer: a writer does, a fiber that sends what is
 * queued, many messages in one system call.  It lives in the root group, neither counted against
 * the limit of its opener's group nor ended with it, so that a cancelled fiber can still flush,
 * and it ends when the outbox is closed.  An outbox opened in a plain thread has no writer:
 * putting sends what the socket takes at once, and flushing sends the rest.
 *
 * Messages leave in order and whole.  The first `flight` ones belong to a send under way; a policy
 * that drops never touches them, nor one of which a part has gone out.  While an outbox is open
 * its connection is written to through it alone.                                              */
#include <string.h>

#include "conn.h"
#include "msg.h"

enum {
    GATHER = 32, /* messages per system call */
    BYTES_DEFAULT = 256 << 10,
    MSGS_DEFAULT = 4096,
    RING_FIRST = 16,
};

struct outbox {
    struct spin lock;
    weir_outbox *name;
    weir_conn *conn;
    weir_outbox_opts opts;
    weir_msg **ring;       /* ring_size is a power of two, or 0 */
    uint32_t ring_size, first, count, flight;
    size_t bytes;          /* of all that are queued */
    size_t sent;           /* of the first message */
    int dead;              /* why nothing can be sent any more: a negative errno, or 0 */
    atomic_bool has_writer;
    struct list idle;      /* the writer, with nothing to send */
    struct list room;      /* who wants to put */
    struct list drained;   /* who flushes */
};

/* ---- the queue; the lock is held ---- */

static weir_msg *msg_at(const struct outbox *o, uint32_t index)
{
    return o->ring[(o->first + index) & (o->ring_size - 1)];
}

static void wake_all(struct list *waiters, int result)
{
    struct list *link;
    while ((link = list_pop(waiters)))
        waiter_wake(container_of(link, struct waiter, link), result);
}

static bool fits(const struct outbox *o, const weir_msg *m)
{
    return o->count < (uint32_t)o->opts.max_msgs && m->len <= o->opts.max_bytes - o->bytes;
}

static void push(struct outbox *o, weir_msg *m)
{
    o->ring[(o->first + o->count++) & (o->ring_size - 1)] = m;
    o->bytes += m->len;
    wake_all(&o->idle, 0);
}

/* The oldest message that nobody has begun to send, or NULL. */
static weir_msg *take_oldest(struct outbox *o)
{
    uint32_t kept = o->flight ? o->flight : o->sent > 0;
    if (o->count <= kept)
        return NULL;
    weir_msg *m = msg_at(o, kept);
    for (uint32_t i = kept; i > 0; i--)
        o->ring[(o->first + i) & (o->ring_size - 1)] = msg_at(o, i - 1);
    o->first++;
    o->count--;
    o->bytes -= m->len;
    return m;
}

static void die(struct outbox *o, int error)
{
    if (!o->dead)
        o->dead = error;
    wake_all(&o->idle, 0);
    wake_all(&o->room, 0);
    wake_all(&o->drained, 0);
}

/* ---- the queue, without the lock ---- */

/* Nothing is freed under a spin lock, hence one by one. */
static void drop_all(struct outbox *o)
{
    weir_msg *m;
    do {
        spin_lock(&o->lock);
        m = take_oldest(o);
        spin_unlock(&o->lock);
        weir_msg_unref(m);
    } while (m);
}

static int ring_grow(struct outbox *o, uint32_t old_size)
{
    uint32_t size = old_size ? 2 * old_size : RING_FIRST;
    weir_msg **ring = malloc(size * sizeof *ring);
    if (!ring)
        return -ENOMEM;
    spin_lock(&o->lock);
    weir_msg **old = ring;
    if (o->ring_size == old_size) { /* nobody was faster */
        for (uint32_t i = 0; i < o->count; i++)
            ring[i] = msg_at(o, i);
        old = o->ring;
        o->ring = ring;
        o->ring_size = size;
        o->first = 0;
    }
    spin_unlock(&o->lock);
    free(old);
    return 0;
}

/* ---- sending ---- */

/* What is to be sent next: how many pieces, or why none will be. */
static int gather(struct outbox *o, struct iovec *v)
{
    spin_lock(&o->lock);
    int dead = o->dead;
    uint32_t count = dead ? 0 : o->count < GATHER ? o->count : GATHER;
    for (uint32_t i = 0; i < count; i++) {
        weir_msg *m = msg_at(o, i);
        size_t skipped = i == 0 ? o->sent : 0;
        v[i] = (struct iovec){ m->bytes + skipped, m->len - skipped };
    }
    o->flight = count;
    spin_unlock(&o->lock);
    return dead ? dead : (int)count;
}

/* Takes `sent` more bytes off the front: the messages that are through, at most GATHER. */
static int advance(struct outbox *o, size_t sent, weir_msg **through)
{
    int count = 0;
    o->sent += sent;
    while (o->flight > 0 && o->sent >= msg_at(o, 0)->len) {
        weir_msg *m = msg_at(o, 0);
        o->sent -= m->len;
        o->bytes -= m->len;
        o->first++;
        o->count--;
        o->flight--;
        through[count++] = m;
    }
    o->flight = 0;
    return count;
}

/* Why a send stopped without the connection being at an end. */
static bool is_pause(const struct outbox *o, int error)
{
    return error == -ETIME || error == -EAGAIN || error == -ECANCELED || error == -ENOMEM ||
           error == -EDEADLK || (error == -EBADF && handle_is_closed(o->name));
}

static __attribute__((noinline)) void settle(struct outbox *o, size_t sent)
{
    weir_msg *through[GATHER];
    spin_lock(&o->lock);
    int count = advance(o, sent, through);
    wake_all(&o->room, 0);
    if (o->count == 0)
        wake_all(&o->drained, 0);
    spin_unlock(&o->lock);
    for (int i = 0; i < count; i++)
        weir_msg_unref(through[i]);
}

static void stopped(struct outbox *o, int error)
{
    spin_lock(&o->lock);
    if (!is_pause(o, error))
        die(o, error);
    spin_unlock(&o->lock);
}

enum { NOTHING_TO_SEND = 1 };

/* Sends once what is queued: 0, NOTHING_TO_SEND, or why not.  The connection's write side keeps
 * two that pump apart, from gathering to settling. */
static int pump(struct outbox *o)
{
    struct iovec v[GATHER];
    struct conn *c;
    int error = handle_lock(o->conn, HANDLE_CONN, SIDE_WRITE, (void **)&c);
    if (error) {
        stopped(o, error);
        return error;
    }
    int count = gather(o, v);
    ssize_t result = count > 0 ? conn_send_once(c, v, count, 0) : count;
    if (result < 0)
        stopped(o, (int)result);
    settle(o, result > 0 ? (size_t)result : 0);
    handle_unlock(o->conn, SIDE_WRITE);
    return result < 0 ? (int)result : count ? 0 : NOTHING_TO_SEND;
}

/* The same for an outbox without a writer.  Like a writer it holds a side meanwhile, so that
 * closing the outbox interrupts it. */
static int pump_alone(struct outbox *o)
{
    void *object;
    int error = handle_lock(o->name, HANDLE_OUTBOX, SIDE_WRITE, &object);
    if (error)
        return error;
    error = pump(o);
    handle_unlock(o->name, SIDE_WRITE);
    return error;
}

static bool is_empty(struct outbox *o)
{
    spin_lock(&o->lock);
    bool empty = o->count == 0;
    spin_unlock(&o->lock);
    return empty;
}

/* What the socket takes without waiting.  Who finds another one at it leaves it to that one, who
 * therefore looks once more after it has let go of the side. */
static void pump_now(struct outbox *o)
{
    int result;
    WEIR_TRY;
    do
        result = pump_alone(o);
    while (result == 0 || (result == NOTHING_TO_SEND && !is_empty(o)));
}

/* ---- the writer ---- */

/* Waits for something to send: 0, or why there will be nothing. */
static int writer_wait(struct outbox *o)
{
    struct waiter w;
    spin_lock(&o->lock);
    if (o->dead || o->count) {
        int dead = o->dead;
        spin_unlock(&o->lock);
        return dead;
    }
    waiter_init(&w, "messages to send", NULL);
    list_push(&o->idle, &w.link);
    return waiter_wait(&w, &o->lock, 0);
}

/* It holds a side of the outbox, so that closing the outbox interrupts it wherever it waits. */
static int writer(void *arg)
{
    weir_outbox *name = *(weir_outbox **)arg;
    struct outbox *o;
    if (handle_lock(name, HANDLE_OUTBOX, SIDE_WRITE, (void **)&o))
        return 0;
    while (!writer_wait(o) && !handle_is_closed(name))
        if (pump(o) < 0)
            break;
    spin_lock(&o->lock);
    o->has_writer = false;
    int dead = o->dead;
    wake_all(&o->room, 0);
    wake_all(&o->drained, 0);
    spin_unlock(&o->lock);
    if (dead)
        drop_all(o);
    handle_unlock(name, SIDE_WRITE);
    return 0;
}

/* ---- its life ---- */

static void outbox_evict(void *object)
{
    struct outbox *o = object;
    spin_lock(&o->lock);
    die(o, -EBADF);
    spin_unlock(&o->lock);
}

/* A message cut short makes everything after it garbage to the peer. */
static int outbox_destroy(void *object)
{
    struct outbox *o = object;
    if (o->sent > 0)
        conn_kill(o->conn, ECONNABORTED);
    for (uint32_t i = 0; i < o->count; i++)
        weir_msg_unref(msg_at(o, i));
    free(o->ring);
    free(o);
    return 0;
}

static const struct handle_type outbox_type = { HANDLE_OUTBOX, outbox_evict, outbox_destroy };

static int outbox_new(struct outbox **out, weir_conn *conn, const weir_outbox_opts *given)
{
    static const weir_outbox_opts none;
    weir_outbox_opts opts = given ? *given : none;
    if (opts.max_msgs < 0 || opts.overflow > WEIR_DROP_CONN)
        return -EINVAL;
    struct outbox *o = calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    if (!opts.max_msgs)
        opts.max_msgs = MSGS_DEFAULT;
    if (!opts.max_bytes)
        opts.max_bytes = BYTES_DEFAULT;
    o->opts = opts;
    o->conn = conn;
    list_init(&o->idle);
    list_init(&o->room);
    list_init(&o->drained);
    o->name = handle_new(&outbox_type, o);
    if (!o->name) {
        free(o);
        return -ENFILE;
    }
    *out = o;
    return 0;
}

weir_outbox *weir_outbox_open(weir_conn *c, const weir_outbox_opts *opts)
{
    struct task *t = task_self();
    struct outbox *o;
    if (!t || !handle_enter(c, HANDLE_CONN))
        return fail(t ? -EBADF : -ENOMEM, "outbox", "open", NULL, 0), NULL;
    int error = outbox_new(&o, c, opts);
    handle_leave(c);
    if (error)
        return fail(error, "outbox", "open", NULL, 0), NULL;
    weir_outbox *name = o->name;
    if (t->is_fiber) {
        weir_fiber_opts fiber = { .name = "outbox writer" };
        o->has_writer = true;
        error = group_spawn(t->worker->runtime->root, NULL, writer, &name, sizeof name, &fiber);
        o->has_writer = !error;
    }
    return name;
}

/* ---- putting ---- */

/* Waits until something was sent.  Called with the lock, returns without it. */
static int put_wait(struct outbox *o)
{
    struct waiter w;
    if (!o->has_writer) {
        spin_unlock(&o->lock);
        int error = pump_alone(o);
        return error < 0 ? error : 0;
    }
    waiter_init(&w, "room in an outbox", NULL);
    list_push(&o->room, &w.link);
    return waiter_wait(&w, &o->lock, 0);
}

/* What the policy says about a message that does not fit, with the lock, which it gives up: 0 to
 * try again, 1 to drop the message, or a negative errno. */
static int overflow(struct outbox *o)
{
    switch (o->opts.overflow) {
    case WEIR_WAIT:
        return put_wait(o);
    case WEIR_DROP_NEW:
        break;
    case WEIR_DROP_OLD: {
        weir_msg *oldest = take_oldest(o);
        spin_unlock(&o->lock);
        weir_msg_unref(oldest);
        return oldest ? 0 : 1;
    }
    case WEIR_DROP_CONN:
        die(o, -ECONNABORTED);
        spin_unlock(&o->lock);
        drop_all(o);
        conn_kill(o->conn, ECONNABORTED);
        return -ECONNABORTED;
    }
    spin_unlock(&o->lock);
    return 1;
}

static int put(struct outbox *o, weir_msg *m)
{
    if (m->len > o->opts.max_bytes)
        return -EMSGSIZE;
    for (;;) {
        int result;
        spin_lock(&o->lock);
        if (o->dead) {
            result = o->dead;
            spin_unlock(&o->lock);
        } else if (handle_is_closed(o->conn)) {
            result = -EBADF;
            spin_unlock(&o->lock);
        } else if (!fits(o, m)) {
            result = overflow(o);
        } else if (o->count == o->ring_size) {
            uint32_t full = o->ring_size;
            spin_unlock(&o->lock);
            result = ring_grow(o, full);
        } else {
            push(o, weir_msg_ref(m));
            spin_unlock(&o->lock);
            return 0;
        }
        if (result)
            return result;
    }
}

int weir_outbox_put(weir_outbox *name, weir_msg *m)
{
    struct outbox *o = task_self() ? handle_enter(name, HANDLE_OUTBOX) : NULL;
    if (!o)
        return fail(-EBADF, "outbox", "put", NULL, 0);
    int result = put(o, m);
    if (!result && !o->has_writer)
        pump_now(o);
    handle_leave(name);
    return result < 0 ? fail(result, "outbox", "put", NULL, 0) : !result;
}

/* ---- flushing ---- */

static int flush(struct outbox *o)
{
    for (;;) {
        struct waiter w;
        spin_lock(&o->lock);
        if (o->dead || o->count == 0) {
            int dead = o->dead;
            spin_unlock(&o->lock);
            return dead;
        }
        int error;
        if (o->has_writer) {
            waiter_init(&w, "an outbox to drain", NULL);
            list_push(&o->drained, &w.link);
            error = waiter_wait(&w, &o->lock, 0);
        } else {
            spin_unlock(&o->lock);
            error = pump_alone(o);
        }
        if (error < 0)
            return error;
    }
}

int weir_outbox_flush(weir_outbox *name)
{
    struct outbox *o = task_self() ? handle_enter(name, HANDLE_OUTBOX) : NULL;
    if (!o)
        return fail(-EBADF, "outbox", "flush", NULL, 0);
    int error = flush(o);
    handle_leave(name);
    return error ? fail(error, "outbox", "flush", NULL, 0) : 0;
}
