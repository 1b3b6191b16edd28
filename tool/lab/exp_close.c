/* exp_close.c -- experiments on closing in good order: FINs, states, references, and lingering. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "counters.h"
#include "diag.h"
#include "filter.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

static struct capture capture;

/* ---- cl-1: three segments, or four ---- */

enum { ATTEMPTS = 5 };

/* Closes the client, then the server: at once, or when the client's FIN was acknowledged. */
static void close_both(struct lab *lab, bool is_at_once)
{
    struct tcp_pair pair = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    capture_begin(lab, &capture, server);

    CLOSE(pair.client);
    if (!is_at_once) {
        capture_wait(lab, &capture, 2, 1000);
        capture_states(lab, &capture, client, server);
    }
    CLOSE(pair.server);

    capture_wait(lab, &capture, is_at_once ? 3 : 4, 1000);
    capture_states(lab, &capture, client, server);
    capture_end(lab, &capture);
}

static void draw_close(struct lab *lab, const char *title)
{
    capture_draw(lab, &capture, 0, title, capture.segments[0].from_port, "closes first", "peer");
}

static enum verdict four_segments(struct lab *lab)
{
    char words[96];
    /* The delayed acknowledgement goes out with a tick of the clock, which may fall between. */
    for (int i = 0; i < ATTEMPTS && capture.count != 3; i++)
        close_both(lab, true);
    observe_number(lab, "segments when the peer closes at once", capture.count, 3);
    observe_text(lab, "the second of them",
                 flag_words(capture.segments[1].flags, words, sizeof words), "FIN ACK");
    draw_close(lab, "closed at once");

    close_both(lab, false);
    observe_number(lab, "segments when the peer closes later", capture.count, 4);
    observe_text(lab, "the second of them",
                 flag_words(capture.segments[1].flags, words, sizeof words), "ACK");
    observe_number(lab, "FINs", capture_count(&capture, TH_FIN, 0), 2);
    draw_close(lab, "closed later");
    return conclude(lab, REFINED, "each direction has its FIN and its ACK; but when the peer "
                                  "closes within the delay of an acknowledgement, its FIN carries "
                                  "that, and three segments do");
}

static const struct experiment cl_1 = {
    .id = "cl-1",
    .name = "four-segments",
    .question = "how many segments does closing take?",
    .source = "S0:464 S0:468 S1:86",
    .claims = "35",
    .original = "这样每个方向上都有一个FIN和ACK",
    .claim = "a connection is released by four segments: a FIN and an ACK in each direction",
    .expectation = "three when the peer closes at once, since its FIN carries the acknowledgement; "
                   "four when it closes later",
    .reference = "RFC 9293 section 3.6, tcp_fin() and tcp_send_delayed_ack() in Linux",
    .why = "An acknowledgement is a field of every segment, so it needs one of its own only when "
           "nothing else is to be sent. Linux waits for that up to 40 ms, on a connection that "
           "has carried no data only to the next tick of its clock. A server that answers before "
           "it closes, or a busy one, is later than that.",
    .next = "weir lab closing-states",
    .needs = NEEDS_CAPTURE,
    .run = four_segments,
};

/* ---- cl-2: the states ---- */

/* Waits for the state of one end, and lights it in the picture. */
static void see(struct lab *lab, const char *when, const char *who, uint16_t local, uint16_t remote,
                int expected)
{
    struct item item = { .x = 0 };
    WAIT_UNTIL(3000, diag_state(local, remote) == expected);
    int state = diag_state(local, remote);
    observe_text(lab, text("%s: the %s", when, who), tcp_state_name(state),
                 tcp_state_name(expected));
    snprintf(item.label, sizeof item.label, "%s", state ? tcp_state_name(state) : "CLOSE");
    snprintf(item.left, sizeof item.left, "%s", who);
    picture_item(lab, item);
}

/* One end after the other; lost FINs make it wait at each step until its timer repeats them. */
static void close_in_turn(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);

    see(lab, "connected", "client", client, server, TCP_ESTABLISHED);
    drop_flags(lab, pair.server, TH_FIN, TH_FIN);
    shutdown(pair.client, SHUT_WR);
    see(lab, "the client's FIN is lost", "client", client, server, TCP_FIN_WAIT1);
    drop_nothing(lab, pair.server);
    see(lab, "it comes", "server", server, client, TCP_CLOSE_WAIT);
    see(lab, "it is acknowledged", "client", client, server, TCP_FIN_WAIT2);

    drop_flags(lab, pair.client, TH_FIN, TH_FIN);
    shutdown(pair.server, SHUT_WR);
    see(lab, "the server's FIN is lost", "server", server, client, TCP_LAST_ACK);
    drop_nothing(lab, pair.client);
    see(lab, "it comes", "client", client, server, TCP_TIME_WAIT);
    see(lab, "it is acknowledged", "server", server, client, 0);
    CLOSE(pair.client, pair.server);
}

