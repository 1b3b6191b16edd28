/* listener.c -- listening sockets and accepting.
 *
 * weir_accept never tells its caller about descriptors: when there is none left it waits until
 * one of ours is closed, or a moment for those of others, and the clients wait in the kernel's
 * queue meanwhile.  All options of a TCP listener are set before listen(2); Linux hands them down
 * to every connection, so accepting is one system call.                                       */
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../observe/trace.h"
#include "../runtime/error.h"
#include "addr.h"
#include "budget.h"
#include "conn.h"
#include "endpoint.h"
#include "listener.h"
#include "name.h"

enum { ADDRS_MAX = 16 };
#define BACK_OFF_MIN (10 * WEIR_MS)
#define BACK_OFF_MAX (100 * WEIR_MS)

/* ---- its life ---- */

static void listener_evict(void *object)
{
    struct listener *l = object;
    watch_end(&l->watch);
}

/* Only the file we made: another server may have taken the path over. */
static void listener_unlink(const struct listener *l)
{
    struct stat s;
    if (l->path && l->owner == getpid() && !lstat(l->path, &s) && s.st_dev == l->device &&
        s.st_ino == l->inode)
        unlink(l->path);
}

static int listener_destroy(void *object)
{
    struct listener *l = object;
    listener_unlink(l);
    if (l->spare >= 0)
        sock_close(l->spare);
    int error = sock_close(l->fd);
    budget_give();
    free(l->path);
    free(l);
    return error;
}

static const struct handle_type listener_type = { HANDLE_LISTENER, listener_evict,
                                                  listener_destroy };

int listener_new(weir_listener **out, struct listener **object, int fd, int family)
{
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->fd = fd;
    l->family = family;
    l->blocking = true;
    l->spare = -1;
    watch_init(&l->watch);
    *out = handle_new(&listener_type, l);
    if (!*out) {
        free(l);
        return -ENFILE;
    }
    *object = l;
    budget_take();
    return 0;
}

/* ---- Unix socket files ---- */

/* Whether the path holds the socket of a server that is gone.  Connecting is the only way to ask;
 * connect(2) refuses files of other kinds too, so their kind is looked at first. */
static bool is_stale(const weir_addr *a)
{
    const struct sockaddr_un *un = (const void *)&a->u;
    struct stat s;
    if (un->sun_path[0] == '\0' || lstat(un->sun_path, &s) || !S_ISSOCK(s.st_mode))
        return false;
    int fd = sock_open(AF_UNIX, 0);
    if (fd < 0)
        return false;
    struct op op = { .kind = OP_CONNECT, .fd = fd, .connect = { .addr = &a->u.sa, .len = a->len } };
    int error = await(&op, AWAIT_NOW);
    sock_close(fd);
    return error == -ECONNREFUSED;
}

static int bind_unix(int fd, const weir_addr *a)
{
    int error = sock_bind(fd, a);
    if (error != -EADDRINUSE || !is_stale(a))
        return error;
    const struct sockaddr_un *un = (const void *)&a->u;
    return unlink(un->sun_path) ? -errno : sock_bind(fd, a);
}

static int remember_path(struct listener *l, const weir_addr *a)
{
    const struct sockaddr_un *un = (const void *)&a->u;
    struct stat s;
    if (un->sun_path[0] == '\0')
        return 0;
    l->path = strdup(un->sun_path);
    if (!l->path)
        return -ENOMEM;
    if (lstat(l->path, &s))
        return -errno;
    l->device = s.st_dev;
    l->inode = s.st_ino;
    l->owner = getpid();
    return 0;
}

/* ---- opening ---- */

/* Where MPTCP is not to be had, plain TCP is what it would become anyway. */
static int open_for(int family, const weir_opts *o)
{
    if (o->mptcp && family_is_inet(family)) {
        int fd = sock_open(family, IPPROTO_MPTCP);
        if (fd >= 0)
            return fd;
    }
    return sock_open(family, 0);
}

static int listen_at(const weir_addr *a, const weir_opts *o)
{
    int family = a->u.sa.sa_family;
    int fd = open_for(family, o);
    if (fd < 0)
        return fd;
    int error = sock_setup(fd, family, o, true);
    if (!error)
        error = family == AF_UNIX ? bind_unix(fd, a) : sock_bind(fd, a);
    if (!error)
        error = sock_listen(fd, o->backlog > 0 ? o->backlog : SOMAXCONN);
    if (!error)
        return fd;
    sock_close(fd);
    return error;
}

/* Every interface is one IPv6 socket that takes IPv4 too; IPv4 alone where IPv6 is off. */
static int listen_any(int port, const weir_opts *o, weir_addr *a)
{
    addr_wildcard(a, o->family == AF_INET ? AF_INET : AF_INET6, port);
    int fd = listen_at(a, o);
    if ((fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL) || o->family == AF_INET6)
        return fd;
    addr_wildcard(a, AF_INET, port);
    return listen_at(a, o);
}

/* The first address of the name that works.  *told: the failure is recorded already. */
static int listen_name(const struct endpoint *e, const char *where, const weir_opts *o,
                       weir_addr *a, bool *told)
{
    weir_addr *all = calloc(ADDRS_MAX, sizeof *all);
    if (!all)
        return -ENOMEM;
    int count = name_resolve(e->host, NULL, o->family, all, ADDRS_MAX, "listen", where);
    int fd = count < 0 ? count : -ENOENT;
    *told = count < 0;
    for (int i = 0; i < count && fd < 0; i++) {
        *a = all[i];
        addr_set_port(a, e->port);
        fd = listen_at(a, o);
    }
    free(all);
    return fd;
}

