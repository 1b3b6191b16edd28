/* dial.c -- connecting, to every address of a name in turn.
 *
 * All of it happens under one deadline.  While other addresses are left, an attempt gets only its
 * share of the time, so that a host that drops packets does not use up what the next one needs.
 * weir_error() has a line for each address that was tried.                                    */
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>

#include "../observe/trace.h"
#include "../runtime/error.h"
#include "addr.h"
#include "conn.h"
#include "endpoint.h"
#include "name.h"

enum { ADDRS_MAX = 32 };
#define SHARE_MIN (2 * WEIR_SEC)

/* Lies on the heap: a fiber's stack is small while it waits. */
struct dial {
    struct endpoint endpoint;
    const weir_opts *opts;
    weir_time since;
    int count;
    bool tried;
    size_t text_len;
    char text[sizeof((weir_err *)NULL)->text];
    weir_addr addrs[ADDRS_MAX];
};

/* ---- the report ---- */

/* "dial tcp://localhost:1: connect [::1]:1: connection refused (0.1 ms)", and for each further
 * address a line from "connect" on, as long as there is room for all of it.  What is dialled as a
 * path needs no address beside it. */
static void report(struct dial *d, const weir_addr *a, int error, weir_time since)
{
    char where[WEIR_ADDRSTR] = "", why[ERROR_WORDS], took[ERROR_TIME];
    size_t room = sizeof d->text - d->text_len;
    if (family_is_inet(a->u.sa.sa_family))
        weir_addr_str(a, where, sizeof where);
    int len = snprintf(d->text + d->text_len, room, "%sconnect%s%s: %s%s", d->tried ? "\n" : "",
                       where[0] ? " " : "", where,
                       error == -ETIME ? "no answer in time" : error_words(-error, why, sizeof why),
                       error_time(weir_now() - since, took, sizeof took));
    if ((size_t)len < room)
        d->text_len += (size_t)len;
    else if (d->tried)
        d->text[d->text_len] = '\0';
    else
        d->text_len = sizeof d->text - 1;
    d->tried = true;
}

static void dial_failed(const struct dial *d, int error, const weir_addr *last)
{
    struct task *t = task_self();
    fail_text(error, "dial", "connect", "%s", d->text);
    if (t->error) {
        t->error->addr = *last;
        t->error->elapsed = weir_now() - d->since;
    }
}

/* ---- one attempt ---- */

/* "192.0.2.1", "[2001:db8::1]", either with a port, or the name of a network device. */
static int bind_local(int fd, int family, const char *bind_to)
{
    weir_addr a;
    char text[WEIR_ADDRSTR];
    size_t len = strlen(bind_to);
    int error = addr_parse_inet(&a, bind_to, bind_to + len);
    if (error && len + 3 < sizeof text) {
        snprintf(text, sizeof text, strchr(bind_to, ':') && *bind_to != '[' ? "[%s]:0" : "%s:0",
                 bind_to);
        error = addr_parse_inet(&a, text, text + strlen(text));
    }
    if (error && len < IF_NAMESIZE) {
        socklen_t size = (socklen_t)len;
        void *device = (void *)(uintptr_t)bind_to;
        return sock_option(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &size, true);
    }
    if (error || a.u.sa.sa_family != family)
        return error ? error : -EAFNOSUPPORT;
    /* ip(7): the port is chosen at connect, when it need only be free for that destination. */
    if (addr_port(&a) == 0)
        error = sock_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    return error ? error : sock_bind(fd, &a);
}

/* A port chosen by the kernel may be the very one that is dialled: both then open at once to each
 * other, and the socket talks to itself.  Nobody listens there. */
static bool is_self(int fd, const weir_addr *to)
{
    weir_addr local;
    return !sock_name(fd, false, &local) && addr_port(&local) == addr_port(to) &&
           addr_equal(&local, to);
}

static int connect_at(struct dial *d, const weir_addr *a)
{
    const weir_opts *o = d->opts;
    int family = a->u.sa.sa_family;
    int fd = o->mptcp && family_is_inet(family) ? sock_open(family, IPPROTO_MPTCP) : -EINVAL;
    if (fd < 0)
        fd = sock_open(family, 0);
    if (fd < 0)
        return fd;
    int error = sock_setup(fd, family, o, false);
    if (!error && o->bind_to && family_is_inet(family))
        error = bind_local(fd, family, o->bind_to);
    if (!error)
        error = sock_connect(fd, a);
    if (!error && family_is_inet(family) && is_self(fd, a))
        error = -ECONNREFUSED;
    if (!error)
        return fd;
    sock_close(fd);
    return error;
}

