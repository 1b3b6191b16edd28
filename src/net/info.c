/* info.c -- what can be asked of a connection: its addresses, its counters, its TCP state. */
#include <linux/tcp.h>

#include "addr.h"
#include "subject.h"

static uint64_t count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* tcp(7), TCP_INFO; a kernel that knows fewer fields leaves the rest zero. */
static void info_tcp(const struct conn *c, weir_conn_info *out)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    if (!family_is_inet(c->family) ||
        sock_option(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len, false))
        return;
    out->rtt_us = info.tcpi_rtt;
    out->rttvar_us = info.tcpi_rttvar;
    out->cwnd = info.tcpi_snd_cwnd;
    out->retrans = info.tcpi_total_retrans;
    out->unacked = info.tcpi_unacked;
    out->notsent = info.tcpi_notsent_bytes;
    out->rwnd_limited_ms = (uint32_t)(info.tcpi_rwnd_limited / 1000);
    out->sndbuf_limited_ms = (uint32_t)(info.tcpi_sndbuf_limited / 1000);
}

int weir_info(weir_conn *name, weir_conn_info *out)
{
    struct conn *c = handle_enter(name, HANDLE_CONN);
    if (!c)
        return fail(-EBADF, "info", "info", NULL, 0);
    *out = (weir_conn_info){
        .rx = count(&c->rx.bytes),
        .tx = count(&c->tx.bytes),
        .reads = count(&c->rx.calls),
        .writes = count(&c->tx.calls),
        .rx_wait_ns = count(&c->rx_times.wait_ns),
        .tx_wait_ns = count(&c->tx_times.wait_ns),
        .opened = c->opened,
        .last_rx = atomic_load_explicit(&c->rx_times.last, memory_order_relaxed),
        .last_tx = atomic_load_explicit(&c->tx_times.last, memory_order_relaxed),
    };
    info_tcp(c, out);
    handle_leave(name);
    return 0;
}

int weir_local(void *h, weir_addr *a)
{
    struct subject s;
    int error = subject_enter(&s, h);
    if (!error) {
        error = sock_name(s.fd, false, a);
        subject_leave(&s);
    }
    return error ? fail(error, "local", "local", NULL, 0) : 0;
}

/* An accepted or dialled internet connection knows its peer even after a reset. */
int weir_peer(void *h, weir_addr *a)
{
    struct subject s;
    int error = subject_enter(&s, h);
    if (!error) {
        if (s.conn)
            conn_peer(s.conn, a);
        if (!s.conn || a->len == 0)
            error = -ENOTCONN;
        subject_leave(&s);
    }
    return error ? fail(error, "peer", "peer", NULL, 0) : 0;
}
