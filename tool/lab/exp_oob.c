/* exp_oob.c -- experiments on urgent data, which the sockets interface calls out-of-band. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* Sends to the server, and waits until all that was sent so far has come. A socket does not tell
 * how much lies behind the mark, TCP_INFO does. */
static void send_piece(struct lab *lab, struct tcp_pair pair, const char *words, size_t len,
                       int flags)
{
    uint64_t before = tcp_look(pair.server).bytes_received;
    must(lab, send(pair.client, words, len, flags), "send");
    WAIT_UNTIL(1000, tcp_look(pair.server).bytes_received == before + len);
}

static struct tcp_pair prompt_pair(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    set_option(lab, pair.client, IPPROTO_TCP, TCP_NODELAY, 1);
    return pair;
}

/* What the notes send. */
static void send_as_told(struct lab *lab, struct tcp_pair pair)
{
    send_piece(lab, pair, "123", 3, 0);
    send_piece(lab, pair, "abc", 3, MSG_OOB);
    send_piece(lab, pair, "123", 3, 0);
}

/* The urgent byte as text; "" if there is none, with errno. */
static const char *urgent_text(int fd)
{
    char byte = 0;
    return recv(fd, &byte, 1, MSG_OOB | MSG_DONTWAIT) == 1 ? text("%c", byte) : "";
}

/* ---- oob-1: one byte ---- */

static enum verdict urgent_byte(struct lab *lab)
{
    char buf[16], byte;
    struct tcp_pair pair = prompt_pair(lab);
    send_as_told(lab, pair);

    picture(lab, STRIP, 0, "the stream as it was received", NULL, NULL);
    observe_text(lab, "first recv", recv_text(lab, pair.server, buf, sizeof buf), "123ab");
    box(lab, 0, buf);
    const char *urgent = urgent_text(pair.server);
    observe_text(lab, "recv with MSG_OOB", urgent, "c");
    box(lab, 1, urgent);
    observe_errno(lab, "MSG_OOB once more", recv(pair.server, &byte, 1, MSG_OOB), EINVAL);
    observe_text(lab, "next recv", recv_text(lab, pair.server, buf, sizeof buf), "123");
    box(lab, 0, buf);
    CLOSE(pair.client, pair.server);
    return conclude(lab, CONFIRMED, "only the last byte is urgent, and a recv ends before it even "
                                    "when there is more");
}

static const struct experiment oob_1 = {
    .id = "oob-1",
    .name = "urgent-byte",
    .question = "how much of what is sent with MSG_OOB is out of band?",
    .source = "S3:117 S3:119",
    .original = "仅有最后一个字符‘c’被服务器当成真正的带外数据接收",
    .claim = "of \"abc\" sent with MSG_OOB only the c is received as out-of-band data; ordinary "
             "data are cut there: \"123ab\" and \"123\" are not read by one recv",
    .expectation = "recv gives 123ab, MSG_OOB gives c, recv gives 123; a second MSG_OOB is EINVAL",
    .reference = "tcp(7), RFC 6093, tcp_recv_urg() and tcp_recvmsg_locked() in Linux",
    .why = "TCP has one urgent pointer and no second channel: the bytes lie in the stream like all "
           "others, and the pointer marks one place in it. The sockets interface takes the byte "
           "before that place out and shows it to MSG_OOB. recv never reads across the mark in "
           "one call, so a program can know when it is there.",
    .next = "weir lab urgent-inline",
    .run = urgent_byte,
};

/* ---- oob-2: the pointer ---- */

static struct capture capture;

/* What is urgent to a receiver that reads the pointer as RFC 1122 says: where it points. */
static void read_strictly(struct lab *lab)
{
    sysctl_set(lab, "net/ipv4/tcp_stdurg", "1");
    struct tcp_pair pair = prompt_pair(lab);
    send_as_told(lab, pair);
    observe_text(lab, "MSG_OOB with tcp_stdurg = 1", urgent_text(pair.server), "1");
    CLOSE(pair.client, pair.server);
}

