/* exp_io_wait.c -- experiments on when send and recv return: blocking, full buffers and signals. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* In a process of its own: signals the parent when it sleeps. */
static int signal_sleeper(void *arg)
{
    (void)arg;
    return WAIT_UNTIL(3000, is_asleep(getppid())) ? kill(getppid(), SIGUSR1) : 1;
}

/* In a process of its own: sends one byte when the parent sleeps. */
static int send_to_sleeper(void *arg)
{
    return WAIT_UNTIL(3000, is_asleep(getppid())) ? send(*(int *)arg, "x", 1, 0) != 1 : 1;
}

static void limit_time(struct lab *lab, int fd, int option, int milliseconds)
{
    struct timeval limit = { .tv_sec = milliseconds / 1000,
                             .tv_usec = milliseconds % 1000 * 1000 };
    must(lab, setsockopt(fd, SOL_SOCKET, option, &limit, sizeof limit), "a limit of time");
}

/* ---- io-7: not now ---- */

static enum verdict eagain(struct lab *lab)
{
    char byte;
    struct tcp_pair pair = tcp_pair(lab);
    int fd = pair.server;

    long waits = voluntary_switches();
    int child = spawn(lab, send_to_sleeper, &pair.client);
    observe_number(lab, "recv, until the peer sends: bytes", recv(fd, &byte, 1, 0), 1);
    observe_range(lab, "how often it slept for that", (double)(voluntary_switches() - waits), 1,
                  INFINITY, "times");
    reap(lab, child);

