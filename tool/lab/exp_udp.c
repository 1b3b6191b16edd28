/* exp_udp.c -- experiments on datagram sockets: their peers, and errors. */
#include <arpa/inet.h>
#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "lab.h"
#include "sock.h"
#include "udp.h"

/* ---- udp-1: connect ---- */

static enum verdict udp_connect(struct lab *lab)
{
    char buf[32];
    int fd = udp_socket(lab), peer = udp_bound(lab), stranger = udp_bound(lab);
    struct sockaddr_in to_peer = local_address(lab, peer);
    struct sockaddr_in to_stranger = local_address(lab, stranger);

    observe_number(lab, "local port before", local_port(lab, fd), 0);
    observe_errno(lab, "connect",
                  connect(fd, (struct sockaddr *)&to_peer, sizeof to_peer), 0);
    observe_text(lab, "poll of the peer: was anything sent?",
                 poll_words(wait_events(peer, POLLIN, 20)), "none");
    struct sockaddr_in own = local_address(lab, fd);
    observe_bool(lab, "a local port and address were chosen",
                 own.sin_port != 0 && own.sin_addr.s_addr != 0, true);

    send_text(lab, fd, "hello");
    observe_text(lab, "send without an address reaches the peer",
                 recv_text(lab, peer, buf, sizeof buf), "hello");
    send_to(lab, stranger, &own, "from a stranger");
    send_to(lab, peer, &own, "from the peer");
    observe_text(lab, "of two datagrams recv gives first", recv_text(lab, fd, buf, sizeof buf),
                 "from the peer");
    observe_errno(lab, "and then", recv(fd, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
    send_to(lab, fd, &to_stranger, "hello, stranger");
    observe_text(lab, "sendto another address is still possible",
                 recv_text(lab, stranger, buf, sizeof buf), "hello, stranger");
    CLOSE(fd, peer, stranger);
    return conclude(lab, REFINED, "no segment is exchanged; connect stores the peer. Besides, it "
                                  "chooses the local address and keeps out what strangers send");
}

static const struct experiment udp_1 = {
    .id = "udp-1",
    .name = "udp-connect",
    .question = "what does connect do to a datagram socket?",
    .source = "S2:80 S0:309",
    .original = "但是它和TCP不同的是它没有三次握手的过程",
    .claim = "after connect one uses send and recv without giving the address each time; unlike "
             "TCP there is no handshake",
    .expectation = "nothing is sent; the local address is chosen, datagrams of others are not "
                   "received any more, and sendto elsewhere still works",
    .reference = "udp(7), connect(2), __ip4_datagram_connect() in Linux",
    .why = "connect looks up the route once and stores the peer's address and its own. When a "
           "datagram comes, the kernel looks for the socket that fits best, and a connected one "
           "fits its peer alone. Such a socket also learns of ICMP errors.",
    .next = "weir lab udp-errors",
    .run = udp_connect,
};

/* ---- udp-2: connecting again, and not at all ---- */

static void connect_to(struct lab *lab, int fd, int peer)
{
    struct sockaddr_in to = local_address(lab, peer);
    must(lab, connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
}

static int disconnect(int fd)
{
    struct sockaddr none = { .sa_family = AF_UNSPEC };
    return connect(fd, &none, sizeof none);
}

/* Whether the socket keeps its port when it has no peer any more. */
static bool keeps_port(struct lab *lab, int fd, int peer)
{
    connect_to(lab, fd, peer);
    uint16_t before = local_port(lab, fd);
    must(lab, disconnect(fd), "connect to AF_UNSPEC");
    return local_port(lab, fd) == before;
}

static enum verdict udp_disconnect(struct lab *lab)
{
    char buf[16];
    int fd = udp_socket(lab), one = udp_bound(lab), other = udp_bound(lab);
    connect_to(lab, fd, one);
    send_text(lab, fd, "to one");
    observe_text(lab, "the first peer receives", recv_text(lab, one, buf, sizeof buf), "to one");
    connect_to(lab, fd, other);
    send_text(lab, fd, "to another");
    observe_text(lab, "connected again: the second peer receives",
                 recv_text(lab, other, buf, sizeof buf), "to another");
    observe_errno(lab, "connect to AF_UNSPEC", disconnect(fd), 0);
    observe_errno(lab, "send", send(fd, "x", 1, MSG_NOSIGNAL), EDESTADDRREQ);
    CLOSE(fd);

    int unbound = udp_socket(lab), bound = udp_socket(lab), unused = udp_bound(lab);
    struct sockaddr_in own = local_address(lab, unused);
    CLOSE(unused);
    must(lab, bind(bound, (struct sockaddr *)&own, sizeof own), "bind");
    observe_bool(lab, "a port that connect chose is kept", keeps_port(lab, unbound, one), false);
    observe_bool(lab, "a port that bind was given is kept", keeps_port(lab, bound, one), true);
    CLOSE(unbound, bound, one, other);
    return conclude(lab, CONFIRMED, "connect again names another peer, AF_UNSPEC none; a port "
                                    "that the kernel had chosen is given back with it");
}

static const struct experiment udp_2 = {
    .id = "udp-2",
    .name = "udp-disconnect",
    .question = "can a datagram socket change its peer, or have none again?",
    .source = "S2:81",
    .original = "可以通过在已建立连接的UDP套接字上，调用connect()实现指定新的IP地址和端口号以及断开连接",
    .claim = "connect on a connected UDP socket gives it another address and port, or disconnects "
             "it",
    .expectation = "both work; disconnecting is connect to the family AF_UNSPEC, and then send is "
                   "EDESTADDRREQ",
    .reference = "connect(2), udp(7), __udp_disconnect() in Linux",
    .why = "A peer of a datagram socket is no more than a stored address. __udp_disconnect() "
           "forgets it, and the local address and port as well, except what bind was given in so "
           "many words.",
    .next = "weir lab udp-connect",
    .run = udp_disconnect,
};

/* ---- udp-3: errors ---- */

/* What the error queue says about a datagram that nobody wanted. */
static void look_into_queue(struct lab *lab, int fd, const struct sockaddr_in *to)
{
    char payload[16] = "", control[256];
    struct sockaddr_in sent_to = { 0 };
    struct iovec part = { .iov_base = payload, .iov_len = sizeof payload - 1 };
    struct msghdr msg = { .msg_name = &sent_to, .msg_namelen = sizeof sent_to, .msg_iov = &part,
                          .msg_iovlen = 1, .msg_control = control,
                          .msg_controllen = sizeof control };
    struct sock_extended_err error = { 0 };
    must(lab, recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT), "recvmsg MSG_ERRQUEUE");
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR)
            memcpy(&error, CMSG_DATA(c), sizeof error);

    observe_bool(lab, "error queue: MSG_ERRQUEUE is among the flags",
                 msg.msg_flags & MSG_ERRQUEUE, true);
    observe_text(lab, "error queue: the payload that was sent", payload, "ping");
    observe_bool(lab, "error queue: its destination",
                 sent_to.sin_port == to->sin_port && sent_to.sin_addr.s_addr == to->sin_addr.s_addr,
                 true);
    errno = (int)error.ee_errno;
    observe_errno(lab, "error queue: the error", -1, ECONNREFUSED);
    observe_bool(lab, "error queue: it came by ICMP", error.ee_origin == SO_EE_ORIGIN_ICMP, true);
    observe_number(lab, "error queue: ICMP type, destination unreachable", error.ee_type,
                   ICMP_DEST_UNREACH);
    observe_number(lab, "error queue: ICMP code, port unreachable", error.ee_code,
                   ICMP_PORT_UNREACH);
}

static enum verdict udp_errors(struct lab *lab)
{
    int plain = udp_socket(lab), connected = udp_socket(lab), curious = udp_socket(lab);
    int gone = udp_bound(lab);
    struct sockaddr_in to = local_address(lab, gone);
    CLOSE(gone);