static int listen_endpoint(const struct endpoint *e, const char *where, const weir_opts *o,
                           weir_addr *a, bool *told)
{
    *told = false;
    *a = e->addr;
    if (e->kind == ENDPOINT_ANY)
        return listen_any(e->port, o, a);
    if (e->kind == ENDPOINT_NAME)
        return listen_name(e, where, o, a, told);
    if (o->family && a->u.sa.sa_family != AF_UNIX && a->u.sa.sa_family != o->family)
        return -EAFNOSUPPORT;
    return listen_at(a, o);
}

static weir_listener *listener_open(const struct endpoint *e, const char *where,
                                    const weir_opts *o)
{
    weir_addr a;
    weir_listener *name = NULL;
    struct listener *l;
    bool told;
    int fd = listen_endpoint(e, where, o, &a, &told);
    if (fd < 0) {
        char why[ERROR_WORDS];
        if (!told)
            fail_text(fd, "listen", "bind", "listen %.*s: %s", ENDPOINT_SHOWN, where,
                      error_words(-fd, why, sizeof why));
        return errno = -fd, NULL;
    }
    int error = listener_new(&name, &l, fd, a.u.sa.sa_family);
    if (error) {
        sock_close(fd);
        return fail(error, "listen", "open", &a, 0), NULL;
    }
    l->read_stall = o->read_stall;
    l->write_stall = o->write_stall;
    error = o->unlink_on_close && l->family == AF_UNIX ? remember_path(l, &a) : 0;
    if (!error)
        return name;
    handle_close(name);
    return fail(error, "listen", "unlink_on_close", &a, 0), NULL;
}

weir_listener *weir_listen(const char *where, const weir_opts *o)
{
    static const weir_opts none;
    struct endpoint e;
    if (!o)
        o = &none;
    if (!task_self())
        return fail(-ENOMEM, "listen", "listen", NULL, 0), NULL;
    if (endpoint_parse(&e, where, "listen") || sock_check(o, "listen"))
        return NULL;
    if (e.kind == ENDPOINT_FD)
        return weir_listener_fd(e.fd);
    return listener_open(&e, where, o);
}

/* ---- accepting ---- */

static bool is_exhaustion(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* accept(2) says EMFILE even when nobody wants to connect.  Only when somebody does is a
 * descriptor worth waiting for. */
static int wait_for_descriptor(struct listener *l, unsigned given, int64_t *delay)
{
    struct op op = { .kind = OP_POLL, .fd = l->fd, .poll = { .events = POLLIN } };
    int32_t result = await(&op, AWAIT_DRAINABLE);
    if (result < 0)
        return result;
    if (l->rejects && !reject_one(l))
        return 0;
    int error = budget_wait(given, *delay);
    *delay = time_min(2 * *delay, BACK_OFF_MAX);
    return error;
}

static int accept_fd(struct listener *l, weir_addr *peer)
{
    int64_t delay = BACK_OFF_MIN;
    for (;;) {
        unsigned given = budget_given();
        int32_t result = budget_is_spent() ? -EMFILE : 0;
        socklen_t len = sizeof peer->u;
        struct op op = { .kind = OP_ACCEPT, .flags = OP_EAGER, .fd = l->fd };
        if (peer) {
            op.accept.addr = &peer->u.sa;
            op.accept.len = &len;
        }
        if (likely(!result))
            result = await(&op, AWAIT_DRAINABLE);
        if (likely(result >= 0) && peer)
            peer->len = len < sizeof peer->u ? len : sizeof peer->u;
        if (likely(!is_exhaustion(result)))
            return result;
        trace("accept waits for a descriptor", NULL, -result);
        result = wait_for_descriptor(l, given, &delay);
        if (result < 0)
            return result;
    }
}

static int accept_conn(struct listener *l, weir_conn **out, weir_addr *peer)
{
    int fd = accept_fd(l, peer);
    if (unlikely(fd < 0))
        return fd;
    if (peer)
        addr_unmap(peer);
    int error = conn_new(out, fd, l->family, peer);
    if (unlikely(error)) {
        sock_close(fd);
        return error;
    }
    if (unlikely(l->read_stall || l->write_stall)) {
        struct conn *c = handle_enter(*out, HANDLE_CONN);
        c->rx_times.stall = l->read_stall;
        c->tx_times.stall = l->write_stall;
        handle_leave(*out);
    }
    trace("accept", *out, fd);
    return 0;
}

weir_conn *weir_accept(weir_listener *name, weir_addr *peer)
{
    struct listener *l;
    weir_conn *made = NULL;
    struct task *t = task_self();
    weir_time since = t ? task_clock(t) : 0;
    int error = handle_lock_how(name, HANDLE_LISTENER, SIDE_READ, AWAIT_DRAINABLE, (void **)&l);
    if (unlikely(error))
        return fail(error, "accept", "accept", NULL, since), NULL;
    if (peer)
        memset(peer, 0, sizeof *peer);
    error = accept_conn(l, &made, peer);
    handle_unlock(name, SIDE_READ);
    if (likely(!error))
        return made;
    return fail(error, "accept", "accept", NULL, since), NULL;
}
