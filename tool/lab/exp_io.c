/* exp_io.c -- experiments on what arrives: boundaries, and the flags and results of recv. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- io-1: a stream has no boundaries ---- */

static const char *const pieces[] = { "AAA", "BBB", "CCC" };

static void send_thrice(struct lab *lab, const char *how, int from, int flags)
{
    picture(lab, BOXES, 0, how, "sent", "received");
    for (size_t i = 0; i < 3; i++) {
        must(lab, send(from, pieces[i], 3, flags), "send");
        box(lab, 0, pieces[i]);
    }
}

static void with_tcp(struct lab *lab, const char *how, bool is_nodelay, int flags)
{
    char buf[64];
    struct tcp_pair pair = tcp_pair(lab);
    set_option(lab, pair.client, IPPROTO_TCP, TCP_NODELAY, is_nodelay);
    send_thrice(lab, how, pair.client, flags);
    WAIT_UNTIL(1000, bytes_in(pair.server) == 9);
    observe_text(lab, text("%s: one recv gives", how),
                 recv_text(lab, pair.server, buf, sizeof buf), "AAABBBCCC");
    box(lab, 1, buf);
    CLOSE(pair.client, pair.server);
}

static void receive_each(struct lab *lab, const char *how, int from, int to)
{
    char buf[64];
    send_thrice(lab, how, from, 0);
    for (size_t i = 0; i < 3; i++) {
        observe_text(lab, text("%s: recv %zu gives", how, i + 1),
                     recv_text(lab, to, buf, sizeof buf), pieces[i]);
        box(lab, 1, buf);
    }
}

