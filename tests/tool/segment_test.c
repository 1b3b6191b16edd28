/* segment_test.c -- the reader of TCP segments behind the lab's ladders. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "../../tool/lab/segment.h"
#include "test.h"

enum { CLIENT = 40000, SERVER = 80, IP_LEN = 20, TCP_LEN = 20 };

static struct segment_reader reader;

struct packet {
    unsigned char bytes[128];
    size_t len;
};

struct shape {
    uint16_t from, to;
    uint32_t seq, ack;
    unsigned flags, window, urgent;
    size_t data;
    const unsigned char *options;
    size_t option_len;
};

static void put(unsigned char *at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

/* The packet as it would be on the wire, without its data: the reader never needs that. */
static struct packet packet_of(const struct shape *s)
{
    struct packet p = { .len = IP_LEN + TCP_LEN + s->option_len };
    unsigned char *tcp = p.bytes + IP_LEN;
    p.bytes[0] = 0x45;
    put(p.bytes + 2, (uint32_t)(p.len + s->data), 2);
    p.bytes[9] = IPPROTO_TCP;
    put(p.bytes + 12, s->from == CLIENT ? 0x7f000001 : 0x7f000002, 4);
    put(p.bytes + 16, s->from == CLIENT ? 0x7f000002 : 0x7f000001, 4);
    put(tcp, s->from, 2);
    put(tcp + 2, s->to, 2);
    put(tcp + 4, s->seq, 4);
    put(tcp + 8, s->ack, 4);
    tcp[12] = (unsigned char)((TCP_LEN + s->option_len) / 4 << 4);
    tcp[13] = (unsigned char)s->flags;
    put(tcp + 14, s->window, 2);
    put(tcp + 18, s->urgent, 2);
    if (s->option_len)
        memcpy(tcp + TCP_LEN, s->options, s->option_len);
    return p;
}

static struct segment read_one(struct shape shape)
{
    struct segment found;
    struct packet p = packet_of(&shape);
    CHECK(segment_read(&reader, p.bytes, p.len, &found));
    return found;
}

static const unsigned char scale7[] = { 2, 4, 0xff, 0xd7, 4, 2, 1, 3, 3, 7, 1, 0 };
static const unsigned char scale2[] = { 1, 3, 3, 2 };

/* A client whose numbers pass 2^32 soon, and a server. */
static void shake_hands(void)
{
    read_one((struct shape){ CLIENT, SERVER, 0xfffffffe, 0, TH_SYN, 64240, 0, 0, scale7, 12 });
    read_one((struct shape){ SERVER, CLIENT, 5000, 0xffffffff, TH_SYN | TH_ACK, 65535, 0, 0,
                             scale2, 4 });
}

TEST(segment_numbers, "a segment's numbers are relative to its connection's SYNs, over 2^32 too")
{
    char words[96];
    struct segment s = read_one(
        (struct shape){ CLIENT, SERVER, 0xfffffffe, 0, TH_SYN, 64240, 0, 0, scale7, 12 });
    CHECK_EQ(s.seq, 0);
    CHECK_EQ(s.ack, 0);
    CHECK_STR(segment_words(&s, words, sizeof words), "SYN seq 0 win 64240");
    s = read_one((struct shape){ SERVER, CLIENT, 5000, 0xffffffff, TH_SYN | TH_ACK, 65535, 0, 0,
                                 scale2, 4 });
    CHECK_STR(segment_words(&s, words, sizeof words), "SYN ACK seq 0 ack 1 win 65535");
    s = read_one((struct shape){ .from = CLIENT, .to = SERVER, .seq = 0xffffffff, .ack = 5001,
                                 .flags = TH_ACK | TH_PUSH, .window = 512, .data = 10 });
    CHECK_EQ(s.len, 10);
    CHECK_STR(segment_words(&s, words, sizeof words), "PSH ACK 1-10 ack 1 win 65536");
    s = read_one((struct shape){ .from = SERVER, .to = CLIENT, .seq = 5001, .ack = 9,
                                 .flags = TH_ACK | TH_FIN, .window = 100 });
    CHECK_STR(segment_words(&s, words, sizeof words), "FIN ACK seq 1 ack 11 win 400");
}

TEST(segment_options, "the options of a SYN are read: segment size, scale, selective acks")
{
    struct segment s = read_one(
        (struct shape){ CLIENT, SERVER, 1, 0, TH_SYN, 64240, 0, 0, scale7, 12 });
    CHECK_EQ(s.mss, 0xffd7);
    CHECK_EQ(s.scale, 7);
    CHECK(s.is_sack_permitted);
}

