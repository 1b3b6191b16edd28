/* op.c -- the system calls behind the operations, each in a form that never waits.
 *
 * op_try is one switch over what can be asked, and around it the few answers of the kernel that
 * do not mean what they say: an interruption, a connection that died before it was accepted, a
 * connect that is still under way.  The generation of each descriptor number is kept here too,
 * because this file is where descriptors end.                                                 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "op.h"

/* How many failed connections one ACCEPT passes over.  accept(2) hands each out once, so that
 * the number bounds a loop that a broken kernel or filter would make endless.                */
enum { ACCEPT_TRIES = 64 };

int32_t (*op_interpose)(struct op *op);

/* ---- one call each; 0 or more, or -errno ---- */

static int32_t answer(int64_t result)
{
    return result < 0 ? -errno : (int32_t)result;
}

static int32_t call_name(struct op *op)
{
    if (op->name.peer)
        return answer(getpeername(op->fd, op->name.addr, op->name.len));
    return answer(getsockname(op->fd, op->name.addr, op->name.len));
}

static int32_t call_option(struct op *op)
{
    int level = op->option.level, name = op->option.name;
    if (op->option.set)
        return answer(setsockopt(op->fd, level, name, op->option.value, *op->option.len));
    return answer(getsockopt(op->fd, level, name, op->option.value, op->option.len));
}

static int32_t call_query(struct op *op)
{
    int value = 0;
    int32_t result = answer(ioctl(op->fd, op->query.request, &value));
    return result < 0 ? result : value;
}

/* poll(2) passes over negative descriptors in silence; an operation has no such use. */
static int32_t call_poll(struct op *op)
{
    struct pollfd entry = {.fd = op->fd, .events = op->poll.events};
    if (op->fd < 0)
        return POLLNVAL;
    int32_t result = answer(poll(&entry, 1, 0));
    if (result == 0)
        return -EAGAIN;
    return result < 0 ? result : entry.revents;
}

/* The calls of every request and connection go straight to the kernel: in a process with threads,
 * libc's are points of pthread_cancel, which costs each of them two atomic instructions.  Not under
 * the sanitizers, which look into libc's calls. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRAIGHT 0
#elif defined(__has_feature)
#define STRAIGHT !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define STRAIGHT 1
#endif

static int32_t call_recv(struct op *op)
{
    int flags = op->recv.flags | MSG_DONTWAIT;
    if (STRAIGHT)
        return answer(
            syscall(SYS_recvfrom, op->fd, op->recv.buf, op->recv.len, flags, NULL, NULL));
    return answer(recv(op->fd, op->recv.buf, op->recv.len, flags));
}

static int32_t call_send(struct op *op)
{
    int flags = op->send.flags | MSG_DONTWAIT | MSG_NOSIGNAL;
    if (STRAIGHT)
        return answer(syscall(SYS_sendto, op->fd, op->send.buf, op->send.len, flags, NULL, 0));
    return answer(send(op->fd, op->send.buf, op->send.len, flags));
}

static int32_t call_accept(struct op *op)
{
    int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    if (STRAIGHT)
        return answer(syscall(SYS_accept4, op->fd, op->accept.addr, op->accept.len, flags));
    return answer(accept4(op->fd, op->accept.addr, op->accept.len, flags));
}

static int32_t call(struct op *op)
{
    switch ((enum op_kind)op->kind) {
    case OP_SOCKET:
        return answer(socket(op->socket.family, op->socket.type | SOCK_CLOEXEC | SOCK_NONBLOCK,
                             op->socket.protocol));
    case OP_PAIR:
        return answer(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, op->pair.fds));
    case OP_BIND:
        return answer(bind(op->fd, op->bind.addr, op->bind.len));
    case OP_LISTEN:
        return answer(listen(op->fd, op->listen.backlog));
    case OP_NAME:
        return call_name(op);
    case OP_OPTION:
        return call_option(op);
    case OP_QUERY:
        return call_query(op);
    case OP_SHUTDOWN:
        return answer(shutdown(op->fd, op->shutdown.how));
    case OP_GIVE:
        return -EINVAL; /* what was lent is the backend's to take back */
    case OP_ACCEPT:
        return call_accept(op);
    case OP_CONNECT:
        return answer(connect(op->fd, op->connect.addr, op->connect.len));
    case OP_RECV:
        return call_recv(op);
    case OP_SEND:
        return call_send(op);
    case OP_RECVMSG:
        return answer(
            recvmsg(op->fd, op->recvmsg.msg, op->recvmsg.flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    case OP_SENDMSG:
        return answer(
            sendmsg(op->fd, op->sendmsg.msg, op->sendmsg.flags | MSG_DONTWAIT | MSG_NOSIGNAL));
    case OP_POLL:
        return call_poll(op);
    case OP_CLOSE:
        return answer(STRAIGHT ? syscall(SYS_close, op->fd) : close(op->fd));
    }
    __builtin_unreachable();
}

/* A descriptor is gone whatever close(2) answers, so a CLOSE is never replaced. */
static int32_t call_interposed(struct op *op)
{
    size_t len = op->recv.len; /* where send.len is as well */
    int32_t instead = op_interpose(op);
    op->flags &= (uint16_t)~OP_FAKED;
    if (instead || op->recv.len != len)
        op->flags |= OP_FAKED;
    int32_t result = instead && op->kind != OP_CLOSE ? instead : call(op);
    op->recv.len = len;
    return instead ? instead : result;
}

static_assert(offsetof(struct op, recv.len) == offsetof(struct op, send.len),
              "one saved length serves both");

