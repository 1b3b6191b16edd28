/* park.c -- parked connections, and closing them.
 *
 * The operation pends in the backend of the worker that parked the connection, and only that
 * worker may cancel it.  Who closes the connection elsewhere asks it to, by mail.  The closer
 * marks the handle closed and then looks whether it is parked; who parks says so first and then
 * looks whether the handle is closed: one of them sees the other.                             */
#include "park.h"

/* Bytes taken from the buffer so far.  Whoever leaves all of it lying waits for more to come, or
 * it would be called for the same bytes again and again. */
static bool has_progressed(struct conn *c)
{
    uint64_t received = atomic_load_explicit(&c->rx.bytes, memory_order_relaxed);
    uint64_t consumed = received - conn_buffered(c);
    bool progressed = consumed != c->consumed;
    c->consumed = consumed;
    return progressed;
}

static int leave(struct parking *p, int result)
{
    park_over(p);
    return result;
}

int park(struct parking *p, weir_conn *name)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return -EBADF;
    p->conn = c;
    p->name = name;
    if (has_progressed(c) && conn_buffered(c))
        return leave(p, 1);
    if (c->eof)
        return leave(p, -ENODATA);
    c->parking = p;
    atomic_store(&c->parked_on, worker_here->id);
    atomic_thread_fence(memory_order_seq_cst); /* either we see the close, or it sees us */
    if (handle_is_closed(name))
        return leave(p, -EBADF);
    p->op = (struct op){ .kind = OP_POLL, .fd = c->fd, .poll = { .events = POLLIN | POLLRDHUP } };
    return op_post(&p->op, &p->mail) ? leave(p, 1) : 0;
}

void park_over(struct parking *p)
{
    struct conn *c = p->conn;
    c->parking = NULL;
    atomic_store_explicit(&c->parked_on, 0, memory_order_relaxed);
    p->conn = NULL;
    handle_leave(p->name);
}

static int wait_in_task(struct conn *c)
{
    struct op op = { .kind = OP_POLL, .fd = c->fd, .poll = { .events = POLLIN | POLLRDHUP } };
    if (has_progressed(c) && conn_buffered(c))
        return 1;
    if (c->eof)
        return -ENODATA;
    int32_t revents = conn_await_in(c, &op, AWAIT_DRAINABLE | AWAIT_IDLE);
    return revents < 0 ? revents : 1;
}

int park_task(weir_conn *name)
{
    struct conn *c;
    int error = handle_lock_how(name, HANDLE_CONN, SIDE_READ, AWAIT_DRAINABLE, (void **)&c);
    if (error)
        return error;
    error = wait_in_task(c);
    handle_unlock(name, SIDE_READ);
    return error;
}

int64_t park_patience(const struct parking *p)
{
    return atomic_load_explicit(&p->conn->rx_times.stall, memory_order_relaxed);
}

/* ---- closing ---- */

struct eviction {
    struct mail mail;
    struct conn *conn; /* lives as long as the closer waits */
    struct spin lock;
    struct list waiters;
    struct waiter waiter;
};

static void recall(struct conn *c)
{
    if (c->parking)
        op_recall(&c->parking->op);
}

static void eviction_delivered(struct mail *m)
{
    struct eviction *e = container_of(m, struct eviction, mail);
    recall(e->conn);
    spin_lock(&e->lock);
    list_remove(&e->waiter.link);
    spin_unlock(&e->lock);
    waiter_wake(&e->waiter, 0);
}

void park_evict(struct conn *c)
{
    atomic_thread_fence(memory_order_seq_cst);
    int id = atomic_load(&c->parked_on);
    if (likely(!id))
        return;
    if (id == worker_here->id) {
        recall(c);
        return;
    }
    struct eviction e = { .mail = { .deliver = eviction_delivered }, .conn = c };
    list_init(&e.waiters);
    waiter_init(&e.waiter, "a parked connection to be let go", NULL);
    list_push(&e.waiters, &e.waiter.link);
    if (worker_mail_to(id, &e.mail))
        waiter_await(&e.waiter, &e.lock, AWAIT_ALWAYS);
}