/* Both at the same time: the FINs cross. */
static void close_together(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);

    drop_flags(lab, pair.client, TH_FIN, TH_FIN);
    drop_flags(lab, pair.server, TH_FIN, TH_FIN);
    shutdown(pair.client, SHUT_WR);
    shutdown(pair.server, SHUT_WR);
    see(lab, "both FINs are under way", "server", server, client, TCP_FIN_WAIT1);
    drop_nothing(lab, pair.client);
    see(lab, "the server's comes first", "client", client, server, TCP_CLOSING);
    drop_nothing(lab, pair.server);
    see(lab, "the client's comes", "client", client, server, TCP_TIME_WAIT);
    CLOSE(pair.client, pair.server);
}

static enum verdict closing_states(struct lab *lab)
{
    picture(lab, STATES, 0, "seen on the way", NULL, NULL);
    close_in_turn(lab);
    close_together(lab);
    return conclude(lab, CONFIRMED, "every state was seen, in this order; and CLOSING besides, "
                                    "which needs two FINs that cross");
}

static const struct experiment cl_2 = {
    .id = "cl-2",
    .name = "closing-states",
    .question = "through which states does a connection close?",
    .source = "S1:92 S1:95",
    .original = "则此时会向服务端发送 FIN 报文，进入 FIN_WAIT_1 状态",
    .claim = "who closes first goes through FIN_WAIT_1 and FIN_WAIT_2 to TIME_WAIT, the other one "
             "through CLOSE_WAIT and LAST_ACK to CLOSE",
    .expectation = "these, seen one by one while FINs are lost on purpose; and CLOSING, when both "
                   "close at the same time",
    .reference = "RFC 9293 section 3.3.2, tcp_fin() and tcp_rcv_state_process() in Linux",
    .why = "A state says which of two FINs were sent, received and acknowledged. Most last for a "
           "round trip, so on the loopback nobody sees them; with each FIN lost once they last "
           "until the timer repeats it. Only FIN_WAIT2 and CLOSE_WAIT wait for a program: they "
           "tell of a close that was forgotten.",
    .next = "weir lab close-wait",
    .needs = NEEDS_FILTER,
    .run = closing_states,
};

/* ---- cl-3: close counts, shutdown does not ---- */

struct hold {
    int ends[2];
    int listener;
};

/* Keeps its copies of the descriptors until the parent closes its end of the pipe. */
static int hold_copies(void *arg)
{
    struct hold *hold = arg;
    char byte;
    close(hold->ends[1]);
    return (int)read(hold->ends[0], &byte, 1);
}

static int accept_one(void *arg)
{
    struct hold *hold = arg;
    return accept(hold->listener, NULL, NULL) < 0 ? errno : 0;
}

static void with_a_copy(struct lab *lab)
{
    char byte;
    struct hold hold;
    struct tcp_pair closed = tcp_pair(lab), shut = tcp_pair(lab);
    must(lab, pipe2(hold.ends, O_CLOEXEC), "pipe");
    int child = spawn(lab, hold_copies, &hold);

    CLOSE(closed.server);
    shutdown(shut.server, SHUT_WR);
    observe_errno(lab, "close, a child has a copy: the peer's recv",
                  recv(closed.client, &byte, 1, MSG_DONTWAIT), EAGAIN);
    observe_text(lab, "the peer is", tcp_state_name(tcp_state(closed.client)), "ESTABLISHED");
    observe_bool(lab, "shutdown, a child has a copy: the peer is told",
                 wait_events(shut.client, POLLIN, 1000) != 0, true);
    observe_number(lab, "its recv", recv(shut.client, &byte, 1, MSG_DONTWAIT), 0);
    CLOSE(hold.ends[0], hold.ends[1]);
    reap(lab, child);
    observe_bool(lab, "when the child has ended, the first is told, too",
                 wait_events(closed.client, POLLIN, 1000) != 0, true);
    observe_number(lab, "its recv", recv(closed.client, &byte, 1, MSG_DONTWAIT), 0);
    CLOSE(closed.client, shut.client, shut.server);
}

static void shut_for_reading(struct lab *lab)
{
    char buf[16];
    struct tcp_pair pair = tcp_pair(lab);
    shutdown(pair.server, SHUT_RD);
    observe_number(lab, "after SHUT_RD: recv", recv(pair.server, buf, sizeof buf, 0), 0);
    send_text(lab, pair.client, "late");
    WAIT_UNTIL(1000, bytes_out(pair.client) == 0);
    observe_number(lab, "sent to it then: bytes that are not acknowledged", bytes_out(pair.client),
                   0);
    observe_text(lab, "and recv", recv_text(lab, pair.server, buf, sizeof buf), "late");
    CLOSE(pair.client, pair.server);
}

