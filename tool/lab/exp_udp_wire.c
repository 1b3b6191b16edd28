/* exp_udp_wire.c -- experiments on datagrams: checked, lost, cut, and from whom. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "sock.h"
#include "udp.h"

/* ---- udp-4: the checksum ---- */

enum { PAYLOAD_MAX = 16 };

struct packet {
    struct udphdr header;
    char payload[PAYLOAD_MAX];
};

static unsigned add_words(unsigned sum, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i += 2)
        sum += (unsigned)bytes[i] << 8 | (i + 1 < len ? bytes[i + 1] : 0);
    return sum;
}

/* As RFC 768 has it: over both addresses, the protocol, the length, and all of the datagram. */
static uint16_t checksum(const struct packet *packet, size_t len, struct in_addr from,
                         struct in_addr to)
{
    unsigned sum = IPPROTO_UDP + (unsigned)len;
    sum = add_words(sum, &from, sizeof from);
    sum = add_words(sum, &to, sizeof to);
    sum = add_words(sum, packet, len);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    uint16_t value = (uint16_t)~sum;
    return value ? value : 0xffff; /* since 0 means that there is none */
}

enum sum_kind { SUM_WRONG, SUM_RIGHT, SUM_NONE };

/* A datagram made by hand: the kernel adds the IP header alone. */
static void send_by_hand(struct lab *lab, int raw, const struct sockaddr_in *to,
                         enum sum_kind kind, const char *words)
{
    struct packet packet = { .header = { .source = htons(9), .dest = to->sin_port } };
    struct sockaddr_in where = *to;
    size_t len = sizeof packet.header + strlen(words);
    memcpy(packet.payload, words, strlen(words));
    packet.header.len = htons((uint16_t)len);
    uint16_t sum = checksum(&packet, len, to->sin_addr, to->sin_addr);
    sum = kind == SUM_NONE ? 0 : kind == SUM_WRONG ? sum ^ 1 : sum;
    packet.header.check = htons(sum);
    where.sin_port = 0;
    must(lab, sendto(raw, &packet, len, 0, (struct sockaddr *)&where, sizeof where), "sendto");
}

