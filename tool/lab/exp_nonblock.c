/* exp_nonblock.c -- experiments on connecting without waiting for it. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "diag.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

enum { OUTCOME = POLLIN | POLLOUT };

static int connect_to(struct lab *lab, int fd, int listener)
{
    struct sockaddr_in to = local_address(lab, listener);
    return connect(fd, (struct sockaddr *)&to, sizeof to);
}

static int nonblocking_socket(struct lab *lab)
{
    int fd = tcp_socket(lab);
    set_nonblocking(lab, fd);
    return fd;
}

/* A listener whose queue is full, so that whoever else connects stays in SYN_SENT. */
struct full {
    int listener, waiting;
};

static struct full full_listener(struct lab *lab)
{
    struct full full = { .listener = tcp_listen(lab, 0), .waiting = tcp_socket(lab) };
    must(lab, connect_to(lab, full.waiting, full.listener), "connect");
    WAIT_UNTIL(1000, tcp_look(full.listener).unacked == 1);
    return full;
}

/* The pending error by name, which reading it takes away; "0" for none. */
static const char *pending_error(struct lab *lab, int fd)
{
    int error = get_option(lab, fd, SOL_SOCKET, SO_ERROR);
    return error ? strerrorname_np(error) : "0";
}

/* ---- nb-1: what writable means ---- */

static const char *select_words(struct lab *lab, int fd)
{
    fd_set readable, writable;
    struct timeval none = { .tv_sec = 0 };
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(fd, &readable);
    FD_SET(fd, &writable);
    must(lab, select(fd + 1, &readable, &writable, NULL, &none), "select");
    if (FD_ISSET(fd, &readable))
        return FD_ISSET(fd, &writable) ? "readable writable" : "readable";
    return FD_ISSET(fd, &writable) ? "writable" : "nothing";
}

struct moment {
    const char *name, *poll, *select, *error; /* expected */
};

static void look(struct lab *lab, int fd, struct moment expected)
{
    const char *polled = poll_words(wait_events(fd, OUTCOME, 0));
    const char *selected = select_words(lab, fd), *error = pending_error(lab, fd);
    observe_text(lab, text("%s: poll", expected.name), polled, expected.poll);
    observe_text(lab, text("%s: select", expected.name), selected, expected.select);
    observe_text(lab, text("%s: SO_ERROR", expected.name), error, expected.error);
    cell(lab, expected.name, false);
    cell(lab, polled, false);
    cell(lab, selected, false);
    cell(lab, error, true);
}

static enum verdict writable(struct lab *lab)
{
    struct full full = full_listener(lab);
    struct sockaddr_in closed = address("127.0.0.1", unused_port(lab));
    int open = tcp_listen(lab, 1), fresh = tcp_socket(lab), refused = nonblocking_socket(lab);
    int trying = tcp_connect_begin(lab, full.listener), connected = tcp_connect_begin(lab, open);
    observe_errno(lab, "connect to a closed port",
                  connect(refused, (struct sockaddr *)&closed, sizeof closed), EINPROGRESS);
    wait_events(refused, POLLIN, 1000);
    wait_events(connected, POLLOUT, 1000);

    picture(lab, TABLE, 0, "four moments of a socket", NULL, NULL);
    cell(lab, "", false), cell(lab, "poll", false);
    cell(lab, "select", false), cell(lab, "SO_ERROR", true);
    look(lab, fresh, (struct moment){ "connect not called", "OUT|HUP", "readable writable", "0" });
    look(lab, trying, (struct moment){ "SYN_SENT", "none", "nothing", "0" });
    look(lab, refused, (struct moment){ "refused", "IN|OUT|ERR|HUP", "readable writable",
                                        "ECONNREFUSED" });
    look(lab, connected, (struct moment){ "connected", "OUT", "writable", "0" });
    CLOSE(fresh, trying, refused, connected, open, full.waiting, full.listener);
    return conclude(lab, CONTRADICTED, "while it tries to connect a socket is not writable, on "
                                       "Linux too; it is so when it has failed, or never tried. "
                                       "The cure is right: ask SO_ERROR");
}

static const struct experiment nb_1 = {
    .id = "nb-1",
    .name = "writable",
    .question = "is a socket writable before it is connected?",
    .source = "S2:1342 S2:1217",
    .claims = "8",
    .original = "在 Linux 系统上一个 socket 没有建立连接之前，用 select 函数检测其是否可写，"
                "你也会得到可写得结果",
    .claim = "on Linux select finds a socket writable before its connection is made",
    .expectation = "in SYN_SENT neither poll nor select reports anything; a failure makes it "
                   "readable and writable with an error pending, success writable only; a socket "
                   "that connect was never called for reports OUT and HUP",
    .reference = "connect(2) on EINPROGRESS, tcp_poll() in Linux",
    .why = "tcp_poll() says nothing of a socket in SYN_SENT. A refused one is CLOSE: whatever is "
           "called will not block but fail, and that is what ready means. So the notes' program "
           "took a refusal for success. SO_ERROR tells them apart, but only once poll has "
           "reported: 0 may also mean that it still tries.",
    .next = "weir lab connect-error",
    .run = writable,
};

