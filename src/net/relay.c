/* relay.c -- copying between two connections until both directions have ended.
 *
 * One task serves both directions: it does what can be done at once and then waits for whatever
 * either direction lacks.  The bytes under way lie in the view of the connection they came from,
 * so what was buffered before the relay goes first, the memory of a stalled direction is one view,
 * and an idle relay has none.  The end of one direction is passed on as a half-close, while the
 * other goes on under a limit of its own.                                                     */
#include "conn.h"

struct direction {
    struct conn *from, *to;
    int64_t *moved;
    bool ended;
    bool can_read, can_write; /* as far as known: it has not said otherwise since the last wait */
};

enum {
    ROUNDS = 16, /* for one direction, before the other has its turn */
    BLOCKED = 0, /* it has ended, or has to wait */
    BUSY = 1,    /* it could go on */
};

/* ---- one direction ---- */

/* Like conn_fill below: > 0 when bytes moved, or a negative errno. */
static ssize_t send_view(struct direction *d)
{
    struct op op = {
        .kind = OP_SEND,
        .flags = d->to->stream,
        .fd = d->to->fd,
        .send = { .buf = conn_bytes(d->from), .len = conn_buffered(d->from) },
    };
    ssize_t result = conn_await_out(d->to, &op, AWAIT_NOW);
    d->can_write = result > 0;
    if (result > 0) {
        *d->moved += result;
        conn_skip(d->from, (size_t)result);
    }
    return result;
}

/* After a short read the socket is empty, or polling it says at once that it is not. */
static ssize_t fill_view(struct direction *d)
{
    ssize_t result = conn_fill(d->from, AWAIT_NOW);
    d->can_read = d->from->more;
    return result;
}

/* One receive or send: BUSY, BLOCKED or a negative errno. */
static int step(struct direction *d)
{
    bool sends = conn_buffered(d->from) > 0;
    if (sends ? !d->can_write : !d->can_read)
        return BLOCKED;
    ssize_t result = sends ? send_view(d) : fill_view(d);
    if (result == 0) {
        d->ended = true;
        return conn_shutdown(d->to, SHUT_WR);
    }
    return result > 0 ? BUSY : result == -EAGAIN ? BLOCKED : (int)result;
}

static int advance(struct direction *d)
{
    int state = BUSY;
    for (int i = 0; i < ROUNDS && state == BUSY; i++)
        state = d->ended ? BLOCKED : step(d);
    return state;
}

/* ---- both ---- */

static void ask(struct direction *d, struct op *op)
{
    bool sends = conn_buffered(d->from) > 0;
    *op = (struct op){ .kind = OP_POLL,
                       .fd = sends ? d->to->fd : d->from->fd,
                       .poll = { .events = sends ? POLLOUT : POLLIN } };
}

/* Waits for what the directions lack, at most `limit` (0: for ever) from now. */
static int wait_for_either(struct direction *d, int64_t limit)
{
    struct task *t = task_self();
    weir_time outer = t->deadline, until = limit > 0 ? weir_after(limit) : TIME_NEVER;
    struct op op[2], *ops[2];
    int count = 0;
    for (int i = 0; i < 2; i++)
        if (!d[i].ended) {
            ask(&d[i], &op[i]);
            ops[count++] = &op[i];
        }
    t->deadline = time_min(outer, until);
    int result = await_any(ops, count, 0);
    t->deadline = outer;
    for (int i = 0; i < 2; i++)
        if (!d[i].ended && result > 0 && op[i].result > 0)
            d[i].can_read = d[i].can_write = true;
    if (result == -ETIME && until <= outer)
        return -ETIMEDOUT;
    return result < 0 ? result : 0;
}

static bool is_over(const struct direction *d)
{
    return d[0].ended && d[1].ended;
}

/* Bytes that never end are no reason to keep others from running, or not to hear of a deadline; a
 * wait that is answered at once has let nobody run either. */
static int relay(struct direction *d, const weir_relay_opts *o)
{
    struct task *t = task_self();
    int error = 0;
    while (!error) {
        int first = advance(&d[0]), second = first < 0 ? BLOCKED : advance(&d[1]);
        bool half = d[0].ended || d[1].ended;
        int64_t limit = half && o->half_closed_idle ? o->half_closed_idle : o->idle;
        if (first < 0 || second < 0)
            return first < 0 ? first : second;
        if (is_over(d))
            return 0;
        if (first == BLOCKED && second == BLOCKED)
            error = wait_for_either(d, limit);
        task_yield(t);
        error = error ? error : task_stop_reason(t, false);
    }
    return error;
}

/* ---- the interface ---- */

/* Both sides of both, in one order for everybody, so that two relays cannot wait in a ring. */
static int lock_all(weir_conn *const *names, struct conn **conns)
{
    for (int i = 0; i < 4; i++) {
        void *object;
        int error = handle_lock(names[i / 2], HANDLE_CONN, i % 2 ? SIDE_WRITE : SIDE_READ, &object);
        conns[i / 2] = object;
        if (!error)
            continue;
        while (--i >= 0)
            handle_unlock(names[i / 2], i % 2 ? SIDE_WRITE : SIDE_READ);
        return error;
    }
    return 0;
}

static void unlock_all(weir_conn *const *names)
{
    for (int i = 3; i >= 0; i--)
        handle_unlock(names[i / 2], i % 2 ? SIDE_WRITE : SIDE_READ);
}

int weir_relay(weir_conn *a, weir_conn *b, weir_relay_opts *io)
{
    weir_relay_opts none = { 0 }, *o = io ? io : &none;
    weir_conn *names[2] = { a < b ? a : b, a < b ? b : a };
    struct conn *conns[2];
    o->a_to_b = o->b_to_a = 0;
    if (!task_self() || a == b || o->idle < 0 || o->half_closed_idle < 0)
        return fail(task_self() ? -EINVAL : -ENOMEM, "relay", "relay", NULL, 0);
    weir_time since = weir_now();
    int error = lock_all(names, conns);
    if (error)
        return fail(error, "relay", "relay", NULL, since);
    struct conn *ca = conns[a > b], *cb = conns[a < b];
    struct direction d[2] = {
        { .from = ca, .to = cb, .moved = &o->a_to_b, .can_read = true, .can_write = true },
        { .from = cb, .to = ca, .moved = &o->b_to_a, .can_read = true, .can_write = true },
    };
    error = relay(d, o);
    unlock_all(names);
    return error ? fail(error, "relay", "relay", NULL, since) : 0;
}
