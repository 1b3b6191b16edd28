/* tcpinfo.h -- what the kernel tells about one TCP socket: TCP_INFO, SIOCINQ and SIOCOUTQ. */
#ifndef LAB_TCPINFO_H
#define LAB_TCPINFO_H

#include <stdint.h>

/* Of a listener, `unacked` is the length of its accept queue and `sacked` that queue's limit. */
struct tcp_view {
    int state;              /* TCP_ESTABLISHED and so on of <netinet/tcp.h>; 0: not a TCP socket */
    unsigned rto_us, rtt_us;
    unsigned backoff, probes, retransmits; /* of the timer that runs now */
    unsigned total_retransmits;
    unsigned unacked, sacked, lost;
    unsigned snd_mss, rcv_mss, advertised_mss, snd_cwnd;
    unsigned snd_wnd;       /* what the peer allows, in bytes */
    unsigned rcv_wnd;       /* what this end allows; 0 before Linux 6.2 */
    uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retransmitted;
    unsigned not_sent;      /* bytes in the send buffer that never left */
    unsigned segments_in, segments_out;
};

struct tcp_view tcp_look(int fd);

/* tcp_look(fd).state, and its name: "SYN_SENT"; "none" for 0. */
int tcp_state(int fd);
const char *tcp_state_name(int state);

/* Bytes that wait to be received; bytes that were sent and are not acknowledged. -1: errno. */
int bytes_in(int fd);
int bytes_out(int fd);

#endif
