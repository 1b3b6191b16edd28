/* exp_broken.c -- experiments on closing that goes wrong: resets, signals, silence. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "diag.h"
#include "filter.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

static struct capture capture;

enum { PATIENCE_MS = 1000 };

enum ending { OPEN, CLOSED, RESET };

/* A connection whose peer may have sent data and then closed or reset it, when all of that has
 * arrived. Gives the end that is left. */
static int left_by_peer(struct lab *lab, const char *data, enum ending ending)
{
    struct tcp_pair pair = tcp_pair(lab);
    if (*data)
        send_text(lab, pair.server, data);
    WAIT_UNTIL(PATIENCE_MS, bytes_in(pair.client) == (int)strlen(data));
    if (ending == RESET)
        reset_peer(lab, pair.server);
    else
        close(pair.server);
    int state = ending == RESET ? TCP_CLOSE : TCP_CLOSE_WAIT;
    WAIT_UNTIL(PATIENCE_MS, tcp_state(pair.client) == state);
    return pair.client;
}

/* ---- cl-4: is the peer still there? ---- */

/* How a call ended: its result, or its errno by name. */
static const char *outcome(ssize_t result)
{
    return result < 0 ? strerrorname_np(errno) : text("%zd", result);
}

static const char *peek(int fd)
{
    char byte;
    return outcome(recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT));
}

struct situation {
    const char *name, *data;
    enum ending ending;
    const char *first, *second; /* what two peeks in a row give */
    bool is_noticed;            /* poll has POLLRDHUP */
};

static void probe(struct lab *lab, const struct situation *s, int fd)
{
    const char *state = tcp_state_name(tcp_state(fd));
    const char *events = poll_words(wait_events(fd, POLLIN | POLLRDHUP, 0));
    const char *first = peek(fd), *second = peek(fd);
    observe_text(lab, text("%s: first peek", s->name), first, s->first);
    observe_text(lab, text("%s: second peek", s->name), second, s->second);
    observe_bool(lab, text("%s: POLLRDHUP", s->name), strstr(events, "RDHUP") != NULL,
                 s->is_noticed);
    cell(lab, s->name, false);
    cell(lab, first, false);
    cell(lab, second, false);
    cell(lab, events, false);
    cell(lab, state, true);
}

static void probe_all(struct lab *lab)
{
    static const struct situation situations[] = {
        { "alive", "", OPEN, "EAGAIN", "EAGAIN", false },
        { "alive, data", "d", OPEN, "1", "1", false },
        { "closed", "", CLOSED, "0", "0", true },
        { "closed, data", "d", CLOSED, "1", "1", true },
        { "reset", "", RESET, "ECONNRESET", "0", true },
        { "reset, data", "d", RESET, "1", "1", true },
    };
    picture(lab, TABLE, 0, "what looking tells of the peer", NULL, NULL);
    cell(lab, "the peer is", false);
    cell(lab, "peek", false);
    cell(lab, "again", false);
    cell(lab, "poll", false);
    cell(lab, "state", true);
    for (size_t i = 0; i < sizeof situations / sizeof *situations; i++) {
        const struct situation *s = &situations[i];
        if (s->ending == OPEN) {
            struct tcp_pair pair = tcp_pair(lab);
            if (*s->data)
                send_text(lab, pair.server, s->data);
            WAIT_UNTIL(PATIENCE_MS, bytes_in(pair.client) == (int)strlen(s->data));
            probe(lab, s, pair.client);
            CLOSE(pair.client, pair.server);
        } else {
            int fd = left_by_peer(lab, s->data, s->ending);
            probe(lab, s, fd);
            CLOSE(fd);
        }
    }
}

static enum verdict dead_or_alive(struct lab *lab)
{
    char byte;
    int fd = left_by_peer(lab, "", CLOSED);
    probe_all(lab);

    errno = EXDEV;
    ssize_t result = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    int left = errno;
    CLOSE(fd);
    observe_number(lab, "closed by the peer: recv", result, 0);
    observe_text(lab, "errno, which was EXDEV before", strerrorname_np(left), "EXDEV");
    observe_text(lab, "closed by oneself: recv", peek(fd), "EBADF");
    return conclude(lab, REFINED, "peeking finds a FIN or a reset only when no data is unread, and "
                                  "takes the pending error away from who needs it; POLLRDHUP and "
                                  "TCP_INFO see it always and change nothing");
}

