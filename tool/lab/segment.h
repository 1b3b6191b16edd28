/* segment.h -- reading TCP segments: relative numbers, windows in bytes, flags in words. */
#ifndef LAB_SEGMENT_H
#define LAB_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct segment {
    double ms;                     /* since the first one of the capture */
    uint32_t from_host, to_host;   /* in host order */
    uint16_t from_port, to_port;
    unsigned flags;                /* TH_SYN and so on of <netinet/tcp.h> */
    uint32_t seq, ack;             /* relative: a SYN has 0, the first byte 1; ack 0 without ACK */
    uint32_t len;                  /* bytes of data */
    uint32_t window;               /* in bytes, scaled as the SYNs have agreed */
    unsigned urgent;               /* the urgent pointer, with TH_URG */
    unsigned mss;                  /* options of a SYN; 0: there is none */
    int scale;                     /* -1: there is none */
    bool is_sack_permitted;
    unsigned sack_blocks;
    bool is_repeated;              /* carries nothing that was not sent before */
    char left[16], right[16];      /* states of both ends, where the experiment looked */
};

/* What must be remembered of one direction of one connection. */
struct direction {
    uint32_t from_host, to_host;
    uint16_t from_port, to_port;
    uint32_t first_seq;            /* that is 0 to the reader */
    uint32_t next_seq;             /* the first that was never sent, relative */
    int scale;
    bool has_syn;
};

enum { DIRECTIONS_MAX = 256 };

struct segment_reader {
    struct direction directions[DIRECTIONS_MAX];
    int count;
    bool is_full;
};

/* Reads one IPv4 packet, of which `len` bytes are at hand; it may have been longer. False: it is
 * no TCP segment, or too much of it is missing. */
bool segment_read(struct segment_reader *reader, const unsigned char *packet, size_t len,
                  struct segment *out);

/* "SYN ACK seq 0 ack 1 win 65536", "PSH ACK 1-5 (5) ack 1 win 65536". */
const char *segment_words(const struct segment *segment, char *buf, size_t size);

/* "SYN ACK". */
const char *flag_words(unsigned flags, char *buf, size_t size);

#endif