TEST(segment_scale, "a window is scaled only when both SYNs agreed to it")
{
    read_one((struct shape){ CLIENT, SERVER, 1, 0, TH_SYN, 100, 0, 0, scale7, 12 });
    read_one((struct shape){ .from = SERVER, .to = CLIENT, .ack = 2, .flags = TH_SYN | TH_ACK });
    struct segment s = read_one((struct shape){ .from = CLIENT, .to = SERVER, .seq = 2, .ack = 1,
                                                .flags = TH_ACK, .window = 512 });
    CHECK_EQ(s.window, 512);
}

TEST(segment_repeated, "a segment that carries nothing new is told from one that does")
{
    struct shape data = { .from = CLIENT, .to = SERVER, .seq = 0xffffffff, .ack = 5001,
                          .flags = TH_ACK, .data = 10 };
    shake_hands();
    CHECK(!read_one(data).is_repeated);
    CHECK(read_one(data).is_repeated);
    data.data = 11;
    CHECK(!read_one(data).is_repeated);
    data.data = 0;
    CHECK(!read_one(data).is_repeated); /* an acknowledgement is not a repetition */
    CHECK(read_one((struct shape){ CLIENT, SERVER, 0xfffffffe, 0, TH_SYN, 64240, 0, 0, scale7,
                                   12 }).is_repeated);
}

TEST(segment_urgent, "the urgent pointer is told when its flag is set, and only then")
{
    char words[96];
    shake_hands();
    struct shape urgent = { .from = CLIENT, .to = SERVER, .seq = 0xffffffff, .ack = 5001,
                            .flags = TH_ACK | TH_URG | TH_PUSH, .urgent = 3, .data = 3 };
    struct segment s = read_one(urgent);
    CHECK_EQ(s.urgent, 3);
    CHECK_STR(segment_words(&s, words, sizeof words), "PSH URG ACK 1-3 ack 1 urg 3 win 0");
    urgent.flags = TH_ACK;
    CHECK_EQ(read_one(urgent).urgent, 0);
}

TEST(segment_anew, "the same two ports with a new SYN are a new connection")
{
    shake_hands();
    struct segment s = read_one(
        (struct shape){ CLIENT, SERVER, 777, 0, TH_SYN, 64240, 0, 0, scale7, 12 });
    CHECK_EQ(s.seq, 0);
    CHECK(!s.is_repeated);
}

TEST(segment_short, "a packet cut off anywhere is refused, and none of it is read beyond its end")
{
    struct shape shape = { CLIENT, SERVER, 1, 0, TH_SYN, 64240, 0, 0, scale7, 12 };
    struct packet whole = packet_of(&shape);
    struct segment found;
    for (size_t len = 0; len < whole.len; len++) {
        /* In memory of its own, where a sanitizer sees what lies beyond. */
        unsigned char *part = malloc(len ? len : 1);
        CHECK(part);
        memcpy(part, whole.bytes, len);
        CHECK(!segment_read(&reader, part, len, &found));
        free(part);
    }
}

TEST(segment_nonsense, "options that lie about their length end the reading of options")
{
    static const unsigned char lies[][4] = { { 3, 0, 9, 9 }, { 3, 1, 9, 9 }, { 3, 200, 9, 9 },
                                             { 1, 1, 1, 3 }, { 0, 3, 3, 9 } };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct segment s = read_one(
            (struct shape){ CLIENT, SERVER, 1, 0, TH_SYN, 100, 0, 0, lies[i], 4 });
        CHECK_EQ(s.scale, -1);
    }
}

TEST(segment_other, "what is not TCP over IPv4, and the later part of a fragment, is refused")
{
    struct shape shape = { .from = CLIENT, .to = SERVER, .flags = TH_ACK };
    struct segment found;
    struct packet p = packet_of(&shape);
    p.bytes[9] = IPPROTO_UDP;
    CHECK(!segment_read(&reader, p.bytes, p.len, &found));
    p = packet_of(&shape);
    p.bytes[0] = 0x65;
    CHECK(!segment_read(&reader, p.bytes, p.len, &found));
    p = packet_of(&shape);
    p.bytes[7] = 1;
    CHECK(!segment_read(&reader, p.bytes, p.len, &found));
}

TEST(segment_full, "more connections than the reader can remember are refused and noticed")
{
    struct segment found;
    for (int i = 0; i < DIRECTIONS_MAX; i++)
        read_one((struct shape){ .from = (uint16_t)(1000 + i), .to = SERVER, .flags = TH_SYN });
    struct shape one_more = { .from = 999, .to = SERVER, .flags = TH_SYN };
    struct packet p = packet_of(&one_more);
    CHECK(!segment_read(&reader, p.bytes, p.len, &found));
    CHECK(reader.is_full);
}