static const struct experiment cl_4 = {
    .id = "cl-4",
    .name = "dead-or-alive",
    .question = "can MSG_PEEK tell whether the peer has closed?",
    .source = "S2:75 S2:76 S2:77",
    .claims = "12 13",
    .original = "对于被动关闭的SOCKET，recv返回0，而且errno被置为11",
    .claim = "peeking only looks and disturbs nothing: for a socket that the peer closed recv "
             "returns 0 and errno is 11; for one that is well, -1 and 11, or more than 0",
    .expectation = "a recv of 0 leaves errno as it was; with unread data before it, a FIN or a "
                   "reset is not seen at all; and a peek takes the pending error: ECONNRESET the "
                   "first time, 0 the second",
    .reference = "recv(2), poll(2) on POLLRDHUP, tcp_recvmsg_locked() and sock_error() in Linux",
    .why = "errno has a meaning only when a call failed; 0 is no failure. A peek gives what a recv "
           "would give, and that is data as long as there is some. The pending error is read and "
           "cleared by whichever call meets it first, peek or not. And no method sees a peer that "
           "lost its power: nothing came that could be seen.",
    .next = "weir lab keepalive",
    .run = dead_or_alive,
};

/* ---- cl-7: SIGPIPE ---- */

static volatile sig_atomic_t signals;

static void on_sigpipe(int number)
{
    (void)number;
    signals++;
}

/* One send, and how many signals it brought. */
static void write_once(struct lab *lab, const char *what, int fd, int flags, int error,
                       int expected_signals)
{
    signals = 0;
    ssize_t result = send(fd, "x", 1, flags);
    observe_errno(lab, what, result, error);
    observe_number(lab, text("%s: SIGPIPE", what), signals, expected_signals);
}

static int write_and_die(void *arg)
{
    int fd = *(int *)arg;
    signal(SIGPIPE, SIG_DFL);
    send(fd, "x", 1, 0);
    return 0;
}

static enum verdict sigpipe(struct lab *lab)
{
    struct sigaction action = { .sa_handler = on_sigpipe };
    int closed = left_by_peer(lab, "", CLOSED), reset = left_by_peer(lab, "", RESET);
    struct tcp_pair own = tcp_pair(lab);
    sigaction(SIGPIPE, &action, NULL);

    write_once(lab, "the peer has closed: first send", closed, 0, 0, 0);
    WAIT_UNTIL(PATIENCE_MS, tcp_state(closed) == TCP_CLOSE);
    write_once(lab, "its answer has come: second send", closed, 0, EPIPE, 1);
    write_once(lab, "with MSG_NOSIGNAL", closed, MSG_NOSIGNAL, EPIPE, 0);
    write_once(lab, "the peer has reset: first send", reset, 0, ECONNRESET, 0);
    write_once(lab, "the peer has reset: second send", reset, 0, EPIPE, 1);
    shutdown(own.client, SHUT_WR);
    write_once(lab, "after a shutdown of one's own", own.client, 0, EPIPE, 1);
    int child = spawn(lab, write_and_die, &closed);
    observe_number(lab, "a process without a handler ends by signal", reap(lab, child) - 128,
                   SIGPIPE);
    CLOSE(closed, reset, own.client, own.server);
    return conclude(lab, REFINED, "the first send to a closed peer succeeds, and its answer is a "
                                  "reset; only the next has the signal. MSG_NOSIGNAL leaves EPIPE");
}

static const struct experiment cl_7 = {
    .id = "cl-7",
    .name = "sigpipe",
    .question = "which send to a closed peer brings SIGPIPE?",
    .source = "S2:69 S0:375",
    .original = "就会让底层抛出一个SIGPIPE信号",
    .claim = "a send to a disconnected socket raises SIGPIPE, which ends the process by default; "
             "and fails with EPIPE",
    .expectation = "the first send succeeds; after its answer the second has SIGPIPE and EPIPE; "
                   "after a reset the first has ECONNRESET and no signal, the second both",
    .reference = "send(2), RFC 9293 section 3.10.7, sk_stream_error() and tcp_reset() in Linux",
    .why = "A FIN says that the peer sends no more, not that it reads no more, so the kernel must "
           "try. The peer's kernel, where nobody holds the socket, answers with a reset. The "
           "signal is made for programs in a pipeline that do not look at errors. A server asks "
           "for MSG_NOSIGNAL, or ignores it once, and looks.",
    .next = "weir lab unread-close",
    .run = sigpipe,
};

/* ---- cl-9: closing without reading ---- */

static enum verdict unread_close(struct lab *lab)
{
    char buf[8];
    struct tcp_pair pair = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    capture_begin(lab, &capture, server);