static enum verdict urgent_pointer(struct lab *lab)
{
    struct tcp_pair pair = prompt_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    sysctl_set(lab, "net/ipv4/tcp_stdurg", "0");
    capture_begin(lab, &capture, server);
    send_as_told(lab, pair);
    capture_wait(lab, &capture, 3, 1000);

    int found = capture_find(&capture, 0, TH_URG, client);
    must(lab, found, "no segment is urgent");
    const struct segment *s = &capture.segments[found];
    uint32_t first_data = capture.segments[0].seq;
    observe_number(lab, "segments with URG", capture_count(&capture, TH_URG, client), 1);
    observe_number(lab, "bytes it carries", s->len, 3);
    observe_number(lab, "its urgent pointer", s->urgent, 3);
    observe_number(lab, "the pointer's place in the stream, from 1",
                   s->seq + s->urgent - first_data + 1, 7);
    observe_text(lab, "MSG_OOB", urgent_text(pair.server), "c");
    capture_draw(lab, &capture, 0, "123, abc with MSG_OOB, and 123 again", client, "client",
                 "server");
    capture_end(lab, &capture);
    CLOSE(pair.client, pair.server);
    read_strictly(lab);
    return conclude(lab, CONFIRMED, "urg 3 points to the place behind the c, the seventh byte; the "
                                    "urgent one is the sixth, unless tcp_stdurg is set");
}

static const struct experiment oob_2 = {
    .id = "oob-2",
    .name = "urgent-pointer",
    .question = "where does the urgent pointer point?",
    .source = "S3:125",
    .original = "\"urg 3\"是紧急偏移值，指出带外数据在字节流中的位置的下一个字节位置是7",
    .claim = "urg 3 says that the place behind the urgent byte in the stream is 7, so the urgent "
             "byte is the sixth",
    .expectation = "one segment of three bytes with URG and the pointer 3, which is the seventh "
                   "place; a receiver with tcp_stdurg takes the seventh byte instead",
    .reference = "RFC 9293 section 3.8.5, RFC 6093, tcp_check_urg() in Linux",
    .why = "RFC 793 said in one place that the pointer is the last urgent byte and in another that "
           "it is the one behind. BSD took the latter and everybody followed; RFC 1122 decided for "
           "the former, and RFC 6093 gave in. tcp_check_urg() subtracts one from the pointer "
           "unless tcp_stdurg asks for the letter of RFC 1122.",
    .next = "weir lab urgent-byte",
    .needs = NEEDS_NET | NEEDS_CAPTURE,
    .run = urgent_pointer,
};

/* ---- oob-3: how it is announced ---- */

static bool has_exception(struct lab *lab, int fd)
{
    fd_set exceptional;
    struct timeval at_once = { 0 };
    FD_ZERO(&exceptional);
    FD_SET(fd, &exceptional);
    must(lab, select(fd + 1, NULL, NULL, &exceptional, &at_once), "select");
    return FD_ISSET(fd, &exceptional);
}

static enum verdict urgent_notice(struct lab *lab)
{
    char buf[16];
    sigset_t urg;
    struct timespec second = { .tv_sec = 1 }, at_once = { 0 };
    struct tcp_pair pair = prompt_pair(lab);
    sigemptyset(&urg);
    sigaddset(&urg, SIGURG);
    sigprocmask(SIG_BLOCK, &urg, NULL); /* so that it waits to be fetched */

    send_piece(lab, pair, "x", 1, MSG_OOB);
    observe_errno(lab, "without F_SETOWN: SIGURG", sigtimedwait(&urg, NULL, &at_once), EAGAIN);
    urgent_text(pair.server);
    must(lab, fcntl(pair.server, F_SETOWN, getpid()), "F_SETOWN");
    observe_bool(lab, "before: select, exceptfds", has_exception(lab, pair.server), false);
    send_as_told(lab, pair);