static void with_boundaries(struct lab *lab)
{
    int ends[2];
    struct udp_pair udp = udp_pair(lab);
    must(lab, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
    receive_each(lab, "UDP", udp.a, udp.b);
    receive_each(lab, "SEQPACKET", ends[0], ends[1]);
    CLOSE(ends[0], ends[1], udp.a, udp.b);
}

/* One send of 50 000 bytes is as many receives as its reader likes. */
static void receive_in_parts(struct lab *lab)
{
    static char bytes[50000];
    struct tcp_pair pair = tcp_pair(lab);
    must(lab, send(pair.client, bytes, sizeof bytes, 0), "send");
    WAIT_UNTIL(1000, bytes_in(pair.server) == sizeof bytes);
    for (int i = 1; i <= 3; i++)
        observe_number(lab, text("one send of 50000: recv(20000), the %d. time", i),
                       recv(pair.server, bytes, 20000, 0), i < 3 ? 20000 : 10000);
    CLOSE(pair.client, pair.server);
}

static enum verdict stream(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    observe_number(lab, "bytes in the send buffer before", bytes_out(pair.client), 0);
    CLOSE(pair.client, pair.server);
    with_tcp(lab, "TCP", false, 0);
    with_tcp(lab, "TCP_NODELAY", true, 0);
    with_tcp(lab, "MSG_EOR", true, MSG_EOR);
    with_boundaries(lab);
    receive_in_parts(lab);
    return conclude(lab, CONTRADICTED, "the buffers were empty and the messages stuck together "
                                       "all the same: a stream has no boundaries to lose, and "
                                       "TCP_NODELAY gives it none");
}

static const struct experiment io_1 = {
    .id = "io-1",
    .name = "stream",
    .question = "do three sends arrive as three receives?",
    .source = "S0:100 S4:102 S1:184",
    .claims = "25",
    .original = "内核缓冲区总是充满数据时会产生粘包的问题",
    .claim = "messages stick together when the kernel's send buffer is always full of data",
    .expectation = "three small sends into empty buffers are one receive of nine bytes, with "
                   "TCP_NODELAY and MSG_EOR too, and one large send is several receives; UDP and "
                   "SEQPACKET keep each message apart",
    .reference = "RFC 9293 section 3.9.1, tcp(7), unix(7)",
    .why = "TCP carries bytes, numbered one by one; how many a send gave it and how many a "
           "segment carried is nowhere in the stream. recv gives what has come, up to the size "
           "asked for. A program that wants messages writes their length, or ends them with a "
           "mark.",
    .next = "weir lab io",
    .run = stream,
};

/* ---- io-2: looking without taking ---- */

static void peek_at_error(struct lab *lab)
{
    char byte;
    struct tcp_pair pair = tcp_pair(lab);
    reset_peer(lab, pair.client);
    wait_events(pair.server, POLLIN, 1000);
    observe_errno(lab, "after a reset: peek", recv(pair.server, &byte, 1, MSG_PEEK), ECONNRESET);
    observe_number(lab, "after a reset: recv then gives", recv(pair.server, &byte, 1, 0), 0);
    CLOSE(pair.server);
}

static enum verdict peek(struct lab *lab)
{
    char buf[16] = "";
    struct tcp_pair pair = tcp_pair(lab);
    send_text(lab, pair.client, "hello");
    wait_events(pair.server, POLLIN, 1000);
    picture(lab, BOXES, 0, "two looks and a recv", "sent", "received");
    box(lab, 0, "hello");

    for (int look = 1; look <= 2; look++) {
        must(lab, recv(pair.server, buf, sizeof buf - 1, MSG_PEEK), "recv");
        observe_text(lab, text("look %d gives", look), buf, "hello");
        observe_number(lab, text("after look %d, bytes wait", look), bytes_in(pair.server), 5);
        box(lab, 1, buf);
    }
    observe_text(lab, "recv gives", recv_text(lab, pair.server, buf, sizeof buf), "hello");
    observe_number(lab, "after recv, bytes wait", bytes_in(pair.server), 0);
    box(lab, 1, buf);
    CLOSE(pair.client, pair.server);
    peek_at_error(lab);
    return conclude(lab, REFINED, "data stays where it is, but a pending error is taken away: "
                                  "the recv after the look has lost it and tells of an orderly "
                                  "end");
}

static const struct experiment io_2 = {
    .id = "io-2",
    .name = "peek",
    .question = "does MSG_PEEK leave everything as it was?",
    .source = "S0:395 S0:382",
    .original = "在接收队列中保留原数据，不将其删除，随后的读操作还可以接收相同的数据",
    .claim = "MSG_PEEK leaves the data in the receive queue; a later read gets the same",
    .expectation = "two looks and a recv give the same five bytes; but a look at a connection "
                   "that was reset consumes ECONNRESET, and the next recv returns 0",
    .reference = "recv(2), tcp_recvmsg_locked() and sock_error() in Linux",
    .why = "With MSG_PEEK recv copies as ever and does not move on. A pending error is no data: "
           "tcp_recvmsg_locked() takes it with sock_error(), which clears it, and does not ask "
           "for the flag. Who looks in order to test a connection has to act on what that says.",
    .next = "weir lab recv-zero",
    .run = peek,
};

/* ---- io-3: waiting for all ---- */

enum then { NOTHING_COMES, REST_COMES, END_COMES, SIGNAL_COMES };

struct half {
    struct tcp_pair pair;
    enum then then;
};

/* In a process of its own: once recv has taken the first half, something happens. */
static int act_then(void *arg)
{
    const struct half *half = arg;
    if (!WAIT_UNTIL(3000, bytes_in(half->pair.server) == 0))
        return 1;
    if (half->then == REST_COMES)
        return send(half->pair.client, "world", 5, 0) != 5;
    if (half->then == END_COMES)
        return shutdown(half->pair.client, SHUT_WR);
    return kill(getppid(), SIGUSR1);
}

/* Five bytes are there, recv asks for ten. */
static void ask_for_ten(struct lab *lab, const char *what, enum then then, int flags, int expected)
{
    char buf[16] = "";
    struct half half = { .pair = tcp_pair(lab), .then = then };
    struct timeval patience = { .tv_usec = then == NOTHING_COMES ? 30000 : 0 };
    int fd = half.pair.server, child = 0;
    must(lab, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "SO_RCVTIMEO");
    send_text(lab, half.pair.client, "hello");
    wait_events(fd, POLLIN, 1000);

    if (then != NOTHING_COMES)
        child = spawn(lab, act_then, &half);
    observe_number(lab, what, recv(fd, buf, 10, flags), expected);
    cell(lab, what, false);
    cell(lab, buf, true);
    if (child)
        reap(lab, child);
    CLOSE(half.pair.client, half.pair.server);
}

static void handle_signal(int number)
{
    (void)number;
}

static enum verdict waitall(struct lab *lab)
{
    char buf[16] = "";
    struct sigaction action = { .sa_handler = handle_signal, .sa_flags = SA_RESTART };
    sigaction(SIGUSR1, &action, NULL);
    picture(lab, TABLE, 0, "\"hello\" waits, and recv asks for ten bytes", NULL, NULL);
    cell(lab, "what happens", false);
    cell(lab, "recv gives", true);
    ask_for_ten(lab, "the other five come", REST_COMES, MSG_WAITALL, 10);
    ask_for_ten(lab, "without MSG_WAITALL", NOTHING_COMES, 0, 5);
    ask_for_ten(lab, "the stream ends", END_COMES, MSG_WAITALL, 5);
    ask_for_ten(lab, "a signal comes, with SA_RESTART", SIGNAL_COMES, MSG_WAITALL, 5);
    ask_for_ten(lab, "SO_RCVTIMEO runs out", NOTHING_COMES, MSG_WAITALL, 5);
    ask_for_ten(lab, "MSG_DONTWAIT too", NOTHING_COMES, MSG_WAITALL | MSG_DONTWAIT, 5);

    struct udp_pair udp = udp_pair(lab);
    send_text(lab, udp.a, "hello");
    observe_number(lab, "a datagram of five", recv(udp.b, buf, 10, MSG_WAITALL), 5);
    cell(lab, "a datagram of five", false);
    cell(lab, buf, true);
    CLOSE(udp.a, udp.b);
    return conclude(lab, REFINED, "it waits for all, unless a signal or the end comes first, as "
                                  "told; but also not longer than SO_RCVTIMEO, not at all "
                                  "without blocking, and never for a second datagram");
}

static const struct experiment io_3 = {
    .id = "io-3",
    .name = "waitall",
    .question = "when does MSG_WAITALL give less than all?",
    .source = "S0:397",
    .original = "MSG_WAITALL：要求阻塞操作，直到请求得到完整的满足",
    .claim = "MSG_WAITALL blocks until the whole request is there, except that a signal, an error "
             "or the end of the connection may cut it short",
    .expectation = "ten bytes when both halves have come; five at the end of the stream, at a "
                   "signal even with SA_RESTART, when SO_RCVTIMEO runs out, with MSG_DONTWAIT, "
                   "and from a datagram",
    .reference = "recv(2), sock_rcvlowat() and tcp_recvmsg_locked() in Linux",
    .why = "The flag raises the mark up to which recv waits from SO_RCVLOWAT to the whole length. "
           "Whatever else ends a wait still ends it, and since some bytes were taken their number "
           "is the result and not an error. A program that needs n bytes loops all the same.",
    .next = "weir lab eintr",
    .run = waitall,
};

/* ---- io-4: cut off ---- */

/* Three datagrams of a thousand bytes, and room for ten. */
static void cut(struct lab *lab, const char *kind, int from, int to)
{
    char buf[1000] = "";
    struct iovec part = { .iov_base = buf, .iov_len = 10 };
    struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };
    for (int i = 0; i < 3; i++)
        must(lab, send(from, buf, sizeof buf, 0), "send");
    observe_number(lab, text("%s: recv(10)", kind), recv(to, buf, 10, 0), 10);
    observe_number(lab, text("%s: recv(10, MSG_TRUNC)", kind), recv(to, buf, 10, MSG_TRUNC),
                   1000);
    observe_number(lab, text("%s: recvmsg of 10", kind), recvmsg(to, &msg, 0), 10);
    observe_bool(lab, text("%s: recvmsg sets MSG_TRUNC", kind), msg.msg_flags & MSG_TRUNC, true);
    observe_errno(lab, text("%s: what was cut off", kind), recv(to, buf, 10, MSG_DONTWAIT),
                  EAGAIN);
    CLOSE(from, to);
}

