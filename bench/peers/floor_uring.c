/* floor_uring.c -- a hand-written echo server on io_uring, to find out which way of using the ring
   costs least. Multishot accept always; answers go out by send(2) at once, because a send that
   finds room is only a copy; a connection is closed by close(2) when the ring holds nothing of it,
   else by a cancel and a close linked in the ring. The second argument chooses how to read:

     recv      one RECV for each read, into a 64 KiB buffer that each connection owns
     recvsel   one RECV for each read, into a provided buffer
     recvms    multishot RECV into provided buffers
     pollms    multishot POLL, then recv(2) into the one buffer of all
     pollone   one POLL for each read, then recv(2)
     pollmix   POLL once for the first two reads of a connection, multishot from then on: a short
               connection never leaves a multishot to cancel

   recvsel and recvms take the number and size of the provided buffers after colons, as in
   recvms:64:65536. Completions carry descriptor, kind and generation, never a pointer, so that what
   is late finds no wrong owner. */
#define _GNU_SOURCE
#include "peer.h"
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode { RECV, RECVSEL, RECVMS, POLLMS, POLLONE, POLLMIX };
enum kind { ACCEPT = 1, INPUT, ROOM, CLOSING };

struct conn {
    struct backlog backlog;
    uint32_t generation; /* 24 bits count */
    bool input_pending;
    bool room_pending;
    uint8_t single_polls; /* POLLMIX only: how many there were */
    bool ended;           /* the peer has finished; close once nothing is owed */
};

static struct conn conns[PEER_FILES_MAX]; /* by descriptor */
static struct ring ring;
static struct buffer_ring buffers;
static unsigned buffer_count = 64;
static unsigned buffer_size = PEER_BUFFER_SIZE;
static char *private_buffers; /* RECV only: one for each descriptor, touched when used */
static char shared_buffer[PEER_BUFFER_SIZE];
static enum mode mode;
static int listener;

static struct io_uring_sqe *next(int opcode, int fd, enum kind kind)
{
    struct io_uring_sqe *sqe = ring_next(&ring);

    sqe->opcode = (uint8_t)opcode;
    sqe->fd = fd;
    sqe->user_data =
        (uint32_t)fd | (uint64_t)kind << 32 | (uint64_t)(conns[fd].generation & 0xffffff) << 40;
    return sqe;
}

static void arm_accept(void)
{
    struct io_uring_sqe *sqe = next(IORING_OP_ACCEPT, listener, ACCEPT);

    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
}

static void arm_recv(int fd)
{
    struct io_uring_sqe *sqe = next(IORING_OP_RECV, fd, INPUT);

    if (mode == RECV) {
        sqe->addr = (uintptr_t)(private_buffers + (size_t)fd * PEER_BUFFER_SIZE);
        sqe->len = PEER_BUFFER_SIZE;
        return;
    }
    sqe->flags = IOSQE_BUFFER_SELECT;
    if (mode == RECVMS)
        sqe->ioprio = IORING_RECV_MULTISHOT;
}

static bool mode_polls(void)
{
    return mode == POLLMS || mode == POLLONE || mode == POLLMIX;
}

static bool poll_is_multishot(struct conn *conn)
{
    if (mode != POLLMIX)
        return mode == POLLMS;
    if (conn->single_polls == 2)
        return true;
    conn->single_polls++;
    return false;
}

static void arm_input(int fd)
{
    if (mode_polls()) {
        struct io_uring_sqe *sqe = next(IORING_OP_POLL_ADD, fd, INPUT);

        sqe->poll32_events = POLLIN | POLLRDHUP;
        sqe->len = poll_is_multishot(&conns[fd]) ? IORING_POLL_ADD_MULTI : 0;
    } else {
        arm_recv(fd);
    }
    conns[fd].input_pending = true;
}

static void arm_room(int fd)
{
    if (conns[fd].room_pending)
        return;
    next(IORING_OP_POLL_ADD, fd, ROOM)->poll32_events = POLLOUT;
    conns[fd].room_pending = true;
}

