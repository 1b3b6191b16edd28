/* exp_window.c -- experiments on windows, on the buffers behind them, and on sizes of segments. */
#include <errno.h>
#include <math.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

enum { KIB = 1024, FIRST_LOOK = 32 * KIB };

/* Nothing is under way any more: what may leave has left and was acknowledged. */
static bool is_settled(int fd)
{
    struct tcp_view look = tcp_look(fd);
    return look.unacked == 0 && (look.not_sent == 0 || look.snd_wnd == 0);
}

/* ---- win-1: where the bytes are when no more fit ---- */

/* A send that may wait for a moment, when the buffers are full; its result, and errno. One that
 * finds room all the same is among those that fill them: tcp_new_space() makes a send buffer that
 * was found full larger when the next acknowledgement comes, the answer to a window probe for
 * instance. */
static ssize_t fill_until_it_waits(struct lab *lab, int fd, size_t piece, long long *total)
{
    struct timeval patience = { .tv_usec = 20000 };
    must(lab, setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), "SO_SNDTIMEO");
    for (ssize_t result = 0;;) {
        *total += result + fill_buffers(lab, fd, piece);
        WAIT_UNTIL(500, is_settled(fd));
        result = send(fd, "x", 1, MSG_NOSIGNAL);
        if (result < 0)
            return result;
    }
}

static void fill_both(struct lab *lab, size_t piece)
{
    struct tcp_pair pair = tcp_pair(lab);
    long long total = 0;
    ssize_t result = fill_until_it_waits(lab, pair.client, piece, &total);
    observe_errno(lab, text("%zu-byte sends: a send that would wait, after 20 ms", piece), result,
                  EAGAIN);

    WAIT_UNTIL(500, is_settled(pair.client) &&
                        bytes_in(pair.server) + bytes_out(pair.client) == total);
    int received = bytes_in(pair.server), waiting = bytes_out(pair.client);
    note_number(lab, text("%zu-byte sends: bytes taken", piece), (double)total, "bytes");
    observe_number(lab, text("%zu-byte sends: bytes at the receiver and the sender", piece),
                   received + waiting, total);
    observe_range(lab, text("%zu-byte sends: of them at the receiver", piece),
                  100.0 * received / (double)total, 0, 40, "%");
    bar(lab, text("%zu-byte sends: receiver", piece), received, (double)total);
    bar(lab, text("%zu-byte sends: sender", piece), waiting, (double)total);
    CLOSE(pair.client, pair.server);
}

static void look_at_both(struct lab *lab, struct tcp_pair pair, long long total)
{
    struct item item = { .x = bytes_in(pair.server), .y = bytes_out(pair.client) };
    snprintf(item.label, sizeof item.label, "%lld KiB", total / KIB);
    picture_item(lab, item);
}

/* Looks each time that send has taken twice as much, and at the end. */
static void watch_filling(struct lab *lab)
{
    static const char piece[FIRST_LOOK / 4];
    struct tcp_pair pair = tcp_pair(lab);
    long long total = 0, before, look_at = FIRST_LOOK;
    do {
        ssize_t len = 1;
        before = total;
        while (total < look_at && len > 0) {
            len = send(pair.client, piece, sizeof piece, MSG_DONTWAIT | MSG_NOSIGNAL);
            total += len > 0 ? len : 0;
        }
        WAIT_UNTIL(500, is_settled(pair.client));
        if (total >= look_at || total == before)
            look_at_both(lab, pair, total);
        look_at *= total >= look_at ? 2 : 1;
    } while (total > before);
    CLOSE(pair.client, pair.server);
}

static enum verdict full_buffers(struct lab *lab)
{
    static const size_t pieces[] = { 10, 1000, 65536 };
    picture(lab, TANKS, 0, "bytes in the two buffers when send has taken so many",
            "receiver", "sender");
    watch_filling(lab);
    picture(lab, BARS, 0, "where they are when both are full", "bytes", NULL);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        fill_both(lab, pieces[i]);
    return conclude(lab, CONTRADICTED, "the sender does wait when both buffers are full, but most "
                                       "bytes are in its own and never left: half of what was "
                                       "sent is not the window");
}