/* ---- nb-2: connecting at once ---- */

enum { ATTEMPTS = 500 };

static enum verdict at_once(struct lab *lab)
{
    int in_progress = 0, immediate = 0, listener = tcp_listen(lab, 1);
    for (int i = 0; i < ATTEMPTS; i++) {
        int client = nonblocking_socket(lab);
        int result = connect_to(lab, client, listener);
        in_progress += result < 0 && errno == EINPROGRESS;
        immediate += result == 0;
        int accepted = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
        reset_peer(lab, client);
        CLOSE(accepted);
    }
    observe_number(lab, text("TCP, %d local connects: EINPROGRESS", ATTEMPTS), in_progress,
                   ATTEMPTS);
    observe_number(lab, "TCP: success at once", immediate, 0);

    struct sockaddr_un to;
    int local_listener = unix_listen(lab, 1, &to);
    int local = must(lab, socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    observe_errno(lab, "AF_UNIX: connect", connect(local, (struct sockaddr *)&to, sizeof to), 0);
    picture(lab, BARS, 0, text("%d connects to the same machine", ATTEMPTS), NULL, NULL);
    bar(lab, "EINPROGRESS", in_progress, ATTEMPTS);
    bar(lab, "success at once", immediate, ATTEMPTS);
    CLOSE(local, local_listener, listener);
    return conclude(lab, CONTRADICTED, "never with TCP on Linux, even on the loopback; but a "
                                       "program treats 0 as success all the same: AF_UNIX gives "
                                       "it, and so do other systems");
}

static const struct experiment nb_2 = {
    .id = "nb-2",
    .name = "at-once",
    .question = "can a non-blocking connect to the same machine succeed at once?",
    .source = "S2:90",
    .claims = "9",
    .original = "如果connect 返回0，表示连接成功（服务器和客户端在同一台机器上时就有可能发生这种情况）",
    .claim = "a non-blocking connect may return 0 when client and server are on one machine",
    .expectation = "EINPROGRESS each time for TCP; 0 for AF_UNIX, which has no handshake",
    .reference = "connect(2), __inet_stream_connect() in Linux",
    .why = "On the loopback the SYN ACK is there before connect returns. But connect holds the "
           "lock of the socket, so it is put aside and read when the lock is given back, after "
           "the result was decided. By the time of the next call it is connected. Only Fast Open "
           "returns 0, before anything was sent.",
    .next = "weir lab fast-open",
    .run = at_once,
};

/* ---- nb-3: the pending error ---- */

static enum verdict connect_error(struct lab *lab)
{
    struct sockaddr_in any = address("127.0.0.1", 0);
    int client = nonblocking_socket(lab), server = tcp_socket(lab);
    must(lab, bind(server, (struct sockaddr *)&any, sizeof any), "bind");

    observe_errno(lab, "connect, nobody listens yet", connect_to(lab, client, server), EINPROGRESS);
    wait_events(client, POLLIN, 1000);
    observe_text(lab, "SO_ERROR", pending_error(lab, client), "ECONNREFUSED");
    observe_text(lab, "SO_ERROR again", pending_error(lab, client), "0");

    must(lab, listen(server, 1), "listen");
    observe_errno(lab, "connect again, now somebody does", connect_to(lab, client, server),
                  ECONNABORTED);
    observe_errno(lab, "and again", connect_to(lab, client, server), EINPROGRESS);
    observe_text(lab, "poll", poll_words(wait_events(client, POLLOUT, 1000)), "OUT");
    observe_text(lab, "SO_ERROR", pending_error(lab, client), "0");
    observe_text(lab, "state", tcp_state_name(tcp_state(client)), "ESTABLISHED");
    CLOSE(client, server);
    return conclude(lab, CONFIRMED, "reading it takes it away. To try again take a new socket: "
                                    "with the old one the first connect only ends the failed "
                                    "attempt");
}

static const struct experiment nb_3 = {
    .id = "nb-3",
    .name = "connect-error",
    .question = "what does SO_ERROR say the second time?",
    .source = "S3:210 S2:110",
    .original = "再利用getsockopt来读取错误码并清除该socket上的错误",
    .claim = "getsockopt reads the error of a connect and clears it; 0 means that it succeeded",
    .expectation = "ECONNREFUSED, then 0, though it did not succeed; connect on the same socket "
                   "gives ECONNABORTED once before it tries again",
    .reference = "socket(7) on SO_ERROR, __inet_stream_connect() in Linux",
    .why = "There is one place for an error, and whoever asks first gets it: SO_ERROR, recv, send "
           "or connect. The socket remembers that it was connecting, so the next connect has to "
           "report a failure, and since the true one was taken it says ECONNABORTED. POSIX leaves "
           "the state of a socket after a failed connect open.",
    .next = "weir lab writable",
    .run = connect_error,
};

/* ---- nb-4: a signal during connect ---- */

static volatile sig_atomic_t signals;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    signals++;
}

