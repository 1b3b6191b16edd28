/* option.c -- weir_set and weir_get: the options of sockets by weir's own names.
 *
 * Durations are nanoseconds, sizes bytes, switches 0 or 1, rates bytes per second.  What the
 * kernel rounds or doubles (SO_RCVBUF, socket(7)), weir_get reports as it is.                 */
#include <netinet/tcp.h>

#include "subject.h"

static const struct {
    int level, name;
} plain[] = {
    [WEIR_O_NODELAY] = { IPPROTO_TCP, TCP_NODELAY },
    [WEIR_O_CORK] = { IPPROTO_TCP, TCP_CORK },
    [WEIR_O_RCVBUF] = { SOL_SOCKET, SO_RCVBUF },
    [WEIR_O_SNDBUF] = { SOL_SOCKET, SO_SNDBUF },
    [WEIR_O_RCVLOWAT] = { SOL_SOCKET, SO_RCVLOWAT },
    [WEIR_O_NOTSENT_LOWAT] = { IPPROTO_TCP, TCP_NOTSENT_LOWAT },
    [WEIR_O_TOS] = { IPPROTO_IP, IP_TOS },
    [WEIR_O_TTL] = { IPPROTO_IP, IP_TTL },
    [WEIR_O_PRIORITY] = { SOL_SOCKET, SO_PRIORITY },
    [WEIR_O_MARK] = { SOL_SOCKET, SO_MARK },
};

/* ---- the ones with a shape of their own ---- */

/* An IPv6 socket may carry IPv4 and then takes that header's field too. */
static int set_header_field(const struct subject *s, weir_opt o, int value)
{
    int name6 = o == WEIR_O_TOS ? IPV6_TCLASS : IPV6_UNICAST_HOPS;
    if (s->family == AF_INET)
        return sock_set(s->fd, plain[o].level, plain[o].name, value);
    if (s->family != AF_INET6)
        return -EOPNOTSUPP;
    (void)sock_set(s->fd, plain[o].level, plain[o].name, value);
    return sock_set(s->fd, IPPROTO_IPV6, name6, value);
}

static int get_header_field(const struct subject *s, weir_opt o, int *value)
{
    if (s->family == AF_INET6)
        return sock_get(s->fd, IPPROTO_IPV6, o == WEIR_O_TOS ? IPV6_TCLASS : IPV6_UNICAST_HOPS,
                        value);
    return sock_get(s->fd, plain[o].level, plain[o].name, value);
}

/* close(2) with a linger time would block the worker; weir_finish waits without that. */
static int set_linger(const struct subject *s, int64_t v)
{
    struct linger linger = { .l_onoff = v == 0 };
    socklen_t len = sizeof linger;
    if (v > 0)
        return -EOPNOTSUPP;
    if (s->conn)
        atomic_store_explicit(&s->conn->aborted, v == 0, memory_order_relaxed);
    return sock_option(s->fd, SOL_SOCKET, SO_LINGER, &linger, &len, true);
}

static int get_linger(const struct subject *s, int64_t *v)
{
    struct linger linger;
    socklen_t len = sizeof linger;
    int error = sock_option(s->fd, SOL_SOCKET, SO_LINGER, &linger, &len, false);
    if (!error)
        *v = linger.l_onoff ? linger.l_linger * WEIR_SEC : -1;
    return error;
}

static int get_keepalive(const struct subject *s, int64_t *v)
{
    int on = 0, idle = 0;
    int error = sock_get(s->fd, SOL_SOCKET, SO_KEEPALIVE, &on);
    if (!error && on)
        error = sock_get(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle);
    *v = on ? idle * WEIR_SEC : -1;
    return error;
}

static int get_user_timeout(const struct subject *s, int64_t *v)
{
    int ms = 0;
    int error = sock_get(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms);
    *v = ms ? ms * WEIR_MS : -1;
    return error;
}

/* socket(7): the rate may be given with 64 bits. */
static int pacing(const struct subject *s, int64_t *v, bool set)
{
    uint64_t rate = set && *v > 0 ? (uint64_t)*v : UINT64_MAX;
    socklen_t len = sizeof rate;
    int error = sock_option(s->fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &len, set);
    if (!set && !error)
        *v = rate == UINT64_MAX ? 0 : (int64_t)rate;
    return error;
}