/* Nothing that comes for this descriptor later is heard, until it is accepted anew. */
static void conn_close(int fd)
{
    struct conn *conn = &conns[fd];
    struct io_uring_sqe *sqe;

    backlog_drop(&conn->backlog);
    conn->generation++;
    if (!conn->input_pending && !conn->room_pending) {
        close(fd);
        return;
    }
    sqe = next(IORING_OP_ASYNC_CANCEL, fd, CLOSING);
    sqe->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
    sqe->flags = IOSQE_IO_HARDLINK | IOSQE_CQE_SKIP_SUCCESS;
    sqe = next(IORING_OP_CLOSE, fd, CLOSING);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

/* The peer has finished, or the connection is lost. False, for the callers' convenience. */
static bool conn_end(int fd, bool lost)
{
    if (lost || backlog_empty(&conns[fd].backlog))
        conn_close(fd);
    else
        conns[fd].ended = true;
    return false;
}

/* False once the connection is gone or has ended. */
static bool answer(int fd, const char *bytes, size_t len)
{
    struct backlog *backlog = &conns[fd].backlog;

    if (backlog_send(backlog, fd, bytes, len) != 0)
        return conn_end(fd, true);
    if (!backlog_empty(backlog))
        arm_room(fd);
    return true;
}

/* Reads by recv(2) until a short read; `drain`: until EAGAIN, since what came while output was
   stuck is not announced again, and neither is the end that came with the data. */
static bool echo_by_hand(int fd, bool drain)
{
    ssize_t n;

    do {
        n = recv(fd, shared_buffer, sizeof shared_buffer, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return conn_end(fd, n < 0);
        if (!answer(fd, shared_buffer, (size_t)n))
            return false;
    } while (backlog_empty(&conns[fd].backlog) && (drain || n == sizeof shared_buffer));
    return true;
}

static bool echo_polled(int fd, int revents)
{
    if (revents < 0)
        return conn_end(fd, true);
    if (!backlog_empty(&conns[fd].backlog))
        return true;
    return echo_by_hand(fd, revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static bool echo_received(int fd, const struct io_uring_cqe *cqe)
{
    const char *bytes;

    if (cqe->res == -ENOBUFS)
        return true;
    if (cqe->res <= 0)
        return conn_end(fd, cqe->res < 0);
    bytes =
        mode == RECV ? private_buffers + (size_t)fd * PEER_BUFFER_SIZE : buffers_at(&buffers, cqe);
    return answer(fd, bytes, (size_t)cqe->res);
}

static void on_input(int fd, const struct io_uring_cqe *cqe)
{
    struct conn *conn = &conns[fd];
    bool alive;

    conn->input_pending = cqe->flags & IORING_CQE_F_MORE;
    alive = mode_polls() ? echo_polled(fd, cqe->res) : echo_received(fd, cqe);
    if (alive && !conn->input_pending && backlog_empty(&conn->backlog))
        arm_input(fd);
}

static void on_room(int fd)
{
    struct conn *conn = &conns[fd];

    conn->room_pending = false;
    if (backlog_flush(&conn->backlog, fd) != 0) {
        conn_close(fd);
        return;
    }
    if (!backlog_empty(&conn->backlog))
        arm_room(fd);
    else if (conn->ended)
        conn_close(fd);
    else if (!conn->input_pending)
        arm_input(fd);
    else if (mode_polls())
        echo_by_hand(fd, true);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        conns[cqe->res] = (struct conn){.generation = conns[cqe->res].generation + 1};
        arm_input(cqe->res);
    } else if (cqe->res != -ECONNABORTED) {
        errno = -cqe->res;
        peer_fail("accept");
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_accept();
}

static void on_completion(const struct io_uring_cqe *cqe)
{
    int fd = (int)(uint32_t)cqe->user_data;
    bool late = cqe->user_data >> 40 != (conns[fd].generation & 0xffffff);

    switch ((enum kind)(cqe->user_data >> 32 & 0xff)) {
    case ACCEPT:
        on_accept(cqe);
        break;
    case INPUT:
        if (!late)
            on_input(fd, cqe);
        break;
    case ROOM:
        if (!late)
            on_room(fd);
        break;
    case CLOSING: /* the cancel found nothing: the close is carried out all the same */
        break;
    }
    if (cqe->flags & IORING_CQE_F_BUFFER)
        buffers_return(&buffers, cqe);
}

static void mode_parse(const char *text)
{
    static const char *const words[] = {
        [RECV] = "recv",     [RECVSEL] = "recvsel", [RECVMS] = "recvms",
        [POLLMS] = "pollms", [POLLONE] = "pollone", [POLLMIX] = "pollmix"};
    char word[16] = "";

    sscanf(text, "%15[a-z]:%u:%u", word, &buffer_count, &buffer_size);
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], word) == 0) {
            mode = (enum mode)i;
            return;
        }
    }
    fprintf(stderr, "floor_uring: no way of reading is called %s\n", text);
    exit(2);
}

static void memory_open(void)
{
    size_t size = (size_t)PEER_FILES_MAX * PEER_BUFFER_SIZE;

    if (mode == RECVSEL || mode == RECVMS)
        buffers_open(&buffers, &ring, buffer_count, buffer_size);
    if (mode != RECV)
        return;
    private_buffers = mmap(NULL, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    /* A huge page would make one touched buffer cost 32. */
    if (private_buffers == MAP_FAILED || madvise(private_buffers, size, MADV_NOHUGEPAGE) != 0)
        peer_fail("private buffers");
}

int main(int argc, char **argv)
{
    struct io_uring_cqe *cqe;

    mode_parse(argc > 2 ? argv[2] : "recvms");
    ring_open(&ring);
    memory_open();
    listener = peer_listen(argc > 1 ? argv[1] : "0", 0);
    arm_accept();
    for (;;) {
        ring_enter(&ring, 1);
        while ((cqe = ring_peek(&ring))) {
            on_completion(cqe);
            ring_seen(&ring);
        }
    }
}
