/* exp_listen.c -- experiments on what a listening socket is, and what accept makes of it. */
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "diag.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- q-6: listen makes a socket passive ---- */

static enum verdict passive(struct lab *lab)
{
    char byte = 'x';
    struct sockaddr_in any = address("127.0.0.1", 0), elsewhere = address("127.0.0.1", 9);
    int early, client, udp = udp_socket(lab), server = tcp_socket(lab);
    must(lab, bind(server, (struct sockaddr *)&any, sizeof any), "bind");
    struct sockaddr_in to = local_address(lab, server);

    observe_errno(lab, "connect to a socket that is bound and does not listen",
                  tcp_connect(lab, to, &early), ECONNREFUSED);
    observe_errno(lab, "its listen", listen(server, 1), 0);
    observe_errno(lab, "connect to it now", tcp_connect(lab, to, &client), 0);

    observe_errno(lab, "connect with the listening socket",
                  connect(server, (struct sockaddr *)&elsewhere, sizeof elsewhere), EISCONN);
    observe_errno(lab, "recv from it", recv(server, &byte, 1, MSG_DONTWAIT), ENOTCONN);
    observe_errno(lab, "send to it", send(server, &byte, 1, MSG_NOSIGNAL), EPIPE);
    observe_errno(lab, "listen on a connected socket", listen(client, 1), EINVAL);
    observe_errno(lab, "listen on a UDP socket", listen(udp, 1), EOPNOTSUPP);
    observe_errno(lab, "accept from a connected socket", accept(client, NULL, NULL), EINVAL);
    CLOSE(early, client, server, udp);
    return conclude(lab, CONFIRMED, "a socket that listens does nothing else, and there is no way "
                                    "from one that is connected to one that listens");
}

static const struct experiment q_6 = {
    .id = "q-6",
    .name = "passive",
    .question = "what does listen make of a socket?",
    .source = "S0:297",
    .original = "socket()函数创建的socket默认是一个主动类型的，listen函数将socket变为被动类型的",
    .claim = "socket makes an active socket, and listen makes it passive: it waits for clients",
    .expectation = "before listen its port refuses, afterwards it connects; a listening socket "
                   "cannot connect (EISCONN), recv (ENOTCONN) or send (EPIPE); what is connected "
                   "or UDP cannot listen",
    .reference = "listen(2), connect(2), inet_listen() and inet_stream_connect() in Linux",
    .why = "The state of a TCP socket is one word: CLOSE, LISTEN, ESTABLISHED and so on. listen "
           "leads from CLOSE to LISTEN, connect from CLOSE to SYN_SENT, and there is no way "
           "across. bind alone reserves the port and answers nobody.",
    .next = "weir lab two-sockets",
    .run = passive,
};

/* ---- q-7: which connection accept takes ---- */

enum { IN_LINE = 3 };

static enum verdict accept_order(struct lab *lab)
{
    int clients[IN_LINE], accepted[IN_LINE], listener = tcp_listen(lab, IN_LINE);
    struct timeval limit = { .tv_usec = 50000 };
    struct sockaddr_in from, to = local_address(lab, listener);
    for (int i = 0; i < IN_LINE; i++) {
        must(lab, tcp_connect(lab, to, &clients[i]), "connect");
        WAIT_UNTIL(1000, (int)tcp_look(listener).unacked == i + 1);
    }

    for (int i = 0; i < IN_LINE; i++) {
        socklen_t len = sizeof from;
        accepted[i] = must(lab, accept4(listener, (struct sockaddr *)&from, &len, SOCK_CLOEXEC),
                           "accept");
        observe_bool(lab, text("accept %d gives client %d", i + 1, i + 1),
                     from.sin_port == local_address(lab, clients[i]).sin_port, true);
        observe_number(lab, text("accept %d leaves in the queue", i + 1),
                       tcp_look(listener).unacked, IN_LINE - i - 1);
    }
    observe_bool(lab, "each has a descriptor of its own",
                 accepted[0] != listener && accepted[0] != accepted[1] &&
                     accepted[1] != accepted[2] && accepted[0] != accepted[2],
                 true);