static _Atomic int64_t *stall_of(const struct subject *s, weir_opt o)
{
    bool reads = o == WEIR_O_READ_STALL;
    if (s->conn)
        return reads ? &s->conn->rx_times.stall : &s->conn->tx_times.stall;
    return reads ? &s->listener->read_stall : &s->listener->write_stall;
}

/* ---- all of them ---- */

/* The kernel takes a negative size, or mark, for a very large one. */
static int set_int(const struct subject *s, weir_opt o, int64_t v)
{
    if (v < 0 || v > UINT32_MAX) /* marks and low-water marks are unsigned */
        return -EINVAL;
    return sock_set(s->fd, plain[o].level, plain[o].name, (int)(uint32_t)v);
}

static int subject_set(const struct subject *s, weir_opt o, int64_t v)
{
    switch (o) {
    case WEIR_O_NODELAY:
    case WEIR_O_CORK:
        return set_int(s, o, v != 0);
    case WEIR_O_RCVBUF:
    case WEIR_O_SNDBUF:
    case WEIR_O_RCVLOWAT:
    case WEIR_O_NOTSENT_LOWAT:
    case WEIR_O_PRIORITY:
    case WEIR_O_MARK:
        return set_int(s, o, v);
    case WEIR_O_TOS:
    case WEIR_O_TTL:
        return v < 0 || v > 255 ? -EINVAL : set_header_field(s, o, (int)v);
    case WEIR_O_KEEPALIVE:
        return sock_keepalive(s->fd, v);
    case WEIR_O_USER_TIMEOUT:
        return sock_user_timeout(s->fd, v);
    case WEIR_O_LINGER:
        return set_linger(s, v);
    case WEIR_O_PACING:
        return v < 0 ? -EINVAL : pacing(s, &v, true);
    case WEIR_O_READ_STALL:
    case WEIR_O_WRITE_STALL:
        if (v < 0)
            return -EINVAL;
        atomic_store_explicit(stall_of(s, o), v, memory_order_relaxed);
        return 0;
    }
    return -EINVAL;
}

static int get_int(const struct subject *s, weir_opt o, int64_t *v)
{
    int value = 0;
    int error = o == WEIR_O_TOS || o == WEIR_O_TTL
                    ? get_header_field(s, o, &value)
                    : sock_get(s->fd, plain[o].level, plain[o].name, &value);
    *v = o == WEIR_O_MARK || o == WEIR_O_NOTSENT_LOWAT ? (int64_t)(uint32_t)value : value;
    return error;
}

static int subject_get(const struct subject *s, weir_opt o, int64_t *v)
{
    switch (o) {
    case WEIR_O_NODELAY:
    case WEIR_O_CORK:
    case WEIR_O_RCVBUF:
    case WEIR_O_SNDBUF:
    case WEIR_O_RCVLOWAT:
    case WEIR_O_NOTSENT_LOWAT:
    case WEIR_O_PRIORITY:
    case WEIR_O_MARK:
    case WEIR_O_TOS:
    case WEIR_O_TTL:
        return get_int(s, o, v);
    case WEIR_O_KEEPALIVE:
        return get_keepalive(s, v);
    case WEIR_O_USER_TIMEOUT:
        return get_user_timeout(s, v);
    case WEIR_O_LINGER:
        return get_linger(s, v);
    case WEIR_O_PACING:
        return pacing(s, v, false);
    case WEIR_O_READ_STALL:
    case WEIR_O_WRITE_STALL:
        *v = atomic_load_explicit(stall_of(s, o), memory_order_relaxed);
        return 0;
    }
    return -EINVAL;
}

int weir_set(void *h, weir_opt o, int64_t v)
{
    struct subject s;
    int error = subject_enter(&s, h);
    if (error)
        return fail(error, "set", "set", NULL, 0);
    error = subject_set(&s, o, v);
    subject_leave(&s);
    return error ? fail(error, "set", "set", NULL, 0) : 0;
}

int weir_get(void *h, weir_opt o, int64_t *v)
{
    struct subject s;
    int64_t value = 0;
    int error = subject_enter(&s, h);
    if (error)
        return fail(error, "get", "get", NULL, 0);
    error = subject_get(&s, o, &value);
    subject_leave(&s);
    if (error)
        return fail(error, "get", "get", NULL, 0);
    *v = value;
    return 0;
}
