/* conformance_scale.c -- rows of the conformance table: many at a time, and what it costs. */
#include "conformance.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

/* ---- Allocations are counted ----------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static _Thread_local long allocations;

#if COUNTS_ALLOCATIONS
/* The program's own malloc goes before the library's (glibc manual, "Replacing malloc"); a
 * sanitizer has one of its own already. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}
#endif

/* One of everything that waits. */
static void round_of_all(struct bench *b, int listener, const struct address *at)
{
    char c;
    int client = dial_plain(at);
    int fd = ask(b, accept_op(listener));
    CHECK(fd >= 0);
    struct op in = recv_op(fd, &c, 1), poll = poll_op(fd, POLLIN);
    start(b, &in);
    start(b, &poll);
    turn(b);
    peer_send(client, "xy", 2);
    CHECK_EQ(finish(b, &in), 1);
    finish(b, &poll);
    CHECK_EQ(ask(b, send_op(fd, "z", 1)), 1);
    recv_all(b, fd, &c, 1);
    in = recv_op(fd, &c, 1);
    start(b, &in);
    CHECK_EQ(cancel(b, &in), -ECANCELED);
    in = recv_op(fd, NULL, LEND_SMALL);
    in.flags |= OP_LEND;
    start(b, &in);
    peer_send(client, "l", 1);
    CHECK_EQ(finish(b, &in), 1);
    CHECK_EQ(ask(b, (struct op){.kind = OP_GIVE, .fd = fd, .give = {in.recv.buf}}), 0);
    shut(b, fd);
    int again = ask(b, socket_op(at->any.sa_family, SOCK_STREAM));
    CHECK_EQ(ask(b, connect_op(again, &at->any, at->len)), 0);
    shut(b, ask(b, accept_op(listener)));
    shut(b, again);
    CHECK_OK(close(client));
}

static void nothing_allocated(struct bench *b)
{
    if (!COUNTS_ALLOCATIONS)
        SKIP("this build has its own malloc");
    free(malloc(1));
    CHECK(allocations > 0);
    struct address at;
    int listener = listener_open(b, NET_TCP4, 4, &at);
    for (int i = 0; i < 20; i++)
        round_of_all(b, listener, &at);
    long before = allocations;
    for (int i = 0; i < 100; i++)
        round_of_all(b, listener, &at);
    CHECK_EQ(allocations - before, 0);
    shut(b, listener);
}

/* ---- Many ------------------------------------------------------------------------------------ */

static size_t raise_limit(void)
{
    struct rlimit limit;
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    return limit.rlim_cur;
}

/* Pairs of which both ends wait for a byte. */
struct crowd {
    size_t count; /* of ends */
    int *fds;
    struct op *ops;
    char *bytes;
};

static void crowd_open(struct bench *b, struct crowd *c, size_t count)
{
    *c = (struct crowd){.count = count,
                        .fds = calloc(count, sizeof(int)),
                        .ops = calloc(count, sizeof(struct op)),
                        .bytes = calloc(count, 1)};
    CHECK(c->fds && c->ops && c->bytes);
    for (size_t i = 0; i < count; i += 2) {
        CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->fds + i));
        adopt(c->fds[i]);
        adopt(c->fds[i + 1]);
    }
    for (size_t i = 0; i < count; i++) {
        c->ops[i] = recv_op(c->fds[i], &c->bytes[i], 1);
        start(b, &c->ops[i]);
    }
    turn(b);
}

static void crowd_close(struct bench *b, struct crowd *c)
{
    for (size_t i = 0; i < c->count; i++) {
        give_up(b, &c->ops[i]);
        shut(b, c->fds[i]);
        if (c->ops[i].waiter)
            CHECK_EQ(ended(b, &c->ops[i]), -ECANCELED);
    }
    free(c->fds);
    free(c->ops);
    free(c->bytes);
}

static bool takes(const struct bench *b, size_t fds)
{
    return raise_limit() >= fds + 64 && (b->bare != &io_select || fds + 64 < FD_SETSIZE);
}

static void thousand_pending(struct bench *b)
{
    struct crowd c;
    size_t count = takes(b, 1000) ? 1000 : 800;
    crowd_open(b, &c, count);
    for (size_t i = 0; i < count; i++)
        CHECK_EQ(CHECK_OK(send(c.fds[i ^ 1], &(char){(char)i}, 1, 0)), 1);
    for (size_t i = 0; i < count; i++) {
        CHECK_EQ(finish(b, &c.ops[i]), 1);
        CHECK_EQ(c.bytes[i], (char)i);
    }
    crowd_close(b, &c);
}

/* Half of them are answered at once, and the others cancelled. */
static void thousand_cancelled(struct bench *b)
{
    struct crowd c;
    size_t count = takes(b, 1000) ? 1000 : 800;
    crowd_open(b, &c, count);
    for (size_t i = 0; i < count; i += 2)
        CHECK_EQ(CHECK_OK(send(c.fds[i + 1], "x", 1, 0)), 1);
    for (size_t i = 1; i < count; i += 2)
        CHECK_EQ(cancel(b, &c.ops[i]), -ECANCELED);
    for (size_t i = 0; i < count; i += 2)
        CHECK_EQ(finish(b, &c.ops[i]), 1);
    crowd_close(b, &c);
}