    send_text(lab, pair.client, "question");
    WAIT_UNTIL(PATIENCE_MS, bytes_in(pair.server) == 8);
    send_text(lab, pair.server, "answer");
    WAIT_UNTIL(PATIENCE_MS, bytes_in(pair.client) == 6);
    CLOSE(pair.server);
    WAIT_UNTIL(PATIENCE_MS, tcp_state(pair.client) == TCP_CLOSE);
    capture_states(lab, &capture, client, server);

    observe_number(lab, "FINs", capture_count(&capture, TH_FIN, server), 0);
    observe_number(lab, "resets", capture_count(&capture, TH_RST, server), 1);
    observe_text(lab, "the peer's first recv", recv_text(lab, pair.client, buf, sizeof buf),
                 "answer");
    observe_errno(lab, "the second", recv(pair.client, buf, sizeof buf, 0), ECONNRESET);
    observe_number(lab, "the third", recv(pair.client, buf, sizeof buf, 0), 0);
    capture_draw(lab, &capture, 0, "closed with bytes unread", client, "client", "server");
    CLOSE(pair.client);
    capture_end(lab, &capture);
    return conclude(lab, ADDED, "close sends a reset instead of a FIN when input was not read, and "
                                "the peer's next recv fails");
}

static const struct experiment cl_9 = {
    .id = "cl-9",
    .name = "unread-close",
    .question = "what does the peer see when one closes without reading everything?",
    .expectation = "a reset, no FIN; here the peer still reads what had arrived, then has "
                   "ECONNRESET",
    .reference = "RFC 2525 section 2.17, RFC 9293 section 3.10.4, __tcp_close() in Linux",
    .why = "The peer was told that its data arrived; that nobody will ever read it, a FIN would "
           "not say. So the RFCs ask for a reset. It may overtake: data of the answer that is "
           "still under way is lost with it. A server that answers early, an error to a long "
           "upload, must read on, or shut down for writing and wait for the peer's end.",
    .next = "weir lab close-returns",
    .needs = NEEDS_CAPTURE,
    .run = unread_close,
};

/* ---- cl-10: an error that waits ---- */

/* Which of the two sets select(2) marks. */
static const char *selected(int fd)
{
    fd_set readable, writable;
    struct timeval now = { 0 };
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(fd, &readable);
    FD_SET(fd, &writable);
    select(fd + 1, &readable, &writable, NULL, &now);
    bool can_read = FD_ISSET(fd, &readable), can_write = FD_ISSET(fd, &writable);
    return text("%s%s", can_read ? "read" : "", can_write ? "write" : "");
}

static enum verdict error_after_reset(struct lab *lab)
{
    char buf[8];
    int zero = 0, events = POLLIN | POLLOUT;
    int asked = left_by_peer(lab, "", RESET), read_first = left_by_peer(lab, "hello", RESET);
    int written = left_by_peer(lab, "", RESET);

    observe_text(lab, "select marks it for", selected(asked), "readwrite");
    observe_text(lab, "poll says", poll_words(wait_events(asked, events, 0)), "IN|OUT|ERR|HUP");
    observe_errno(lab, "setting SO_ERROR",
                  setsockopt(asked, SOL_SOCKET, SO_ERROR, &zero, sizeof zero), ENOPROTOOPT);
    observe_number(lab, "SO_ERROR is ECONNRESET",
                   get_option(lab, asked, SOL_SOCKET, SO_ERROR) == ECONNRESET, 1);
    observe_number(lab, "SO_ERROR again", get_option(lab, asked, SOL_SOCKET, SO_ERROR), 0);
    observe_number(lab, "recv then", recv(asked, buf, sizeof buf, 0), 0);
    observe_text(lab, "with unread data: first recv",
                 recv_text(lab, read_first, buf, sizeof buf), "hello");
    observe_errno(lab, "with unread data: second recv", recv(read_first, buf, sizeof buf, 0),
                  ECONNRESET);
    observe_number(lab, "with unread data: third recv", recv(read_first, buf, sizeof buf, 0), 0);
    observe_errno(lab, "send", send(written, "x", 1, MSG_NOSIGNAL), ECONNRESET);
    observe_number(lab, "SO_ERROR after it", get_option(lab, written, SOL_SOCKET, SO_ERROR), 0);
    CLOSE(asked, read_first, written);
    return conclude(lab, CONFIRMED, "the error waits in the socket until one call takes it: "
                                    "SO_ERROR, a send, or a recv that finds no data");
}

