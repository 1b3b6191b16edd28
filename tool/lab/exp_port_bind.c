/* exp_port_bind.c -- experiments on sockets that are bound to a port, at both ends. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir.h>

#include "capture.h"
#include "diag.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- port-4: a client with a port of its own ---- */

static int client_at(struct lab *lab, uint16_t port, bool is_reused, int *fd)
{
    *fd = tcp_socket(lab);
    set_option(lab, *fd, SOL_SOCKET, SO_REUSEADDR, is_reused);
    return bind_host(*fd, "0.0.0.0", port);
}

static enum verdict fixed_port(struct lab *lab)
{
    int first, second, third, one = tcp_listen(lab, 2), other = tcp_listen(lab, 2);
    uint16_t port = unused_port(lab), to = local_port(lab, one);

    must(lab, client_at(lab, port, false, &first), "bind");
    observe_errno(lab, "the first client connects", connect_host(first, "127.0.0.1", to), 0);
    observe_errno(lab, "a second client binds to its port", client_at(lab, port, false, &second),
                  EADDRINUSE);
    reset_peer(lab, first);
    CLOSE(second);

    observe_errno(lab, "SO_REUSEADDR: the first binds", client_at(lab, port, true, &first), 0);
    observe_errno(lab, "SO_REUSEADDR: it connects", connect_host(first, "127.0.0.1", to), 0);
    observe_errno(lab, "SO_REUSEADDR: the second binds", client_at(lab, port, true, &second), 0);
    observe_errno(lab, "SO_REUSEADDR: it connects to the same server",
                  connect_host(second, "127.0.0.1", to), EADDRNOTAVAIL);
    observe_errno(lab, "SO_REUSEADDR: a third binds", client_at(lab, port, true, &third), 0);
    observe_errno(lab, "SO_REUSEADDR: it connects to another server",
                  connect_host(third, "127.0.0.1", local_port(lab, other)), 0);
    reset_peer(lab, first);
    reset_peer(lab, third);
    CLOSE(second, one, other);
    return conclude(lab, REFINED, "it fails unless both have SO_REUSEADDR; then the port is "
                                  "shared, and what must differ is the server: to the same one "
                                  "connect fails");
}

static const struct experiment port_4 = {
    .id = "port-4",
    .name = "fixed-port",
    .question = "can two clients have the same port?",
    .source = "S2:1137 S2:1162",
    .original = "新启动的 **client** 会由于调用 **bind** 函数出错而退出",
    .claim = "a second client that binds to the same port fails in bind",
    .expectation = "EADDRINUSE; with SO_REUSEADDR at both, bind succeeds, and connect does so to "
                   "different servers and is EADDRNOTAVAIL to the same one",
    .reference = "socket(7) SO_REUSEADDR, ip(7), __inet_check_established() in Linux",
    .why = "Without further word bind claims a port for itself. SO_REUSEADDR at each of them "
           "says that they know of one another, and Linux allows it as long as none listens. "
           "What must be unique in the end is the connection, and that only connect can judge.",
    .next = "weir lab how-many-ports",
    .run = fixed_port,
};

/* ---- port-5: the same with a tool ---- */

struct journey {
    const char *from, *to;
};

/* The tool: another process, and weir instead of nc. */
static int greet(void *arg)
{
    char byte;
    const struct journey *journey = arg;
    weir_opts options = { .bind_to = journey->from };
    weir_conn *conn = weir_dial(journey->to, &options);
    bool is_sent = conn && weir_write(conn, "My name is weir", 15) == 15;
    bool is_ended = is_sent && weir_read(conn, &byte, 1) == 0;
    return is_ended && weir_close(conn) == 0 ? 0 : 1;
}

static enum verdict source_port(struct lab *lab)
{
    char buf[64];
    int listener = tcp_listen(lab, 1);
    uint16_t port = unused_port(lab), to = local_port(lab, listener);
    struct journey journey = { text("127.0.0.1:%d", port), text("tcp://127.0.0.1:%d", to) };

    int tool = spawn(lab, greet, &journey);
    errno = ETIMEDOUT;
    must(lab, wait_events(listener, POLLIN, 2000) ? 0 : -1, "the tool does not call");
    int server = must(lab, accept(listener, NULL, NULL), "accept");
    observe_number(lab, "the port that the server sees",
                   ntohs(peer_address(lab, server).sin_port), port);
    observe_text(lab, "the tool's end, as ss(8) would find it",
                 tcp_state_name(diag_state(port, to)), "ESTABLISHED");
    observe_text(lab, "the server's end", tcp_state_name(diag_state(to, port)), "ESTABLISHED");
    observe_text(lab, "the server hears", recv_text(lab, server, buf, sizeof buf),
                 "My name is weir");
    CLOSE(server, listener);
    observe_number(lab, "the tool's status", reap(lab, tool), 0);
    return conclude(lab, CONFIRMED, "a client chooses its port with bind before connect, and "
                                    "that is all such an option does");
}

