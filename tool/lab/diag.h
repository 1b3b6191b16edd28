/* diag.h -- sock_diag: the TCP sockets of this network namespace, those without a descriptor too.
 *
 * A connection that waits in an accept queue, a handshake that is not complete and one that is in
 * TIME_WAIT have no descriptor; sock_diag shows them, and needs no rights for it.             */
#ifndef LAB_DIAG_H
#define LAB_DIAG_H

#include <stdbool.h>
#include <stdint.h>

struct diag_socket {
    int state;                        /* as in tcpinfo.h */
    uint16_t local_port, remote_port;
    uint32_t local_host, remote_host; /* in host order */
    unsigned receive_queue, send_queue;
    int timer;                        /* DIAG_TIMER_... */
    unsigned timer_ms, retransmits;
    unsigned inode;                   /* 0: no file holds it */
};

enum { DIAG_TIMER_NONE, DIAG_TIMER_RETRANSMIT, DIAG_TIMER_OTHER, DIAG_TIMER_TIME_WAIT,
       DIAG_TIMER_PROBE };

/* The IPv4 sockets with this local port, 0 for all: how many there are; `max` of them are kept.
 * -1: errno. */
int diag_list(uint16_t port, struct diag_socket *out, int max);

/* How many sockets with this local port are in this state; -1: errno. */
int diag_count(uint16_t port, int state);

/* The end of a connection with these two ports; whether there is one. */
bool diag_find(uint16_t local_port, uint16_t remote_port, struct diag_socket *out);

/* Its state; 0: there is no such socket. */
int diag_state(uint16_t local_port, uint16_t remote_port);

#endif
