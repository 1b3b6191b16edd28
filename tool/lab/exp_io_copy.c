/* exp_io_copy.c -- experiments on the forms of sending and receiving, on what sockets inherit, and
 * on what sending costs: copies, Nagle's algorithm, loops that wait for nothing.              */
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- io-11: many pieces in one call ---- */

enum { PIECES_TOO_MANY = 1025 }; /* UIO_MAXIOV and one */

static void too_many(struct lab *lab, int fd)
{
    static struct iovec parts[PIECES_TOO_MANY];
    struct msghdr msg = { .msg_iov = parts, .msg_iovlen = PIECES_TOO_MANY };
    observe_errno(lab, "sendmsg of 1025 pieces", sendmsg(fd, &msg, 0), EMSGSIZE);
    observe_errno(lab, "writev of 1025 pieces", writev(fd, parts, PIECES_TOO_MANY), EINVAL);
}

static void beside_sockets(struct lab *lab, struct iovec *parts)
{
    int tube[2];
    struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 3 };
    must(lab, pipe2(tube, O_CLOEXEC), "pipe2");
    observe_errno(lab, "sendmsg to a pipe", sendmsg(tube[1], &msg, 0), ENOTSOCK);
    observe_number(lab, "writev to a pipe: bytes", writev(tube[1], parts, 3), 13);
    CLOSE(tube[0], tube[1]);
}

static enum verdict scatter(struct lab *lab)
{
    char one[] = "one", two[] = "-two-", three[] = "three", buf[32];
    char head[5] = "", body[4] = "", tail[16] = "";
    struct iovec out[] = { { one, 3 }, { two, 5 }, { three, 5 } };
    struct iovec in[] = { { head, 4 }, { body, 3 }, { tail, 15 } };
    struct msghdr sending = { .msg_iov = out, .msg_iovlen = 3 };
    struct msghdr receiving = { .msg_iov = in, .msg_iovlen = 3 };
    struct tcp_pair tcp = tcp_pair(lab);
    struct udp_pair udp = udp_pair(lab);

    observe_number(lab, "TCP: sendmsg of 3, 5 and 5 bytes", sendmsg(tcp.client, &sending, 0), 13);
    wait_events(tcp.server, POLLIN, 1000);
    observe_number(lab, "TCP: recvmsg", recvmsg(tcp.server, &receiving, 0), 13);
    observe_text(lab, "TCP: the first 4 bytes", head, "one-");
    observe_text(lab, "TCP: the next 3", body, "two");
    observe_text(lab, "TCP: the rest", tail, "-three");
    must(lab, sendmsg(udp.a, &sending, 0), "sendmsg");
    observe_text(lab, "UDP: one recv", recv_text(lab, udp.b, buf, sizeof buf), "one-two-three");
    observe_number(lab, "bytes of msg_iovlen", sizeof sending.msg_iovlen, sizeof(size_t));
    beside_sockets(lab, out);
    too_many(lab, tcp.client);
    picture(lab, BOXES, 0, "gathered from three places, scattered to three others", "sent",
            "received");
    for (int i = 0; i < 3; i++)
        box(lab, 0, ((const char *[]){ one, two, three })[i]);
    for (int i = 0; i < 3; i++)
        box(lab, 1, ((const char *[]){ head, body, tail })[i]);
    CLOSE(tcp.client, tcp.server, udp.a, udp.b);
    return conclude(lab, REFINED, "on sockets they do what all the others do; on a pipe or a file "
                                  "they are ENOTSOCK, and msg_iovlen is a size_t here, no int");
}