static const struct experiment win_1 = {
    .id = "win-1",
    .name = "full-buffers",
    .question = "where are the bytes when send waits and nobody reads?",
    .source = "S2:258 S2:425 S2:440 S2:442",
    .claims = "15",
    .original = "我们可以粗略地算出 TCP 窗口的大小大约等于 1.7 M左右",
    .claim = "send waits when the kernel's buffers at both ends are full; half of what was sent, "
             "about 1.7 MB, is the TCP window",
    .expectation = "every byte that send took is at the receiver or still in the send buffer, and "
                   "by far the most are in the send buffer, however small the pieces were",
    .reference = "tcp(7) on tcp_wmem and tcp_rmem, tcp_sndbuf_expand() and tcp_select_window() in "
                 "Linux",
    .why = "The window is credit that the receiver gives, not a buffer: it is what its buffer has "
           "room for. A receive buffer begins with 128 KB and grows only for a program that "
           "reads. The send buffer grows with the congestion window, up to 4 MB as the third "
           "number of tcp_wmem says, and that is what a program fills that sends to nobody.",
    .next = "weir lab zero-window buffer-size",
    .run = full_buffers,
};

/* ---- win-2: the window over time ---- */

enum { PIECE = 16 << 10, LARGE_PIECE = 64 << 10, GROWTH = 4 };

static char zeros[LARGE_PIECE];

/* Sends until the window is shut; the largest that was seen. */
static unsigned with_idle_reader(struct lab *lab, struct tcp_pair pair)
{
    unsigned window = tcp_look(pair.client).snd_wnd, most = window;
    long long sent = 0;
    point(lab, "nobody reads", 0, (double)window / KIB);
    while (window > 0) {
        sent += must(lab, send(pair.client, zeros, PIECE, MSG_DONTWAIT), "send");
        WAIT_UNTIL(500, is_settled(pair.client));
        window = tcp_look(pair.client).snd_wnd;
        most = window > most ? window : most;
        point(lab, "nobody reads", (double)sent / KIB, (double)window / KIB);
    }
    return most;
}

/* Reads what comes, at once, until the window has grown enough, for a second and a half at most. */
static unsigned with_quick_reader(struct lab *lab, struct tcp_pair pair)
{
    static char buf[LARGE_PIECE];
    unsigned first = tcp_look(pair.client).snd_wnd, most = first;
    int64_t begin = clock_ns();
    long long sent = 0;
    point(lab, "read at once", 0, (double)first / KIB);
    while (most < GROWTH * first && ms_since(begin) < 1500) {
        ssize_t len = send(pair.client, zeros, sizeof zeros, MSG_DONTWAIT);
        sent += len > 0 ? len : 0;
        while (recv(pair.server, buf, sizeof buf, MSG_DONTWAIT) > 0)
            continue;
        unsigned window = tcp_look(pair.client).snd_wnd;
        if (window > most)
            point(lab, "read at once", (double)sent / KIB, (double)window / KIB);
        most = window > most ? window : most;
    }
    return most;
}

static enum verdict window_over_time(struct lab *lab)
{
    if (sysctl_number("net/ipv4/tcp_moderate_rcvbuf") == 0)
        return skip(lab, "sysctl net.ipv4.tcp_moderate_rcvbuf=1", "receive buffers are fixed here");
    struct tcp_pair idle = tcp_pair(lab), quick = tcp_pair(lab);
    unsigned first = tcp_look(idle.client).snd_wnd;
    picture(lab, PLOT, 0, "what the receiver allows", "KiB sent", "KiB");

    unsigned idle_most = with_idle_reader(lab, idle);
    unsigned quick_most = with_quick_reader(lab, quick);

    note_number(lab, "the first window", first / (double)KIB, "KiB");
    note_number(lab, "the largest when nobody reads", idle_most / (double)KIB, "KiB");
    observe_number(lab, "the last when nobody reads", tcp_look(idle.client).snd_wnd, 0);
    observe_range(lab, "the largest for a reader, in first windows", quick_most / (double)first, 2,
                  INFINITY, "times");
    observe_bool(lab, "a reader gets a larger one", quick_most > idle_most, true);
    CLOSE(idle.client, idle.server, quick.client, quick.server);
    return conclude(lab, REFINED, "it shrinks to 0 when nobody reads, after growing a little at "
                                  "first; to grow on it needs a program that reads");
}