    observe_errno(lab, "recv with MSG_DONTWAIT", recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
    limit_time(lab, fd, SO_RCVTIMEO, 50);
    int64_t begin = clock_ns();
    observe_errno(lab, "recv with SO_RCVTIMEO, 50 ms", recv(fd, &byte, 1, 0), EAGAIN);
    observe_range(lab, "it took", ms_since(begin), 35, INFINITY, "ms");
    set_nonblocking(lab, fd);
    begin = clock_ns();
    observe_errno(lab, "recv with O_NONBLOCK", recv(fd, &byte, 1, 0), EAGAIN);
    note_number(lab, "it took", ms_since(begin), "ms");
    observe_number(lab, "the number of EWOULDBLOCK, as of EAGAIN", EWOULDBLOCK, EAGAIN);
    CLOSE(pair.client, pair.server);
    return conclude(lab, CONFIRMED, "blocking it sleeps until something comes, otherwise it is "
                                    "EAGAIN; so it is when SO_RCVTIMEO ends a blocking recv");
}

static const struct experiment io_7 = {
    .id = "io-7",
    .name = "eagain",
    .question = "what does recv do when nothing is there?",
    .source = "S2:257 S2:258",
    .original = "send/recv 函数不会阻塞程序执行流，而是会立即出错返回",
    .claim = "a blocking socket blocks in send and recv; a non-blocking one returns at once with "
             "EWOULDBLOCK or EAGAIN, which are the same number",
    .expectation = "a blocking recv sleeps until the peer sends; with MSG_DONTWAIT or O_NONBLOCK "
                   "it is EAGAIN at once, and with SO_RCVTIMEO it is EAGAIN after that time",
    .reference = "recv(2), socket(7) on SO_RCVTIMEO, errno(3)",
    .why = "Not blocking is a time limit of nothing: sock_rcvtimeo() gives 0 for it, SO_RCVTIMEO "
           "otherwise, and endless if that is not set. When the limit is over the answer is the "
           "same EAGAIN, so a program cannot tell by errno which limit it was.",
    .next = "weir lab results",
    .run = eagain,
};

/* ---- io-8: until all is stored ---- */

enum { WHOLE = 4 << 20, UNREAD = 64 << 10, SMALL_BUFFER = 200000 };

static char whole[WHOLE];

static void handle_signal(int number)
{
    (void)number;
}

/* A connection whose buffers together hold much less than WHOLE. */
static struct tcp_pair narrow_pair(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    set_option(lab, pair.client, SOL_SOCKET, SO_SNDBUF, SMALL_BUFFER);
    return pair;
}

/* In a process of its own: begins to read when the sender sleeps, and stops before the end. */
static int read_most(void *arg)
{
    static char buf[UNREAD];
    const struct tcp_pair *pair = arg;
    if (!WAIT_UNTIL(3000, is_asleep(getppid())))
        return 1;
    for (size_t left = WHOLE - UNREAD; left > 0;) {
        ssize_t len = recv(pair->server, buf, left < sizeof buf ? left : sizeof buf, 0);
        if (len <= 0)
            return 2;
        left -= (size_t)len;
    }
    return 0;
}

static void send_to_reader(struct lab *lab)
{
    struct tcp_pair pair = narrow_pair(lab);
    int child = spawn(lab, read_most, &pair);
    long long sent = send(pair.client, whole, WHOLE, 0);
    observe_number(lab, "to a peer that reads: bytes sent", sent, WHOLE);
    observe_number(lab, "that peer's end", reap(lab, child), 0);
    WAIT_UNTIL(1000, bytes_in(pair.server) == UNREAD);
    observe_number(lab, "of these nobody has read", bytes_in(pair.server), UNREAD);
    bar(lab, "the peer reads", (double)sent, WHOLE);
    CLOSE(pair.client, pair.server);
}

static void send_until_signal(struct lab *lab)
{
    struct tcp_pair pair = narrow_pair(lab);
    int child = spawn(lab, signal_sleeper, NULL);
    double sent = (double)send(pair.client, whole, WHOLE, 0);
    reap(lab, child);
    observe_range(lab, "interrupted by a signal: bytes sent", sent, 1, WHOLE - 1, "bytes");
    bar(lab, "a signal interrupts", sent, WHOLE);

    fill_for_good(lab, pair.client);
    child = spawn(lab, signal_sleeper, NULL);
    observe_errno(lab, "interrupted before the first byte",
                  send(pair.client, whole, WHOLE, 0), EINTR);
    reap(lab, child);
    CLOSE(pair.client, pair.server);
}

static void send_until_timeout(struct lab *lab)
{
    struct tcp_pair pair = narrow_pair(lab);
    limit_time(lab, pair.client, SO_SNDTIMEO, 50);
    double sent = (double)send(pair.client, whole, WHOLE, 0);
    observe_range(lab, "SO_SNDTIMEO runs out: bytes sent", sent, 1, WHOLE - 1, "bytes");
    bar(lab, "SO_SNDTIMEO runs out", sent, WHOLE);
    CLOSE(pair.client, pair.server);
}

static enum verdict whole_send(struct lab *lab)
{
    struct sigaction action = { .sa_handler = handle_signal };
    sigaction(SIGUSR1, &action, NULL);
    picture(lab, BARS, 0, "what a blocking send of 4 MB stores before it returns", "bytes", NULL);
    send_to_reader(lab);
    send_until_signal(lab);
    send_until_timeout(lab);
    return conclude(lab, REFINED, "it waits until all is stored, bit by bit, unless a signal or "
                                  "SO_SNDTIMEO ends it: then it returns how much was stored, "
                                  "and fails only if that was nothing");
}

static const struct experiment io_8 = {
    .id = "io-8",
    .name = "whole-send",
    .question = "does a blocking send return only when everything is stored?",
    .source = "S4:104",
    .original = "等到全部存储到缓冲区中，函数才会被返回",
    .claim = "with too little room a blocking send stores a bit whenever there is some, and "
             "returns when everything is in the buffer",
    .expectation = "all of 4 MB when the peer reads, 64 KB of which it has not read; part of it "
                   "when a signal or SO_SNDTIMEO comes in between; EINTR if nothing was stored",
    .reference = "send(2), signal(7), tcp_sendmsg_locked() and sk_stream_wait_memory() in Linux",
    .why = "tcp_sendmsg_locked() copies what fits and sleeps for more room. Whatever ends that "
           "sleep, bytes that are stored cannot be taken back, so their number is the result and "
           "the reason is not told. A blocking send, too, has to be called in a loop.",
    .next = "weir lab waitall",
    .run = whole_send,
};

/* ---- io-9: sent is not received ---- */

static enum verdict sent(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    double taken = (double)fill_for_good(lab, pair.client);
    double acknowledged = (double)tcp_look(pair.client).bytes_acked - 1; /* the SYN is one */
    double queued = bytes_in(pair.server);

    CLOSE(pair.server);
    wait_events(pair.client, POLLIN, 1000);

    observe_range(lab, "send has returned, in all", taken, 1 << 16, INFINITY, "bytes");
    observe_range(lab, "acknowledged by the peer's kernel", acknowledged, 1, taken - 1, "bytes");
    observe_range(lab, "in the peer's queue, unread", queued, 1, acknowledged, "bytes");
    observe_errno(lab, "the next send, when the peer has closed",
                  send(pair.client, "x", 1, MSG_NOSIGNAL), ECONNRESET);
    picture(lab, BARS, 0, "bytes that a peer got which never reads", "bytes", NULL);
    bar(lab, "send has returned", taken, 0);
    bar(lab, "acknowledged", acknowledged, 0);
    bar(lab, "in the peer's queue", queued, 0);
    bar(lab, "read by the peer", 0, 0);
    CLOSE(pair.client);
    return conclude(lab, CONFIRMED, "send counts what is stored here; even what the peer "
                                    "acknowledged was read by nobody, and is lost without a word "
                                    "but the reset");
}

static const struct experiment io_9 = {
    .id = "io-9",
    .name = "sent",
    .question = "how much of what send returned has the peer got?",
    .source = "S4:112 S2:247",
    .original = "成功存储到发送缓冲区的大小，不代表对端成功接收到",
    .claim = "the result of write is how much was stored in the send buffer; it does not mean "
             "that the other side has received it",
    .expectation = "more than 64 KB sent, a part of it acknowledged, that lies in the peer's queue "
                   "until the peer closes; then a reset instead of the rest",
    .reference = "send(2), RFC 1122 section 4.2.2.13 and __tcp_close() in Linux on unread data",
    .why = "send copies into the buffer of this side; the kernel of the other side acknowledges "
           "into its own. Neither asks a program. Only an answer by the other program tells that "
           "it has got something, which is why protocols have answers.",
    .next = "weir lab whole-send",
    .run = sent,
};

/* ---- io-10: interrupted ---- */

static volatile sig_atomic_t wake_from;

/* Sends the byte that is waited for: who gets it began to wait again after the handler. */
static void send_byte(int number)
{
    (void)number;
    int error = errno;
    send(wake_from, "x", 1, MSG_NOSIGNAL);
    errno = error;
}

static ssize_t wait_in_recv(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0);
}

