/* view.c -- bytes that were received ahead and not taken yet.
 *
 * A connection owns no buffer while it waits.  The backend lends one when bytes are there, the
 * view is what of it has not been taken, and with the last byte it goes back; so one warm buffer
 * serves many connections, and an idle one costs nothing.  Only when more has to be gathered than
 * one receive brought - a line that comes in pieces - are the bytes moved to memory of our own. */
#include <string.h>

#include "move.h"

enum { OWN_FIRST = 4 << 10 };

/* weir_poll looks at these without the reader's side. */
static inline void span_set(struct conn *c, uint32_t start, uint32_t end)
{
    __atomic_store_n(&c->start, start, __ATOMIC_RELAXED);
    __atomic_store_n(&c->end, end, __ATOMIC_RELAXED);
}

static inline void view_give(struct conn *c)
{
    if (likely(c->lender))
        io_give(c->lender - 1, c->view);
    else
        free(c->view);
}

void conn_drop_view(struct conn *c)
{
    if (!c->view)
        return;
    view_give(c);
    c->view = NULL;
    span_set(c, 0, 0);
}

void conn_skip(struct conn *c, size_t n)
{
    uint32_t start = c->start + (uint32_t)n;
    if (likely(start == c->end))
        conn_drop_view(c);
    else
        span_set(c, start, c->end);
}

size_t conn_take(struct conn *c, void *buf, size_t n)
{
    size_t buffered = conn_buffered(c);
    if (n > buffered)
        n = buffered;
    if (n == 0)
        return 0;
    memcpy(buf, conn_bytes(c), n);
    conn_skip(c, n);
    return n;
}

/* ---- filling it ---- */

/* After a receive that took all it had room for there is probably more, and asking for it at once
 * saves the waiting.  A connection whose messages fill a small buffer asks for a large one. */
ALWAYS_INLINE ssize_t fill_lent(struct conn *c, unsigned how)
{
    uint32_t size = c->large ? LEND_LARGE : LEND_SMALL;
    struct op op = { .kind = OP_RECV,
                     .flags = (uint16_t)(OP_LEND | c->stream | (c->more ? OP_EAGER : 0)),
                     .fd = c->fd,
                     .recv = { .len = size } };
    int32_t result = conn_await(c, &c->rx, &c->rx_times, &op, how, true);
    c->more = result == (int32_t)size;
    if (unlikely(result <= 0)) {
        c->eof |= result == 0;
        return result;
    }
    c->large = c->large ? result > LEND_SMALL / 2 : c->more;
    c->view = op.recv.buf;
    c->lender = (uint16_t)(worker_here->id + 1);
    span_set(c, 0, (uint32_t)result);
    return result;
}

/* Memory of our own with room for `min` bytes in all, and what is buffered at its front. */
static int view_make_room(struct conn *c, size_t min)
{
    uint32_t buffered = conn_buffered(c), room = OWN_FIRST;
    if (c->view && !c->lender && c->start + min <= c->room)
        return 0;
    while (room < min || room <= buffered)
        room *= 2;
    char *own = malloc(room);
    if (!own)
        return -ENOMEM;
    memcpy(own, conn_bytes(c), buffered);
    if (c->view)
        view_give(c);
    c->view = own;
    c->lender = 0;
    c->room = room;
    span_set(c, 0, buffered);
    return 0;
}

static ssize_t fill_own(struct conn *c, unsigned how)
{
    uint32_t room = c->room - c->end;
    struct op op = { .kind = OP_RECV,
                     .flags = (uint16_t)(c->stream | (c->more ? OP_EAGER : 0)),
                     .fd = c->fd,
                     .recv = { .buf = c->view + c->end, .len = room } };
    int32_t result = conn_await_in(c, &op, how);
    c->more = result == (int32_t)room;
    if (likely(result > 0))
        span_set(c, c->start, c->end + (uint32_t)result);
    c->eof |= result == 0;
    return result;
}

/* Apart from the usual way, whose frame is to be small while it waits. */
static __attribute__((noinline)) ssize_t fill_more(struct conn *c, size_t min, unsigned how)
{
    int error = view_make_room(c, min);
    return error ? error : fill_own(c, how);
}

ssize_t conn_fill(struct conn *c, unsigned how)
{
    if (unlikely(c->eof))
        return 0;
    if (likely(!c->view))
        return fill_lent(c, how);
    return fill_more(c, conn_buffered(c) + 1, how);
}

int conn_gather(struct conn *c, size_t min)
{
    do {
        ssize_t result = 0;
        if (likely(!c->eof))
            result = likely(!c->view) ? fill_lent(c, 0) : fill_more(c, min, 0);
        if (unlikely(result <= 0))
            return result ? (int)result : -ENODATA;
    } while (unlikely(conn_buffered(c) < min));
    return 0;
}