static const struct experiment win_2 = {
    .id = "win-2",
    .name = "window",
    .question = "how does the window change while data comes?",
    .source = "S2:504",
    .original = "TCP 窗口大小短期内会慢慢增加",
    .claim = "the window grows slowly for a short time; as data heaps up it then shrinks, and in "
             "the end is 0",
    .expectation = "shut at the end when nobody reads; several times as large as at first when a "
                   "program reads at once",
    .reference = "tcp_grow_window() and tcp_rcv_space_adjust() in Linux, tcp_rmem in tcp(7)",
    .why = "The first window is half of the receive buffer, for it is not known yet how much "
           "memory a byte will take; as segments turn out to be well filled, the other half is "
           "offered too. Beyond that the buffer itself must grow, and the kernel measures for that "
           "how much the program takes out in one round trip. One that takes nothing gets no more.",
    .next = "weir lab zero-window",
    .run = window_over_time,
};

/* ---- win-3: what send does when the window is shut ---- */

static enum verdict zero_window(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair_receiving(lab, PIECE);
    long long before = 0;
    while (tcp_look(pair.client).snd_wnd > 0) {
        before += must(lab, send(pair.client, zeros, PIECE / 4, MSG_DONTWAIT), "send");
        WAIT_UNTIL(500, is_settled(pair.client));
    }
    int received = bytes_in(pair.server), waiting = bytes_out(pair.client);

    long long after = fill_buffers(lab, pair.client, PIECE / 4);

    observe_number(lab, "the window", tcp_look(pair.client).snd_wnd, 0);
    note_number(lab, "taken while it was open", (double)before, "bytes");
    observe_range(lab, "taken after it was shut", (double)after, 1, INFINITY, "bytes");
    observe_number(lab, "of them in the send buffer", bytes_out(pair.client) - waiting, after);
    observe_number(lab, "of them at the receiver", bytes_in(pair.server) - received, 0);
    picture(lab, BARS, 0, "what send took", "bytes", NULL);
    bar(lab, "while the window was open", (double)before, 0);
    bar(lab, "after it was shut", (double)after, 0);
    CLOSE(pair.client, pair.server);
    return conclude(lab, CONFIRMED, "send copies into the send buffer as long as that has room, "
                                    "whatever the window is");
}

static const struct experiment win_3 = {
    .id = "win-3",
    .name = "zero-window",
    .question = "does send still take bytes when the peer's window is 0?",
    .source = "S2:506",
    .original = "仍然可以继续发送一段时间的数据",
    .claim = "when the window of the peer is 0 the client can go on sending for a while: into the "
             "send buffer of its own kernel",
    .expectation = "send takes more bytes after the window is 0, and all of them stay in the send "
                   "buffer",
    .reference = "send(2), tcp_sendmsg_locked() in Linux",
    .why = "send asks one thing only: whether the send buffer has room. The window decides what "
           "leaves from there. So a send that succeeded says nothing about the peer, and a "
           "program learns of a slow one only when megabytes later its own buffer is full.",
    .next = "weir lab window-probes",
    .run = zero_window,
};

/* ---- win-5: SO_RCVBUF and SO_SNDBUF ---- */

enum { ASKED = 10000, GREEDY = 100 << 20 };

static void set_size(struct lab *lab, int fd, int option, const char *name, const char *limit)
{
    long long most = sysctl_number(limit);
    set_option(lab, fd, SOL_SOCKET, option, ASKED);
    observe_number(lab, text("%s of %d", name, ASKED), get_option(lab, fd, SOL_SOCKET, option),
                   2 * ASKED);
    set_option(lab, fd, SOL_SOCKET, option, 1);
    observe_range(lab, text("%s of 1", name), get_option(lab, fd, SOL_SOCKET, option), 1024, 8192,
                  "bytes");
    set_option(lab, fd, SOL_SOCKET, option, GREEDY);
    if (most > 0 && most < GREEDY)
        observe_number(lab, text("%s of 100 MiB, in %s", name, strrchr(limit, '/') + 1),
                       get_option(lab, fd, SOL_SOCKET, option) / most, 2);
    else
        note_number(lab, text("%s of 100 MiB", name), get_option(lab, fd, SOL_SOCKET, option),
                    "bytes");
}