static const struct experiment io_11 = {
    .id = "io-11",
    .name = "scatter",
    .question = "can sendmsg and recvmsg replace all other calls?",
    .source = "S0:349 S3:162 S3:174",
    .original = "最通用的I/O函数，实际上可以把上面的其它函数都替换成这两个函数",
    .claim = "recvmsg and sendmsg are the most general I/O functions: all others can be replaced "
             "by these two",
    .expectation = "three pieces leave as one stream or one datagram and are cut into three others "
                   "on the way in; ENOTSOCK on a pipe; at most 1024 pieces",
    .reference = "sendmsg(2), readv(2), UIO_MAXIOV in Linux",
    .why = "send, sendto and write on a socket become the same sendmsg inside the kernel, with one "
           "piece. The pieces are only where the bytes lie in the program: on a stream they leave "
           "no trace, and one datagram is made of all. write and writev work on every "
           "descriptor, sendmsg on sockets alone.",
    .next = "weir lab stream",
    .run = scatter,
};

/* ---- io-12: an address that nobody needs ---- */

static void ignored_by_tcp(struct lab *lab)
{
    char buf[16] = "";
    struct tcp_pair pair = tcp_pair(lab);
    struct sockaddr_in elsewhere = address("192.0.2.1", 9), from = { .sin_port = 1 };
    struct sockaddr *to = (struct sockaddr *)&elsewhere;
    socklen_t len = sizeof from;

    observe_number(lab, "TCP: sendto with NULL", sendto(pair.client, "a", 1, 0, NULL, 0), 1);
    observe_number(lab, "TCP: sendto with another address",
                   sendto(pair.client, "b", 1, 0, to, sizeof elsewhere), 1);
    WAIT_UNTIL(1000, bytes_in(pair.server) == 2);
    must(lab, recvfrom(pair.server, buf, sizeof buf - 1, 0, (struct sockaddr *)&from, &len),
         "recvfrom");
    observe_text(lab, "TCP: the peer gets", buf, "ab");
    observe_number(lab, "TCP: bytes of the address from recvfrom", len, 0);
    observe_number(lab, "TCP: what its memory has, before 1", from.sin_port, 1);
    CLOSE(pair.client, pair.server);
}