    observe_number(lab, "with F_SETOWN: the signal", sigtimedwait(&urg, NULL, &second), SIGURG);
    observe_bool(lab, "select, exceptfds", has_exception(lab, pair.server), true);
    observe_text(lab, "poll for POLLPRI", poll_words(wait_events(pair.server, POLLPRI, 1000)),
                 "PRI");
    observe_number(lab, "sockatmark before recv", sockatmark(pair.server), 0);
    observe_text(lab, "recv", recv_text(lab, pair.server, buf, sizeof buf), "123ab");
    observe_number(lab, "sockatmark after it", sockatmark(pair.server), 1);
    observe_text(lab, "recv with MSG_OOB", urgent_text(pair.server), "c");
    observe_bool(lab, "select, exceptfds, when it is read", has_exception(lab, pair.server), false);
    CLOSE(pair.client, pair.server);
    return conclude(lab, CONFIRMED, "exceptfds, POLLPRI and SIGURG all tell of it, the signal only "
                                    "to an owner; sockatmark finds the place");
}

static const struct experiment oob_3 = {
    .id = "oob-3",
    .name = "urgent-notice",
    .question = "how does a program learn of urgent data?",
    .source = "S3:133 S3:134 S3:140 S0:721",
    .original = "I/O复用产生的异常事件",
    .claim = "the kernel tells of out-of-band data by the exception set of select and its like, "
             "and by SIGURG; sockatmark tells whether the next byte is it",
    .expectation = "exceptfds and POLLPRI until the byte is read; SIGURG once the socket has an "
                   "owner; sockatmark is 1 when all before the mark is read",
    .reference = "select(2), fcntl(2) on F_SETOWN, sockatmark(3), sk_send_sigurg() in Linux",
    .why = "A segment with URG makes the kernel signal the owner at once, even if the byte itself "
           "is still to come. Nobody owns a socket until F_SETOWN says who, so the signal "
           "goes nowhere by default. select and poll report the byte when it is there and until "
           "MSG_OOB has taken it.",
    .next = "weir lab urgent-byte",
    .run = urgent_notice,
};

/* ---- oob-4: in line, and twice ---- */

static void in_line(struct lab *lab)
{
    char buf[16], byte;
    struct tcp_pair pair = prompt_pair(lab);
    set_option(lab, pair.server, SOL_SOCKET, SO_OOBINLINE, 1);
    send_as_told(lab, pair);
    picture(lab, STRIP, 0, "the stream with SO_OOBINLINE", NULL, NULL);
    observe_text(lab, "in line: first recv", recv_text(lab, pair.server, buf, sizeof buf), "123ab");
    box(lab, 0, buf);
    observe_number(lab, "in line: sockatmark", sockatmark(pair.server), 1);
    observe_errno(lab, "in line: MSG_OOB", recv(pair.server, &byte, 1, MSG_OOB), EINVAL);
    observe_text(lab, "in line: second recv", recv_text(lab, pair.server, buf, sizeof buf), "c123");
    box(lab, 1, text("%.1s", buf));
    box(lab, 0, text("%s", buf[0] ? buf + 1 : ""));
    CLOSE(pair.client, pair.server);
}