static enum verdict shutdown_or_close(struct lab *lab)
{
    struct hold waiting = { .listener = tcp_listen(lab, 1) };
    int child = spawn(lab, accept_one, &waiting);
    WAIT_UNTIL(1000, is_asleep(child));
    shutdown(waiting.listener, SHUT_RD);
    with_a_copy(lab);
    shut_for_reading(lab);
    errno = reap(lab, child);
    observe_errno(lab, "an accept that waited, after shutdown", errno ? -1 : 0, EINVAL);
    CLOSE(waiting.listener);
    return conclude(lab, CONTRADICTED, "shutdown does not count references; but only for writing "
                                       "is it heard, and SHUT_RD does not stop anything that "
                                       "comes");
}

static const struct experiment cl_3 = {
    .id = "cl-3",
    .name = "shutdown-or-close",
    .question = "what does shutdown do that close does not?",
    .source = "S3:182 S3:186 S0:437",
    .claims = "36",
    .original = "无论如何都要立即终止连接，而不是将socket的引用计数减1",
    .claim = "close takes one from the count of references; shutdown ends the connection at once "
             "in any case",
    .expectation = "close while a child has a copy sends nothing; shutdown(SHUT_WR) sends a FIN at "
                   "once; after SHUT_RD data still comes, is acknowledged and can be read; a "
                   "waiting accept ends with EINVAL",
    .reference = "shutdown(2), inet_shutdown() and tcp_shutdown() in Linux",
    .why = "SHUT_WR sends a FIN, and the other direction goes on: a half-closed connection. "
           "TCP has no way to say that one no longer reads, so SHUT_RD only makes recv return 0 "
           "when there is nothing. What comes is still taken, and recv gives it. Neither frees "
           "the descriptor: close does.",
    .next = "weir lab close-wait",
    .run = shutdown_or_close,
};

/* ---- cl-5: the end comes last ---- */

static enum verdict eof_after_data(struct lab *lab)
{
    char buf[4];
    struct tcp_pair pair = tcp_pair(lab);
    picture(lab, BOXES, 0, "data, and then the end", "sent", "received");

    send_text(lab, pair.client, "AAA");
    send_text(lab, pair.client, "BBB");
    CLOSE(pair.client);
    box(lab, 0, "AAABBB");
    box(lab, 0, "close");
    WAIT_UNTIL(1000, tcp_state(pair.server) == TCP_CLOSE_WAIT);

    observe_text(lab, "before any read the reader is", tcp_state_name(tcp_state(pair.server)),
                 "CLOSE_WAIT");
    observe_text(lab, "first recv", recv_text(lab, pair.server, buf, sizeof buf), "AAA");
    box(lab, 1, buf);
    observe_text(lab, "second recv", recv_text(lab, pair.server, buf, sizeof buf), "BBB");
    box(lab, 1, buf);
    observe_number(lab, "third recv", recv(pair.server, buf, sizeof buf, 0), 0);
    box(lab, 1, "end");
    observe_number(lab, "every later one", recv(pair.server, buf, sizeof buf, 0), 0);
    CLOSE(pair.server);
    return conclude(lab, CONFIRMED, "all data comes first, then 0, and 0 again for ever");
}

static const struct experiment cl_5 = {
    .id = "cl-5",
    .name = "eof-after-data",
    .question = "is data lost that is unread when the peer's FIN comes?",
    .source = "S1:93",
    .original = "放在已排队等候的其他已接收的数据之后",
    .claim = "the end of file is put behind all the data that has been received and waits",
    .expectation = "the state changes at once; recv gives the data first, then 0, however often",
    .reference = "RFC 9293 section 3.10.4, recv(2), tcp_recvmsg_locked() in Linux",
    .why = "A FIN has a number in the stream, behind the last byte, so it cannot overtake. No "
           "byte stands for it in the buffer: recv returns 0 when nothing is left and the FIN has "
           "come. poll tells of it earlier, with POLLRDHUP.",
    .next = "weir lab dead-or-alive",
    .run = eof_after_data,
};

/* ---- cl-6: nobody closes for you ---- */

