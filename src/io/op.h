/* op.h -- one operation: what is asked, of which descriptor, and the answer.
 *
 * An op lies on the asking fiber's stack (or inside a parked connection) and completes exactly
 * once.  From submit until completion it and the memory it points to belong to the backend,
 * cancelled or not.  `result` is what a completion queue entry holds: >= 0, or -errno.
 * EINTR, EAGAIN and EWOULDBLOCK never leave this layer, with one exception: op_try answers
 * -EAGAIN when the operation would have to wait.                                             */
#ifndef WEIR_OP_H
#define WEIR_OP_H

#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "../base/base.h"
#include "../base/list.h"

enum op_kind {
    /* complete at once, on every backend */
    OP_SOCKET,   /* result: a close-on-exec, non-blocking descriptor */
    OP_PAIR,     /* two such descriptors, connected to each other, in pair.fds; result: 0 */
    OP_BIND,
    OP_LISTEN,
    OP_NAME,     /* getsockname or getpeername */
    OP_OPTION,   /* getsockopt or setsockopt */
    OP_QUERY,    /* ioctl(SIOCINQ, SIOCOUTQ, SIOCATMARK); result: the value */
    OP_SHUTDOWN,
    OP_GIVE,     /* gives a lent buffer back to the instance that lent it */
    /* may wait */
    OP_ACCEPT,   /* result: a close-on-exec, non-blocking descriptor */
    OP_CONNECT,
    OP_RECV,
    OP_SEND,
    OP_RECVMSG,
    OP_SENDMSG,
    OP_POLL,     /* result: the revents of poll(2), never 0 */
    OP_CLOSE,    /* ends the others on the descriptor with -ECANCELED, then close(2) */
};

/* READY: it need not wait now, as far as the backend knows, and is nobody's until it is submitted
 * again.  A backend says so, at most once for an operation, to leave the system call to whoever
 * asked: a request's receive and send next to each other find the socket in the cache. */
enum op_state { OP_IDLE, OP_PENDING, OP_READY, OP_DONE };

enum {
    OP_EAGER = 1,   /* RECV, ACCEPT: probably ready, a try before waiting pays */
    OP_FOREIGN = 2, /* POLL: the descriptor is not ours and may be closed or reused behind us */
    OP_STREAM = 4,  /* on TCP: a count short of len means empty, or full.  Not for AF_UNIX, where
                       a read also ends at passed descriptors, nor for kernel TLS, where it ends
                       with a record */
    OP_LEND = 8,    /* RECV: buf is NULL; once bytes are there the backend picks a buffer of its
                       own, sets recv.buf and lends it until OP_GIVE, when the result is > 0.
                       `len` is the most wanted: up to LEND_SMALL, else up to LEND_LARGE */

    /* Set by op_try, which alone knows; an op starts with both clear. */
    OP_CONNECTING = 0x100, /* CONNECT: the attempt is under way, and its end is the result */
    OP_WAS_READY = 0x400,  /* set by the backend that said OP_READY */
    OP_FAKED = 0x200,      /* op_interpose had a hand in the last try: it says nothing of the fd */

    OP_MAIL = 0x8000, /* the runtime's: `waiter` is mail to deliver instead of a task to wake */
};

/* More than the usual sizes of messages: a receive that fills its buffer says nothing of what is
 * left, and costs another. */
enum { LEND_SMALL = 8 << 10, LEND_LARGE = 68 << 10 };

struct op {
    uint8_t kind;    /* enum op_kind */
    uint8_t state;   /* enum op_state */
    uint16_t flags;
    int fd;
    int32_t result;
    uint32_t scratch;    /* the backend's own, while pending */
    struct list link;    /* the backend's while pending, then the worker's done list */
    void *waiter;        /* whom to wake; opaque below runtime */
    union {
        struct { int family, type, protocol; } socket;
        struct { int *fds; } pair; /* of AF_UNIX, SOCK_STREAM */
        struct { const struct sockaddr *addr; socklen_t len; } bind, connect;
        struct { int backlog; } listen;
        struct { struct sockaddr *addr; socklen_t *len; bool peer; } name;
        /* To set, *len is read. */
        struct { void *value; socklen_t *len; int16_t level, name; bool set; } option;
        struct { unsigned long request; } query;
        struct { int how; } shutdown;
        struct { void *buf; } give;
        struct { struct sockaddr *addr; socklen_t *len; } accept;   /* both NULL: not wanted */
        struct { void *buf; size_t len; int flags; } recv;
        struct { const void *buf; size_t len; int flags; } send;    /* MSG_NOSIGNAL is added */
        struct { struct msghdr *msg; int flags; } recvmsg;
        struct { const struct msghdr *msg; int flags; } sendmsg;
        struct { short events; } poll;
    };
};