    send_to(lab, plain, &to, "ping");
    observe_text(lab, "unconnected: poll after a send to nobody",
                 poll_words(wait_events(plain, POLLIN, 20)), "none");
    observe_errno(lab, "unconnected: a second sendto",
                  sendto(plain, "ping", 4, 0, (struct sockaddr *)&to, sizeof to), 0);

    must(lab, connect(connected, (struct sockaddr *)&to, sizeof to), "connect");
    observe_errno(lab, "connected: send", send(connected, "ping", 4, 0), 0);
    observe_bool(lab, "connected: poll reports an error",
                 wait_events(connected, POLLIN, 1000) & POLLERR, true);
    observe_errno(lab, "connected: the next send", send(connected, "ping", 4, 0), ECONNREFUSED);

    set_option(lab, curious, IPPROTO_IP, IP_RECVERR, 1);
    send_to(lab, curious, &to, "ping");
    observe_bool(lab, "IP_RECVERR, unconnected: poll reports an error",
                 wait_events(curious, POLLIN, 1000) & POLLERR, true);
    look_into_queue(lab, curious, &to);
    CLOSE(plain, connected, curious);
    return conclude(lab, CONFIRMED, "the error queue has the datagram, where it went and what ICMP "
                                    "said; without it only a connected socket hears that nobody "
                                    "listens, one call too late");
}

static const struct experiment udp_3 = {
    .id = "udp-3",
    .name = "udp-errors",
    .question = "who learns that nobody listens at a UDP port?",
    .source = "S0:394 S0:402",
    .original = "导致错误的数据报原目标地址作为msg_name被提供",
    .claim = "MSG_ERRQUEUE receives errors from the socket's error queue: the packet that caused "
             "one as data, its destination as msg_name, and a sock_extended_err",
    .expectation = "an unconnected socket hears nothing; a connected one gets ECONNREFUSED at its "
                   "next call; with IP_RECVERR the queue has it all",
    .reference = "ip(7), IP_RECVERR; udp(7), ERROR HANDLING; recv(2); __udp4_lib_err() in Linux",
    .why = "The port is closed, so the other kernel answers with ICMP type 3 code 3, which quotes "
           "the datagram. On an unconnected socket that may have written to a thousand peers an "
           "errno could not say which one it is about, so by default there is none. A connected "
           "socket has only one peer, and IP_RECVERR says which it was.",
    .next = "weir lab udp-connect",
    .run = udp_errors,
};

const struct experiment *const udp_experiments[] = { &udp_1, &udp_2, &udp_3, NULL };
