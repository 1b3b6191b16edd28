/* exp_ring.c -- an experiment on io_uring: what it costs to watch many sockets with it. */
#include <errno.h>
#include <linux/io_uring.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"
#include "numbers.h"
#include "sock.h"

/* ---- a ring: one queue to ask, one that answers, in memory shared with the kernel ---- */

enum { RING_ENTRIES = 64 };

struct ring {
    int fd;
    void *map, *sqe_map;
    size_t len, sqe_len;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned *sq_tail, *sq_array, *cq_head, *cq_tail, sq_mask, cq_mask;
};

/* 0, or -1 and errno where the kernel has none or refuses it. */
static int ring_open(struct lab *lab, struct ring *ring)
{
    struct io_uring_params p = { 0 };
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

static void ring_close(struct ring *ring)
{
    munmap(ring->map, ring->len);
    munmap(ring->sqe_map, ring->sqe_len);
    close(ring->fd);
}

static long ring_enter(struct ring *ring, unsigned submit, unsigned await)
{
    return syscall(SYS_io_uring_enter, ring->fd, submit, await, IORING_ENTER_GETEVENTS, NULL, 0);
}

/* Asks once for a completion whenever something comes: a poll of many shots. */
static void ring_watch(struct lab *lab, struct ring *ring, int fd)
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

/* Waits for a completion: the descriptor it is about, or -1. */
static int ring_wait(struct ring *ring)
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

/* ---- mux-7: the same crowd, watched by a ring ---- */

enum { CROWD_MAX = 9000, CROWD_MIN = 1000, SPARE = 64, ROUNDS = 200 };

struct watch {
    struct ring ring;
    int poller, count, fds[CROWD_MAX];
};

static struct watch watch;

static int wait_with_ring(struct watch *w)
{
    return ring_wait(&w->ring);
}

static int wait_with_epoll(struct watch *w)
{
    struct epoll_event event = { .data.fd = -1 };
    return epoll_wait(w->poller, &event, 1, 1000) == 1 ? event.data.fd : -1;
}

/* A datagram comes, is waited for and received; the shortest of many such rounds. Both watch all
 * the time, and who is not asked has to be told all the same. */
static double best_round_us(struct lab *lab, struct watch *w, int sender, const char *name,
                            int (*await)(struct watch *w))
{
    char byte;
    double best = INFINITY;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = clock_ns();
        must(lab, send(sender, "x", 1, 0), "send");
        int found = await(w);
        double us = ms_since(start) * 1e3;
        must(lab, found == w->fds[0] ? 0 : -1, name);
        must(lab, recv(found, &byte, 1, 0), "recv");
        best = us < best ? us : best;
        if (await != wait_with_ring)
            ring_wait(&w->ring);
    }
    return best;
}

static void watch_too(struct lab *lab, struct watch *w, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    must(lab, epoll_ctl(w->poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    ring_watch(lab, &w->ring, fd);
    w->fds[w->count++] = fd;
}

static enum verdict ring_rounds(struct lab *lab)
{
    static const int sizes[] = { 1, 10, 100, CROWD_MIN, CROWD_MAX };
    double ring_us = 0, epoll_us = 0, alone_us = 0;
    int most = numbers_room(lab) - SPARE;
    if (most < CROWD_MIN)
        return skip(lab, "raise the limit: ulimit -Hn 10000, as root",
                    "only %d descriptors may be had here", most);
    if (!kernel_since(5, 13))
        return skip(lab, "try it on Linux 5.13 or later",
                    "this kernel has no poll of many shots in io_uring");
    if (ring_open(lab, &watch.ring) < 0)
        return skip(lab, "sudo sysctl kernel.io_uring_disabled=0, or run it outside of a container",
                    "io_uring is refused by a sysctl or a seccomp filter (%s)",
                    strerrorname_np(errno));
    struct udp_pair active = udp_pair(lab);
    watch.poller = must(lab, epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    watch_too(lab, &watch, active.b);

    picture(lab, PLOT, PICTURE_LOG, "one of them receives a datagram", "sockets", "us/round");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i] <= most; i++) {
        while (watch.count < sizes[i])
            watch_too(lab, &watch, udp_socket(lab));
        epoll_us = best_round_us(lab, &watch, active.a, "epoll", wait_with_epoll);
        ring_us = best_round_us(lab, &watch, active.a, "io_uring", wait_with_ring);
        alone_us = i == 0 ? ring_us : alone_us;
        note_number(lab, text("epoll, of %d", watch.count), epoll_us, "us");
        note_number(lab, text("io_uring, of %d", watch.count), ring_us, "us");
        point(lab, "epoll", watch.count, epoll_us);
        point(lab, "io_uring", watch.count, ring_us);
    }
    observe_range(lab, text("io_uring of %d takes as long as of one", watch.count),
                  ring_us / alone_us, 0, 20, "times");
    observe_range(lab, text("of %d: io_uring takes as long as epoll", watch.count),
                  ring_us / epoll_us, 0.05, 20, "times");
    close_all(watch.fds, watch.count);
    CLOSE(active.a, watch.poller);
    ring_close(&watch.ring);
    return conclude(lab, ADDED, "like epoll it does not care how many sockets are only watched");
}

static const struct experiment mux_7 = {
    .id = "mux-7",
    .name = "ring-rounds",
    .question = "what does it cost io_uring to wait for one socket of many?",
    .expectation = "about what it costs epoll, and no more with 9000 sockets than with one",
    .reference = "io_uring_enter(2), IORING_POLL_ADD_MULTI (since Linux 5.13)",
    .why = "A poll of many shots is entered once with each socket, as EPOLL_CTL_ADD does, and each "
           "arrival writes a completion into memory that the program reads without a system call. "
           "What io_uring can do beyond that is not in this figure: many operations submitted by "
           "one call, and the receive itself instead of the news that one is possible.",
    .next = "weir lab rounds",
    .run = ring_rounds,
};

const struct experiment *const ring_experiments[] = { &mux_7, NULL };