/* A signal every so many milliseconds; 0: no more. */
static void alarm_every(struct lab *lab, int milliseconds, int flags)
{
    struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
    struct timeval pause = { .tv_usec = milliseconds * 1000 };
    struct itimerval timer = { .it_interval = pause, .it_value = pause };
    must(lab, sigaction(SIGALRM, &action, NULL), "sigaction");
    must(lab, setitimer(ITIMER_REAL, &timer, NULL), "setitimer");
    signals = 0;
}

/* A socket whose blocking connect a signal has ended. */
static int connect_interrupted(struct lab *lab, int listener)
{
    int fd = tcp_socket(lab);
    alarm_every(lab, 20, 0);
    observe_errno(lab, "connect, and a signal comes", connect_to(lab, fd, listener), EINTR);
    alarm_every(lab, 0, 0);
    observe_text(lab, "the socket is", tcp_state_name(tcp_state(fd)), "SYN_SENT");
    return fd;
}

static enum verdict interrupted(struct lab *lab)
{
    struct full full = full_listener(lab);
    int calling = connect_interrupted(lab, full.listener);
    int polling = connect_interrupted(lab, full.listener);
    int flags = must(lab, fcntl(calling, F_GETFL), "fcntl");

    set_nonblocking(lab, calling);
    observe_errno(lab, "connect again, non-blocking", connect_to(lab, calling, full.listener),
                  EALREADY);
    must(lab, fcntl(calling, F_SETFL, flags), "fcntl");
    must(lab, listen(full.listener, 8), "to make room");
    alarm_every(lab, 20, SA_RESTART);
    observe_errno(lab, "connect again, blocking, with SA_RESTART",
                  connect_to(lab, calling, full.listener), 0);
    observe_range(lab, "signals that came meanwhile", signals, 1, INFINITY, "signals");
    alarm_every(lab, 0, 0);
    observe_errno(lab, "and once more", connect_to(lab, calling, full.listener), EISCONN);

    observe_text(lab, "the other way: poll, until", poll_words(wait_events(polling, POLLOUT, 3000)),
                 "OUT");
    observe_text(lab, "then SO_ERROR", pending_error(lab, polling), "0");
    observe_text(lab, "and it is", tcp_state_name(tcp_state(polling)), "ESTABLISHED");
    CLOSE(calling, polling, full.waiting, full.listener);
    return conclude(lab, CONTRADICTED, "the attempt goes on without the call. A second connect is "
                                       "an error when it may not block (EALREADY); on Linux it "
                                       "waits when it may. poll and SO_ERROR are right everywhere");
}

static const struct experiment nb_4 = {
    .id = "nb-4",
    .name = "interrupted",
    .question = "what is to be done when connect gives EINTR?",
    .source = "S2:1280 S2:1402",
    .claims = "10",
    .original = "connect 动作被信号中断，重试connect",
    .claim = "connect was interrupted by a signal: call connect again",
    .expectation = "after EINTR the socket is in SYN_SENT and connects by itself; again: EALREADY "
                   "when non-blocking, which the notes take for a failure; on Linux success when "
                   "blocking; EISCONN once it is connected",
    .reference = "connect(2), POSIX.1-2024 connect(), signal(7) on SA_RESTART",
    .why = "EINTR ends the waiting, not the connecting: the SYN is under way and the kernel sends "
           "it again by itself. POSIX says that the attempt goes on asynchronously, as after "
           "EINPROGRESS, so the same steps follow. A non-blocking connect does not wait and so "
           "cannot be interrupted. With SA_RESTART Linux does not give EINTR at all.",
    .next = "weir lab time-limit",
    .run = interrupted,
};

/* ---- nb-5: when to make it non-blocking ---- */

static void receive_nothing(struct lab *lab, const char *when, int fd)
{
    char byte;
    observe_text(lab, text("%s: it is", when), tcp_state_name(tcp_state(fd)), "ESTABLISHED");
    observe_bool(lab, text("%s: O_NONBLOCK is set", when), fcntl(fd, F_GETFL) & O_NONBLOCK, true);
    observe_errno(lab, text("%s: recv", when), recv(fd, &byte, 1, 0), EAGAIN);
}