/* Under the share of the time that an attempt with `left` others behind it may use. */
static int attempt(struct dial *d, const weir_addr *a, int left)
{
    struct task *t = task_self();
    weir_time outer = t->deadline, since = weir_now();
    if (left > 0 && outer != TIME_NEVER && outer > since) {
        int64_t share = (outer - since) / (left + 1);
        t->deadline = time_min(outer, since + (share > SHARE_MIN ? share : SHARE_MIN));
    }
    int fd = connect_at(d, a);
    t->deadline = outer;
    if (fd < 0)
        report(d, a, fd, since);
    return fd;
}

/* ---- all of them ---- */

static int dial_addrs(struct dial *d, const char *where)
{
    const struct endpoint *e = &d->endpoint;
    if (e->kind == ENDPOINT_NAME) {
        int count =
            name_resolve(e->host, NULL, d->opts->family, d->addrs, ADDRS_MAX, "dial", where);
        for (int i = 0; i < count; i++)
            addr_set_port(&d->addrs[i], e->port);
        return count;
    }
    d->addrs[0] = e->addr;
    if (e->kind == ENDPOINT_ADDR)
        return 1;
    int count = 0;
    if (d->opts->family != AF_INET)
        addr_loopback(&d->addrs[count++], AF_INET6, e->port);
    if (d->opts->family != AF_INET6)
        addr_loopback(&d->addrs[count++], AF_INET, e->port);
    return count;
}

/* Whether the caller wants no further attempt. */
static bool is_over(int error)
{
    return error == -ECANCELED || error == -EAGAIN || error == -ENOMEM || error == -EMFILE ||
           (error == -ETIME && task_stop_reason(task_self(), false));
}

static int dial_each(struct dial *d)
{
    int fd = -EAFNOSUPPORT, at = 0;
    for (; at < d->count; at++) {
        const weir_addr *a = &d->addrs[at];
        int family = a->u.sa.sa_family;
        if (d->opts->family && family_is_inet(family) && family != d->opts->family) {
            report(d, a, -EAFNOSUPPORT, weir_now());
            continue;
        }
        fd = attempt(d, a, d->count - at - 1);
        if (fd >= 0 || is_over(fd))
            break;
    }
    at = at < d->count ? at : d->count - 1;
    d->addrs[0] = d->addrs[at];
    if (fd < 0)
        dial_failed(d, fd, &d->addrs[0]);
    return fd;
}

static weir_conn *conn_of(struct dial *d, int fd)
{
    weir_conn *name = NULL;
    const weir_addr *a = &d->addrs[0];
    int error = conn_new(&name, fd, a->u.sa.sa_family, a);
    if (error) {
        sock_close(fd);
        return fail(error, "dial", "open", a, d->since), NULL;
    }
    struct conn *c = handle_enter(name, HANDLE_CONN);
    c->rx_times.stall = d->opts->read_stall;
    c->tx_times.stall = d->opts->write_stall;
    handle_leave(name);
    trace("dial", name, fd);
    return name;
}

static weir_conn *dial(struct dial *d, const char *where)
{
    if (endpoint_parse(&d->endpoint, where, "dial") || sock_check(d->opts, "dial"))
        return NULL;
    if (d->endpoint.kind == ENDPOINT_FD)
        return weir_conn_fd(d->endpoint.fd);
    d->text_len = (size_t)snprintf(d->text, sizeof d->text, "dial %.*s: ", ENDPOINT_SHOWN, where);
    d->count = dial_addrs(d, where);
    int fd = d->count < 0 ? d->count : dial_each(d);
    if (fd < 0)
        return errno = -fd, NULL;
    return conn_of(d, fd);
}

weir_conn *weir_dial(const char *where, const weir_opts *o)
{
    static const weir_opts none;
    struct dial *d = task_self() ? calloc(1, sizeof *d) : NULL;
    if (!d)
        return fail(-ENOMEM, "dial", "dial", NULL, 0), NULL;
    d->opts = o ? o : &none;
    d->since = weir_now();
    weir_conn *name = dial(d, where);
    int saved_errno = errno;
    free(d);
    errno = saved_errno;
    return name;
}
