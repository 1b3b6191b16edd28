/* exp_handshake.c -- experiments on the three segments that open a connection. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

#include "capture.h"
#include "diag.h"
#include "filter.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

static struct capture capture;

/* ---- hs-1: the three segments ---- */

static enum verdict handshake(struct lab *lab)
{
    char words[96];
    int client, listener = tcp_listen(lab, 1);
    uint16_t server_port = local_port(lab, listener);
    capture_begin(lab, &capture, server_port);

    must(lab, tcp_connect(lab, local_address(lab, listener), &client), "connect");

    uint16_t client_port = local_port(lab, client);
    capture_wait(lab, &capture, 3, 1000);
    capture_states(lab, &capture, client_port, server_port);
    const struct segment *s = capture.segments;
    observe_number(lab, "segments", capture.count, 3);
    observe_text(lab, "first", flag_words(s[0].flags, words, sizeof words), "SYN");
    observe_text(lab, "second", flag_words(s[1].flags, words, sizeof words), "SYN ACK");
    observe_number(lab, "second acknowledges J+1, with J = 0", s[1].ack, 1);
    observe_text(lab, "third", flag_words(s[2].flags, words, sizeof words), "ACK");
    observe_number(lab, "third acknowledges K+1, with K = 0", s[2].ack, 1);
    capture_draw(lab, &capture, 0, "connect", client_port, "client", "server");
    CLOSE(client, listener);
    capture_end(lab, &capture);
    return conclude(lab, CONFIRMED, "three segments, numbered as told; a SYN counts as one byte");
}

static const struct experiment hs_1 = {
    .id = "hs-1",
    .name = "handshake",
    .question = "which segments open a connection?",
    .source = "S0:449 S1:81",
    .original = "向服务器发送了SYN J包",
    .claim = "the client sends SYN J, the server answers SYN K and ACK J+1, the client sends ACK "
             "K+1",
    .expectation = "SYN, SYN ACK, ACK; each acknowledges the number of the other's SYN plus one",
    .reference = "RFC 9293 section 3.5",
    .why = "Each side chooses where its numbers begin and tells the other in its SYN, which "
           "counts as one byte so that it can be acknowledged and sent again. The answer to the "
           "second SYN confirms both: three segments for two numbers. The ladder tells both "
           "relative to J and K.",
    .next = "weir lab third-segment",
    .needs = NEEDS_CAPTURE,
    .run = handshake,
};

/* ---- hs-2: who answers the SYN ---- */

static enum verdict no_accept(struct lab *lab)
{
    int client, listener = tcp_listen(lab, 1);
    struct diag_socket waiting = { .state = 0 };
    uint16_t server_port = local_port(lab, listener);
    capture_begin(lab, &capture, server_port);

    must(lab, tcp_connect(lab, local_address(lab, listener), &client), "connect");
    uint16_t client_port = local_port(lab, client);
    capture_wait(lab, &capture, 3, 1000);
    capture_states(lab, &capture, client_port, server_port);
    send_text(lab, client, "hello");
    WAIT_UNTIL(1000, bytes_out(client) == 0);
    capture_wait(lab, &capture, 5, 1000);
    capture_states(lab, &capture, client_port, server_port);

    int before = capture.count;
    diag_find(server_port, client_port, &waiting);
    observe_number(lab, "SYN ACKs sent before anybody called accept",
                   capture_count(&capture, TH_SYN | TH_ACK, server_port), 1);
    observe_text(lab, "the server's end is", tcp_state_name(waiting.state), "ESTABLISHED");
    observe_number(lab, "bytes that wait there", waiting.receive_queue, 5);
    observe_number(lab, "bytes the client sent that are not acknowledged", bytes_out(client), 0);
    int accepted = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    observe_number(lab, "segments that accept sends", capture_take(lab, &capture) - before, 0);
    observe_number(lab, "bytes in what it gives", bytes_in(accepted), 5);
    capture_draw(lab, &capture, 0, "nobody calls accept", client_port, "client", "server");
    CLOSE(client, accepted, listener);
    capture_end(lab, &capture);
    return conclude(lab, CONTRADICTED, "the kernel answers the SYN, finishes the handshake and "
                                       "acknowledges data, all before accept, which sends "
                                       "nothing: it takes what is ready");
}

