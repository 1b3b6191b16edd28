/* capture.c -- packets of the loopback, through a packet socket.
 *
 * A packet socket sees each packet on the loopback twice, as it leaves and as it arrives. A filter
 * keeps the ones that leave, so what a receiver drops is seen too, and cuts off what lies behind
 * the headers.                                                                                */
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "diag.h"
#include "sock.h"
#include "tcpinfo.h"

enum { HEADERS_MAX = 128, FRAME_SIZE = 256, BLOCK_SIZE = 64 << 10, RING_SIZE = 1 << 20 };

/* Where they stand in an IPv4 and a TCP header. */
enum { IP_PROTOCOL = 9, SOURCE_PORT = 0, DESTINATION_PORT = 2 };

/* Every TCP segment, or those from or to one port. */
static void keep_outgoing_tcp(struct lab *lab, int fd, uint16_t port)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 8),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP_PROTOCOL),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* X: the length of the IP header */
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, SOURCE_PORT),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 2, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, DESTINATION_PORT),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, HEADERS_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    enum { ANY_PORT = 4 };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };
    if (port == 0)
        code[ANY_PORT] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, HEADERS_MAX);
    must(lab, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
         "the capture's filter");
}

/* A ring in shared memory: unlike a socket's buffer it is as large as one likes, without a right,
 * and each packet has the time at which it passed. */
static void map_ring(struct lab *lab, struct capture *c)
{
    struct tpacket_req ring = { .tp_block_size = BLOCK_SIZE,
                                .tp_block_nr = RING_SIZE / BLOCK_SIZE,
                                .tp_frame_size = FRAME_SIZE,
                                .tp_frame_nr = RING_SIZE / FRAME_SIZE };
    set_option(lab, c->fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
    must(lab, setsockopt(c->fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring), "PACKET_RX_RING");
    c->ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    must(lab, c->ring == MAP_FAILED ? -1 : 0, "the capture's ring");
}

void capture_begin(struct lab *lab, struct capture *c, uint16_t port)
{
    memset(c, 0, sizeof *c);
    c->fd = must(lab, socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "a packet socket");
    struct sockaddr_ll where = { .sll_family = AF_PACKET,
                                 .sll_protocol = htons(ETH_P_ALL),
                                 .sll_ifindex = (int)if_nametoindex("lo") };
    keep_outgoing_tcp(lab, c->fd, port);
    map_ring(lab, c);
    must(lab, bind(c->fd, (struct sockaddr *)&where, sizeof where), "bind to the loopback");
}

static void keep(struct capture *c, const unsigned char *packet, size_t len, double ms)
{
    struct segment segment;
    if (!segment_read(&c->reader, packet, len, &segment))
        return;
    if (c->first_ms == 0)
        c->first_ms = ms;
    segment.ms = ms - c->first_ms;
    if (c->count < SEGMENTS_MAX)
        c->segments[c->count++] = segment;
    else
        c->lost++;
}

int capture_take(struct lab *lab, struct capture *c)
{
    struct tpacket_stats stats = { 0 };
    socklen_t len = sizeof stats;
    for (;;) {
        struct tpacket2_hdr *frame = (struct tpacket2_hdr *)(c->ring + c->next * FRAME_SIZE);
        if (!(__atomic_load_n(&frame->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        double ms = frame->tp_sec * 1e3 + frame->tp_nsec / 1e6;
        keep(c, (unsigned char *)frame + frame->tp_net, frame->tp_snaplen, ms);
        __atomic_store_n(&frame->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        c->next = (c->next + 1) % (RING_SIZE / FRAME_SIZE);
    }
    must(lab, getsockopt(c->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len), "PACKET_STATISTICS");
    c->lost += (int)stats.tp_drops;
    return c->count;
}

bool capture_wait(struct lab *lab, struct capture *c, int count, int milliseconds)
{
    int64_t begin = clock_ns();
    while (capture_take(lab, c) < count) {
        int left = milliseconds - (int)ms_since(begin);
        if (left <= 0 || !wait_events(c->fd, POLLIN, left))
            return capture_take(lab, c) >= count;
    }
    return true;
}

/* The end of the connection; a listener where there is none yet. */
static const char *state_of(uint16_t port, uint16_t remote)
{
    int state = diag_state(port, remote);
    if (state == 0)
        state = diag_state(port, 0);
    return state == 0 ? "CLOSE" : tcp_state_name(state);
}

void capture_states(struct lab *lab, struct capture *c, uint16_t left, uint16_t right)
{
    if (capture_take(lab, c) == 0)
        return;
    struct segment *last = &c->segments[c->count - 1];
    snprintf(last->left, sizeof last->left, "%s", state_of(left, right));
    snprintf(last->right, sizeof last->right, "%s", state_of(right, left));
}

void capture_draw(struct lab *lab, const struct capture *c, unsigned flags, const char *title,
                  uint16_t left, const char *left_name, const char *right_name)
{
    char words[96];
    picture(lab, LADDER, flags, title, left_name, right_name);
    for (int i = 0; i < c->count; i++) {
        const struct segment *s = &c->segments[i];
        struct item item = { .x = s->ms, .y = s->from_port != left };
        segment_words(s, words, sizeof words);
        snprintf(item.label, sizeof item.label, "%.47s", words);
        memcpy(item.left, s->left, sizeof item.left);
        memcpy(item.right, s->right, sizeof item.right);
        picture_item(lab, item);
    }
}

int capture_find(const struct capture *c, int from, unsigned flags, uint16_t from_port)
{
    for (int i = from; i < c->count; i++) {
        const struct segment *s = &c->segments[i];
        if ((s->flags & flags) == flags && (!from_port || s->from_port == from_port))
            return i;
    }
    return -1;
}

int capture_count(const struct capture *c, unsigned flags, uint16_t from_port)
{
    int count = 0;
    for (int i = -1; (i = capture_find(c, i + 1, flags, from_port)) >= 0;)
        count++;
    return count;
}

void capture_end(struct lab *lab, struct capture *c)
{
    capture_take(lab, c);
    munmap(c->ring, RING_SIZE);
    CLOSE(c->fd);
    c->ring = NULL;
    c->fd = -1;
}