static const struct experiment cl_10 = {
    .id = "cl-10",
    .name = "error-after-reset",
    .question = "which call is told of a reset?",
    .source = "S2:106 S2:112 S2:114",
    .original = "否则将返回缓存中的数据而不是返回错误",
    .claim = "an error waits in SO_ERROR and the socket is readable and writable; read gives data "
             "as long as there is some, then the error once; write gives it at once; SO_ERROR can "
             "be got, not set",
    .expectation = "all of this; the error is told once, to whichever call comes first",
    .reference = "socket(7) on SO_ERROR, sock_error() in Linux",
    .why = "The kernel keeps one number, sk_err. Reading it clears it, so who asks for SO_ERROR to "
           "look takes it from the recv that comes after, which then returns 0 as at a good end. "
           "poll adds POLLERR and POLLHUP, which select has no names for.",
    .next = "weir lab dead-or-alive",
    .run = error_after_reset,
};

/* ---- cl-11: a peer that vanished ---- */

enum { KEEP_IDLE = 1, KEEP_INTERVAL = 1, KEEP_COUNT = 3, GIVE_UP_MS = 9000 };

/* What the asking end has sent since: questions, and in the end a reset. How many questions. */
static int draw_questions(struct lab *lab, uint16_t from)
{
    picture(lab, TIMELINE, 0, "since the cable was cut", NULL, NULL);
    int asked = 0;
    capture_take(lab, &capture);
    for (int i = 0; i < capture.count; i++) {
        const struct segment *s = &capture.segments[i];
        bool is_reset = s->flags & TH_RST;
        if (s->from_port != from)
            continue;
        asked += !is_reset;
        moment(lab, s->ms, is_reset ? "it gives up, and tells so" : text("question %d", asked));
    }
    return asked;
}

static enum verdict vanished_peer(struct lab *lab)
{
    char byte;
    struct tcp_pair silent = tcp_pair(lab), asking = tcp_pair(lab);
    struct diag_socket found = { .timer = -1 };
    set_option(lab, asking.client, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE);
    set_option(lab, asking.client, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL);
    set_option(lab, asking.client, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
    set_option(lab, asking.client, SOL_SOCKET, SO_KEEPALIVE, 1);
    uint16_t client = local_port(lab, silent.client), server = local_port(lab, silent.server);
    uint16_t asker = local_port(lab, asking.client);
    capture_begin(lab, &capture, asker);

    drop_all(lab, silent.client);
    drop_all(lab, asking.client);
    int64_t begin = clock_ns();
    CLOSE(silent.server, asking.server);
    wait_events(asking.client, POLLIN, GIVE_UP_MS);
    double ms = ms_since(begin);

    observe_errno(lab, "recv with keepalive", recv(asking.client, &byte, 1, 0), ETIMEDOUT);
    observe_range(lab, "which took", ms / 1e3, 2.5, 6.5, "s");
    observe_number(lab, "questions that it asked", draw_questions(lab, asker), KEEP_COUNT);
    observe_errno(lab, "recv without, at that time", recv(silent.client, &byte, 1, MSG_DONTWAIT),
                  EAGAIN);
    observe_text(lab, "its state", tcp_state_name(tcp_state(silent.client)), "ESTABLISHED");
    observe_bool(lab, "sock_diag finds it", diag_find(client, server, &found), true);
    observe_number(lab, "timers that run for it", found.timer, DIAG_TIMER_NONE);
    CLOSE(silent.client, asking.client);
    capture_end(lab, &capture);
    return conclude(lab, ADDED, "without data to send nothing ever asks, so a dead peer and a "
                                "silent one look the same; keepalive asks");
}

static const struct experiment cl_11 = {
    .id = "cl-11",
    .name = "keepalive",
    .question = "when does a reader learn that the cable was cut?",
    .expectation = "never: the connection is ESTABLISHED and no timer runs; with SO_KEEPALIVE, "
                   "idle 1 s, then 3 probes 1 s apart, ETIMEDOUT after about 4 s",
    .reference = "RFC 9293 section 3.8.4, tcp(7) on TCP_KEEPIDLE, tcp_keepalive_timer() in Linux",
    .why = "A connection exists at its two ends only, and when nothing is to be sent nothing is on "
           "the wire. A peer that lost its power says no FIN. SO_KEEPALIVE sends an empty segment "
           "after two hours by default, which is too late for most, so set the three numbers. A "
           "program's own heartbeat also finds a peer that lives and hangs.",
    .next = "weir lab dead-or-alive",
    .needs = NEEDS_CAPTURE | NEEDS_FILTER,
    .is_slow = true,
    .seconds_max = 20,
    .run = vanished_peer,
};

const struct experiment *const broken_experiments[] = { &cl_4,  &cl_7,  &cl_9,
                                                        &cl_10, &cl_11, NULL };