static const struct experiment port_5 = {
    .id = "port-5",
    .name = "source-port",
    .question = "what does a tool do that is told a local port?",
    .source = "S2:1174 S2:1186",
    .original = "我们要求 **nc** 命令本地以端口号 **9999** 连接服务器",
    .claim = "nc -p 9999 connects from local port 9999: it binds before it connects",
    .expectation = "the server sees the port, and so does sock_diag at both ends",
    .reference = "bind(2), connect(2), sock_diag(7)",
    .why = "Few programs need it: a firewall that admits a certain port, or a protocol as old as "
           "rsh. weir_dial has bind_to for it, an address with or without a port; without one it "
           "leaves the port to connect. With one, the next run to the same server may find "
           "the last in TIME_WAIT.",
    .next = "weir lab fixed-port",
    .run = source_port,
};

/* ---- port-6: the ports of accepted sockets ---- */

enum { GUESTS = 3 };

static enum verdict accepted_port(struct lab *lab)
{
    int clients[GUESTS], accepted[GUESTS], ports[GUESTS], listener = tcp_listen(lab, GUESTS);
    uint16_t port = local_port(lab, listener);
    picture(lab, TABLE, 0, "one listener and what it accepted", NULL, NULL);
    cell(lab, "descriptor", false);
    cell(lab, "own port", false);
    cell(lab, "peer's port", true);
    for (int i = 0; i < GUESTS; i++) {
        must(lab, tcp_connect(lab, local_address(lab, listener), &clients[i]), "connect");
        accepted[i] = must(lab, accept(listener, NULL, NULL), "accept");
        ports[i] = ntohs(peer_address(lab, accepted[i]).sin_port);
        observe_number(lab, text("accepted socket %d: its port", i + 1),
                       local_port(lab, accepted[i]), port);
        cell(lab, text("%d", accepted[i]), false);
        cell(lab, text("%d", local_port(lab, accepted[i])), false);
        cell(lab, text("%d", ports[i]), true);
    }
    observe_bool(lab, "their peers' ports differ",
                 ports[0] != ports[1] && ports[1] != ports[2] && ports[2] != ports[0], true);
    observe_number(lab, "sockets with that port in state ESTABLISHED",
                   diag_count(port, TCP_ESTABLISHED), GUESTS);
    observe_number(lab, "sockets with that port in state LISTEN", diag_count(port, TCP_LISTEN),
                   1);
    close_all(clients, GUESTS);
    close_all(accepted, GUESTS);
    CLOSE(listener);
    return conclude(lab, CONFIRMED, "all have the listener's port; what tells them apart is the "
                                    "peer's address and port");
}

static const struct experiment port_6 = {
    .id = "port-6",
    .name = "accepted-port",
    .question = "does an accepted connection get a port of its own at the server?",
    .source = "S0:333 S2:1125",
    .original = "而accept函数返回的是`已连接的socket描述字`",
    .claim = "the listening socket stays, and accept returns connected ones, all at the "
             "server's port",
    .expectation = "three accepted sockets have the listener's port and three different peers",
    .reference = "accept(2), RFC 9293 section 3.4, __inet_lookup_skb() in Linux",
    .why = "A segment belongs to the connection that has all four numbers of it, and only if "
           "there is none, to a listener. So one port of a server serves as many connections as "
           "there are clients' addresses and ports.",
    .next = "weir lab how-many-ports",
    .run = accepted_port,
};

/* ---- port-7: errors of bind ---- */

static enum verdict bind_errors(struct lab *lab)
{
    bool is_any_allowed = sysctl_number("net/ipv4/ip_nonlocal_bind") == 1;
    struct sockaddr_in local = address("127.0.0.1", 0);
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = tcp_socket(lab), free_one = tcp_socket(lab);
    int ends[2];
    must(lab, pipe2(ends, O_CLOEXEC), "pipe");