static enum verdict sendto_tcp(struct lab *lab)
{
    int ends[2], lonely = tcp_socket(lab), listener = tcp_listen(lab, 1);
    struct sockaddr_in there = local_address(lab, listener);
    struct sockaddr local = { .sa_family = AF_UNIX };
    ignored_by_tcp(lab);
    observe_errno(lab, "TCP, not connected: sendto a listener",
                  sendto(lonely, "a", 1, MSG_NOSIGNAL, (struct sockaddr *)&there, sizeof there),
                  EPIPE);
    must(lab, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    observe_errno(lab, "UNIX stream: sendto with an address",
                  sendto(ends[0], "a", 1, 0, &local, sizeof local), EISCONN);
    CLOSE(ends[0], ends[1], lonely, listener);
    return conclude(lab, REFINED, "NULL works, and so does any other address: TCP ignores it "
                                  "without an error and connects nowhere; a UNIX stream refuses "
                                  "it");
}

static const struct experiment io_12 = {
    .id = "io-12",
    .name = "sendto-tcp",
    .question = "what do sendto and recvfrom do on a stream?",
    .source = "S3:150",
    .original = "recvfrom/sendto也可以用于面向连接（STREAM）的socket的数据读写",
    .claim = "recvfrom and sendto may also be used on connected stream sockets: pass NULL for the "
             "last two arguments",
    .expectation = "sendto with NULL or with any address sends to the peer; recvfrom gives an "
                   "address of no bytes; EPIPE without a connection; EISCONN on a UNIX stream",
    .reference = "send(2), tcp_sendmsg_locked(), inet_recvmsg() and unix_stream_sendmsg() in Linux",
    .why = "The address is handed to the protocol, and TCP looks at it only with MSG_FASTOPEN. "
           "POSIX allows EISCONN, which is what AF_UNIX answers. recvfrom reports who sent a "
           "datagram; of a stream that is known already, from accept or getpeername.",
    .next = "weir lab scatter",
    .run = sendto_tcp,
};

/* ---- io-13: copies ---- */

enum { BULK = 16 << 20, PIECE = 64 << 10 };

/* In a process of its own: reads all, and ends. */
static int read_bulk(void *arg)
{
    static char buf[PIECE];
    for (size_t left = BULK; left > 0;) {
        ssize_t len = recv(*(int *)arg, buf, sizeof buf, 0);
        if (len <= 0)
            return 1;
        left -= (size_t)len;
    }
    return 0;
}

/* How fast a reader gets so many bytes, sent from memory or from a file. */
static void measure(struct lab *lab, const char *how, int file)
{
    static char buf[PIECE];
    struct tcp_pair pair = tcp_pair(lab);
    int64_t begin = clock_ns();
    int child = spawn(lab, read_bulk, &pair.server);
    for (long long done = 0; done < BULK;) {
        off_t from_start = 0;
        done += must(lab, file < 0 ? send(pair.client, buf, PIECE, MSG_NOSIGNAL)
                                   : sendfile(pair.client, file, &from_start, PIECE), how);
    }
    must(lab, -reap(lab, child), "the reader");
    double rate = BULK / 1e6 / (ms_since(begin) / 1e3);
    note_number(lab, text("throughput of %s", how), rate, "MB/s");
    bar(lab, how, round(rate), 0);
    CLOSE(pair.client, pair.server);
}

/* The loopback cannot leave pages with the sender, and the kernel says so. */
static void zero_copy(struct lab *lab)
{
    char buf[16] = "before", space[256];
    struct tcp_pair pair = tcp_pair(lab);
    struct msghdr msg = { .msg_control = space, .msg_controllen = sizeof space };
    set_option(lab, pair.client, SOL_SOCKET, SO_ZEROCOPY, 1);
    if (send(pair.client, buf, 6, MSG_ZEROCOPY) < 0) {
        note(lab, "MSG_ZEROCOPY", "%s", strerrorname_np(errno));
    } else {
        recv_text(lab, pair.server, buf, sizeof buf);
        wait_events(pair.client, POLLPRI, 1000); /* an error queue is POLLERR, always reported */
        must(lab, recvmsg(pair.client, &msg, MSG_ERRQUEUE | MSG_DONTWAIT), "the error queue");
        const struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        struct sock_extended_err told;
        memcpy(&told, CMSG_DATA(header), sizeof told);
        observe_bool(lab, "MSG_ZEROCOPY: the kernel says it copied",
                     told.ee_code & SO_EE_CODE_ZEROCOPY_COPIED, true);
    }
    CLOSE(pair.client, pair.server);
}

static void draw_row(struct lab *lab, const char *from, const char *to, const char *copied)
{
    cell(lab, from, false);
    cell(lab, to, false);
    cell(lab, copied, true);
}

/* Bytes that are overwritten where they came from show whether they are still the same there. */
static int count_copies(struct lab *lab, int file)
{
    char mine[] = "before", buf[16];
    off_t start = 0;
    struct tcp_pair pair = tcp_pair(lab);
    must(lab, send(pair.client, mine, 6, 0), "send");
    memcpy(mine, "after!", 6);
    bool is_copied_in = strcmp(recv_text(lab, pair.server, buf, sizeof buf), "before") == 0;

    must(lab, pwrite(file, "before", 6, 0), "pwrite");
    must(lab, sendfile(pair.client, file, &start, 6), "sendfile");
    wait_events(pair.server, POLLIN, 1000);
    observe_number(lab, "from sendfile, bytes in the peer's queue", bytes_in(pair.server), 6);
    must(lab, pwrite(file, "after!", 6, 0), "pwrite");
    bool is_copied_between = strcmp(recv_text(lab, pair.server, buf, sizeof buf), "before") == 0;
    must(lab, pwrite(file, "later!", 6, 0), "pwrite");
    bool is_copied_out = strcmp(buf, "later!") != 0;

    observe_bool(lab, "send: copied into the kernel", is_copied_in, true);
    observe_bool(lab, "from there into the peer's queue: copied", is_copied_between, false);
    observe_bool(lab, "recv: copied out of the kernel", is_copied_out, true);
    picture(lab, TABLE, 0, "who copies", NULL, NULL);
    draw_row(lab, "from", "to", "copied");
    draw_row(lab, "program", "send buffer", is_copied_in ? "yes" : "no");
    draw_row(lab, "send buffer", "receive buffer", is_copied_between ? "yes" : "no, same page");
    draw_row(lab, "receive buffer", "program", is_copied_out ? "yes" : "no");
    CLOSE(pair.client, pair.server);
    return is_copied_in + is_copied_between + is_copied_out;
}

static enum verdict copies(struct lab *lab)
{
    int file = must(lab, memfd_create("pages", MFD_CLOEXEC), "memfd_create");
    must(lab, ftruncate(file, PIECE), "ftruncate");
    observe_number(lab, "copies by the processor", count_copies(lab, file), 2);
    zero_copy(lab);
    picture(lab, BARS, PICTURE_DETAIL, "throughput", "MB/s", NULL);
    measure(lab, "send", -1);
    measure(lab, "sendfile", file);
    CLOSE(file);
    return conclude(lab, CONTRADICTED, "two: send copies once and recv once; between them the "
                                       "data stay in the same pages, through both stacks and "
                                       "both queues, and sendfile saves the first copy too");
}

static const struct experiment io_13 = {
    .id = "io-13",
    .name = "copies",
    .question = "how often are data copied on their way?",
    .source = "S4:96",
    .original = "一段数据流从应用程序发送端到接收端一个经历6次拷贝",
    .claim = "data are copied six times from the sending program to the receiving one",
    .expectation = "what was sent does not change with the sender's memory: it was copied; what "
                   "sendfile sent does change with the file even in the receiver's queue: nobody "
                   "has copied it on the way there",
    .reference = "sendfile(2) notes, Documentation/networking/msg_zerocopy.rst, "
                 "tcp_sendmsg_locked() and skb_copy_datagram_iter() in Linux",
    .why = "Headers are written in front of the data or into memory of their own, so TCP, IP and "
           "the device copy nothing: they pass on references to pages. A network card reads them "
           "and writes others by itself. The processor copies at the border to each program: two "
           "copies. MSG_ZEROCOPY spares the first on a real card, while the loopback makes up for "
           "it.",
    .next = "weir lab scatter",
    .run = copies,
};

/* ---- io-14: flags of a new socket ---- */

static bool is_nonblocking(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static bool closes_on_exec(int fd)
{
    return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void see_flags(struct lab *lab, const char *whose, int fd, bool nonblocking, bool cloexec)
{
    observe_bool(lab, text("%s: O_NONBLOCK", whose), is_nonblocking(fd), nonblocking);
    observe_bool(lab, text("%s: FD_CLOEXEC", whose), closes_on_exec(fd), cloexec);
    cell(lab, whose, false);
    cell(lab, is_nonblocking(fd) ? "yes" : "no", false);
    cell(lab, closes_on_exec(fd) ? "yes" : "no", true);
}

static enum verdict blocking_flag(struct lab *lab)
{
    int clients[2], on = 1;
    int plain = must(lab, socket(AF_INET, SOCK_STREAM, 0), "socket");
    int both = must(lab, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    int listener = tcp_listen(lab, 2);
    picture(lab, TABLE, 0, "flags that a socket has", NULL, NULL);
    cell(lab, "", false);
    cell(lab, "O_NONBLOCK", false);
    cell(lab, "FD_CLOEXEC", true);
    see_flags(lab, "socket", plain, false, false);
    see_flags(lab, "socket with both flags", both, true, true);
    int same = must(lab, dup(plain), "dup");
    must(lab, ioctl(plain, FIONBIO, &on), "FIONBIO");
    see_flags(lab, "after ioctl FIONBIO", plain, true, false);
    see_flags(lab, "its duplicate, made before", same, true, false);

    set_nonblocking(lab, listener);
    set_option(lab, listener, IPPROTO_TCP, TCP_NODELAY, 1);
    see_flags(lab, "listener, fcntl O_NONBLOCK", listener, true, true);
    for (int i = 0; i < 2; i++)
        must(lab, tcp_connect(lab, local_address(lab, listener), &clients[i]), "connect");
    wait_events(listener, POLLIN, 1000);
    int first = must(lab, accept(listener, NULL, NULL), "accept");
    wait_events(listener, POLLIN, 1000);
    int second = must(lab, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), "accept4");
    see_flags(lab, "from its accept", first, false, false);
    see_flags(lab, "from its accept4 with both", second, true, true);
    observe_bool(lab, "from its accept: TCP_NODELAY, as the listener",
                 get_option(lab, first, IPPROTO_TCP, TCP_NODELAY), true);
    CLOSE(plain, both, same, listener, clients[0], clients[1], first, second);
    return conclude(lab, CONFIRMED, "a socket blocks until it is told otherwise, one from accept "
                                    "too: on Linux it inherits options such as TCP_NODELAY, but "
                                    "not the flags");
}

static const struct experiment io_14 = {
    .id = "io-14",
    .name = "blocking-flag",
    .question = "which sockets block, and what does accept hand on?",
    .source = "S2:167 S2:169 S2:191",
    .original = "默认创建的 socket 都是阻塞模式的",
    .claim = "a socket blocks by default; fcntl, ioctl, SOCK_NONBLOCK and accept4 make it "
             "non-blocking",
    .expectation = "no flag unless asked for, in socket as in accept, even where the listener does "
                   "not block; O_NONBLOCK is shared by duplicates, FD_CLOEXEC is not; TCP_NODELAY "
                   "is inherited from the listener",
    .reference = "accept(2), socket(2), fcntl(2)",
    .why = "O_NONBLOCK belongs to the open file, and accept opens a new one; BSD systems copy it "
           "from the listener, Linux does not. Options belong to the socket below, which TCP "
           "copies from the listener when the handshake is done.",
    .next = "weir lab eagain",
    .run = blocking_flag,
};

/* ---- io-15: Nagle's algorithm ---- */

enum { ROUNDS = 4 };

static void send_two(struct lab *lab, int fd)
{
    must(lab, send(fd, "head", 4, 0), "send");
    must(lab, send(fd, "tail", 4, 0), "send");
}

static void send_joined(struct lab *lab, int fd)
{
    char head[] = "head", tail[] = "tail";
    struct iovec parts[] = { { head, 4 }, { tail, 4 } };
    must(lab, writev(fd, parts, 2), "writev");
}

/* Questions of two pieces, each with an answer: how long the quickest round took. The server is
 * made to delay acknowledgements, as one that answers does by itself. */
static double quickest_round(struct lab *lab, const char *how, bool is_nodelay,
                             void (*ask)(struct lab *lab, int fd))
{
    char buf[16];
    double quickest = INFINITY, total = 0;
    struct tcp_pair pair = tcp_pair(lab);
    set_option(lab, pair.client, IPPROTO_TCP, TCP_NODELAY, is_nodelay);
    for (int i = 0; i < ROUNDS; i++) {
        set_option(lab, pair.server, IPPROTO_TCP, TCP_QUICKACK, 0);
        int64_t begin = clock_ns();
        ask(lab, pair.client);
        must(lab, recv(pair.server, buf, 8, MSG_WAITALL), "recv");
        send_text(lab, pair.server, "answer");
        recv_text(lab, pair.client, buf, sizeof buf);
        double took = ms_since(begin);
        quickest = took < quickest ? took : quickest;
        total += took;
    }
    note_number(lab, text("%s: a round takes", how), total / ROUNDS, "ms");
    bar(lab, how, round(total / ROUNDS * 100) / 100, 0);
    CLOSE(pair.client, pair.server);
    return quickest;
}

static enum verdict nagle(struct lab *lab)
{
    picture(lab, BARS, 0, "a question in two pieces, and its answer", "ms", NULL);
    double held = quickest_round(lab, "two sends", false, send_two);
    double at_once = quickest_round(lab, "two sends, TCP_NODELAY", true, send_two);
    double joined = quickest_round(lab, "one writev", false, send_joined);
    observe_range(lab, "quickest, two sends", held, 20, 500, "ms");
    observe_range(lab, "quickest, two sends, TCP_NODELAY", at_once, 0, 15, "ms");
    observe_range(lab, "quickest, one writev", joined, 0, 15, "ms");
    return conclude(lab, CONFIRMED, "the second small piece waits for the acknowledgement of the "
                                    "first, which the other side delays; TCP_NODELAY ends that, "
                                    "and so does sending both at once");
}

static const struct experiment io_15 = {
    .id = "io-15",
    .name = "nagle",
    .question = "what does Nagle's algorithm cost, and when?",
    .source = "S2:247",
    .original = "这种行为涉及到一个叫 nagel 算法和 TCP_NODELAY 的 socket 选项",
    .claim = "when data leave the buffer is up to TCP: to Nagle's algorithm and TCP_NODELAY",
    .expectation = "a question sent in two pieces takes as long as a delayed acknowledgement, 40 "
                   "ms on Linux; with TCP_NODELAY or in one call it takes next to nothing",
    .reference = "RFC 896, RFC 1122 section 4.2.3.2, tcp(7), TCP_DELACK_MIN in Linux",
    .why = "Nagle's algorithm holds back a small segment while another is not acknowledged, so "
           "that a slow typist does not fill the network with headers. The receiver delays its "
           "acknowledgement in order to send it with an answer, which cannot be made before the "
           "second piece is there. Both wait for the other until the receiver's timer runs out.",
    .next = "weir lab scatter",
    .run = nagle,
};

/* ---- io-16: a loop that cannot send ---- */

enum { SPELL_MS = 50 };

static enum verdict busy_send(struct lab *lab)
{
    long long failed = 0;
    struct tcp_pair pair = tcp_pair(lab);
    fill_for_good(lab, pair.client);
    set_nonblocking(lab, pair.client);

    int64_t begin = clock_ns(), used = processor_ns();
    while (ms_since(begin) < SPELL_MS)
        failed += send(pair.client, "x", 1, MSG_NOSIGNAL) < 0 && errno == EAGAIN;
    double looping = (double)(processor_ns() - used) / 1e6;

    begin = clock_ns(), used = processor_ns();
    int events = wait_events(pair.client, POLLOUT, SPELL_MS);
    double waiting = (double)(processor_ns() - used) / 1e6;

    observe_range(lab, "sends that failed in 50 ms", (double)failed, 100, INFINITY, "times");
    note_number(lab, "processor time of the loop", looping, "ms");
    observe_text(lab, "poll for room, 50 ms: events", poll_words(events), "none");
    observe_range(lab, "it took", ms_since(begin), SPELL_MS - 5, INFINITY, "ms");
    observe_range(lab, "processor time of poll", waiting, 0, looping, "ms");
    picture(lab, BARS, 0, "processor time in 50 ms without room", "ms", NULL);
    bar(lab, "send and continue", round(looping), SPELL_MS);
    bar(lab, "poll", round(waiting), SPELL_MS);
    CLOSE(pair.client, pair.server);
    return conclude(lab, REFINED, "a loop it has to be, but with poll in it: otherwise it asks "
                                  "%lld times in 50 ms for nothing", failed);
}

static const struct experiment io_16 = {
    .id = "io-16",
    .name = "busy-send",
    .question = "what does a loop cost that sends again at EWOULDBLOCK?",
    .source = "S2:53 S2:575",
    .original = "非阻塞模式下如果暂时无法发送数据会返回，不会阻塞着 write，因此需要循环发送",
    .claim = "a non-blocking write returns when it cannot send for the moment and does not block; "
             "so it has to be called in a loop",
    .expectation = "such a loop takes a processor for as long as there is no room, in thousands "
                   "of calls; poll waits as long for next to nothing",
    .reference = "poll(2), send(2)",
    .why = "Non-blocking means that the program wants to do something else meanwhile. When there "
           "is nothing else, it has to say for what it waits, or it keeps asking: the reader at "
           "the other end may need the very processor that the loop holds.",
    .next = "weir lab eagain",
    .run = busy_send,
};

const struct experiment *const io_copy_experiments[] = { &io_11, &io_12, &io_13, &io_14,
                                                         &io_15, &io_16, NULL };
