/* wake_test.c -- the small parts under the backends: waking, lending, generations, op_try.     */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/lend.h"
#include "io/wake.h"
#include "promise.h"

static const struct mix plain;

/* ---- waking ---- */

TEST(wake_awake, "a wake while nobody sleeps costs no system call, and is not lost")
{
    struct wake w = WAKE_INIT;
    uint64_t count;
    CHECK_EQ(wake_open(&w), 0);
    for (int i = 0; i < 1000; i++)
        wake_up(&w);
    CHECK_ERRNO(read(w.fd, &count, sizeof count), EAGAIN);
    CHECK(!wake_sleeps(&w));
    wake_rises(&w);
    CHECK(wake_sleeps(&w));
    for (int i = 0; i < 1000; i++)
        wake_up(&w);
    wake_rises(&w);
    CHECK_EQ(read(w.fd, &count, sizeof count), sizeof count);
    CHECK_EQ(count, 1);
    wake_close(&w);
}

struct player {
    struct bench *bench;
    atomic_int ball; /* the round it was last thrown in */
};

struct game {
    struct player players[2];
    int rounds;
};

/* Waits for each ball, throws it back and wakes the other. */
static void *play(void *arg)
{
    struct game *game = arg;
    struct player *me = &game->players[1], *other = &game->players[0];
    for (int round = 1; round <= game->rounds; round++) {
        while (atomic_load(&me->ball) < round)
            me->bench->backend->wait(me->bench->io, TIME_NEVER);
        atomic_store(&other->ball, round);
        other->bench->backend->wake(other->bench->io);
    }
    return NULL;
}

PROMISE(wake_asleep, all_backends, "no wake is lost, however close to sleep it comes")
{
    struct bench second;
    bench_open(&second, b->bare, b->mix);
    struct game game = {.rounds = 5000, .players = {{.bench = b}, {.bench = &second}}};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, play, &game), 0);
    for (int round = 1; round <= game.rounds; round++) {
        atomic_store(&game.players[1].ball, round);
        second.backend->wake(second.io);
        while (atomic_load(&game.players[0].ball) < round)
            b->backend->wait(b->io, TIME_NEVER);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    bench_close(&second);
}

static void *wake_once(void *arg)
{
    struct bench *b = arg;
    b->backend->wake(b->io);
    return NULL;
}

/* The wakes come while it sleeps, or before, if it is late. */
PROMISE(sleeps_again, all_backends, "woken, it sleeps again")
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, wake_once, b), 0);
        b->backend->wait(b->io, TIME_NEVER);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK(rounds_of_nothing(b) <= 5);
}

static int open_count(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += is_open(fd);
    return count;
}

/* Returns how many descriptors are open once the instance has slept; a time so near may have come
 * before it could.                                                                            */
static int open_count_after_sleep(struct io *io)
{
    int before = open_count();
    for (int i = 0; i < 100 && open_count() == before; i++)
        io_blocking.wait(io, time_add(io_blocking.now(io), 1000000));
    return open_count();
}

TEST(blocking_frugal, "a plain thread owns a descriptor to be woken by only once it has slept")
{
    struct list done = LIST_INIT(done);
    struct io *io;
    int before = open_count();
    CHECK_EQ(io_blocking.open(&io, &done), 0);
    io_blocking.wait(io, TIME_PAST);
    CHECK_EQ(open_count(), before);
    CHECK_EQ(open_count_after_sleep(io), before + 1);
    io_blocking.close(io);
    CHECK_EQ(open_count(), before);
}

