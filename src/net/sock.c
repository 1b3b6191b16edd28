/* sock.c -- one operation each, and the options every socket starts with.
 *
 * A TCP socket has no Nagle delay, notices a dead peer when idle (keepalive after 60 s) and when
 * busy (data unacknowledged for 30 s), unless weir_opts says otherwise.                       */
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "addr.h"
#include "sock.h"

#define KEEPALIVE_DEFAULT (60 * WEIR_SEC)
#define USER_TIMEOUT_DEFAULT (30 * WEIR_SEC)
enum {
    KEEPALIVE_IDLE_MAX = 32767, /* tcp(7): what the kernel takes */
    KEEPALIVE_INTERVAL = 15,
    FASTOPEN_QUEUE = 256,
};

/* ---- operations ---- */

int sock_open(int family, int protocol)
{
    struct op op = { .kind = OP_SOCKET,
                     .socket = { .family = family, .type = SOCK_STREAM, .protocol = protocol } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_pair(int fds[2])
{
    struct op op = { .kind = OP_PAIR, .fd = -1, .pair = { .fds = fds } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_bind(int fd, const weir_addr *a)
{
    struct op op = { .kind = OP_BIND, .fd = fd, .bind = { .addr = &a->u.sa, .len = a->len } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_listen(int fd, int backlog)
{
    struct op op = { .kind = OP_LISTEN, .fd = fd, .listen = { .backlog = backlog } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_connect(int fd, const weir_addr *a)
{
    struct op op = { .kind = OP_CONNECT, .fd = fd, .connect = { .addr = &a->u.sa, .len = a->len } };
    return await(&op, 0);
}

int sock_name(int fd, bool peer, weir_addr *a)
{
    socklen_t len = sizeof a->u;
    struct op op = { .kind = OP_NAME,
                     .fd = fd,
                     .name = { .addr = &a->u.sa, .len = &len, .peer = peer } };
    *a = (weir_addr){ 0 };
    int error = await(&op, AWAIT_ALWAYS);
    if (error)
        return error;
    a->len = len;
    addr_unmap(a);
    return 0;
}

int sock_query(int fd, unsigned long request)
{
    struct op op = { .kind = OP_QUERY, .fd = fd, .query = { .request = request } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_shutdown(int fd, int how)
{
    struct op op = { .kind = OP_SHUTDOWN, .fd = fd, .shutdown = { .how = how } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_close(int fd)
{
    struct op op = { .kind = OP_CLOSE, .fd = fd };
    return await(&op, AWAIT_ALWAYS);
}

int sock_option(int fd, int level, int name, void *value, socklen_t *len, bool set)
{
    struct op op = { .kind = OP_OPTION,
                     .fd = fd,
                     .option = { .value = value,
                                 .len = len,
                                 .level = (int16_t)level,
                                 .name = (int16_t)name,
                                 .set = set } };
    return await(&op, AWAIT_ALWAYS);
}

int sock_set(int fd, int level, int name, int value)
{
    socklen_t len = sizeof value;
    return sock_option(fd, level, name, &value, &len, true);
}

int sock_get(int fd, int level, int name, int *value)
{
    socklen_t len = sizeof *value;
    return sock_option(fd, level, name, value, &len, false);
}

void sock_reset_on_close(int fd)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    socklen_t len = sizeof linger;
    (void)sock_option(fd, SOL_SOCKET, SO_LINGER, &linger, &len, true);
}

/* ---- options ---- */

int sock_check(const weir_opts *o, const char *op)
{
    const struct {
        const char *name;
        int64_t value;
    } limits[] = {
        { "family", o->family },         { "backlog", o->backlog },
        { "rcvbuf", o->rcvbuf },         { "sndbuf", o->sndbuf },
        { "read_stall", o->read_stall }, { "write_stall", o->write_stall },
    };
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++)
        if (limits[i].value < 0) {
            fail_text(-EINVAL, op, "options", "%s is %" PRId64 ": it cannot be negative",
                      limits[i].name, limits[i].value);
            return -EINVAL;
        }
    return 0;
}

static int64_t units_up(int64_t ns, int64_t unit, int64_t most)
{
    int64_t units = ns / unit + (ns % unit > 0);
    return units < 1 ? 1 : units > most ? most : units;
}

int sock_keepalive(int fd, int64_t idle_ns)
{
    if (idle_ns < 0)
        return sock_set(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    int64_t idle = units_up(idle_ns ? idle_ns : KEEPALIVE_DEFAULT, WEIR_SEC, KEEPALIVE_IDLE_MAX);
    int error = sock_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (!error)
        error = sock_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle);
    return error ? error : sock_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL);
}

int sock_user_timeout(int fd, int64_t ns)
{
    int64_t ms = ns < 0 ? 0 : units_up(ns ? ns : USER_TIMEOUT_DEFAULT, WEIR_MS, INT32_MAX);
    return sock_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
}

static int setup_buffers(int fd, const weir_opts *o)
{
    int error = 0;
    if (o->rcvbuf > 0)
        error = sock_set(fd, SOL_SOCKET, SO_RCVBUF, o->rcvbuf);
    if (!error && o->sndbuf > 0)
        error = sock_set(fd, SOL_SOCKET, SO_SNDBUF, o->sndbuf);
    return error;
}

static int setup_lifelines(int fd, const weir_opts *o)
{
    int error = sock_keepalive(fd, o->keepalive);
    if (!error && o->user_timeout >= 0)
        error = sock_user_timeout(fd, o->user_timeout);
    /* MPTCP does not have all of them, and its subflows look after themselves. */
    return o->mptcp && (error == -ENOPROTOOPT || error == -EOPNOTSUPP) ? 0 : error;
}

static int setup_tcp(int fd, const weir_opts *o, bool listens)
{
    int error = o->delay ? 0 : sock_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!error)
        error = setup_lifelines(fd, o);
    if (!error && o->oob_inline)
        error = sock_set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    if (!error && o->fastopen)
        error = listens ? sock_set(fd, IPPROTO_TCP, TCP_FASTOPEN, FASTOPEN_QUEUE)
                        : sock_set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    return error;
}

static int setup_listening(int fd, int family, const weir_opts *o)
{
    int error = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!error && family == AF_INET6)
        error = sock_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6only);
    if (!error && o->reuse_port)
        error = sock_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    return error;
}

int sock_setup(int fd, int family, const weir_opts *o, bool listens)
{
    int error = setup_buffers(fd, o);
    if (error || !family_is_inet(family))
        return error;
    error = setup_tcp(fd, o, listens);
    return !error && listens ? setup_listening(fd, family, o) : error;
}