static int32_t call_uninterrupted(struct op *op)
{
    int32_t result;
    do
        result = likely(!op_interpose) ? call(op) : call_interposed(op);
    while (result == -EINTR && op->kind != OP_CLOSE);
    return result;
}

/* ---- answers that need a second look ---- */

/* accept(2) reports errors that are already pending on the new connection, and asks for a retry;
 * so does a connection that was aborted in the queue.                                        */
static bool accept_failed_before(int32_t result)
{
    switch (result) {
    case -ECONNABORTED:
    case -EPROTO:
    case -ENETDOWN:
    case -ENOPROTOOPT:
    case -EHOSTDOWN:
    case -ENONET:
    case -EHOSTUNREACH:
    case -EOPNOTSUPP:
    case -ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static int32_t try_accept(struct op *op)
{
    socklen_t len = op->accept.len ? *op->accept.len : 0;
    int32_t result = -EAGAIN;
    for (int tries = 0; tries < ACCEPT_TRIES; tries++) {
        if (op->accept.len)
            *op->accept.len = len;
        result = call_uninterrupted(op);
        if (!accept_failed_before(result))
            break;
    }
    return result;
}

/* What became of an attempt that the socket still calls under way.  TCP means it; AF_VSOCK says
 * so for ever after a failure, which only SO_ERROR then tells.                                */
static int32_t connect_error(int fd)
{
    int error = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}))
        return -errno;
    return error ? -error : -EAGAIN;
}

/* A second connect(2) reports how the first ended: 0 on TCP, EISCONN on AF_VSOCK, or its error. */
static int32_t try_connect(struct op *op)
{
    bool again = op->flags & OP_CONNECTING;
    int32_t result = call_uninterrupted(op);
    if (result == -EISCONN && again)
        return 0;
    if (result != -EINPROGRESS && result != -EALREADY)
        return result;
    op->flags |= OP_CONNECTING;
    return again && result == -EALREADY ? connect_error(op->fd) : -EAGAIN;
}

/* What nearly every call of op_try is for. */
static inline bool is_plain_move(const struct op *op)
{
    return (op->kind == OP_RECV || op->kind == OP_SEND) && !op_interpose;
}

int32_t op_try(struct op *op)
{
    if (likely(is_plain_move(op))) {
        int32_t result;
        do
            result = op->kind == OP_RECV ? call_recv(op) : call_send(op);
        while (unlikely(result == -EINTR));
        return result;
    }
    if (op->kind == OP_ACCEPT)
        return try_accept(op);
    if (op->kind == OP_CONNECT)
        return try_connect(op);
    int32_t result = call_uninterrupted(op);
    /* close(2), "Dealing with error returns": interrupted, Linux has released the descriptor. */
    return result == -EINTR ? 0 : result;
}

/* ---- what an operation is ---- */

bool op_is_mute(const struct op *op, uint32_t events)
{
    return !op_is_input(op) && events & op_events(op);
}

bool op_is_noisy(const struct op *op, uint32_t events)
{
    return !(events & op_events(op)) || op_recv_flags(op) & MSG_PEEK;
}

const char *op_name(enum op_kind kind)
{
    static const char *const names[] = {
        [OP_SOCKET] = "socket",     [OP_BIND] = "bind",       [OP_LISTEN] = "listen",
        [OP_NAME] = "name",         [OP_OPTION] = "option",   [OP_QUERY] = "query",
        [OP_SHUTDOWN] = "shutdown", [OP_GIVE] = "give",       [OP_ACCEPT] = "accept",
        [OP_CONNECT] = "connect",   [OP_RECV] = "recv",       [OP_SEND] = "send",
        [OP_RECVMSG] = "recvmsg",   [OP_SENDMSG] = "sendmsg", [OP_POLL] = "poll",
        [OP_CLOSE] = "close",       [OP_PAIR] = "pair",
    };
    return names[kind];
}

/* ---- generations ----
 *
 * Low numbers have a table of their own.  The others are in chunks: chunk k holds FD_LOW << k
 * numbers, the next ones after chunk k - 1, and is made when one of them is first asked for.  A
 * number nobody has asked for is in no table, so a bump that finds no chunk has nobody to tell. */

enum { FD_LOW_BITS = 16, CHUNKS = 31 - FD_LOW_BITS };
static_assert(FD_LOW == 1 << FD_LOW_BITS, "chunk k begins at number FD_LOW << k");

atomic_uint fd_generations_low[FD_LOW];
static _Atomic(atomic_uint *) chunks[CHUNKS];

static atomic_uint *chunk_make(unsigned chunk)
{
    atomic_uint *none = NULL, *made = calloc((size_t)FD_LOW << chunk, sizeof *made);
    if (made && !atomic_compare_exchange_strong(&chunks[chunk], &none, made)) {
        free(made);
        made = none;
    }
    return made;
}

static atomic_uint *generation_of(int fd, bool make)
{
    if (fd < FD_LOW)
        return &fd_generations_low[fd];
    unsigned chunk = 31U - (unsigned)__builtin_clz((unsigned)fd) - FD_LOW_BITS;
    atomic_uint *at = atomic_load_explicit(&chunks[chunk], memory_order_acquire);
    if (!at && make)
        at = chunk_make(chunk);
    return at ? at + (fd - (FD_LOW << chunk)) : NULL;
}

uint32_t fd_generation_high(int fd)
{
    must(fd >= 0);
    atomic_uint *at = generation_of(fd, true);
    return at ? atomic_load_explicit(at, memory_order_acquire) | 1 : 0;
}

void fd_generation_bump(int fd)
{
    atomic_uint *at = fd < 0 ? NULL : generation_of(fd, false);
    if (at)
        atomic_fetch_add_explicit(at, 2, memory_order_acq_rel);
}