static void discard(struct lab *lab)
{
    char buf[16] = "....";
    struct tcp_pair pair = tcp_pair(lab);
    send_text(lab, pair.client, "abcdefgh");
    wait_events(pair.server, POLLIN, 1000);
    observe_number(lab, "TCP: recv(4, MSG_TRUNC)", recv(pair.server, buf, 4, MSG_TRUNC), 4);
    observe_text(lab, "TCP: the buffer after it", buf, "....");
    observe_text(lab, "TCP: the next recv", recv_text(lab, pair.server, buf, sizeof buf), "efgh");
    CLOSE(pair.client, pair.server);
}

/* One end of a pipe is sent to a receiver without room for it. */
static void cut_control(struct lab *lab)
{
    int ends[2], tube[2];
    char byte = 'x';
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } space = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS } };
    struct iovec part = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr out = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space,
                          .msg_controllen = sizeof space };
    struct msghdr in = { .msg_iov = &part, .msg_iovlen = 1 };
    must(lab, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
    must(lab, pipe2(tube, O_CLOEXEC), "pipe2");
    memcpy(CMSG_DATA(&space.header), &tube[1], sizeof(int));

    must(lab, sendmsg(ends[0], &out, MSG_EOR), "sendmsg");
    must(lab, recvmsg(ends[1], &in, 0), "recvmsg");
    CLOSE(tube[1]);
    observe_bool(lab, "a descriptor without room: MSG_CTRUNC", in.msg_flags & MSG_CTRUNC, true);
    observe_bool(lab, "a descriptor without room: it is closed",
                 wait_events(tube[0], POLLIN, 1000) & POLLHUP, true);
    observe_bool(lab, "SEQPACKET sent with MSG_EOR: MSG_EOR", in.msg_flags & MSG_EOR, false);
    CLOSE(ends[0], ends[1], tube[0]);
}