    observe_errno(lab, "an address of another machine", bind_host(fd, "192.0.2.1", 0),
                  is_any_allowed ? 0 : EADDRNOTAVAIL);
    set_option(lab, free_one, IPPROTO_IP, IP_FREEBIND, 1);
    observe_errno(lab, "the same with IP_FREEBIND", bind_host(free_one, "192.0.2.1", 0), 0);
    observe_errno(lab, "an IPv6 address at an IPv4 socket",
                  bind(fd, (struct sockaddr *)&v6, sizeof v6), EAFNOSUPPORT);
    observe_errno(lab, "an address that is too short", bind(fd, (struct sockaddr *)&local, 4),
                  EINVAL);
    observe_errno(lab, "an address of its own", bind_host(fd, "127.0.0.1", 0), 0);
    observe_errno(lab, "a second address", bind_host(fd, "127.0.0.1", 0), EINVAL);
    int late = tcp_socket(lab);
    observe_errno(lab, "the port of another socket",
                  bind_host(late, "127.0.0.1", local_port(lab, fd)), EADDRINUSE);
    observe_errno(lab, "a pipe", bind_host(ends[0], "127.0.0.1", 0), ENOTSOCK);
    observe_errno(lab, "a descriptor that is not open", bind_host(-1, "127.0.0.1", 0), EBADF);
    CLOSE(fd, free_one, late, ends[0], ends[1]);
    return conclude(lab, CONFIRMED, "EADDRINUSE it is, and EACCES for low ports (weir lab "
                                    "low-ports); EADDRNOTAVAIL and EINVAL are as common");
}

static const struct experiment port_7 = {
    .id = "port-7",
    .name = "bind-errors",
    .question = "how does bind fail?",
    .source = "S3:30 S3:33",
    .original = "常见的errno是EACCES和AADDRINUSE",
    .claim = "the common errors of bind are EACCES and EADDRINUSE",
    .expectation = "another socket's port is EADDRINUSE, another machine's address EADDRNOTAVAIL, "
                   "a second bind EINVAL, another family EAFNOSUPPORT",
    .reference = "bind(2), ip(7) IP_FREEBIND",
    .why = "EADDRNOTAVAIL is what a server says that starts before its network does; "
           "IP_FREEBIND lets it listen at an address that is still to come. A socket has "
           "one name in its life, so a second bind is EINVAL. The notes write AADDRINUSE; the "
           "constant has one A.",
    .next = "weir lab low-ports",
    .run = bind_errors,
};

/* ---- port-8: a connection to oneself ---- */

static struct capture capture;

static enum verdict self_connect(struct lab *lab)
{
    char buf[16];
    const uint16_t port = 40000;
    int fd = tcp_socket(lab), wanderer = tcp_socket(lab);
    capture_begin(lab, &capture, port);
    must(lab, bind_host(fd, "127.0.0.1", port), "bind");

    observe_errno(lab, "nobody listens: connect to the own port",
                  connect_host(fd, "127.0.0.1", port), 0);
    capture_wait(lab, &capture, 3, 1000);
    observe_number(lab, "SYNs without ACK", capture_count(&capture, TH_SYN, 0) -
                                                capture_count(&capture, TH_SYN | TH_ACK, 0), 1);
    observe_range(lab, "SYNs with ACK", capture_count(&capture, TH_SYN | TH_ACK, 0), 1, 2, "");
    observe_number(lab, "its peer's port", ntohs(peer_address(lab, fd).sin_port), port);
    observe_number(lab, "sockets with that port, in state ESTABLISHED",
                   diag_count(port, TCP_ESTABLISHED), 1);
    send_text(lab, fd, "echo");
    observe_text(lab, "it sends echo and receives", recv_text(lab, fd, buf, sizeof buf), "echo");
    capture_draw(lab, &capture, 0, "one socket, both ends", port, "itself", "itself");
    reset_peer(lab, fd);
    capture_end(lab, &capture);

    sysctl_set(lab, "net/ipv4/ip_local_port_range", text("%d %d", port, port));
    observe_errno(lab, "without bind, if connect happens to choose the port it calls",
                  connect_host(wanderer, "127.0.0.1", port), 0);
    reset_peer(lab, wanderer);
    return conclude(lab, ADDED, "it succeeds with nobody listening: TCP allows both ends to "
                                "call at once, and a socket that calls itself does");
}

static const struct experiment port_8 = {
    .id = "port-8",
    .name = "self-connect",
    .question = "can a socket connect to itself?",
    .expectation = "connect to the port that the socket is bound to succeeds without a listener, "
                   "and what it sends it receives; so does connect to a port of "
                   "ip_local_port_range if that is the one it chooses",
    .reference = "RFC 9293 section 3.5 (simultaneous open), tcp_rcv_synsent_state_process() in "
                 "Linux",
    .why = "The SYN comes back to a socket in SYN_SENT, which is how a simultaneous open looks: "
           "it answers with SYN ACK, and that too comes back. A client that tries again and "
           "again to reach a server that is down, at a port of the range for clients, will one "
           "day meet itself, and then the server cannot bind. Listen at ports outside that "
           "range, or compare getsockname with getpeername, as weir_dial does.",
    .next = "weir lab port-choice",
    .needs = NEEDS_NET | NEEDS_CAPTURE,
    .run = self_connect,
};

const struct experiment *const port_bind_experiments[] = {
    &port_4, &port_5, &port_6, &port_7, &port_8, NULL,
};