static enum verdict buffer_size(struct lab *lab)
{
    int fd = tcp_socket(lab);
    struct tcp_pair normal = tcp_pair(lab), small = tcp_pair_receiving(lab, ASKED);

    set_size(lab, fd, SO_RCVBUF, "SO_RCVBUF", "net/core/rmem_max");
    set_size(lab, fd, SO_SNDBUF, "SO_SNDBUF", "net/core/wmem_max");
    unsigned window = tcp_look(small.client).snd_wnd;
    observe_range(lab, text("first window with SO_RCVBUF %d", ASKED), window, 1, 2 * ASKED,
                  "bytes");
    note_number(lab, "and without", tcp_look(normal.client).snd_wnd, "bytes");
    CLOSE(fd, normal.client, normal.server, small.client, small.server);
    return conclude(lab, ADDED, "the kernel doubles what one asks for, since its own records take "
                                "room too, and keeps it between a least and a greatest size "
                                "without a word");
}

static const struct experiment win_5 = {
    .id = "win-5",
    .name = "buffer-size",
    .question = "how large is the buffer after setting SO_RCVBUF?",
    .expectation = "twice what was asked for; at least about 2 KB, at most twice rmem_max; and "
                   "setsockopt never complains",
    .reference = "socket(7), __sock_set_rcvbuf() and SOCK_MIN_RCVBUF in Linux",
    .why = "The size counts memory, not data: each packet has a record beside its bytes, so the "
           "kernel doubles the number. A buffer of a fixed size no longer grows by itself, which "
           "is why setting it large often makes a connection slower. It must be set before listen "
           "or connect, for the SYN fixes by how much windows are scaled.",
    .next = "weir lab window",
    .run = buffer_size,
};

/* ---- win-7: how large a segment is ---- */

enum { IP_AND_TCP = 40, TIMESTAMPS = 12, IP_MAX = 65535, SMALL_MSS = 1000, BYTES = 10000 };

static int loopback_mtu(struct lab *lab, int fd)
{
    struct ifreq request = { .ifr_name = "lo" };
    must(lab, ioctl(fd, SIOCGIFMTU, &request), "SIOCGIFMTU");
    return request.ifr_mtu;
}

/* How many segments these bytes become, those apart that were sent again. */
static long long send_and_count(struct lab *lab, int fd)
{
    struct tcp_view before = tcp_look(fd);
    must(lab, send(fd, zeros, BYTES, MSG_NOSIGNAL), "send");
    WAIT_UNTIL(1000, bytes_out(fd) == 0);
    struct tcp_view after = tcp_look(fd);
    unsigned repeated = after.total_retransmits - before.total_retransmits;
    return after.segments_out - before.segments_out - repeated;
}

static enum verdict segment_size(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    int client, listener = tcp_listen(lab, 1);
    set_option(lab, listener, IPPROTO_TCP, TCP_MAXSEG, SMALL_MSS);
    must(lab, tcp_connect(lab, local_address(lab, listener), &client), "connect");
    int mtu = loopback_mtu(lab, client);
    int options = sysctl_number("net/ipv4/tcp_timestamps") != 0 ? TIMESTAMPS : 0;
    int fits = (mtu < IP_MAX ? mtu : IP_MAX) - IP_AND_TCP - options;

    note_number(lab, "MTU of the loopback", mtu, "bytes");
    observe_number(lab, "MSS that an end tells the other", tcp_look(pair.client).advertised_mss,
                   fits);
    observe_range(lab, "MSS that it sends with", tcp_look(pair.client).snd_mss, 1, fits, "bytes");
    observe_number(lab, "after TCP_MAXSEG 1000 at the listener, the client's",
                   tcp_look(client).snd_mss, SMALL_MSS - options);
    observe_number(lab, "10000 bytes as segments", send_and_count(lab, pair.client), 1);
    observe_number(lab, "the same with TCP_MAXSEG 1000", send_and_count(lab, client),
                   (BYTES + SMALL_MSS - options - 1) / (SMALL_MSS - options));
    CLOSE(client, listener, pair.client, pair.server);
    return conclude(lab, REFINED, "a segment carries at most the MSS, which follows from the MTU; "
                                  "but one send may be many segments, so nothing limits that");
}