    must(lab, setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
    int64_t begin = clock_ns();
    observe_errno(lab, "accept from the empty queue, with a limit of 50 ms",
                  accept(listener, NULL, NULL), EAGAIN);
    observe_range(lab, "it waited", ms_since(begin), 40, INFINITY, "ms");
    set_nonblocking(lab, listener);
    observe_errno(lab, "with O_NONBLOCK, at once", accept(listener, NULL, NULL), EAGAIN);
    close_all(clients, IN_LINE);
    close_all(accepted, IN_LINE);
    CLOSE(listener);
    return conclude(lab, CONFIRMED, "who finished first is accepted first, on a socket of its own");
}

static const struct experiment q_7 = {
    .id = "q-7",
    .name = "accept-order",
    .question = "which connection does accept take?",
    .source = "S0:326 S2:43 S4:59",
    .original = "`accept()`从queue中拿出第一个pending的connection，新建一个socket并返回",
    .claim = "accept takes the first connection out of the queue and returns a new socket; it "
             "blocks when there is none, unless O_NONBLOCK is set",
    .expectation = "the order of the handshakes, a new descriptor each; from an empty queue it "
                   "waits, or gives EAGAIN",
    .reference = "accept(2), inet_csk_accept() and reqsk_queue_remove() in Linux",
    .why = "The queue is a plain list: finished connections go to its end and accept takes the "
           "head. First means finished first; whose SYN was first does not matter. The new socket "
           "was made when the third segment came, accept gives it a descriptor.",
    .next = "weir lab half-open",
    .run = accept_order,
};

/* ---- q-8: connections that are dead before they are accepted ---- */

/* accept, and what there is to be had from a connection whose client has gone. */
static void accept_dead(struct lab *lab, const char *how, int listener, uint16_t own, int error)
{
    char buf[8];
    struct sockaddr_in from, peer;
    socklen_t len = sizeof from, peer_len = sizeof peer;
    int accepted = accept4(listener, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
    observe_errno(lab, text("%s: accept", how), accepted, 0);
    observe_bool(lab, text("%s: it tells the client's address", how),
                 from.sin_port == address("127.0.0.1", own).sin_port, true);
    observe_errno(lab, text("%s: getpeername", how),
                  getpeername(accepted, (struct sockaddr *)&peer, &peer_len), error ? ENOTCONN : 0);
    observe_text(lab, text("%s: the first recv gives", how), recv_text(lab, accepted, buf, 8),
                 "bye");
    ssize_t result = recv(accepted, buf, sizeof buf, 0);
    observe_errno(lab, text("%s: the second", how), result, error);
    if (error == 0)
        observe_number(lab, text("%s: the second returns", how), result, 0);
    CLOSE(accepted);
}

static enum verdict dead_on_accept(struct lab *lab)
{
    int client, listener = tcp_listen(lab, 2);
    struct sockaddr_in to = local_address(lab, listener);
    uint16_t port = local_port(lab, listener);

    must(lab, tcp_connect(lab, to, &client), "connect");
    uint16_t own = local_port(lab, client);
    send_text(lab, client, "bye");
    CLOSE(client);
    WAIT_UNTIL(1000, diag_state(port, own) == TCP_CLOSE_WAIT);
    observe_text(lab, "FIN: before accept it is", tcp_state_name(diag_state(port, own)),
                 "CLOSE_WAIT");
    accept_dead(lab, "FIN", listener, own, 0);

    must(lab, tcp_connect(lab, to, &client), "connect");
    own = local_port(lab, client);
    send_text(lab, client, "bye");
    WAIT_UNTIL(1000, bytes_out(client) == 0);
    reset_peer(lab, client);
    WAIT_UNTIL(1000, diag_state(port, own) == 0);
    observe_text(lab, "RST: before accept it is", tcp_state_name(diag_state(port, own)), "none");
    observe_number(lab, "RST: in the accept queue all the same", tcp_look(listener).unacked, 1);
    accept_dead(lab, "RST", listener, own, ECONNRESET);
    CLOSE(listener);
    return conclude(lab, REFINED, "accept gives what has long been closed or reset; what came "
                                  "before is still there to be read, and after a reset only "
                                  "accept itself tells whose it was");
}

static const struct experiment q_8 = {
    .id = "q-8",
    .name = "dead-on-accept",
    .question = "does accept give connections whose client has gone?",
    .source = "S3:85 S3:87",
    .original = "而不管其处于ESTABLISHED或CLOSE_WAIT状态，更不关心任何网络变化",
    .claim = "accept takes a connection from the queue whether it is ESTABLISHED or CLOSE_WAIT, "
             "and does not care for what happened to the network",
    .expectation = "after FIN and after RST alike accept succeeds and the data is there; then "
                   "recv gives 0 or ECONNRESET, and after RST getpeername gives ENOTCONN",
    .reference = "accept(2), inet_csk_accept() and tcp_reset() in Linux",
    .why = "Linux leaves a connection in the queue whatever becomes of it, unlike systems whose "
           "accept gives ECONNABORTED; the first recv tells. A reset takes it out of the table "
           "of connections and marks it CLOSE, and getpeername asks for the state. So keep the "
           "address that accept gave.",
    .next = "weir lab accept-order",
    .run = dead_on_accept,
};

/* ---- q-9: two sockets ---- */

static enum verdict two_sockets(struct lab *lab)
{
    char buf[8];
    int late, client, waiting, listener = tcp_listen(lab, 2);
    struct sockaddr_in to = local_address(lab, listener);
    uint16_t port = local_port(lab, listener);
    must(lab, tcp_connect(lab, to, &client), "connect");
    int accepted = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    must(lab, tcp_connect(lab, to, &waiting), "connect");
    WAIT_UNTIL(1000, tcp_look(listener).unacked == 1);

    observe_text(lab, "the listener is", tcp_state_name(tcp_state(listener)), "LISTEN");
    observe_text(lab, "what accept gave is", tcp_state_name(tcp_state(accepted)), "ESTABLISHED");
    observe_number(lab, "sockets with that port", diag_list(port, NULL, 0), 3);
    CLOSE(listener);
    observe_number(lab, "once the listener is closed", diag_list(port, NULL, 0), 1);
    send_text(lab, client, "ping");
    observe_text(lab, "the client's words arrive", recv_text(lab, accepted, buf, 8), "ping");
    send_text(lab, accepted, "pong");
    observe_text(lab, "the answer does", recv_text(lab, client, buf, 8), "pong");
    observe_errno(lab, "another connect", tcp_connect(lab, to, &late), ECONNREFUSED);
    wait_events(waiting, POLLIN, 1000);
    observe_errno(lab, "recv of one who was not accepted in time",
                  recv(waiting, buf, sizeof buf, MSG_DONTWAIT), ECONNRESET);
    CLOSE(late, client, waiting, accepted);
    return conclude(lab, CONFIRMED, "they are two sockets with one port: the connection outlives "
                                    "the listener, but whoever still waited in its queue is reset");
}

static const struct experiment q_9 = {
    .id = "q-9",
    .name = "two-sockets",
    .question = "does a connection need its listener?",
    .source = "S1:71 S0:333",
    .original = "监听的 socket 和真正用来传送数据的 socket，是「两个」 socket",
    .claim = "the socket that listens and the one that carries data are two sockets",
    .expectation = "both have the same port; with the listener closed the connection goes on, "
                   "new clients are refused and those in the queue are reset",
    .reference = "accept(2), inet_csk_listen_stop() in Linux",
    .why = "A segment finds its socket by both addresses and both ports; only when there is none "
           "such is a listener with that port looked for. So the connection needs the listener no "
           "more. A queue dies with its listener, since nobody can accept from it.",
    .next = "weir lab passive",
    .run = two_sockets,
};

const struct experiment *const listen_experiments[] = { &q_6, &q_7, &q_8, &q_9, NULL };