static ssize_t wait_in_poll(int fd)
{
    struct pollfd watched = { .fd = fd, .events = POLLIN };
    return poll(&watched, 1, 5000);
}

/* A call that sleeps is sent a signal; what it returned, as text. */
static const char *interrupt(struct lab *lab, int flags, int limit_ms, void (*handler)(int),
                             ssize_t (*wait)(int fd))
{
    struct tcp_pair pair = tcp_pair(lab);
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
    must(lab, sigaction(SIGUSR1, &action, NULL), "sigaction");
    limit_time(lab, pair.server, SO_RCVTIMEO, limit_ms);
    wake_from = pair.client;

    int child = spawn(lab, signal_sleeper, NULL);
    ssize_t result = wait(pair.server);
    const char *got = result < 0 ? strerrorname_np(errno) : text("%zd", result);
    reap(lab, child);
    CLOSE(pair.client, pair.server);
    return got;
}

static enum verdict eintr(struct lab *lab)
{
    observe_text(lab, "recv, handler without SA_RESTART",
                 interrupt(lab, 0, 0, send_byte, wait_in_recv), "EINTR");
    observe_text(lab, "recv, handler with SA_RESTART",
                 interrupt(lab, SA_RESTART, 0, send_byte, wait_in_recv), "1");
    observe_text(lab, "the same with SO_RCVTIMEO, 5 s",
                 interrupt(lab, SA_RESTART, 5000, send_byte, wait_in_recv), "EINTR");
    observe_text(lab, "poll, handler with SA_RESTART",
                 interrupt(lab, SA_RESTART, 0, send_byte, wait_in_poll), "EINTR");
    observe_text(lab, "recv, signal ignored, until SO_RCVTIMEO",
                 interrupt(lab, 0, 50, SIG_IGN, wait_in_recv), "EAGAIN");
    return conclude(lab, REFINED, "EINTR needs a handler without SA_RESTART; with it recv goes on "
                                  "by itself, but not if SO_RCVTIMEO is set, and poll never "
                                  "does");
}

static const struct experiment io_10 = {
    .id = "io-10",
    .name = "eintr",
    .question = "when does a signal end recv with EINTR?",
    .source = "S0:373 S0:375 S2:48",
    .original = "如果错误为EINTR说明读是由中断引起的",
    .claim = "if the error is EINTR, the read was interrupted",
    .expectation = "EINTR after a handler without SA_RESTART; with SA_RESTART recv waits on, "
                   "except with SO_RCVTIMEO, while poll is EINTR in any case; a signal that is "
                   "ignored ends nothing",
    .reference = "signal(7), sock_intr_errno() in Linux",
    .why = "An interrupted call asks to be started again, and the kernel does so if the handler "
           "was set with SA_RESTART. A call with a time limit would then begin its time anew, so "
           "sock_intr_errno() says EINTR at once. EINTR is no fault of the connection: call "
           "again.",
    .next = "weir lab waitall",
    .run = eintr,
};

const struct experiment *const io_wait_experiments[] = { &io_7, &io_8, &io_9, &io_10, NULL };
