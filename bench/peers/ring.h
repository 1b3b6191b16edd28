/* ring.h -- the kernel's io_uring interface, just enough of it for an echo server: one ring that a
   single thread owns, and one ring of provided buffers. */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
    int fd;
    unsigned enter_fd;         /* its number in the task's table of registered rings */
    unsigned sq_mask, sq_tail; /* the tail here runs ahead of the shared one until an enter */
    unsigned sq_submitted;
    unsigned *sq_shared_tail;
    unsigned sq_size;
    struct io_uring_sqe *sqes;
    unsigned cq_mask, cq_head;
    unsigned *cq_shared_head;
    unsigned *cq_shared_tail;
    struct io_uring_cqe *cqes;
};

/* Buffers that the kernel picks from when data has come; group 0. */
struct buffer_ring {
    struct io_uring_buf_ring *ring;
    char *bytes;
    unsigned count; /* a power of two */
    unsigned size;
    uint16_t tail;
};

void ring_open(struct ring *ring);

/* A zeroed entry; submits what is queued if there is no room. */
struct io_uring_sqe *ring_next(struct ring *ring);

/* One system call: submits, waits until at least one completion is there. */
void ring_enter(struct ring *ring, unsigned wait_count);

/* The next completion, or NULL. It stays valid until ring_seen. */
struct io_uring_cqe *ring_peek(struct ring *ring);
void ring_seen(struct ring *ring);

void buffers_open(struct buffer_ring *buffers, struct ring *ring, unsigned count, unsigned size);
char *buffers_at(const struct buffer_ring *buffers, const struct io_uring_cqe *cqe);
void buffers_return(struct buffer_ring *buffers, const struct io_uring_cqe *cqe);

#endif
