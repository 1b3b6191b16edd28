/* ring.c -- io_uring by hand, as far as it watches sockets. */
#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"
#include "ring.h"

enum { RING_ENTRIES = 64 };

int ring_open(struct lab *lab, struct ring *ring)
{
    struct io_uring_params p = { 0 };
    errno = ENOSYS;
    if (!kernel_since(5, 13))
        return -1;
    ring->fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &p);
    if (ring->fd < 0)
        return -1;
    ring->len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    ring->sqe_len = p.sq_entries * sizeof(struct io_uring_sqe);
    ring->map = mmap(NULL, ring->len, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
                     IORING_OFF_SQ_RING);
    ring->sqe_map = mmap(NULL, ring->sqe_len, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
                         IORING_OFF_SQES);
    must(lab, ring->map == MAP_FAILED || ring->sqe_map == MAP_FAILED ? -1 : 0, "mmap");
    char *at = ring->map;
    ring->sqes = ring->sqe_map;
    ring->cqes = (struct io_uring_cqe *)(void *)(at + p.cq_off.cqes);
    ring->sq_tail = (unsigned *)(void *)(at + p.sq_off.tail);
    ring->sq_array = (unsigned *)(void *)(at + p.sq_off.array);
    ring->cq_head = (unsigned *)(void *)(at + p.cq_off.head);
    ring->cq_tail = (unsigned *)(void *)(at + p.cq_off.tail);
    ring->sq_mask = p.sq_entries - 1;
    ring->cq_mask = p.cq_entries - 1;
    return 0;
}

void ring_close(struct ring *ring)
{
    munmap(ring->map, ring->len);
    munmap(ring->sqe_map, ring->sqe_len);
    close(ring->fd);
}

static long ring_enter(struct ring *ring, unsigned submit, unsigned await)
{
    return syscall(SYS_io_uring_enter, ring->fd, submit, await, IORING_ENTER_GETEVENTS, NULL, 0);
}

void ring_watch(struct lab *lab, struct ring *ring, int fd)
{
    unsigned tail = *ring->sq_tail, index = tail & ring->sq_mask;
    ring->sqes[index] = (struct io_uring_sqe){
        .opcode = IORING_OP_POLL_ADD,
        .fd = fd,
        .len = IORING_POLL_ADD_MULTI,
        .poll32_events = POLLIN,
        .user_data = (unsigned)fd,
    };
    ring->sq_array[index] = index;
    __atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
    must(lab, ring_enter(ring, 1, 0), "io_uring_enter");
}

int ring_wait(struct ring *ring)
{
    unsigned head = *ring->cq_head;
    if (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == head && ring_enter(ring, 0, 1) < 0)
        return -1;
    if (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == head)
        return -1;
    const struct io_uring_cqe *cqe = &ring->cqes[head & ring->cq_mask];
    bool is_watched_on = cqe->res >= 0 && cqe->flags & IORING_CQE_F_MORE;
    int fd = is_watched_on ? (int)cqe->user_data : -1;
    __atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
    return fd;
}
