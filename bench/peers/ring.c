/* ring.c -- the kernel's io_uring interface by raw system calls. The ring is set up for one thread
   that runs its own completions (SINGLE_ISSUER, DEFER_TASKRUN), and its descriptor is registered,
   which spares the kernel a table look-up in each enter. See io_uring_setup(2). */
#define _GNU_SOURCE
#include "ring.h"
#include "peer.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SQ_SIZE = 4096, CQ_SIZE = 32768 };

static void *map(size_t size, int flags, int fd, off_t offset)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, offset);

    if (at == MAP_FAILED)
        peer_fail("mmap");
    return at;
}

static void map_queues(struct ring *ring, const struct io_uring_params *params)
{
    size_t sq_bytes = params->sq_off.array + params->sq_entries * sizeof(unsigned);
    size_t cq_bytes = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    char *shared =
        map(sq_bytes > cq_bytes ? sq_bytes : cq_bytes, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
    unsigned *array = (unsigned *)(void *)(shared + params->sq_off.array);

    ring->sqes =
        map(params->sq_entries * sizeof *ring->sqes, MAP_SHARED, ring->fd, IORING_OFF_SQES);
    ring->sq_size = params->sq_entries;
    ring->sq_mask = params->sq_entries - 1;
    ring->sq_shared_tail = (unsigned *)(void *)(shared + params->sq_off.tail);
    ring->cq_mask = params->cq_entries - 1;
    ring->cq_shared_head = (unsigned *)(void *)(shared + params->cq_off.head);
    ring->cq_shared_tail = (unsigned *)(void *)(shared + params->cq_off.tail);
    ring->cqes = (struct io_uring_cqe *)(void *)(shared + params->cq_off.cqes);
    for (unsigned i = 0; i < params->sq_entries; i++)
        array[i] = i;
}

void ring_open(struct ring *ring)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = CQ_SIZE,
    };
    struct io_uring_rsrc_update own = {.offset = -1U};

    *ring = (struct ring){0};
    ring->fd = (int)syscall(__NR_io_uring_setup, SQ_SIZE, &params);
    if (ring->fd < 0)
        peer_fail("io_uring_setup");
    map_queues(ring, &params);
    own.data = (unsigned)ring->fd;
    if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_RING_FDS, &own, 1) != 1)
        peer_fail("io_uring_register");
    ring->enter_fd = own.offset;
}

void ring_enter(struct ring *ring, unsigned wait_count)
{
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING;
    long taken;

    __atomic_store_n(ring->sq_shared_tail, ring->sq_tail, __ATOMIC_RELEASE);
    taken = syscall(__NR_io_uring_enter, ring->enter_fd, ring->sq_tail - ring->sq_submitted,
                    wait_count, flags, NULL, 0);
    if (taken < 0 && errno != EINTR && errno != EBUSY)
        peer_fail("io_uring_enter");
    if (taken > 0)
        ring->sq_submitted += (unsigned)taken;
}

struct io_uring_sqe *ring_next(struct ring *ring)
{
    struct io_uring_sqe *sqe;

    while (ring->sq_tail - ring->sq_submitted == ring->sq_size)
        ring_enter(ring, 0);
    sqe = &ring->sqes[ring->sq_tail++ & ring->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

struct io_uring_cqe *ring_peek(struct ring *ring)
{
    if (ring->cq_head == __atomic_load_n(ring->cq_shared_tail, __ATOMIC_ACQUIRE))
        return NULL;
    return &ring->cqes[ring->cq_head & ring->cq_mask];
}

void ring_seen(struct ring *ring)
{
    __atomic_store_n(ring->cq_shared_head, ++ring->cq_head, __ATOMIC_RELEASE);
}

static void buffer_give(struct buffer_ring *buffers, unsigned id)
{
    struct io_uring_buf *slot = &buffers->ring->bufs[buffers->tail & (buffers->count - 1)];

    /* Field by field: the tail that both sides share lies in the first slot's last field. */
    slot->addr = (uintptr_t)(buffers->bytes + (size_t)id * buffers->size);
    slot->len = buffers->size;
    slot->bid = (uint16_t)id;
    buffers->tail++;
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

void buffers_open(struct buffer_ring *buffers, struct ring *ring, unsigned count, unsigned size)
{
    struct io_uring_buf_reg registration = {.ring_entries = count};

    *buffers = (struct buffer_ring){.count = count, .size = size};
    buffers->ring = map(count * sizeof(struct io_uring_buf), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    buffers->bytes = map((size_t)count * size, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    registration.ring_addr = (uintptr_t)buffers->ring;
    if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PBUF_RING, &registration, 1) != 0)
        peer_fail("buffer ring");
    for (unsigned id = 0; id < count; id++)
        buffer_give(buffers, id);
}

char *buffers_at(const struct buffer_ring *buffers, const struct io_uring_cqe *cqe)
{
    return buffers->bytes + (size_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT) * buffers->size;
}

void buffers_return(struct buffer_ring *buffers, const struct io_uring_cqe *cqe)
{
    buffer_give(buffers, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
}
