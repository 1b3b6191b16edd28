/* conn.h -- what a connection is made of, for the files that implement connections.
 *
 * Who holds the read side owns the reader's fields, who holds the write side the writer's; the
 * rest is atomic, or guarded by `lock`.  Counters are written by one side and read by anybody. */
#ifndef WEIR_CONN_H
#define WEIR_CONN_H

#include <netinet/in.h>

#include "../runtime/handle_slot.h"
#include "poll.h"
#include "sock.h"

struct parking;
/* Written by the side's holder, read by anybody. */
struct conn_count {
    _Atomic uint64_t bytes, calls;
};
struct conn_times {
    _Atomic uint64_t wait_ns;
    _Atomic int64_t last;  /* when bytes last moved */
    _Atomic int64_t stall; /* no progress for so long ends a call with ETIMEDOUT; 0: never */
};

/* With thousands of connections each line of one is a miss: what a request touches is on the
 * first two, and they are fetched ahead while another fiber runs. */
struct conn {
    int fd;
    int16_t family;
    _Atomic int16_t fate;    /* the errno the network ended it with; 0: none yet */
    /* the reader's */
    bool eof;
    bool more;               /* the last read took all it had room for: there may be more */
    uint8_t stream;          /* OP_STREAM where a short count means something */
    bool large;              /* messages come large: ask for a large buffer */
    uint16_t lender;         /* 1 + the worker that lent `view`; 0: it is our own */
    /* the writer's */
    bool torn;               /* half of a frame or message went out */
    bool blocking;           /* weir_detach gives it back in blocking mode */
    uint32_t start, end;     /* of what is buffered in `view` */
    char *view;              /* NULL while nothing is buffered */
    struct conn_count rx, tx;

    struct conn_times rx_times, tx_times;
    struct parking *parking; /* park.c: known to the worker it is parked on, */
    atomic_int parked_on;    /* ... which is this one; 0: none */
    atomic_bool half_closed; /* our FIN is out */
    atomic_bool aborted;
    uint8_t peer_len;        /* of `peer`; 0: not known yet; under `lock` */

    uint64_t consumed;       /* park.c: bytes its handlers had taken when it parked last */
    weir_time parked_until;  /* for whoever parked it: when it will have been silent too long */
    uint32_t room;           /* of `view`, when it is our own */
    char *frame_buf;         /* a frame too long for a view, partly read; else NULL */
    size_t frame_len, frame_done;
    _Atomic(void *) data;
    weir_time opened;
    struct spin lock;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
    struct watch watch;
};

static_assert(offsetof(struct conn, rx_times) <= CACHE_LINE, "the first line is the hot one");
static_assert(offsetof(struct conn, consumed) <= 2 * CACHE_LINE, "the second is the rest of it");
enum { CONN_SIZE = 4 * CACHE_LINE };
static_assert(sizeof(struct conn) <= CONN_SIZE, "many thousand idle connections are cheap");

extern const struct handle_type conn_type;

/* A connection of this connected descriptor.  0, or -ENOMEM, -ENFILE: the descriptor is then the
 * caller's still.  `peer` may be NULL. */
int conn_new(weir_conn **out, int fd, int family, const weir_addr *peer);
void conn_free(struct conn *c); /* the memory alone */
void conn_peer(struct conn *c, weir_addr *a); /* len 0: not to be had */

/* The worker's last look at the clock; a plain thread has none, and reads it. */
static inline weir_time task_clock(const struct task *t)
{
    return likely(t->is_fiber) ? worker_here->now : weir_now();
}

/* ---- one public call on one side of a connection ---- */
struct call {
    weir_conn *name;
    struct conn *conn;
    struct handle_slot *slot;
    weir_time since;
    enum handle_side side;
};

/* Locks the side: 0, or -1 with everything recorded.  how is AWAIT_DRAINABLE where a draining group
 * ends the wait for the side. */
int call_begin_how(struct call *k, weir_conn *name, enum handle_side side, unsigned how,
                   const char *op);
ALWAYS_INLINE int call_begin(struct call *k, weir_conn *name, enum handle_side side,
                             const char *op);
/* What call_begin comes to when the side is not free at once; without `conn` for -1.  Here and
 * below the rarer ways take and give a call by value: the usual way's stays in registers. */