static const struct experiment hs_2 = {
    .id = "hs-2",
    .name = "no-accept",
    .question = "does accept answer the SYN?",
    .source = "S0:450",
    .claims = "1",
    .original = "调用`accept()`接收请求(向客户端发送SYN K ，ACK J+1)",
    .claim = "the server sees the SYN, calls accept to take the request, and so sends SYN K and "
             "ACK J+1",
    .expectation = "with no call of accept at all the handshake is done and five bytes are "
                   "received and acknowledged; accept sends no segment",
    .reference = "listen(2), tcp_v4_conn_request() and inet_csk_accept() in Linux",
    .why = "listen told the kernel that connections are welcome. From then on it answers each SYN "
           "by itself, while the program may do whatever else, and puts what is finished into a "
           "queue. accept takes from that queue, or waits until there is something in it. So a "
           "server that hangs looks alive to its clients: they connect and send.",
    .next = "weir lab backlog",
    .needs = NEEDS_CAPTURE,
    .run = no_accept,
};

/* ---- hs-3: when connect and accept return ---- */

enum { SURELY_MS = 1000, IN_VAIN_MS = 50 };

/* accept, waiting no longer than that for somebody to come. */
static int accept_within(int listener, int milliseconds)
{
    if (!wait_events(listener, POLLIN, milliseconds)) {
        errno = EAGAIN;
        return -1;
    }
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static enum verdict third_segment(struct lab *lab)
{
    char buf[16];
    int client, listener = tcp_listen(lab, 1);
    drop_flags(lab, listener, TH_SYN | TH_ACK, TH_ACK);

    observe_errno(lab, "connect, while the third segment is lost",
                  tcp_connect(lab, local_address(lab, listener), &client), 0);
    uint16_t server = local_port(lab, listener), own = local_port(lab, client);
    observe_text(lab, "the client is", tcp_state_name(tcp_state(client)), "ESTABLISHED");
    observe_text(lab, "the server is", tcp_state_name(diag_state(server, own)), "SYN_RECV");
    observe_errno(lab, "accept", accept_within(listener, IN_VAIN_MS), EAGAIN);

    drop_nothing(lab, listener);
    send_text(lab, client, "hello");
    int accepted = accept_within(listener, SURELY_MS);
    observe_errno(lab, "accept, once the first data has come", accepted, 0);
    observe_text(lab, "which it gives", accepted < 0 ? "" : recv_text(lab, accepted, buf, 16),
                 "hello");
    CLOSE(client, accepted, listener);
    return conclude(lab, REFINED, "connect returns at the second segment and accept after the "
                                  "third; if that is lost, the first data does its work, for "
                                  "every segment carries the acknowledgement");
}

static const struct experiment hs_3 = {
    .id = "hs-3",
    .name = "third-segment",
    .question = "when do connect and accept return?",
    .source = "S0:451 S1:83 S2:39",
    .original = "客户端收到服务器的SYN K ，ACK J+1之后，这时connect返回",
    .claim = "connect returns when the second segment has come, accept when the third has",
    .expectation = "with the third segment lost connect has returned, the server is in SYN_RECV "
                   "and accept finds nothing, until data comes whose ACK completes the handshake",
    .reference = "RFC 9293 section 3.10.7.4, tcp_check_req() in Linux",
    .why = "The client knows enough when its SYN is acknowledged; it need not wait for its own "
           "last segment to arrive. The server keeps a small request until it does. Any segment "
           "with the right acknowledgement will do, and all but the first have one.",
    .next = "weir lab handshake",
    .needs = NEEDS_FILTER,
    .run = third_segment,
};

/* ---- hs-9: TCP_DEFER_ACCEPT ---- */

static enum verdict defer_accept(struct lab *lab)
{
    char buf[16];
    int client, listener = tcp_listen(lab, 1);
    set_option(lab, listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);

    must(lab, tcp_connect(lab, local_address(lab, listener), &client), "connect");
    uint16_t server = local_port(lab, listener), own = local_port(lab, client);
    observe_text(lab, "the client is", tcp_state_name(tcp_state(client)), "ESTABLISHED");
    observe_errno(lab, "accept", accept_within(listener, IN_VAIN_MS), EAGAIN);
    observe_text(lab, "the server is", tcp_state_name(diag_state(server, own)), "SYN_RECV");

    send_text(lab, client, "hello");
    int accepted = accept_within(listener, SURELY_MS);
    observe_errno(lab, "accept, once data has come", accepted, 0);
    observe_text(lab, "which it gives", accepted < 0 ? "" : recv_text(lab, accepted, buf, 16),
                 "hello");
    CLOSE(client, accepted, listener);
    return conclude(lab, ADDED, "with TCP_DEFER_ACCEPT the third segment does not wake accept, "
                                "the first data does");
}

static const struct experiment hs_9 = {
    .id = "hs-9",
    .name = "defer-accept",
    .question = "can accept wait until there is something to read?",
    .expectation = "with TCP_DEFER_ACCEPT the client is connected and the server in SYN_RECV "
                   "until data comes; then accept gives it, and the data is there",
    .reference = "tcp(7) on TCP_DEFER_ACCEPT, tcp_check_req() in Linux",
    .why = "The server is not woken for clients that say nothing. The kernel ignores a bare third "
           "segment for as long as the option says, in units of retransmitted SYN ACKs; then it "
           "lets the client in without data. It suits protocols in which the client speaks first.",
    .next = "weir lab third-segment",
    .run = defer_accept,
};

/* ---- hs-10: TCP_FASTOPEN ---- */

/* Bits of the sysctl: client, client without a cookie, server, server without a cookie. */
enum { FAST_OPEN_ALL = 0x1 | 0x4 | 0x2 | 0x200 };

static void connect_lazily(struct lab *lab, int listener)
{
    struct sockaddr_in to = local_address(lab, listener);
    int client = tcp_socket(lab);
    set_nonblocking(lab, client);
    set_option(lab, client, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    observe_errno(lab, "connect, non-blocking, with TCP_FASTOPEN_CONNECT",
                  connect(client, (struct sockaddr *)&to, sizeof to), 0);
    observe_number(lab, "segments that it sent", capture_take(lab, &capture), 0);
    CLOSE(client);
}

static enum verdict fast_open(struct lab *lab)
{
    char buf[16];
    sysctl_set(lab, "net/ipv4/tcp_fastopen", text("%d", FAST_OPEN_ALL));
    int client = tcp_socket(lab), listener = tcp_listen(lab, 1);
    struct sockaddr_in to = local_address(lab, listener);
    uint16_t server = local_port(lab, listener);
    set_option(lab, listener, IPPROTO_TCP, TCP_FASTOPEN, 5);
    drop_flags(lab, listener, TH_SYN | TH_ACK, TH_ACK);
    capture_begin(lab, &capture, server);

    connect_lazily(lab, listener);
    ssize_t sent = sendto(client, "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL,
                          (struct sockaddr *)&to, sizeof to);
    observe_number(lab, "bytes that a sendto without a connect took", sent, 5);
    uint16_t own = local_port(lab, client);
    int accepted = accept_within(listener, SURELY_MS);
    observe_errno(lab, "accept, while the third segment is lost", accepted, 0);
    observe_text(lab, "what it gives is", tcp_state_name(tcp_state(accepted)), "SYN_RECV");
    observe_text(lab, "and has", accepted < 0 ? "" : recv_text(lab, accepted, buf, 16), "hello");
    capture_take(lab, &capture);
    observe_number(lab, "bytes of data in the SYN", capture.segments[0].len, 5);
    capture_draw(lab, &capture, 0, "data in the SYN", own, "client", "server");
    CLOSE(client, accepted, listener);
    capture_end(lab, &capture);
    return conclude(lab, ADDED, "the SYN carries data, accept returns before the third segment, "
                                "and connect has nothing to do");
}

static const struct experiment hs_10 = {
    .id = "hs-10",
    .name = "fast-open",
    .question = "can data travel with the SYN?",
    .expectation = "with TCP Fast Open sendto sends the SYN with the data in it; accept returns "
                   "while the server is in SYN_RECV, and connect returns 0 at once, with nothing "
                   "sent",
    .reference = "RFC 7413, tcp(7) and Documentation/networking/ip-sysctl of Linux on "
                 "tcp_fastopen",
    .why = "It saves a round trip. Since the server acts before it knows that the client is where "
           "it says, the client shows a cookie that an earlier connection gave it; here the "
           "sysctl waives that. A SYN can come twice, so only requests that do no harm when "
           "repeated may travel with it.",
    .next = "weir lab third-segment",
    .needs = NEEDS_NET | NEEDS_CAPTURE | NEEDS_FILTER,
    .run = fast_open,
};

const struct experiment *const handshake_experiments[] = { &hs_1, &hs_2, &hs_3, NULL };
const struct experiment *const early_experiments[] = { &hs_9, &hs_10, NULL };