static enum verdict close_wait(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    struct diag_socket own = { .timer = -1 }, other = { .timer = -1 };
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    long long limit = sysctl_number("net/ipv4/tcp_fin_timeout");

    CLOSE(pair.client);
    WAIT_UNTIL(1000, diag_state(client, server) == TCP_FIN_WAIT2);

    observe_number(lab, "the descriptor of the other end, fcntl", fcntl(pair.server, F_GETFD),
                   FD_CLOEXEC);
    observe_text(lab, "its state", tcp_state_name(tcp_state(pair.server)), "CLOSE_WAIT");
    observe_bool(lab, "sock_diag finds it", diag_find(server, client, &own), true);
    observe_number(lab, "timers that run for it", own.timer, DIAG_TIMER_NONE);
    observe_bool(lab, "sock_diag finds the end that closed", diag_find(client, server, &other),
                 true);
    observe_text(lab, "its state", tcp_state_name(other.state), "FIN_WAIT2");
    observe_range(lab, "it is given up in", other.timer_ms / 1e3, 1, (double)limit, "s");
    CLOSE(pair.server);
    return conclude(lab, CONTRADICTED, "it is in CLOSE_WAIT, with no timer, until the program "
                                       "closes it; the peer's end is given up after a minute");
}

static const struct experiment cl_6 = {
    .id = "cl-6",
    .name = "close-wait",
    .question = "who closes a socket when its peer has closed?",
    .source = "S4:57",
    .claims = "24",
    .original = "当TCP连接断开，那么这个套接字就会被关闭",
    .claim = "when the TCP connection ends, the connected socket is closed",
    .expectation = "the descriptor stays open and its state is CLOSE_WAIT; no timer runs to change "
                   "that",
    .reference = "RFC 9293 section 3.6, tcp_fin() in Linux",
    .why = "A FIN says only that the peer sends no more; this end may still send as long as it "
           "likes. So the kernel waits for the program, which learns of it by a recv that "
           "returns 0. A program that overlooks it collects CLOSE_WAITs until it has no "
           "descriptors left. Only the side that closed has a limit, tcp_fin_timeout.",
    .next = "weir lab dead-or-alive",
    .run = close_wait,
};

/* ---- cl-8: when close returns ---- */

enum { LINGER_SECONDS = 1 };

static long long read_to_end(struct lab *lab, int fd)
{
    static char buf[65536];
    long long total = 0;
    for (;;) {
        errno = ETIMEDOUT;
        must(lab, wait_events(fd, POLLIN, 5000) ? 0 : -1, "nothing more came");
        int len = must(lab, recv(fd, buf, sizeof buf, 0), "recv");
        if (len == 0)
            return total;
        total += len;
    }
}

/* Closes with full buffers; how long close took. Then the peer reads. */
static double close_full(struct lab *lab, const char *how, int linger_seconds)
{
    struct tcp_pair pair = tcp_pair(lab);
    struct linger linger = { .l_onoff = linger_seconds > 0, .l_linger = linger_seconds };
    must(lab, setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "SO_LINGER");
    long long sent = fill_buffers(lab, pair.client, 65536);
    int waiting = bytes_out(pair.client);

    int64_t begin = clock_ns();
    close(pair.client);
    double ms = ms_since(begin);

    observe_range(lab, text("%s: bytes that had not left", how), waiting, 1,
                  INFINITY, "bytes");
    observe_number(lab, text("%s: bytes the peer read", how),
                   read_to_end(lab, pair.server), sent);
    CLOSE(pair.server);
    return ms;
}

static enum verdict close_returns(struct lab *lab)
{
    double ms = close_full(lab, "close", 0);
    double linger_ms = close_full(lab, "SO_LINGER", LINGER_SECONDS);
    observe_range(lab, "close returned after", ms, 0, 400, "ms");
    observe_range(lab, "with SO_LINGER of 1 s, nobody reads", linger_ms, 950, 3000,
                  "ms");
    picture(lab, BARS, 0, "how long close took", "ms", NULL);
    bar(lab, "close", ms, 0);
    bar(lab, "close with SO_LINGER of 1 s", linger_ms, 0);
    return conclude(lab, CONFIRMED, "it returns at once and the kernel delivers the rest; with "
                                    "SO_LINGER it waits for that, up to the time given");
}

static const struct experiment cl_8 = {
    .id = "cl-8",
    .name = "close-returns",
    .question = "does close wait until everything is delivered?",
    .source = "S0:435",
    .original = "然后立即返回到调用进程",
    .claim = "by default close marks the socket as closed and returns at once",
    .expectation = "at once, though megabytes have not left, all of which the peer gets, and then "
                   "the end; with SO_LINGER it waits as long as that says",
    .reference = "close(2), socket(7) on SO_LINGER, __tcp_close() in Linux",
    .why = "The socket lives on in the kernel without a descriptor, as an orphan, until its data "
           "is acknowledged or given up. So close cannot tell whether the peer got it. Who needs "
           "to know shuts down for writing and waits until the peer closes, too. SO_LINGER with "
           "0 seconds is something else: it throws the data away and sends a reset.",
    .next = "weir lab unread-close",
    .run = close_returns,
};

const struct experiment *const close_experiments[] = { &cl_1, &cl_2, &cl_3, &cl_5,
                                                       &cl_6, &cl_8, NULL };
