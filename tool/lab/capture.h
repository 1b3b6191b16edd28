/* capture.h -- the TCP segments on the loopback, seen as they are sent. Needs NEEDS_CAPTURE. */
#ifndef LAB_CAPTURE_H
#define LAB_CAPTURE_H

#include "lab.h"
#include "segment.h"

enum { SEGMENTS_MAX = 512 };

struct capture {
    int fd;
    unsigned char *ring; /* that the kernel writes packets into */
    unsigned next;       /* the frame of it that is read next */
    double first_ms;
    int count;           /* of segments that are kept; what comes after SEGMENTS_MAX is counted */
    int lost;            /* here */
    struct segment_reader reader;
    struct segment segments[SEGMENTS_MAX];
};

/* Begins to watch what has this port on either side, 0 for everything. The capture is static or on
 * the heap, for it is large. */
void capture_begin(struct lab *lab, struct capture *capture, uint16_t port);

/* Takes up what was sent since; how many segments there are now. On the loopback a segment is
 * there when the call that sent it has returned, as a rule; what a timer sends comes later, and an
 * acknowledgement may be such: wait for it. */
int capture_take(struct lab *lab, struct capture *capture);

/* Waits until there are `count` segments; whether there are. */
bool capture_wait(struct lab *lab, struct capture *capture, int count, int milliseconds);

/* capture_take, and notes beside the last segment in which states both ends are now: the left one
 * with the local port `left`, the right one with `right`. */
void capture_states(struct lab *lab, struct capture *capture, uint16_t left, uint16_t right);

/* Draws a ladder; what comes from the port `left` goes to the right. */
void capture_draw(struct lab *lab, const struct capture *capture, unsigned flags,
                  const char *title, uint16_t left, const char *left_name,
                  const char *right_name);

/* How many segments carry all of these flags, from this port (0: any). */
int capture_count(const struct capture *capture, unsigned flags, uint16_t from_port);

/* The first of them at or after index `from`; its index, or -1. */
int capture_find(const struct capture *capture, int from, unsigned flags, uint16_t from_port);

void capture_end(struct lab *lab, struct capture *capture);

#endif