static enum verdict truncation(struct lab *lab)
{
    int ends[2];
    struct udp_pair udp = udp_pair(lab);
    must(lab, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    cut(lab, "UDP", udp.a, udp.b);
    cut(lab, "UNIX", ends[0], ends[1]);
    discard(lab);
    cut_control(lab);
    return conclude(lab, CONTRADICTED, "UDP and UNIX datagrams tell their real length with "
                                       "MSG_TRUNC too; on TCP the flag discards data");
}

static const struct experiment io_4 = {
    .id = "io-4",
    .name = "truncation",
    .question = "what do MSG_TRUNC and MSG_CTRUNC tell?",
    .source = "S0:396 S0:399",
    .claims = "26",
    .original = "即使它比所提供的缓冲区更长， 只对packet套接字有效",
    .claim = "MSG_TRUNC returns the real length of a packet even if it is longer than the buffer; "
             "for packet sockets only",
    .expectation = "UDP and UNIX datagrams return 1000 for a recv of 10; TCP drops four bytes and "
                   "leaves the buffer alone; recvmsg says what was cut off, and a descriptor that "
                   "finds no room is closed",
    .reference = "recv(2), tcp(7), unix(7); udp_recvmsg() and unix_dgram_recvmsg() in Linux",
    .why = "What does not fit of a datagram is gone, and MSG_TRUNC is how to learn of it: as a "
           "flag of recv it asks for the real length, in msg_flags it reports a cut. A stream "
           "cuts nothing off, and there Linux gave the flag a use of its own: take and do not "
           "copy. MSG_EOR is accepted by AF_UNIX and handed to nobody.",
    .next = "weir lab stream",
    .run = truncation,
};

/* ---- io-5: every state, every call ---- */

/* Each makes a connection of which `server` is tried; none of its calls blocks. */

static struct tcp_pair data_waits(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    send_text(lab, pair.client, "hello");
    wait_events(pair.server, POLLIN, 1000);
    return pair;
}

static struct tcp_pair is_full(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    set_option(lab, pair.server, SOL_SOCKET, SO_SNDBUF, 64 << 10); /* or it might still grow */
    fill_for_good(lab, pair.server);
    return pair;
}

static struct tcp_pair peer_closed(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    CLOSE(pair.client);
    wait_events(pair.server, POLLIN, 1000);
    return (struct tcp_pair){ .client = -1, .server = pair.server };
}

static struct tcp_pair peer_reset(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    reset_peer(lab, pair.client);
    wait_events(pair.server, POLLIN, 1000);
    return (struct tcp_pair){ .client = -1, .server = pair.server };
}

static struct tcp_pair reset_and_told(struct lab *lab)
{
    struct tcp_pair pair = peer_reset(lab);
    get_option(lab, pair.server, SOL_SOCKET, SO_ERROR);
    return pair;
}

static struct tcp_pair shut_down(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    must(lab, shutdown(pair.server, SHUT_WR), "shutdown");
    return pair;
}

static struct tcp_pair unconnected(struct lab *lab)
{
    return (struct tcp_pair){ .client = -1, .server = tcp_socket(lab) };
}

static ssize_t call_recv(int fd, char *buf)
{
    return recv(fd, buf, 5, 0);
}

static ssize_t call_read(int fd, char *buf)
{
    return read(fd, buf, 5);
}

static ssize_t call_send(int fd, char *buf)
{
    return send(fd, buf, 5, 0);
}

static ssize_t call_write(int fd, char *buf)
{
    return write(fd, buf, 5);
}

static ssize_t call_send_nothing(int fd, char *buf)
{
    return send(fd, buf, 0, 0);
}

static const struct {
    const char *name;
    struct tcp_pair (*make)(struct lab *lab);
    const char *in, *out, *nothing; /* what receiving, sending and sending nothing give */
} situations[] = {
    { "data waits", data_waits, "5", "5", "0" },
    { "no data, no room", is_full, "EAGAIN", "EAGAIN", "0" },
    { "the peer closed", peer_closed, "0", "5", "0" },
    { "the peer reset", peer_reset, "ECONNRESET", "ECONNRESET", "ECONNRESET" },
    { "reset, error taken", reset_and_told, "0", "EPIPE", "EPIPE" },
    { "own SHUT_WR", shut_down, "EAGAIN", "EPIPE", "EPIPE" },
    { "never connected", unconnected, "ENOTCONN", "EPIPE", "EPIPE" },
};

static const struct {
    const char *name;
    ssize_t (*act)(int fd, char *buf);
} calls[] = { { "recv", call_recv }, { "read", call_read }, { "send", call_send },
              { "write", call_write }, { "send nothing", call_send_nothing } };

enum { SITUATIONS = sizeof situations / sizeof *situations, CALLS = 5 };

/* One call in a situation made for it. */
static void try_call(struct lab *lab, int s, int c)
{
    char buf[8] = "";
    struct tcp_pair pair = situations[s].make(lab);
    set_nonblocking(lab, pair.server);
    ssize_t result = calls[c].act(pair.server, buf);
    const char *got = result < 0 ? strerrorname_np(errno) : text("%zd", result);
    const char *expected[CALLS] = { situations[s].in, situations[s].in, situations[s].out,
                                    situations[s].out, situations[s].nothing };
    observe_text(lab, text("%s: %s", situations[s].name, calls[c].name), got, expected[c]);
    cell(lab, got, c == CALLS - 1);
    CLOSE(pair.client, pair.server);
}

static enum verdict results(struct lab *lab)
{
    signal(SIGPIPE, SIG_IGN);
    picture(lab, TABLE, 0, "what each call of five bytes returns, or its errno", NULL, NULL);
    cell(lab, "", false);
    for (int c = 0; c < CALLS; c++)
        cell(lab, calls[c].name, c == CALLS - 1);
    for (int s = 0; s < SITUATIONS; s++) {
        cell(lab, situations[s].name, false);
        for (int c = 0; c < CALLS; c++)
            try_call(lab, s, c);
    }
    return conclude(lab, CONTRADICTED, "recv returns 0 at the end, but send never does: a lost "
                                       "connection is -1 with ECONNRESET or EPIPE, and after the "
                                       "peer has closed send succeeds; 0 is for a length of 0");
}

static const struct experiment io_5 = {
    .id = "io-5",
    .name = "results",
    .question = "what do send and recv return in each state of a connection?",
    .source = "S2:51 S2:59 S0:373 S4:112",
    .claims = "11",
    .original = "都是 <0出错，=0连接关闭，>0发送数据大小",
    .claim = "write, as recv, returns less than 0 for an error, 0 for a closed connection, more "
             "than 0 for the number of bytes sent",
    .expectation = "recv: a number, 0 at the end, or -1; send: a number or -1, never 0 for five "
                   "bytes; a length of 0 gives 0, and fails too once nothing can be sent",
    .reference = "send(2), tcp_sendmsg_locked() and sk_stream_error() in Linux",
    .why = "The peer's end of sending is no obstacle to sending to it, so after its FIN send goes "
           "on; only the reset that answers makes the next one fail. The pending error is "
           "returned once, by whichever call comes first; then the socket is shut down both ways: "
           "recv is at the end and send gets EPIPE. tcp_sendmsg_locked() asks for errors before "
           "it looks at the length.",
    .next = "weir lab recv-zero",
    .run = results,
};

/* ---- io-6: what 0 means ---- */

static void end_of_stream(struct lab *lab)
{
    char byte;
    struct tcp_pair pair = tcp_pair(lab);
    must(lab, shutdown(pair.client, SHUT_WR), "shutdown");
    wait_events(pair.server, POLLIN, 1000);
    for (int i = 1; i <= 2; i++)
        observe_number(lab, text("TCP, the peer has ended: recv %d", i),
                       recv(pair.server, &byte, 1, 0), 0);
    CLOSE(pair.client, pair.server);
}

static void empty_datagram(struct lab *lab)
{
    char buf[16];
    struct udp_pair udp = udp_pair(lab);
    must(lab, send(udp.a, NULL, 0, 0), "send");
    send_text(lab, udp.a, "more");
    observe_number(lab, "UDP, an empty datagram: recv", recv(udp.b, buf, sizeof buf, 0), 0);
    observe_text(lab, "UDP, the recv after it", recv_text(lab, udp.b, buf, sizeof buf), "more");
    CLOSE(udp.a, udp.b);
}

static void length_of_zero(struct lab *lab)
{
    char buf[16];
    struct tcp_pair pair = tcp_pair(lab);
    observe_errno(lab, "length 0, nothing waits: recv", recv(pair.server, buf, 0, MSG_DONTWAIT),
                  EAGAIN);
    observe_number(lab, "length 0, nothing waits: read", read(pair.server, buf, 0), 0);
    send_text(lab, pair.client, "more");
    wait_events(pair.server, POLLIN, 1000);
    observe_number(lab, "length 0, data waits: recv", recv(pair.server, buf, 0, 0), 0);
    observe_text(lab, "the recv after it", recv_text(lab, pair.server, buf, sizeof buf), "more");
    CLOSE(pair.client, pair.server);
}

static enum verdict recv_zero(struct lab *lab)
{
    end_of_stream(lab);
    empty_datagram(lab);
    length_of_zero(lab);
    return conclude(lab, REFINED, "0 is the end only of a stream, and only when something was "
                                  "asked for; a datagram may be empty");
}

static const struct experiment io_6 = {
    .id = "io-6",
    .name = "recv-zero",
    .question = "does recv return 0 only at the end?",
    .source = "S0:384 S2:47 S4:134",
    .claims = "14",
    .original = "0表示EOF，读取结束",
    .claim = "0 means EOF: there is nothing more to read",
    .expectation = "0 at the end of a TCP stream, again and again; 0 also for an empty datagram "
                   "and for a length of 0, with more to come",
    .reference = "recv(2), sock_read_iter() and tcp_recvmsg_locked() in Linux",
    .why = "A datagram of no bytes is a message like others, and recv returns its length. A read "
           "of length 0 is answered by sock_read_iter() before TCP hears of it; a recv of length "
           "0 does reach TCP, which waits for a byte and then takes none of it.",
    .next = "weir lab results",
    .run = recv_zero,
};

const struct experiment *const io_experiments[] = { &io_1, &io_2, &io_3, &io_4,
                                                    &io_5, &io_6, NULL };