static enum verdict when_nonblocking(struct lab *lab)
{
    int listener = tcp_listen(lab, 2), after = tcp_socket(lab);
    int before = must(lab, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                      "socket");

    observe_errno(lab, "set before: connect", connect_to(lab, before, listener), EINPROGRESS);
    observe_text(lab, "set before: poll", poll_words(wait_events(before, POLLOUT, 1000)), "OUT");
    receive_nothing(lab, "set before", before);
    observe_errno(lab, "set after: connect", connect_to(lab, after, listener), 0);
    set_nonblocking(lab, after);
    receive_nothing(lab, "set after", after);
    CLOSE(before, after, listener);
    return conclude(lab, REFINED, "it may be set before; then connect returns EINPROGRESS, and "
                                  "poll tells the end. Afterwards the two are alike");
}

static const struct experiment nb_5 = {
    .id = "nb-5",
    .name = "when-nonblocking",
    .question = "may a socket be non-blocking before it is connected?",
    .source = "S2:554",
    .original = "不能在创建时就设置，这样会影响到 connect 函数的行为",
    .claim = "it must not be set to non-blocking when it is made, for that changes what connect "
             "does",
    .expectation = "with SOCK_NONBLOCK connect gives EINPROGRESS and completes by itself; set "
                   "afterwards connect waits; both then receive without blocking",
    .reference = "connect(2), socket(2) on SOCK_NONBLOCK",
    .why = "O_NONBLOCK is a flag of the open file that each call looks at when it would have to "
           "wait. connect is such a call, and the one that waits longest: two minutes when "
           "nobody answers. That is the best reason to set the flag first.",
    .next = "weir lab writable",
    .run = when_nonblocking,
};

/* ---- nb-6: a limit to the waiting ---- */

enum { LIMIT_MS = 100 };

static enum verdict time_limit(struct lab *lab)
{
    struct full full = full_listener(lab);
    struct diag_socket found = { .state = 0 };
    int client = tcp_connect_begin(lab, full.listener);
    uint16_t own = local_port(lab, client), port = local_port(lab, full.listener);
    struct timeval limit = { .tv_usec = LIMIT_MS * 1000 };
    fd_set writable;
    FD_ZERO(&writable);
    FD_SET(client, &writable);

    int64_t begin = clock_ns();
    int count = select(client + 1, NULL, &writable, NULL, &limit);
    double waited = ms_since(begin);
    observe_number(lab, text("select, with a limit of %d ms", LIMIT_MS), count, 0);
    observe_range(lab, "it waited", waited, LIMIT_MS - 10, INFINITY, "ms");
    diag_find(own, port, &found);
    observe_text(lab, "the socket is", tcp_state_name(found.state), "SYN_SENT");
    observe_text(lab, "SO_ERROR", pending_error(lab, client), "0");
    observe_bool(lab, "its timer runs, to send the SYN again",
                 found.timer == DIAG_TIMER_RETRANSMIT, true);
    note_number(lab, "which it will in", found.timer_ms, "ms");
    CLOSE(client);
    observe_text(lab, "after close it is", tcp_state_name(diag_state(own, port)), "none");
    picture(lab, TIMELINE, 0, "since connect was called", NULL, NULL);
    moment(lab, 0, "connect: EINPROGRESS");
    moment(lab, waited, "select: time is up");
    moment(lab, waited + found.timer_ms, "the SYN again, were it not for close");
    CLOSE(full.waiting, full.listener);
    return conclude(lab, REFINED, "the limit is the program's, and the socket knows nothing of "
                                  "it: it goes on trying until it is closed, and may be "
                                  "connected a moment later");
}

static const struct experiment nb_6 = {
    .id = "nb-6",
    .name = "time-limit",
    .question = "has a connect failed when select's time is up?",
    .source = "S2:1217 S2:1298 S2:1302",
    .original = "在指定的时间内判断该 socket 是否可写，如果可写说明连接成功，反之则认为连接失败",
    .claim = "with select one sees within a given time whether the socket is writable: if so it is "
             "connected, otherwise the connect has failed",
    .expectation = "select returns 0 and the socket is still in SYN_SENT without an error, its "
                   "timer set for the next SYN; closing it ends the attempt",
    .reference = "connect(2), select(2)",
    .why = "select looks, and does not touch. A program that gives up has to close the socket: "
           "otherwise the kernel goes on for two minutes, and a server may still accept a client "
           "that has long gone elsewhere.",
    .next = "weir lab interrupted",
    .run = time_limit,
};

const struct experiment *const nonblock_experiments[] = { &nb_1, &nb_2, &nb_3, &nb_4,
                                                          &nb_5, &nb_6, NULL };