static_assert(sizeof(struct op) == 64, "an operation is one cache line");

/* Asks the kernel now, without ever waiting: the result, or -EAGAIN when it would have to wait.
 * MSG_DONTWAIT is added where the call has flags; ACCEPT and CONNECT rely on O_NONBLOCK, which
 * every descriptor of ours has on every backend (OP_SOCKET and OP_ACCEPT set it), because any
 * handle may be used from a ring's worker now and from a plain thread next.
 * EINTR is retried inside.  A CONNECT in progress answers -EAGAIN and, tried again, reports how
 * the attempt ended; one that answers -EAGAIN without OP_CONNECTING was not begun (AF_UNIX: the
 * backlog is full), which no readiness ever announces.  ACCEPT passes over connections that
 * failed before they were accepted.  OP_CLOSE is close(2) alone.                             */
int32_t op_try(struct op *op);

/* For tests: asked before each system call of op_try.  A negative errno is taken for the kernel's
 * answer (a CLOSE closes all the same); 0 lets the call happen, with op->recv.len or
 * op->send.len as the hook leaves it, for that call alone.  NULL in production, and set only
 * while no operation is under way.                                                           */
extern int32_t (*op_interpose)(struct op *op);

/* Questions about an operation come twice: of any, and of one whose kind is known where the
 * question is asked, for the ways that every request goes. */

/* True for the operations that wait for input (the others that wait, wait for output). */
ALWAYS_INLINE bool op_is_input_as(const struct op *op, enum op_kind kind)
{
    if (kind == OP_POLL)
        return !(op->poll.events & POLLOUT);
    return kind == OP_RECV || kind == OP_RECVMSG || kind == OP_ACCEPT;
}
static inline bool op_is_input(const struct op *op)
{
    return op_is_input_as(op, (enum op_kind)op->kind);
}

/* The flags of a RECV or RECVMSG; 0 for other operations. */
ALWAYS_INLINE int op_recv_flags_as(const struct op *op, enum op_kind kind)
{
    if (kind == OP_RECV)
        return op->recv.flags;
    return kind == OP_RECVMSG ? op->recvmsg.flags : 0;
}
static inline int op_recv_flags(const struct op *op)
{
    return op_recv_flags_as(op, (enum op_kind)op->kind);
}

/* What poll(2) is to be asked for, besides POLLHUP and POLLERR, to learn when to try it again. */
ALWAYS_INLINE uint32_t op_events_as(const struct op *op, enum op_kind kind)
{
    if (kind == OP_POLL)
        return (uint16_t)op->poll.events & ~(uint32_t)(POLLERR | POLLHUP | POLLNVAL);
    if (!op_is_input_as(op, kind))
        return POLLOUT;
    if (op_recv_flags_as(op, kind) & MSG_ERRQUEUE)
        return POLLERR;
    return op_recv_flags_as(op, kind) & MSG_OOB ? POLLPRI : POLLIN;
}
static inline uint32_t op_events(const struct op *op)
{
    return op_events_as(op, (enum op_kind)op->kind);
}

/* Of an operation that had to wait although `events` were reported.  Mute: its own event does not
 * tell when it can be done; the clock has to ask.  That is sendto(2) on an AF_UNIX datagram
 * socket when the queue it is for is full.  Noisy: a level-triggered report would come again at
 * once, and for ever, of an error nobody fetches or, with SO_PEEK_OFF, of data peeked at.  That
 * input was called ready and is gone is neither: another may have been faster.                */
bool op_is_mute(const struct op *op, uint32_t events);
bool op_is_noisy(const struct op *op, uint32_t events);

/* The name for traces and errors: "recv". */
const char *op_name(enum op_kind kind);

enum { FD_LOW = 1 << 16 };
extern atomic_uint fd_generations_low[FD_LOW]; /* even numbers, 0 at first */
uint32_t fd_generation_high(int fd);

/* Tables that are indexed by descriptor compare this number, which changes whenever this
 * library closes, adopts or gives away that descriptor, on whatever thread.  It is odd, so that
 * a zeroed table knows nothing; or 0, when there is no memory to keep it.                     */
static inline uint32_t fd_generation(int fd)
{
    if (unlikely((unsigned)fd >= FD_LOW))
        return fd_generation_high(fd);
    return atomic_load_explicit(&fd_generations_low[fd], memory_order_acquire) | 1;
}

void fd_generation_bump(int fd);

#endif
