/* ring_probe.c -- whether a ring does what the backend asks of it, found out by asking.
 *
 * Versions prove nothing: distributions carry features back, and seccomp profiles and sandboxes
 * that answer for the kernel do some calls and not others.  So each thing is tried once on a pair
 * of sockets, in microseconds when it works; a step that brings no answer ends the test.      */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring.h"

enum { MARK_ONCE = 1, MARK_OFTEN, MARK_CANCEL, PATIENCE_NS = 100000000 };

struct probe {
    struct ring ring;
    int fd, peer;
};

static void ask_poll(struct probe *p, unsigned flags, uint64_t mark)
{
    struct io_uring_sqe *sqe = ring_sqe(&p->ring);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = p->fd;
    sqe->len = flags;
    sqe->poll32_events = POLLIN;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    sqe->poll32_events <<= 16;
#endif
    sqe->user_data = mark;
}

static void ask_cancel(struct probe *p, uint64_t mark)
{
    struct io_uring_sqe *sqe = ring_sqe(&p->ring);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = mark;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = MARK_CANCEL;
}

/* Waits, within the bound, for the next completion and takes it.  False: none came. */
static bool next(struct probe *p, int64_t patience, struct io_uring_cqe *cqe)
{
    const struct io_uring_cqe *at = ring_cqe(&p->ring);
    if (!at && !ring_enter(&p->ring, patience))
        at = ring_cqe(&p->ring);
    if (!at)
        return false;
    *cqe = *at;
    ring_cqe_seen(&p->ring);
    return true;
}

static bool is(const struct io_uring_cqe *cqe, uint64_t mark, int32_t events, unsigned more)
{
    bool has_result = events < 0 ? cqe->res == events : cqe->res & events;
    return cqe->user_data == mark && has_result && (cqe->flags & IORING_CQE_F_MORE) == more;
}

static bool poke(const struct probe *p)
{
    char byte = 0;
    return send(p->peer, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static bool swallow(const struct probe *p)
{
    char byte;
    return recv(p->fd, &byte, 1, MSG_DONTWAIT) == 1;
}

/* A wait has an end, and a one-shot poll fires once. */
static bool once_works(struct probe *p)
{
    struct io_uring_cqe cqe;
    ask_poll(p, 0, MARK_ONCE);
    return !next(p, 1, &cqe) && poke(p) && next(p, PATIENCE_NS, &cqe) &&
           is(&cqe, MARK_ONCE, POLLIN, 0) && swallow(p);
}

static bool fires_again(struct probe *p)
{
    struct io_uring_cqe cqe;
    return poke(p) && next(p, PATIENCE_NS, &cqe) &&
           is(&cqe, MARK_OFTEN, POLLIN, IORING_CQE_F_MORE) && swallow(p);
}

/* A multishot poll fires again and again, until it is cancelled, without a word of the cancel. */
static bool often_works(struct probe *p)
{
    struct io_uring_cqe cqe;
    ask_poll(p, IORING_POLL_ADD_MULTI, MARK_OFTEN);
    if (next(p, 1, &cqe) || !fires_again(p) || !fires_again(p))
        return false;
    ask_cancel(p, MARK_OFTEN);
    return next(p, PATIENCE_NS, &cqe) && is(&cqe, MARK_OFTEN, -ECANCELED, 0) && !next(p, 1, &cqe);
}

/* A cancelled poll lets go of its file, so that closing it reaches the peer. */
static bool close_works(struct probe *p)
{
    struct pollfd peer = {.fd = p->peer};
    close(p->fd);
    p->fd = -1;
    return poll(&peer, 1, 0) == 1 && peer.revents & POLLHUP;
}

int ring_probe(void)
{
    struct probe p = {0};
    int ends[2];
    int error = ring_open(&p.ring, 8, 16);
    if (error)
        return error;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
        error = -errno;
        ring_close(&p.ring);
        return error;
    }
    p.fd = ends[0];
    p.peer = ends[1];
    if (!once_works(&p) || !often_works(&p) || !close_works(&p))
        error = -EOPNOTSUPP;
    if (p.fd >= 0)
        close(p.fd);
    close(p.peer);
    ring_close(&p.ring);
    return error;
}