TEST(blocking_fork, "a forked child is woken by a descriptor of its own")
{
    struct bench b;
    bench_open(&b, &io_blocking, &plain);
    int inherited = open_count_after_sleep(b.io);
    pid_t child = CHECK_OK(fork());
    if (child == 0) {
        CHECK_EQ(open_count_after_sleep(b.io), inherited + 1);
        b.backend->close(b.io);
        CHECK_EQ(open_count(), inherited);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    bench_close(&b);
}

TEST(blocking_unslept_fork, "a forked child that never sleeps leaves inherited descriptors alone")
{
    struct bench b;
    bench_open(&b, &io_blocking, &plain);
    int inherited = open_count_after_sleep(b.io);
    pid_t child = CHECK_OK(fork());
    if (child == 0) {
        b.backend->close(b.io);
        CHECK_EQ(open_count(), inherited);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    bench_close(&b);
}

/* ---- kernels that lack a call ---- */

static void refuse(unsigned call, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_COUNT(code), code};
    CHECK_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void wait_without_pwait2(unsigned error)
{
    struct bench b;
    refuse(SYS_epoll_pwait2, error);
    bench_open(&b, &io_epoll, &plain);
    struct pair p = pair_open(NET_TCP4);
    char buf[4];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(&b, &op);
    weir_time until = time_add(clock_monotonic(), 2500000);
    b.backend->wait(b.io, until);
    CHECK(clock_monotonic() >= until);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(&b, &op), 3);
    pair_close(&b, p);
    bench_close(&b);
}

TEST(old_kernel, "epoll: before Linux 5.11 a wait is rounded up to milliseconds")
{
    wait_without_pwait2(ENOSYS);
}

TEST(filtered, "epoll: so it is where a filter refuses epoll_pwait2")
{
    wait_without_pwait2(EPERM);
}

/* ---- choosing ---- */

TEST(find, "each backend is found by its name, and nothing by another")
{
    static const struct io_backend *const backends[] = {&io_epoll, &io_poll, &io_select, &io_uring,
                                                        &io_blocking};
    for (size_t i = 0; i < ARRAY_COUNT(backends); i++)
        CHECK(io_backend_find(backends[i]->name) == backends[i]);
    CHECK(!io_backend_find("kqueue"));
    CHECK(!io_backend_find(""));
}

TEST(choose, "io_uring is chosen where it can be opened, and epoll elsewhere")
{
    struct list done = LIST_INIT(done);
    struct io *io;
    bool is_usable = !io_uring.open(&io, &done);
    if (is_usable)
        io_uring.close(io);
    CHECK(io_backend_auto() == (is_usable ? &io_uring : &io_epoll));
    CHECK(io_backend_auto() == io_backend_auto());
}

TEST(choose_denied, "where io_uring is refused, epoll is chosen")
{
    refuse(SYS_io_uring_setup, EPERM);
    CHECK(io_backend_auto() == &io_epoll);
}

/* ---- lending ---- */

static struct op lend_op(int fd, size_t len)
{
    struct op op = recv_op(fd, NULL, len);
    op.flags |= OP_LEND;
    return op;
}

TEST(lend, "buffers are lent by size, none for nothing, the one given back last again first")
{
    struct lender lender = {0};
    struct pair p = pair_open(NET_TCP4);
    struct op op = lend_op(p.ours, LEND_SMALL);
    CHECK_EQ(lender_recv(&lender, &op), -EAGAIN);
    CHECK(!op.recv.buf);
    CHECK_EQ(lender.small.count, 1);
    peer_send(p.peer, "abc", 3);
    op = lend_op(p.ours, 2);
    CHECK_EQ(lender_recv(&lender, &op), 2);
    CHECK_EQ(lender.small.count, 0);
    struct op large = lend_op(p.ours, SIZE_MAX);
    CHECK_EQ(lender_recv(&lender, &large), 1);
    CHECK_EQ(large.recv.len, LEND_LARGE);
    CHECK_EQ((uintptr_t)large.recv.buf % CACHE_LINE, 0);
    memset(large.recv.buf, 1, LEND_LARGE);
    memset(op.recv.buf, 1, LEND_SMALL);
    void *last = op.recv.buf;
    lender_give(&lender, large.recv.buf);
    lender_give(&lender, op.recv.buf);
    peer_send(p.peer, "d", 1);
    op = lend_op(p.ours, 1);
    CHECK_EQ(lender_recv(&lender, &op), 1);
    CHECK(op.recv.buf == last);
    lender_give(&lender, op.recv.buf);
    lender_close(&lender);
    CHECK_OK(close(p.ours));
    CHECK_OK(close(p.peer));
}

TEST(lend_rest, "buffers at rest are bounded in number")
{
    enum { MANY = 500 };
    struct lender lender = {0};
    struct pair p = pair_open(NET_TCP4);
    static struct op ops[MANY];
    for (int i = 0; i < MANY; i++) {
        peer_send(p.peer, "x", 1);
        ops[i] = lend_op(p.ours, 1);
        CHECK_EQ(lender_recv(&lender, &ops[i]), 1);
    }
    for (int i = 0; i < MANY; i++)
        lender_give(&lender, ops[i].recv.buf);
    CHECK(lender.small.count < 100);
    CHECK_EQ(lender.large.count, 0);
    lender_close(&lender);
    CHECK_OK(close(p.ours));
    CHECK_OK(close(p.peer));
}

/* ---- generations ---- */

TEST(generations, "each descriptor number has a generation of its own, never 0")
{
    static const int fds[] = {0, FD_LOW - 1, FD_LOW, 2 * FD_LOW - 1, 2 * FD_LOW, 1 << 20};
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        uint32_t before[ARRAY_COUNT(fds)];
        for (size_t j = 0; j < ARRAY_COUNT(fds); j++)
            CHECK((before[j] = fd_generation(fds[j])) != 0);
        fd_generation_bump(fds[i]);
        for (size_t j = 0; j < ARRAY_COUNT(fds); j++)
            CHECK_EQ(fd_generation(fds[j]) != before[j], j == i);
    }
    fd_generation_bump(-1);
}

