/* closing.c -- the ways a connection ends: close, finish, abort.
 *
 * close(2) on a TCP socket sends a reset instead of an end while the kernel holds input that
 * nobody has read.  That destroys what is still to be sent or under way, and on some systems, not
 * on Linux, also what has arrived at the peer unread: the answer to a request that came with one
 * line too many.  So such a socket is half-closed first and its input thrown away; and if the peer
 * has not closed by then, it is kept aside and closed when that comes, or with a reset after all
 * after LINGER_BYTES or LINGER_TIME.  Within weir_run a fiber of the root group does that; a plain
 * thread does it itself, within its own deadline.  Input that arrives only after the close draws a
 * reset, too, which may still overtake output; who must know uses weir_finish.                */
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "../observe/trace.h"
#include "budget.h"
#include "conn.h"
#include "park.h"

enum {
    LINGER_BYTES = 64 << 10,
    SCRATCH = 1024, /* for Unix sockets; TCP discards without a buffer */
};
#define LINGER_TIME (2 * WEIR_SEC)

/* ---- throwing input away ---- */

/* tcp(7): MSG_TRUNC discards the bytes instead of copying them. */
static struct op discard_op(int fd, int family, char *scratch, size_t most)
{
    bool tcp = family_is_inet(family);
    return (struct op){ .kind = OP_RECV,
                        .flags = OP_EAGER,
                        .fd = fd,
                        .recv = { .buf = tcp ? NULL : scratch,
                                  .len = tcp || most < SCRATCH ? most : SCRATCH,
                                  .flags = tcp ? MSG_TRUNC : 0 } };
}

/* 0 at the end of the input, -EMSGSIZE when there is more than `most`, or why it stopped. */
static int discard(int fd, int family, size_t most, unsigned how)
{
    char scratch[SCRATCH];
    while (most > 0) {
        struct op op = discard_op(fd, family, scratch, most);
        int32_t result = await(&op, how);
        if (result <= 0)
            return result;
        most -= (size_t)result;
    }
    return -EMSGSIZE;
}

/* ---- lingering ---- */

static void linger_end(int fd)
{
    sock_close(fd);
    budget_give();
}

static void linger_wait(int fd, int64_t at_most)
{
    WEIR_SHIELD(at_most);
    discard(fd, AF_INET, LINGER_BYTES, 0);
}

static int linger_fiber(void *arg)
{
    int fd = *(int *)arg;
    linger_wait(fd, LINGER_TIME);
    linger_end(fd);
    return 0;
}

/* The peer has not closed: somebody waits for it. */
static void linger_on(int fd)
{
    struct task *t = task_self();
    struct runtime *r = t->worker->runtime;
    weir_fiber_opts o = { .name = "lingering close" };
    if (r && !group_spawn(r->root, NULL, linger_fiber, &fd, sizeof fd, &o))
        return;
    weir_time now = weir_now();
    if (!r && t->deadline > now)
        linger_wait(fd, time_min(LINGER_TIME, t->deadline - now));
    linger_end(fd);
}

/* Only TCP has bytes under way that a reset destroys; a Unix peer still reads all it was sent,
 * and needs only to be spared the ECONNRESET at the end. */
static void linger(int fd, int family)
{
    int error;
    sock_shutdown(fd, SHUT_WR);
    {
        WEIR_SHIELD(LINGER_TIME); /* also a cancelled caller discards what is there */
        error = discard(fd, family, LINGER_BYTES, AWAIT_NOW);
    }
    if (error == -EAGAIN && family_is_inet(family))
        linger_on(fd);
    else
        linger_end(fd);
}

static bool close_would_reset(const struct conn *c)
{
    if (c->eof || c->aborted || c->fate)
        return false;
    return sock_query(c->fd, SIOCINQ) > 0;
}

/* ---- what the handle calls ---- */

void conn_evict(void *object)
{
    struct conn *c = object;
    watch_end(&c->watch);
    park_evict(c);
}

int conn_destroy(void *object)
{
    struct conn *c = object;
    int error = 0;
    trace("close", NULL, c->fd);
    conn_drop_view(c);
    if (unlikely(close_would_reset(c))) {
        linger(c->fd, c->family);
    } else {
        error = sock_close(c->fd);
        budget_give();
    }
    conn_free(c);
    return error;
}

int conn_leave(weir_conn *name)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return -EBADF;
    c->eof = true; /* what is unread is the other process's to read */
    handle_leave(name);
    return handle_close(name);
}

/* ---- the public ways ---- */

int weir_close(void *h)
{
    int error = handle_close(h);
    return likely(!error) ? 0 : fail(error, "close", "close", NULL, 0);
}

int weir_abort(weir_conn *name)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return fail(-EBADF, "abort", "abort", NULL, 0);
    atomic_store_explicit(&c->aborted, true, memory_order_relaxed);
    if (family_is_inet(c->family))
        sock_reset_on_close(c->fd);
    handle_leave(name);
    int error = handle_close(name);
    return error ? fail(error, "abort", "close", NULL, 0) : 0;
}

static int discard_to_end(struct conn *c)
{
    char scratch[SCRATCH];
    conn_drop_view(c);
    while (!c->eof) {
        struct op op = discard_op(c->fd, c->family, scratch, LINGER_BYTES);
        int32_t result = conn_await_in(c, &op, 0);
        if (result < 0)
            return result;
        c->eof = result == 0;
    }
    return 0;
}

/* No event says that the last byte was acknowledged, so the question is asked again, ever less
 * often.  The end of the peer's own stream has come already and says nothing about ours. */
static int wait_delivered(struct conn *c)
{
    for (int64_t delay = WEIR_MS;; delay = time_min(2 * delay, 100 * WEIR_MS)) {
        int value = 0;
        int error = sock_get(c->fd, SOL_SOCKET, SO_ERROR, &value);
        if (error || value)
            return error ? error : -value;
        int unsent = sock_query(c->fd, SIOCOUTQ);
        if (unsent <= 0)
            return unsent;
        error = await_time(weir_after(delay));
        if (error)
            return error;
    }
}

static int conn_finish(struct conn *c)
{
    int error = conn_shutdown(c, SHUT_WR);
    if (!error)
        error = discard_to_end(c);
    return error ? error : wait_delivered(c);
}

int weir_finish(weir_conn *name)
{
    struct call k;
    int failed = call_begin(&k, name, SIDE_READ, "finish");
    if (!failed)
        failed = (int)call_end(&k, conn_finish(k.conn), "finish");
    int saved_errno = errno;
    int error = handle_close(name);
    if (error && !failed)
        return fail(error, "finish", "close", NULL, 0);
    errno = saved_errno;
    return failed;
}