static enum verdict udp_checksum(struct lab *lab)
{
    char buf[32];
    int fd = udp_bound(lab);
    int raw = must(lab, socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP), "raw socket");
    struct sockaddr_in to = local_address(lab, fd);
    long long errors = counter("Udp", "InCsumErrors");

    send_by_hand(lab, raw, &to, SUM_WRONG, "wrong sum");
    send_by_hand(lab, raw, &to, SUM_RIGHT, "right sum");
    send_by_hand(lab, raw, &to, SUM_NONE, "no sum");
    observe_text(lab, "of three datagrams received first", recv_text(lab, fd, buf, sizeof buf),
                 "right sum");
    observe_text(lab, "received second", recv_text(lab, fd, buf, sizeof buf), "no sum");
    observe_errno(lab, "received third", recv(fd, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
    observe_number(lab, "InCsumErrors has grown by", counter("Udp", "InCsumErrors") - errors, 1);
    CLOSE(raw, fd);
    return conclude(lab, CONTRADICTED, "a datagram with a wrong checksum is dropped, and counted; "
                                       "what UDP does not do is to send it again. Without a "
                                       "checksum, which IPv4 allows, it is not looked at");
}

static const struct experiment udp_4 = {
    .id = "udp-4",
    .name = "udp-checksum",
    .question = "does UDP notice an error in a datagram?",
    .source = "S2:21",
    .claims = "29",
    .original = "UDP协议本身不提供任何错误检查和恢复机制",
    .claim = "UDP itself has no error checking and no recovery",
    .expectation = "of three datagrams made by hand the one with a wrong checksum is never "
                   "received, and InCsumErrors grows by one; a checksum of 0 means none",
    .reference = "RFC 768, RFC 1122 section 4.1.3.4, udp_recvmsg() in Linux",
    .why = "The UDP header is two ports, a length and a checksum over header, data and IP "
           "addresses. The receiving kernel drops what does not add up, often as late as in "
           "recv, where it copies the data anyway. So datagrams are lost rather than wrong. "
           "Recovery is indeed left to the program. (Between sockets of one machine the kernel "
           "leaves the sum out, for there is no wire to damage anything.)",
    .next = "weir lab udp-errors",
    .needs = NEEDS_NET | NEEDS_CAPTURE,
    .run = udp_checksum,
};

/* ---- udp-5: speed and loss ---- */

enum { SMALL = 1400, LARGE = 64000, SMALL_COUNT = 3000, LARGE_COUNT = 300, ATTEMPTS = 3,
       FLOOD = 1000, NARROW_BUFFER = 4096 };

struct reader {
    int fd, report;
};

struct received {
    long long bytes;
    int64_t end_ns, used_ns; /* the latter of a processor */
};

/* Until the end of the stream, or an empty datagram. */
static int read_all(void *arg)
{
    static char buf[LARGE];
    const struct reader *reader = arg;
    struct received sum = { 0 };
    ssize_t len;
    while ((len = recv(reader->fd, buf, sizeof buf, 0)) > 0) {
        sum.bytes += len;
        sum.end_ns = clock_ns();
    }
    sum.used_ns = processor_ns();
    return write(reader->report, &sum, sizeof sum) != sizeof sum;
}

struct rate {
    double mb_per_s, us_per_mb; /* received; the latter of a processor, at both ends together */
    long long lost_bytes;
};

/* Another process receives what this one sends as fast as it can. */
static struct rate transfer(struct lab *lab, int from, int to, size_t size, int count, bool is_udp)
{
    static const char data[LARGE];
    struct received sum;
    int report[2];
    must(lab, pipe2(report, O_CLOEXEC), "pipe2");
    struct reader reader = { .fd = to, .report = report[1] };
    int child = spawn(lab, read_all, &reader);
    int64_t begin = clock_ns(), used = processor_ns();
    for (int i = 0; i < count; i++)
        must(lab, send(from, data, size, MSG_NOSIGNAL), "send");
    used = processor_ns() - used;
    if (!is_udp)
        must(lab, shutdown(from, SHUT_WR), "shutdown");
    /* An empty datagram says that it was all, and may be lost like any other. */
    while (is_udp && !wait_events(report[0], POLLIN, 1))
        must(lab, send(from, data, 0, MSG_NOSIGNAL), "send");
    must(lab, read(report[0], &sum, sizeof sum), "read");
    reap(lab, child);
    CLOSE(report[0], report[1]);
    double seconds = (double)(sum.end_ns - begin) / 1e9, mb = (double)sum.bytes / 1e6;
    return (struct rate){ .mb_per_s = seconds > 0 ? mb / seconds : 0,
                          .us_per_mb = (double)(used + sum.used_ns) / 1e3 / mb,
                          .lost_bytes = (long long)size * count - sum.bytes };
}

static struct rate best_of(struct lab *lab, size_t size, int count, bool is_udp)
{
    struct rate best = { .us_per_mb = INFINITY };
    for (int i = 0; i < ATTEMPTS; i++) {
        struct tcp_pair tcp = { -1, -1 };
        struct udp_pair udp = { -1, -1 };
        if (is_udp)
            udp = udp_pair(lab);
        else
            tcp = tcp_pair(lab);
        struct rate rate = transfer(lab, is_udp ? udp.a : tcp.client, is_udp ? udp.b : tcp.server,
                                    size, count, is_udp);
        double least = fmin(rate.us_per_mb, best.us_per_mb);
        best = rate.mb_per_s > best.mb_per_s ? rate : best;
        best.us_per_mb = least;
        CLOSE(udp.a, udp.b, tcp.client, tcp.server);
    }
    const char *name = text("%s, %zu bytes at a time", is_udp ? "UDP" : "TCP", size);
    note_number(lab, name, best.mb_per_s, "MB/s");
    note_number(lab, text("%s: processor time", name), best.us_per_mb, "us/MB");
    bar(lab, name, round(best.mb_per_s), 0);
    return best;
}

/* Nobody reads until all is sent. */
static void flood(struct lab *lab)
{
    char buf[SMALL] = "";
    int sent = 0, came = 0;
    struct udp_pair pair = udp_pair(lab);
    set_option(lab, pair.b, SOL_SOCKET, SO_RCVBUF, NARROW_BUFFER);
    for (int i = 0; i < FLOOD; i++)
        sent += send(pair.a, buf, sizeof buf, 0) == sizeof buf;
    while (recv(pair.b, buf, sizeof buf, MSG_DONTWAIT) > 0)
        came++;
    observe_number(lab, "1000 datagrams, a small buffer, nobody reads: sends that succeed", sent,
                   FLOOD);
    observe_range(lab, "of which so many are there afterwards", came, 1, FLOOD / 10, "");
    CLOSE(pair.a, pair.b);
}

static enum verdict udp_speed(struct lab *lab)
{
    picture(lab, BARS, 0, "received in the best of three attempts", "MB/s", NULL);
    struct rate tcp = best_of(lab, SMALL, SMALL_COUNT, false);
    struct rate udp = best_of(lab, SMALL, SMALL_COUNT, true);
    best_of(lab, LARGE, LARGE_COUNT, false);
    best_of(lab, LARGE, LARGE_COUNT, true);
    /* Time on a processor, for on a busy machine the other depends on who else wants one. */
    observe_range(lab, "1400 bytes at a time: UDP costs as much as TCP",
                  udp.us_per_mb / tcp.us_per_mb, 1, INFINITY, "times");
    observe_number(lab, "bytes that TCP lost", tcp.lost_bytes, 0);
    note_number(lab, "bytes that UDP lost", (double)udp.lost_bytes, "");
    flood(lab);
    return conclude(lab, CONTRADICTED, "with small messages it costs more, and so is slower: TCP "
                                       "gathers them into large segments, while each datagram "
                                       "goes its whole way alone. That datagrams may be lost is "
                                       "right");
}

static const struct experiment udp_5 = {
    .id = "udp-5",
    .name = "udp-speed",
    .question = "is UDP faster than TCP?",
    .source = "S2:21 S2:23",
    .claims = "30",
    .original = "因此传输速度通常比TCP快",
    .claim = "UDP may lose and reorder datagrams and does not check, so it is usually faster than "
             "TCP",
    .expectation = "at 1400 bytes a call what is received over UDP takes more of the processor "
                   "than over TCP; a slow receiver loses datagrams, and no send says so",
    .reference = "udp(7), tcp(7); tcp_sendmsg_locked() and udp_sendmsg() in Linux",
    .why = "What costs is the way through the kernel. TCP adds to the last segment that waits, up "
           "to 64 KB, and goes that way once for many small writes. UDP goes it for each; with "
           "datagrams as large as TCP's segments it may keep up, or lose most of them. UDP_SEGMENT "
           "lets it gather, too. What UDP saves is waiting: no handshake, and nothing held up "
           "behind a lost packet.",
    .next = "weir lab udp-sizes",
    .run = udp_speed,
};

/* ---- udp-6: boundaries and sizes ---- */

enum { LONGEST = 65535 - 20 - 8 }; /* what the length of an IPv4 packet leaves for data */

static void keep_boundaries(struct lab *lab)
{
    static const char *const words[] = { "one", "", "three" };
    char buf[16];
    struct udp_pair pair = udp_pair(lab);
    picture(lab, BOXES, 0, "three datagrams, one of them empty", "sent", "received");
    for (size_t i = 0; i < 3; i++) {
        send_text(lab, pair.a, words[i]);
        box(lab, 0, words[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        observe_text(lab, text("receive %zu", i + 1), recv_text(lab, pair.b, buf, sizeof buf),
                     words[i]);
        box(lab, 1, buf);
    }
    send_text(lab, pair.a, "longer than this");
    send_text(lab, pair.a, "next");
    observe_text(lab, "a buffer of 6 bytes gets", recv_text(lab, pair.b, buf, 7), "longer");
    observe_text(lab, "and the rest is lost: the next receive",
                 recv_text(lab, pair.b, buf, sizeof buf), "next");
    CLOSE(pair.a, pair.b);
}

static enum verdict udp_sizes(struct lab *lab)
{
    static char data[LONGEST + 1];
    keep_boundaries(lab);
    struct udp_pair pair = udp_pair(lab);
    observe_number(lab, "send of 65507 bytes", send(pair.a, data, LONGEST, 0), LONGEST);
    observe_bool(lab, "they come", wait_events(pair.b, POLLIN, 1000), true);
    observe_number(lab, "in one piece", recv(pair.b, data, sizeof data, 0), LONGEST);
    observe_errno(lab, "send of 65508 bytes", send(pair.a, data, LONGEST + 1, 0), EMSGSIZE);
    CLOSE(pair.a, pair.b);
    return conclude(lab, CONFIRMED, "each send is one receive, an empty one too; 65,507 bytes are "
                                    "the most, and what does not fit into the receiver's buffer "
                                    "is lost");
}

static const struct experiment udp_6 = {
    .id = "udp-6",
    .name = "udp-sizes",
    .question = "how long may a datagram be, and does it stay in one piece?",
    .source = "S0:174",
    .original = "提供的是一個一個的資料包(datagram)",
    .claim = "SOCK_DGRAM gives one datagram after the other; its protocol is UDP",
    .expectation = "three sends are three receives; 65507 bytes fit, 65508 are EMSGSIZE; a buffer "
                   "that is too short cuts the datagram",
    .reference = "RFC 768, udp(7), recv(2)",
    .why = "The length of an IPv4 packet has 16 bits; 20 bytes of it are the IP header and 8 the "
           "UDP header. Beyond the MTU it is sent in fragments, and if one of them is lost all "
           "of it is: few programs send more than some 1200 bytes. recv takes one datagram off "
           "the queue whatever the buffer holds; MSG_TRUNC says how long it was.",
    .next = "weir lab stream",
    .run = udp_sizes,
};

/* ---- udp-7: who sent it ---- */

static uint16_t sender_of(struct lab *lab, int fd)
{
    char buf[16];
    struct sockaddr_in from = { 0 };
    socklen_t len = sizeof from;
    must(lab, wait_events(fd, POLLIN, 1000) ? 0 : -1, "nothing came");
    must(lab, recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len), "recvfrom");
    return ntohs(from.sin_port);
}

static enum verdict udp_sender(struct lab *lab)
{
    char buf[16];
    int server = udp_bound(lab), one = udp_bound(lab), other = udp_bound(lab);
    struct sockaddr_in to = local_address(lab, server);
    send_to(lab, one, &to, "one");
    send_to(lab, other, &to, "other");
    send_to(lab, one, &to, "again");
    observe_bool(lab, "the first is from one", sender_of(lab, server) == local_port(lab, one),
                 true);
    observe_bool(lab, "the second is from the other",
                 sender_of(lab, server) == local_port(lab, other), true);
    observe_text(lab, "recv asks for no address", recv_text(lab, server, buf, sizeof buf),
                 "again");

    struct sockaddr_in back = local_address(lab, one);
    must(lab, connect(server, (struct sockaddr *)&back, sizeof back), "connect");
    send_to(lab, other, &to, "other");
    send_to(lab, one, &to, "one");
    observe_bool(lab, "connected, it can only be the peer",
                 sender_of(lab, server) == local_port(lab, one), true);
    observe_errno(lab, "and nothing else has come", recv(server, buf, sizeof buf, MSG_DONTWAIT),
                  EAGAIN);
    CLOSE(server, one, other);
    return conclude(lab, REFINED, "only an unconnected socket that has to answer needs it; "
                                  "connected, there is one possible sender");
}

static const struct experiment udp_7 = {
    .id = "udp-7",
    .name = "udp-sender",
    .question = "does one have to ask for the sender of each datagram?",
    .source = "S3:148",
    .original = "因为UDP通信没有连接的概念，所以我们每次读取数据都需要获取发送端的socket地址",
    .claim = "UDP knows no connections, so one has to get the sender's address with each receive",
    .expectation = "recvfrom gives another address with each sender; recv works without; on a "
                   "connected socket all are from the peer",
    .reference = "recv(2), udp(7), RFC 768",
    .why = "One datagram socket receives from everybody, and the address comes with each "
           "datagram; who does not answer need not ask. Connect the socket, and the kernel sorts "
           "out all others. For a server with many peers recvmmsg gets many datagrams with their "
           "senders at once.",
    .next = "weir lab udp-connect",
    .run = udp_sender,
};

const struct experiment *const udp_wire_experiments[] = { &udp_4, &udp_5, &udp_6, &udp_7,
                                                          NULL };
