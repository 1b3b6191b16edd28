/* ring_test.c -- the ring itself: kernels that lack something, forbid something, or run full.  */
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/ring.h"
#include "promise.h"

enum { SMALL_SQ = 8, SMALL_CQ = 16, PATIENCE = 1000000000 };

static void open_or_skip(struct ring *ring)
{
    int error = ring_open(ring, SMALL_SQ, SMALL_CQ);
    if (error == -EPERM || error == -ENOSYS)
        SKIP("this machine has no io_uring");
    CHECK_EQ(error, 0);
}

static void ask_nothing(struct ring *ring, uint64_t mark)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    sqe->opcode = IORING_OP_NOP;
    sqe->fd = -1;
    sqe->user_data = mark;
}

static int count_open(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* ---- older kernels ---- */

/* What each kernel did not know yet, from 6.5 down to 5.18. */
static const unsigned unknown[] = {
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_NO_SQARRAY | IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_NO_SQARRAY | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_NO_SQARRAY | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
        IORING_SETUP_COOP_TASKRUN,
};

static void start_receive(struct bench *b, struct op *op, int fd, char *byte)
{
    *op = recv_op(fd, byte, 1);
    start(b, op);
}

/* Everything that is particular here: waiting, a busy connection, cancelling, closing. */
static void work(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    struct op op, end = close_op(p.ours);
    char byte = 0;
    for (int i = 0; i < 10; i++) {
        start_receive(b, &op, p.ours, &byte);
        check_pending(b, &op);
        peer_send(p.peer, "w", 1);
        CHECK_EQ(finish(b, &op), 1);
    }
    start_receive(b, &op, p.ours, &byte);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    start_receive(b, &op, p.ours, &byte);
    turn(b);
    give_up(b, &op);
    start(b, &end);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    CHECK_EQ(finish(b, &end), 0);
    peer_sees_end(p.peer);
    CHECK_EQ(close(p.peer), 0);
}

static void older(const void *arg)
{
    static const struct mix plain;
    struct ring ring = {0};
    struct bench b;
    ring_setup_denied = *(const unsigned *)arg;
    open_or_skip(&ring);
    CHECK_EQ(ring.setup & ring_setup_denied, 0);
    ring_close(&ring);
    bench_open(&b, &io_uring, &plain);
    work(&b);
    bench_close(&b);
}

TEST_TABLE(older)
{
    static const char *const words[ARRAY_COUNT(unknown)] = {
        "a ring without NO_SQARRAY (Linux 6.5) works",
        "a ring without DEFER_TASKRUN (Linux 6.0) works",
        "a ring without SINGLE_ISSUER (Linux 5.19) works",
        "a ring without COOP_TASKRUN (Linux 5.18) works",
    };
    for (size_t i = 0; i < ARRAY_COUNT(unknown); i++)
        test_register(words[i], older, &unknown[i]);
}

TEST(setup_refused, "a kernel that takes no set of flags is answered with EINVAL")
{
    struct ring ring = {0};
    int before = count_open();
    ring_setup_denied = IORING_SETUP_CLAMP;
    CHECK_EQ(ring_open(&ring, SMALL_SQ, SMALL_CQ), -EINVAL);
    CHECK_EQ(ring_probe(), -EINVAL);
    CHECK_EQ(count_open(), before);
}

/* ---- forbidden ---- */

static void forbid(long call, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = ARRAY_COUNT(code), .filter = code};
    CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

static void falls_back(long call, int error, int expected)
{
    struct list done = LIST_INIT(done);
    struct io *io = NULL;
    struct ring ring = {0};
    open_or_skip(&ring);
    ring_close(&ring);
    int before = count_open();
    forbid(call, error);
    CHECK_EQ(io_uring.open(&io, &done), expected);
    CHECK_EQ((intptr_t)io, 0);
    CHECK_STR(io_backend_auto()->name, "epoll");
    CHECK_EQ(count_open(), before);
}

TEST(forbidden_setup, "where io_uring_setup is forbidden, epoll serves and nothing stays open")
{
    falls_back(SYS_io_uring_setup, EPERM, -EPERM);
}

TEST(missing_setup, "where io_uring_setup is missing, epoll serves")
{
    falls_back(SYS_io_uring_setup, ENOSYS, -ENOSYS);
}

TEST(forbidden_enter, "where only io_uring_enter is forbidden, epoll serves and nothing stays open")
{
    falls_back(SYS_io_uring_enter, EACCES, -EOPNOTSUPP);
}

TEST(forbidden_register, "where only io_uring_register is forbidden, epoll serves")
{
    falls_back(SYS_io_uring_register, EPERM, -EOPNOTSUPP);
}

TEST(no_locked_memory, "a ring needs no locked memory")
{
    struct ring ring = {0};
    struct rlimit none = {0, 0};
    open_or_skip(&ring);
    ring_close(&ring);
    CHECK_OK(setrlimit(RLIMIT_MEMLOCK, &none));
    CHECK_EQ(ring_open(&ring, 256, 4096), 0);
    ring_close(&ring);
}

/* ---- full ---- */

TEST(sq_full, "more entries than the queue holds are taken, each once and in order")
{
    struct ring ring = {0};
    const struct io_uring_cqe *cqe;
    uint64_t count = 0;
    open_or_skip(&ring);
    for (uint64_t i = 0; i < SMALL_CQ; i++)
        ask_nothing(&ring, i);
    while (count < SMALL_CQ) {
        CHECK_EQ(ring_enter(&ring, PATIENCE), 0);
        CHECK((cqe = ring_cqe(&ring)) != NULL);
        for (; (cqe = ring_cqe(&ring)); ring_cqe_seen(&ring))
            CHECK_EQ(cqe->user_data, count++);
    }
    ring_close(&ring);
}

TEST(cq_full, "more completions than the queue holds wait in the kernel, and none is lost")
{
    enum { MANY = 100 * SMALL_CQ };
    static bool seen[MANY];
    struct ring ring = {0};
    const struct io_uring_cqe *cqe;
    int count = 0;
    open_or_skip(&ring);
    for (uint64_t i = 0; i < MANY; i++)
        ask_nothing(&ring, i);
    while (count < MANY) {
        CHECK_EQ(ring_enter(&ring, PATIENCE), 0);
        CHECK((cqe = ring_cqe(&ring)) != NULL);
        for (; (cqe = ring_cqe(&ring)); ring_cqe_seen(&ring), count++) {
            CHECK(cqe->user_data < MANY && !seen[cqe->user_data]);
            seen[cqe->user_data] = true;
        }
    }
    ring_close(&ring);
}

TEST(nothing_to_do, "an enter that has nothing to do and need not wait makes no system call")
{
    struct ring ring = {0};
    open_or_skip(&ring);
    CHECK_EQ(ring_enter(&ring, 0), 0);
    forbid(SYS_io_uring_enter, EPERM);
    CHECK_EQ(ring_enter(&ring, 0), 0);
    ask_nothing(&ring, 1);
    CHECK_EQ(ring_enter(&ring, 0), -EPERM);
    ring_close(&ring);
}

/* ---- threads ---- */

static void *use_elsewhere(void *arg)
{
    struct ring *ring = arg;
    ask_nothing(ring, 7);
    CHECK_EQ(ring_enter(ring, PATIENCE), 0);
    CHECK(ring_cqe(ring) && ring_cqe(ring)->user_data == 7);
    ring_cqe_seen(ring);
    return NULL;
}

TEST(other_thread,
     "a ring belongs to the thread that first enters it, not to the one that opened it")
{
    struct ring ring = {0};
    pthread_t thread;
    open_or_skip(&ring);
    CHECK_EQ(pthread_create(&thread, NULL, use_elsewhere, &ring), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    if (ring.setup & IORING_SETUP_SINGLE_ISSUER) {
        ask_nothing(&ring, 8);
        CHECK(ring_enter(&ring, 0) < 0);
    }
    ring_close(&ring);
}

TEST(many_rings, "rings can be opened and closed again and again, and many at a time")
{
    struct ring rings[40] = {{0}};
    int before = count_open();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_COUNT(rings); i++) {
            open_or_skip(&rings[i]);
            use_elsewhere(&rings[i]);
        }
        for (size_t i = 0; i < ARRAY_COUNT(rings); i++)
            ring_close(&rings[i]);
    }
    CHECK_EQ(count_open(), before);
}
