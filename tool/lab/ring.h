/* ring.h -- io_uring by hand, as far as it watches sockets. */
#ifndef LAB_RING_H
#define LAB_RING_H

#include <stddef.h>

struct lab;

/* One queue to ask and one that answers, in memory shared with the kernel. */
struct ring {
    int fd;
    void *map, *sqe_map;
    size_t len, sqe_len;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned *sq_tail, *sq_array, *cq_head, *cq_tail, sq_mask, cq_mask;
};

/* 0, or -1 and errno where the kernel has none, refuses it, or has no poll of many shots. */
int ring_open(struct lab *lab, struct ring *ring);
void ring_close(struct ring *ring);

/* Asks once for a completion whenever something comes to be read: a poll of many shots. */
void ring_watch(struct lab *lab, struct ring *ring, int fd);

/* Waits for a completion: the descriptor it is about, or -1. */
int ring_wait(struct ring *ring);

#endif
