/* tcpinfo.c -- TCP_INFO, as the kernel's header has it: the C library's struct ends too early. */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tcpinfo.h"

/* The kernel gives as much as it has; its newer fields lie behind those of an older header. */
union answer {
    struct tcp_info info;
    unsigned char bytes[512];
};

/* tcpi_rcv_wnd came with Linux 6.2, behind tcpi_snd_wnd. */
static unsigned receive_window(const union answer *answer, socklen_t len)
{
    unsigned window = 0;
    size_t at = offsetof(struct tcp_info, tcpi_snd_wnd) + sizeof answer->info.tcpi_snd_wnd;
    if (len >= at + sizeof window)
        memcpy(&window, answer->bytes + at, sizeof window);
    return window;
}

struct tcp_view tcp_look(int fd)
{
    union answer answer = { .bytes = { 0 } };
    socklen_t len = sizeof answer;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &answer, &len) != 0)
        return (struct tcp_view){ 0 };
    struct tcp_info info = answer.info;
    return (struct tcp_view){
        .state = info.tcpi_state,
        .rto_us = info.tcpi_rto,
        .rtt_us = info.tcpi_rtt,
        .backoff = info.tcpi_backoff,
        .probes = info.tcpi_probes,
        .retransmits = info.tcpi_retransmits,
        .total_retransmits = info.tcpi_total_retrans,
        .unacked = info.tcpi_unacked,
        .sacked = info.tcpi_sacked,
        .lost = info.tcpi_lost,
        .snd_mss = info.tcpi_snd_mss,
        .rcv_mss = info.tcpi_rcv_mss,
        .advertised_mss = info.tcpi_advmss,
        .snd_cwnd = info.tcpi_snd_cwnd,
        .snd_wnd = info.tcpi_snd_wnd,
        .rcv_wnd = receive_window(&answer, len),
        .bytes_acked = info.tcpi_bytes_acked,
        .bytes_received = info.tcpi_bytes_received,
        .bytes_sent = info.tcpi_bytes_sent,
        .bytes_retransmitted = info.tcpi_bytes_retrans,
        .not_sent = info.tcpi_notsent_bytes,
        .segments_in = info.tcpi_segs_in,
        .segments_out = info.tcpi_segs_out,
    };
}

int tcp_state(int fd)
{
    return tcp_look(fd).state;
}

const char *tcp_state_name(int state)
{
    static const char *const names[] = {
        "none",       "ESTABLISHED", "SYN_SENT",   "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT",  "CLOSE",       "CLOSE_WAIT", "LAST_ACK", "LISTEN",    "CLOSING",
    };
    bool known = state >= 0 && state < (int)(sizeof names / sizeof *names);
    return known ? names[state] : "unknown";
}

static int queued(int fd, unsigned long request)
{
    int bytes = 0;
    return ioctl(fd, request, &bytes) == 0 ? bytes : -1;
}

int bytes_in(int fd)
{
    return queued(fd, SIOCINQ);
}

int bytes_out(int fd)
{
    return queued(fd, SIOCOUTQ);
}
