/* segment.c -- a reader of TCP segments, without a socket in sight.
 *
 * Bytes come from outside, so everything is read through functions over a range; numbers are told
 * relative to the first that was seen of each direction, as people count them.                 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "segment.h"

enum {
    IP_HEADER_MIN = 20,
    TCP_HEADER_MIN = 20,
    OPTION_END = 0,
    OPTION_NOTHING = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    SCALE_MAX = 14,
};

static unsigned read16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t read32(const unsigned char *at)
{
    return (uint32_t)read16(at) << 16 | read16(at + 2);
}

/* ---- one segment ---- */

static void read_option(const unsigned char *at, size_t len, struct segment *out)
{
    if (at[0] == OPTION_MSS && len == 4)
        out->mss = read16(at + 2);
    else if (at[0] == OPTION_SCALE && len == 3)
        out->scale = at[2] > SCALE_MAX ? SCALE_MAX : at[2];
    else if (at[0] == OPTION_SACK_PERMITTED && len == 2)
        out->is_sack_permitted = true;
    else if (at[0] == OPTION_SACK)
        out->sack_blocks = (unsigned)(len - 2) / 8;
}

static void read_options(const unsigned char *at, const unsigned char *end, struct segment *out)
{
    while (at < end && *at != OPTION_END) {
        size_t len = *at == OPTION_NOTHING ? 1 : end - at < 2 ? 0 : at[1];
        if (len == 0 || (len == 1 && *at != OPTION_NOTHING) || len > (size_t)(end - at))
            return;
        if (*at != OPTION_NOTHING)
            read_option(at, len, out);
        at += len;
    }
}

/* The numbers as they are on the wire. */
static bool read_packet(const unsigned char *packet, size_t len, struct segment *out)
{
    *out = (struct segment){ .scale = -1 };
    if (len < IP_HEADER_MIN || packet[0] >> 4 != 4 || packet[9] != IPPROTO_TCP)
        return false;
    size_t ip_len = (size_t)(packet[0] & 15) * 4, total = read16(packet + 2);
    bool is_fragment = (read16(packet + 6) & 0x1fff) != 0;
    if (is_fragment || ip_len < IP_HEADER_MIN || len < ip_len + TCP_HEADER_MIN)
        return false;
    const unsigned char *tcp = packet + ip_len;
    size_t tcp_len = (size_t)(tcp[12] >> 4) * 4;
    if (tcp_len < TCP_HEADER_MIN || len < ip_len + tcp_len || total < ip_len + tcp_len)
        return false;
    out->from_host = read32(packet + 12);
    out->to_host = read32(packet + 16);
    out->from_port = (uint16_t)read16(tcp);
    out->to_port = (uint16_t)read16(tcp + 2);
    out->seq = read32(tcp + 4);
    out->ack = read32(tcp + 8);
    out->flags = tcp[13];
    out->window = read16(tcp + 14);
    out->urgent = out->flags & TH_URG ? read16(tcp + 18) : 0;
    out->len = (uint32_t)(total - ip_len - tcp_len);
    read_options(tcp + TCP_HEADER_MIN, tcp + tcp_len, out);
    return true;
}

/* ---- one connection ---- */

static struct direction *find(struct segment_reader *reader, const struct segment *s, bool back)
{
    for (int i = 0; i < reader->count; i++) {
        struct direction *d = &reader->directions[i];
        bool forth = d->from_host == s->from_host && d->to_host == s->to_host &&
                     d->from_port == s->from_port && d->to_port == s->to_port;
        bool reverse = d->from_host == s->to_host && d->to_host == s->from_host &&
                       d->from_port == s->to_port && d->to_port == s->from_port;
        if (back ? reverse : forth)
            return d;
    }
    return NULL;
}

static struct direction *add(struct segment_reader *reader, const struct segment *s)
{
    if (reader->count == DIRECTIONS_MAX) {
        reader->is_full = true;
        return NULL;
    }
    struct direction *d = &reader->directions[reader->count++];
    *d = (struct direction){ .from_host = s->from_host,
                             .to_host = s->to_host,
                             .from_port = s->from_port,
                             .to_port = s->to_port,
                             .scale = -1 };
    return d;
}

/* A SYN is number 0. What is joined in the middle begins with 1, as if its SYN had been seen. */
static void begin(struct direction *d, const struct segment *s)
{
    d->has_syn = s->flags & TH_SYN;
    d->first_seq = d->has_syn ? s->seq : s->seq - 1;
    d->next_seq = d->has_syn ? 0 : 1;
    d->scale = s->scale;
}

static uint32_t numbers_used(const struct segment *s)
{
    return s->len + ((s->flags & TH_SYN) != 0) + ((s->flags & TH_FIN) != 0);
}

static void scale_window(struct segment *s, const struct direction *d, const struct direction *back)
{
    bool is_agreed = d->scale >= 0 && back && back->scale >= 0;
    if (!(s->flags & TH_SYN) && is_agreed)
        s->window <<= d->scale;
}

bool segment_read(struct segment_reader *reader, const unsigned char *packet, size_t len,
                  struct segment *out)
{
    if (!read_packet(packet, len, out))
        return false;
    struct direction *d = find(reader, out, false), *back = find(reader, out, true);
    uint32_t absolute = out->seq;
    if (!d) {
        d = add(reader, out);
        if (!d)
            return false;
        begin(d, out);
    } else if ((out->flags & TH_SYN) && absolute != d->first_seq) {
        begin(d, out); /* the same two ports, and a new connection */
    }
    out->seq = absolute - d->first_seq;
    out->ack = out->flags & TH_ACK ? out->ack - (back ? back->first_seq : out->ack - 1) : 0;
    uint32_t end = out->seq + numbers_used(out);
    out->is_repeated = numbers_used(out) > 0 && (int32_t)(end - d->next_seq) <= 0;
    if ((int32_t)(end - d->next_seq) > 0)
        d->next_seq = end;
    scale_window(out, d, back);
    return true;
}

/* ---- words ---- */

const char *flag_words(unsigned flags, char *buf, size_t size)
{
    static const struct {
        unsigned flag;
        const char *word;
    } words[] = { { TH_SYN, "SYN" }, { TH_FIN, "FIN" }, { TH_RST, "RST" },
                  { TH_PUSH, "PSH" }, { TH_URG, "URG" }, { TH_ACK, "ACK" } };
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof *words && at < size; i++)
        if (flags & words[i].flag)
            at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? " " : "", words[i].word);
    return buf;
}

const char *segment_words(const struct segment *s, char *buf, size_t size)
{
    char flags[32], numbers[32] = "", ack[24] = "", window[24] = "", urgent[16] = "";
    if (s->len > 0)
        snprintf(numbers, sizeof numbers, " %u-%u", s->seq, s->seq + s->len - 1);
    else if (s->flags & (TH_SYN | TH_FIN | TH_RST))
        snprintf(numbers, sizeof numbers, " seq %u", s->seq);
    if (s->flags & TH_ACK)
        snprintf(ack, sizeof ack, " ack %u", s->ack);
    if (!(s->flags & TH_RST))
        snprintf(window, sizeof window, " win %u", s->window);
    if (s->flags & TH_URG)
        snprintf(urgent, sizeof urgent, " urg %u", s->urgent);
    snprintf(buf, size, "%s%s%s%s%s", flag_words(s->flags, flags, sizeof flags), numbers, ack,
             urgent, window);
    return buf;
}