PROMISE(close_generation, all_backends, "a close changes the generation")
{
    int fd = ask(b, socket_op(AF_INET, SOCK_STREAM));
    uint32_t before = fd_generation(fd);
    shut(b, fd);
    CHECK(fd_generation(fd) != before);
}

/* ---- op_try ---- */

static void fake_next(int32_t result)
{
    spy_on();
    spy.fake = result;
}

TEST(interrupted, "an interrupted call is made again, an interrupted close is not")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[4];
    peer_send(p.peer, "abc", 3);
    fake_next(-EINTR);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    CHECK_EQ(op_try(&op), 3);
    CHECK_EQ(spy.calls, 2);
    fake_next(-EINTR);
    op = close_op(p.ours);
    CHECK_EQ(op_try(&op), 0);
    CHECK_EQ(spy.calls, 1);
    CHECK(!is_open(p.ours));
    CHECK_OK(close(p.peer));
}

TEST(accept_errors, "an accept passes over connections that died, and reports other errors")
{
    struct bench b;
    struct address at, peer = {.len = sizeof(struct sockaddr_in6)};
    bench_open(&b, &io_blocking, &plain);
    int listener = listener_open(&b, NET_TCP4, 1, &at), client = dial_plain(&at);
    struct op op = accept_op(listener);
    fake_next(-EMFILE);
    CHECK_EQ(op_try(&op), -EMFILE);
    op.accept.addr = &peer.any;
    op.accept.len = &peer.len;
    fake_next(-ECONNABORTED);
    int fd = CHECK_OK(op_try(&op));
    CHECK_EQ(spy.calls, 2);
    CHECK_EQ(peer.len, sizeof(struct sockaddr_in));
    CHECK_EQ(peer.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    op = accept_op(fd);
    CHECK_EQ(op_try(&op), -EINVAL);
    shut(&b, listener);
    bench_close(&b);
    CHECK_OK(close(fd));
    CHECK_OK(close(client));
}

TEST(accept_dgram, "an accept on a datagram socket fails instead of being tried for ever")
{
    struct pair p = pair_dgram(AF_UNIX);
    struct op op = accept_op(p.ours);
    CHECK_EQ(op_try(&op), -EOPNOTSUPP);
    CHECK_OK(close(p.ours));
    CHECK_OK(close(p.peer));
}

TEST(connect_progress, "a connect under way ends with what became of it")
{
    struct address at = loopback(AF_INET);
    int fd = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    struct op op = connect_op(fd, &at.any, at.len);
    fake_next(-EINPROGRESS);
    CHECK_EQ(op_try(&op), -EAGAIN);
    CHECK(op.flags & OP_CONNECTING);
    fake_next(-EALREADY);
    CHECK_EQ(op_try(&op), -EAGAIN);
    fake_next(-EISCONN);
    CHECK_EQ(op_try(&op), 0);
    op = connect_op(fd, &at.any, at.len);
    fake_next(-EISCONN);
    CHECK_EQ(op_try(&op), -EISCONN);
    CHECK(!(op.flags & OP_CONNECTING));
    CHECK_OK(close(fd));
}

TEST(names, "every kind of operation has a name of its own")
{
    for (int i = OP_SOCKET; i <= OP_CLOSE; i++)
        for (int j = OP_SOCKET; j < i; j++)
            CHECK(strcmp(op_name((enum op_kind)i), op_name((enum op_kind)j)) != 0);
}
