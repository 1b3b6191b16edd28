/* interop.c -- descriptors that come from elsewhere, and ours that go there.
 *
 * Only sockets are adopted: they get O_NONBLOCK, which belongs to the open file and not to the
 * descriptor, and a pipe or terminal may be shared with processes that count on blocking.  For
 * those there is weir_poll.  What is given away is again as it came.                          */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

#include "../io/op.h"
#include "../runtime/error.h"
#include "budget.h"
#include "subject.h"

int weir_fileno(void *h)
{
    struct subject s;
    int error = subject_enter(&s, h);
    if (error)
        return fail(error, "fileno", "fileno", NULL, 0);
    subject_leave(&s);
    return s.fd;
}

/* ---- giving away ---- */

static int give(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);
    if (blocking && flags >= 0)
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    fd_generation_bump(fd);
    budget_give();
    return fd;
}

static int detach_conn(weir_conn *name, struct conn *c)
{
    if (conn_buffered(c)) {
        uint32_t buffered = conn_buffered(c);
        handle_leave(name);
        return fail_text(-EBUSY, "detach", "detach",
                         "%u bytes are buffered and would be lost: read or skip them first",
                         buffered);
    }
    if (handle_forget(name)) {
        handle_leave(name);
        return fail_text(-EBUSY, "detach", "detach", "another call on it is in progress");
    }
    int fd = give(c->fd, c->blocking);
    conn_free(c);
    return fd;
}

static int detach_listener(weir_listener *name, struct listener *l)
{
    if (handle_forget(name)) {
        handle_leave(name);
        return fail_text(-EBUSY, "detach", "detach", "another call on it is in progress");
    }
    int fd = give(l->fd, l->blocking);
    if (l->spare >= 0)
        sock_close(l->spare);
    free(l->path);
    free(l);
    return fd;
}

int weir_detach(void *h)
{
    struct subject s;
    int error = subject_enter(&s, h);
    if (error)
        return fail(error, "detach", "detach", NULL, 0);
    return s.conn ? detach_conn(h, s.conn) : detach_listener(h, s.listener);
}

/* ---- adopting ---- */

/* What kind of socket it is: 0, -ENOTSOCK, -EBADF, -EPROTOTYPE. */
static int inspect(int fd, int *family, bool *listens)
{
    int type = 0, accepts = 0;
    int error = sock_get(fd, SOL_SOCKET, SO_TYPE, &type);
    if (!error)
        error = sock_get(fd, SOL_SOCKET, SO_DOMAIN, family);
    if (!error && type != SOCK_STREAM)
        error = -EPROTOTYPE;
    if (!error)
        error = sock_get(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts);
    *listens = accepts;
    return error;
}

/* Whether a short read means that the socket is empty: only TCP itself promises that, not what may
 * be layered on it (tcp(7), TCP_ULP). */
static bool is_plain_tcp(int fd)
{
    char layer[16] = "";
    socklen_t len = sizeof layer;
    int protocol = 0;
    return !sock_get(fd, SOL_SOCKET, SO_PROTOCOL, &protocol) && protocol == IPPROTO_TCP &&
           !sock_option(fd, IPPROTO_TCP, TCP_ULP, layer, &len, false) && !layer[0];
}

/* How a descriptor came: flags of the open file, and its own. */
struct origin {
    int flags, fd_flags;
};

static void put_back(int fd, const struct origin *o)
{
    fcntl(fd, F_SETFL, o->flags);
    fcntl(fd, F_SETFD, o->fd_flags);
}

static int prepare(int fd, struct origin *o)
{
    *o = (struct origin){ fcntl(fd, F_GETFL), fcntl(fd, F_GETFD) };
    if (o->flags < 0 || o->fd_flags < 0)
        return -errno;
    if (fcntl(fd, F_SETFD, o->fd_flags | FD_CLOEXEC) < 0 ||
        fcntl(fd, F_SETFL, o->flags | O_NONBLOCK) < 0) {
        int error = -errno;
        put_back(fd, o);
        return error;
    }
    fd_generation_bump(fd);
    return 0;
}

/* `why`, unless NULL, goes on from "descriptor 7". */
static int refuse(int error, int fd, const char *why)
{
    char words[ERROR_WORDS];
    if (error == -EBADF)
        return fail_text(error, "adopt", "adopt", "descriptor %d is not open", fd);
    if (error == -ENOTSOCK)
        return fail_text(error, "adopt", "adopt",
                         "descriptor %d is not a socket; weir_poll waits for any descriptor", fd);
    if (error == -EPROTOTYPE)
        return fail_text(error, "adopt", "adopt", "descriptor %d is not a stream socket", fd);
    if (why)
        return fail_text(error, "adopt", "adopt", "descriptor %d %s", fd, why);
    return fail_text(error, "adopt", "adopt", "descriptor %d: %s", fd,
                     error_words(-error, words, sizeof words));
}

static int conn_adopt(weir_conn **name, int fd, int family, const weir_addr *peer)
{
    struct origin origin;
    int error = prepare(fd, &origin);
    if (error)
        return error;
    error = conn_new(name, fd, family, peer);
    if (error) {
        put_back(fd, &origin);
        return error;
    }
    struct conn *c = handle_enter(*name, HANDLE_CONN);
    c->blocking = !(origin.flags & O_NONBLOCK);
    c->stream = is_plain_tcp(fd) ? OP_STREAM : 0;
    handle_leave(*name);
    return 0;
}

weir_conn *weir_conn_fd(int fd)
{
    weir_conn *name = NULL;
    weir_addr peer = { 0 };
    int family = 0;
    bool listens = false;
    if (!task_self())
        return fail(-ENOMEM, "adopt", "adopt", NULL, 0), NULL;
    const char *why = NULL;
    int error = inspect(fd, &family, &listens);
    if (!error && listens)
        error = -EINVAL, why = "listens, which is for weir_listener_fd";
    if (!error)
        error = sock_name(fd, true, &peer);
    if (!error)
        error = conn_adopt(&name, fd, family, &peer);
    return error ? refuse(error, fd, why), NULL : name;
}

static int listener_adopt(weir_listener **name, int fd, int family)
{
    struct origin origin;
    struct listener *l;
    int error = prepare(fd, &origin);
    if (error)
        return error;
    error = listener_new(name, &l, fd, family);
    if (error)
        put_back(fd, &origin);
    else
        l->blocking = !(origin.flags & O_NONBLOCK);
    return error;
}

weir_listener *weir_listener_fd(int fd)
{
    weir_listener *name = NULL;
    int family = 0;
    bool listens = false;
    if (!task_self())
        return fail(-ENOMEM, "adopt", "adopt", NULL, 0), NULL;
    const char *why = NULL;
    int error = inspect(fd, &family, &listens);
    if (!error && !listens)
        error = -EINVAL, why = "does not listen";
    if (!error)
        error = listener_adopt(&name, fd, family);
    return error ? refuse(error, fd, why), NULL : name;
}