/* More completions at once than any queue or batch holds, and wakes work afterwards. */
static void answered_at_once(struct bench *b)
{
    if (!takes(b, 10000))
        SKIP("it is limited to fewer descriptors");
    struct crowd c;
    test_limit(60);
    crowd_open(b, &c, 10000);
    for (size_t i = 0; i < c.count; i++)
        CHECK_EQ(CHECK_OK(send(c.fds[i ^ 1], &(char){(char)i}, 1, 0)), 1);
    b->backend->wake(b->io);
    for (size_t i = 0; i < c.count; i++) {
        CHECK_EQ(finish(b, &c.ops[i]), 1);
        CHECK_EQ(c.bytes[i], (char)i);
    }
    turn(b);
    b->backend->wake(b->io);
    b->backend->wait(b->io, TIME_NEVER);
    crowd_close(b, &c);
}

static void mostly_idle(struct bench *b)
{
    if (!takes(b, 10000))
        SKIP("it is limited to fewer descriptors");
    struct crowd c;
    test_limit(60);
    crowd_open(b, &c, 10000);
    for (int i = 0; i < 200; i++) {
        size_t at = (size_t)i * 7919 % c.count;
        CHECK_EQ(CHECK_OK(send(c.fds[at ^ 1], "x", 1, 0)), 1);
        CHECK_EQ(finish(b, &c.ops[at]), 1);
        c.ops[at] = recv_op(c.fds[at], &c.bytes[at], 1);
        start(b, &c.ops[at]);
    }
    crowd_close(b, &c);
}

/* Numbers above every table's first size. */
static void high_number(struct bench *b)
{
    size_t limit = raise_limit();
    struct pair p = pair_open(NET_UNIX);
    char c = 0;
    int high = CHECK_OK(fcntl(p.ours, F_DUPFD_CLOEXEC, (int)limit - 10));
    fd_generation_bump(high);
    struct op op = recv_op(high, &c, 1);
    start(b, &op);
    if (b->bare == &io_select) {
        CHECK_EQ(finish(b, &op), -ERANGE);
    } else {
        check_pending(b, &op);
        peer_send(p.peer, "h", 1);
        CHECK_EQ(finish(b, &op), 1);
        CHECK_EQ(c, 'h');
    }
    shut(b, high);
    pair_close(b, p);
}

/* ---- Instances ------------------------------------------------------------------------------- */

static int count_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += is_open(fd);
    return count;
}

static int count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int count = 0;
    CHECK(maps);
    for (int c; (c = getc(maps)) != EOF;)
        count += c == '\n';
    CHECK_EQ(fclose(maps), 0);
    return count;
}

static void opened_often(struct bench *b)
{
    static const struct mix plain = {.name = "plain"};
    int before = count_open(), mappings = count_mappings();
    for (int i = 0; i < 50; i++) {
        struct bench other = {.bare = b->bare, .backend = b->backend, .mix = &plain};
        list_init(&other.done);
        CHECK_EQ(other.backend->open(&other.io, &other.done), 0);
        struct pair p = pair_open(NET_UNIX);
        char c;
        struct op op = recv_op(p.ours, &c, 1);
        start(&other, &op);
        turn(&other);
        CHECK_EQ(cancel(&other, &op), -ECANCELED);
        pair_close(&other, p);
        bench_close(&other);
        CHECK_EQ(count_open(), before);
    }
    CHECK(count_mappings() < mappings + 25);
}

/* Whatever number of descriptors is left, opening succeeds or fails without leaving one behind. */
static void opened_in_need(struct bench *b)
{
    struct rlimit old, few;
    struct list done;
    bool opened = false;
    int before = count_open(), next = CHECK_OK(dup(0));
    CHECK_OK(close(next));
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &old));
    few = old;
    list_init(&done);
    for (int spare = 0; !opened; spare++) {
        struct io *io = NULL;
        CHECK(spare < 10);
        few.rlim_cur = (rlim_t)(next + spare);
        CHECK_OK(setrlimit(RLIMIT_NOFILE, &few));
        int error = b->backend->open(&io, &done);
        CHECK_OK(setrlimit(RLIMIT_NOFILE, &old));
        if (error)
            CHECK_EQ(error, -EMFILE);
        else
            b->backend->close(io);
        CHECK_EQ(count_open(), before);
        opened = !error;
    }
}

static void close_on_exec(struct bench *b)
{
    bool before[1024];
    struct list done;
    struct io *io;
    for (int fd = 0; fd < 1024; fd++)
        before[fd] = is_open(fd);
    list_init(&done);
    CHECK_EQ(b->backend->open(&io, &done), 0);
    for (int fd = 0; fd < 1024; fd++) {
        int flags = before[fd] ? FD_CLOEXEC : fcntl(fd, F_GETFD);
        CHECK(flags < 0 || flags & FD_CLOEXEC);
    }
    b->backend->close(io);
}

const struct row scale_rows[] = {
    {.promise = "nothing is allocated per operation", .fn = nothing_allocated, .flags = ROW_PLAIN},
    {.promise = "a thousand operations pend at once, and each is answered",
     .fn = thousand_pending,
     .flags = ROW_HEAVY},
    {.promise = "a thousand operations pend at once, and half are cancelled",
     .fn = thousand_cancelled,
     .flags = ROW_HEAVY},
    {.promise = "ten thousand idle descriptors do not hide the active ones",
     .fn = mostly_idle,
     .flags = ROW_PLAIN},
    {.promise = "ten thousand operations are answered at once",
     .fn = answered_at_once,
     .flags = ROW_PLAIN},
    {.promise = "the highest descriptor there is works, or is refused", .fn = high_number},
    {.promise = "an instance opened and closed leaves nothing",
     .fn = opened_often,
     .flags = ROW_HEAVY},
    {.promise = "an instance that cannot be opened leaves no descriptor",
     .fn = opened_in_need,
     .flags = ROW_PLAIN},
    {.promise = "an instance's own descriptors are close-on-exec",
     .fn = close_on_exec,
     .flags = ROW_PLAIN},
    {.promise = NULL},
};