static void twice(struct lab *lab)
{
    char byte;
    struct tcp_pair pair = prompt_pair(lab);
    send_piece(lab, pair, "x", 1, MSG_OOB);
    send_piece(lab, pair, "y", 1, MSG_OOB);
    observe_text(lab, "x, then y: MSG_OOB", urgent_text(pair.server), "y");
    observe_errno(lab, "x, then y: recv", recv(pair.server, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CLOSE(pair.client, pair.server);
}

static void twice_in_stream(struct lab *lab)
{
    char buf[16];
    struct tcp_pair pair = prompt_pair(lab);
    send_piece(lab, pair, "1", 1, 0);
    send_piece(lab, pair, "x", 1, MSG_OOB);
    send_piece(lab, pair, "2", 1, 0);
    send_piece(lab, pair, "y", 1, MSG_OOB);
    picture(lab, STRIP, 0, "x and y were urgent; neither was fetched in time", NULL, NULL);
    observe_text(lab, "1, x, 2, y: recv", recv_text(lab, pair.server, buf, sizeof buf), "1x2");
    box(lab, 0, buf);
    const char *urgent = urgent_text(pair.server);
    observe_text(lab, "1, x, 2, y: MSG_OOB", urgent, "y");
    box(lab, 1, urgent);
    CLOSE(pair.client, pair.server);
}

static enum verdict urgent_inline(struct lab *lab)
{
    in_line(lab);
    twice(lab);
    twice_in_stream(lab);
    return conclude(lab, ADDED, "there is one urgent byte at a time: a second one makes the first "
                                "an ordinary byte, or loses it where it is the next to be read; "
                                "SO_OOBINLINE keeps every byte in its place");
}

static const struct experiment oob_4 = {
    .id = "oob-4",
    .name = "urgent-inline",
    .question = "what becomes of an urgent byte that is not fetched in time?",
    .expectation = "with SO_OOBINLINE it is the first byte behind the mark; otherwise a second "
                   "urgent byte takes its place: the first is lost if nothing was unread before "
                   "it, and becomes ordinary if something was",
    .reference = "RFC 6093 sections 3.3, 5 and 6, tcp(7), tcp_check_urg() in Linux",
    .why = "The kernel remembers one mark per socket. When a new one comes tcp_check_urg() forgets "
           "the old: its byte is an ordinary one of the stream again, except where the reader "
           "stands right before it, for there the byte counts as taken out and is skipped. "
           "RFC 6093 advises against urgent data in new programs.",
    .next = "weir lab urgent-byte",
    .run = urgent_inline,
};

/* ---- oob-5: UNIX sockets ---- */

static enum verdict urgent_unix(struct lab *lab)
{
    int ends[2], letters[2];
    char buf[16];
    must(lab, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    must(lab, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, letters), "socketpair");
    observe_errno(lab, "UNIX datagram: send with MSG_OOB", send(letters[0], "abc", 3, MSG_OOB),
                  EOPNOTSUPP);
    ssize_t result = send(ends[0], "abc", 3, MSG_OOB);
    bool is_missing = result < 0 && errno == EOPNOTSUPP;
    if (is_missing) {
        note(lab, "UNIX stream: send with MSG_OOB", "EOPNOTSUPP");
    } else {
        observe_number(lab, "UNIX stream: send with MSG_OOB", result, 3);
        observe_text(lab, "UNIX stream: events", poll_words(wait_events(ends[1], POLLPRI, 1000)),
                     "PRI");
        observe_text(lab, "UNIX stream: recv", recv_text(lab, ends[1], buf, sizeof buf), "ab");
        observe_text(lab, "UNIX stream: recv with MSG_OOB", urgent_text(ends[1]), "c");
    }
    observe_bool(lab, "older than Linux 5.15, or without it", is_missing,
                 is_missing || !kernel_since(5, 15));
    CLOSE(ends[0], ends[1], letters[0], letters[1]);
    if (is_missing)
        return conclude(lab, ADDED, "this kernel has none: it came with 5.15, as AF_UNIX_OOB");
    return conclude(lab, ADDED, "a stream has one urgent byte as TCP has; datagrams have none");
}

static const struct experiment oob_5 = {
    .id = "oob-5",
    .name = "urgent-unix",
    .question = "do UNIX sockets have urgent data?",
    .expectation = "a stream has since Linux 5.15, where the kernel was built with it: of abc the "
                   "c is urgent; before, EOPNOTSUPP; datagrams have none",
    .reference = "unix(7), CONFIG_AF_UNIX_OOB, queue_oob() in Linux",
    .why = "There is no pointer in a header that could say where: the urgent byte is a buffer of "
           "its own in the queue, which the receiver's socket points to. It was added so that "
           "programs written for TCP can run over a local stream as they are.",
    .next = "weir lab urgent-byte",
    .run = urgent_unix,
};

const struct experiment *const oob_experiments[] = { &oob_1, &oob_2, &oob_3,
                                                     &oob_4, &oob_5, NULL };