struct call call_begin_slowly(weir_conn *name, enum handle_side side, const char *op);
/* Unlocks it and passes the result on: >= 0 as it is, a negative errno recorded, as -1. */
ALWAYS_INLINE ssize_t call_end(struct call *k, ssize_t result, const char *op);
/* The same after `count` bytes were moved and then `error` (0: the end of the stream) stopped it:
 * the count with errno, or -1 when it is 0 and there was an error. */
ssize_t call_end_short(struct call k, size_t count, int error, const char *op);
ssize_t call_failed(struct call k, int error, const char *op);

ALWAYS_INLINE ssize_t call_end(struct call *k, ssize_t result, const char *op)
{
    if (unlikely(result < 0))
        return call_failed(*k, (int)result, op);
    if (unlikely(!owner_unlock(worker_here, k->slot, k->side)))
        handle_unlock(k->name, k->side);
    return result;
}

ALWAYS_INLINE int call_begin(struct call *k, weir_conn *name, enum handle_side side,
                             const char *op)
{
    struct worker *w = worker_here;
    k->slot = slot_of(name);
    k->name = name;
    k->side = side;
    if (likely(w && (k->conn = owner_lock(w, k->slot, name, HANDLE_CONN, side)))) {
        k->since = task_clock(w->current);
        w->current->warm = k->conn;
        return 0;
    }
    struct call slowly = call_begin_slowly(name, side, op);
    k->conn = slowly.conn;
    k->since = slowly.since;
    return k->conn ? 0 : -1;
}

/* ---- moving bytes (conn.c); the caller holds the side ---- */

/* An operation on the connection, watched by the side's stall limit; what ends the connection for
 * good is remembered.  -EPIPE, 0 and -ENOTCONN after such an end become that end. */
int32_t conn_await_in(struct conn *c, struct op *op, unsigned how);
int32_t conn_await_out(struct conn *c, struct op *op, unsigned how);
/* Of these: await under a stall limit, where CONN_STALLED says that it has passed; and what a
 * result that brought no bytes means. */
enum { CONN_STALLED = INT32_MIN };
int32_t conn_await_stall(struct op *op, unsigned how, int64_t stall);
int32_t conn_ending(struct conn *c, int32_t result, bool input);

/* At least one byte from the view or the socket, 0 at the end, or a negative errno. */
ssize_t conn_read(struct conn *c, void *buf, size_t n);
/* All of it with error 0, or fewer with a negative errno. */
struct sent {
    size_t count;
    int error;
};
struct sent conn_write(struct conn *c, const void *buf, size_t n, int flags);
/* The same from pieces. */
int conn_writev(struct conn *c, const struct iovec *v, int count, size_t *sent);
/* One sendmsg of these pieces, as far as it goes. */
ssize_t conn_send_once(struct conn *c, const struct iovec *v, int count, unsigned how);
int conn_shutdown(struct conn *c, int how);
/* Ends it for all its users with `error`, and the peer with a reset once it is closed. */
void conn_kill(weir_conn *name, int error);

/* ---- the view (view.c): bytes received and not yet taken ---- */

enum { VIEW_SIZE = 64 << 10 };

static inline uint32_t conn_buffered(const struct conn *c)
{
    uint32_t end = __atomic_load_n(&c->end, __ATOMIC_RELAXED);
    return end - __atomic_load_n(&c->start, __ATOMIC_RELAXED);
}
static inline const char *conn_bytes(const struct conn *c)
{
    return c->view ? c->view + c->start : "";
}
/* Receives at least one byte more; 0 at the end of the stream.  `how` goes to await. */
ssize_t conn_fill(struct conn *c, unsigned how);
int conn_gather(struct conn *c, size_t min);
/* Has `min` bytes buffered, at most VIEW_SIZE: 0, or -errno; at the end of the stream -ENODATA. */
static inline int conn_need(struct conn *c, size_t min)
{
    return conn_buffered(c) >= min ? 0 : conn_gather(c, min);
}
void conn_skip(struct conn *c, size_t n);
size_t conn_take(struct conn *c, void *buf, size_t n); /* copies and skips what is buffered */
void conn_drop_view(struct conn *c);

/* ---- the end (closing.c) ---- */
void conn_evict(void *object);
int conn_destroy(void *object);
/* Closes our descriptor of a connection that another process goes on with; the peer learns
 * nothing. */
int conn_leave(weir_conn *name);

static inline void count_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