static const struct experiment win_7 = {
    .id = "win-7",
    .name = "mss",
    .question = "how many bytes does one segment carry?",
    .source = "S4:102 S4:106",
    .original = "网络传输大小MTU也会限制每次发送的大小",
    .claim = "the MTU of the network limits the size of each sending, too",
    .expectation = "the MTU less 40 bytes of headers and 12 of timestamps; a larger send becomes "
                   "as many segments as it needs",
    .reference = "RFC 9293 section 3.7.1, RFC 6691, TCP_MAXSEG in tcp(7)",
    .why = "Each end tells in its SYN what it can take in one segment, the MTU of its interface "
           "less the headers. The sender uses the least of that, of what the path can carry and of "
           "half the largest window it has been offered. On the loopback the MTU is 64 KB. A "
           "network card cuts larger pieces itself, so a capture shows segments that never were.",
    .next = "weir lab win",
    .run = segment_size,
};

/* ---- win-8: waiting costs switches ---- */

enum { READS = 100 };

/* One byte each time the reader has gone to sleep. */
static int feed_sleeper(void *arg)
{
    int fd = *(int *)arg, reader = getppid();
    for (int i = 0; i < READS; i++)
        if (!WAIT_UNTIL(5000, is_asleep(reader) && bytes_out(fd) == 0) || send(fd, "x", 1, 0) != 1)
            return 1;
    return 0;
}

static long switches_of_reads(struct lab *lab, int fd)
{
    char byte;
    long before = voluntary_switches();
    for (int i = 0; i < READS; i++)
        must(lab, recv(fd, &byte, 1, 0) - 1, "recv");
    return voluntary_switches() - before;
}

static enum verdict context_switches(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    must(lab, send(pair.client, zeros, READS, MSG_NOSIGNAL), "send");
    WAIT_UNTIL(1000, bytes_in(pair.server) == READS);
    long ready = switches_of_reads(lab, pair.server);
    int feeder = spawn(lab, feed_sleeper, &pair.client);
    long waiting = switches_of_reads(lab, pair.server);

    observe_number(lab, "the feeder ended with", reap(lab, feeder), 0);
    observe_range(lab, "100 reads of what is there: switches", (double)ready, 0, READS / 10, "");
    /* What comes between "I am about to sleep" and the switch itself spares it. */
    observe_range(lab, "100 reads that wait: switches", (double)waiting, READS * 9 / 10.0,
                  2 * READS, "");
    picture(lab, BARS, 0, "voluntary switches in 100 reads", NULL, NULL);
    bar(lab, "the data is there", (double)ready, READS);
    bar(lab, "the data comes later", (double)waiting, READS);
    CLOSE(pair.client, pair.server);
    return conclude(lab, CONFIRMED, "each read that has to wait is one switch away, and later one "
                                    "back; a read of what is there is none");
}

static const struct experiment win_8 = {
    .id = "win-8",
    .name = "context-switches",
    .question = "what does it cost to wait in read?",
    .source = "S1:128",
    .original = "会导致一次进程上下文切换的开销",
    .claim = "a process that has to wait, to send or to receive, costs a context switch, and "
             "another one when it goes on",
    .expectation = "one voluntary switch for each read that waits, none for a read of what is "
                   "there",
    .reference = "getrusage(2), sk_wait_data() in Linux",
    .why = "A process that waits gives its processor away and is counted in ru_nvcsw once; when "
           "data comes it is put back. That is a few microseconds each time, and the caches are "
           "cold. Waiting for many sockets at once with epoll shares one switch among them.",
    .next = "weir lab win",
    .run = context_switches,
};

const struct experiment *const window_experiments[] = { &win_1, &win_2, &win_3, &win_5,
                                                        &win_7, &win_8, NULL };
