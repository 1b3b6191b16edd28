/* conformance_wait.c -- rows of the conformance table: waiting, being woken, and the time. */
#include "conformance.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int64_t ms = 1000000;

static weir_time now(const struct bench *b)
{
    return b->backend->now(b->io);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void past_deadlines(struct bench *b)
{
    const weir_time past[] = {TIME_PAST, TIME_PAST + 1, -1, 0, 1, now(b) - 1, now(b)};
    struct pair p = pair_open(NET_UNIX);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    for (int round = 0; round < 2; round++) {
        weir_time before = now(b);
        for (int i = 0; i < 50; i++)
            b->backend->wait(b->io, past[(size_t)i % ARRAY_COUNT(past)]);
        CHECK(now(b) - before < 1000 * ms * test_slowness());
        if (!round)
            start(b, &op);
    }
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    pair_close(b, p);
}

/* What is there is delivered even by a wait whose time is over. */
static void past_but_ready(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "x", 1);
    for (int turns = 0; turns < 3 && !is_done(&op); turns++)
        turn(b);
    CHECK_EQ(finish(b, &op), 1);
    pair_close(b, p);
}

/* With nothing to do, a wait lasts until its time: neither spinning nor late. */
static void deadline_kept(struct bench *b)
{
    for (int i = 1; i <= 3; i++) {
        int64_t delay = i == 1 ? ms / 5 : i * ms;
        weir_time before = now(b), until = before + delay;
        int returns = 0;
        while (now(b) < until) {
            b->backend->wait(b->io, until);
            returns++;
        }
        CHECK(returns <= 5);
        CHECK(now(b) - until < 100 * ms * test_slowness());
    }
}

static void pending_deadline(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    deadline_kept(b);
    CHECK(!is_done(&op));
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    pair_close(b, p);
}

static void clock_runs(struct bench *b)
{
    struct timespec t;
    weir_time last = now(b);
    for (int i = 0; i < 100; i++) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        weir_time before = (weir_time)t.tv_sec * 1000000000 + t.tv_nsec;
        turn(b);
        weir_time here = now(b);
        CHECK(here >= last);
        CHECK(here >= before);
        CHECK(here - before < 5000 * ms);
        last = here;
    }
}

/* ---- Wakes ----------------------------------------------------------------------------------- */

struct waker {
    const struct io_backend *backend;
    struct io *io;
    atomic_int sent, seen;
    int count;
    int64_t delay;
};

static struct waker waker_of(const struct bench *b, int count, int64_t delay)
{
    return (struct waker){.backend = b->backend, .io = b->io, .count = count, .delay = delay};
}

/* Each wake stands for something that is said first; the next one waits until it was heard. */
static void *wake_often(void *arg)
{
    struct waker *w = arg;
    struct timespec pause = {.tv_nsec = w->delay};
    for (int i = 0; i < w->count; i++) {
        while (atomic_load(&w->seen) < atomic_load(&w->sent))
            sched_yield();
        if (w->delay)
            nanosleep(&pause, NULL);
        atomic_fetch_add(&w->sent, 1);
        w->backend->wake(w->io);
    }
    return NULL;
}

/* Listens until all wakes are heard; a lost one would let it wait for ever. */
static void hear(struct bench *b, struct waker *w, weir_time until)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, wake_often, w), 0);
    while (atomic_load(&w->seen) < w->count) {
        int sent = atomic_load(&w->sent);
        if (sent > atomic_load(&w->seen))
            atomic_store(&w->seen, sent);
        else
            b->backend->wait(b->io, until);
        CHECK(list_is_empty(&b->done));
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void wake_while_waiting(struct bench *b)
{
    const weir_time far[] = {TIME_NEVER, TIME_NEVER - 1, now(b) + 3600 * 1000 * ms,
                             (weir_time)1 << 62};
    for (size_t i = 0; i < ARRAY_COUNT(far); i++) {
        struct waker w = waker_of(b, 2, ms);
        hear(b, &w, far[i]);
    }
}

/* When all are heard none may echo: waiting is quiet again. */
static void no_wake_lost(struct bench *b)
{
    struct waker w = waker_of(b, 10000, 0);
    hear(b, &w, TIME_NEVER);
    if (b->backend == b->bare)
        deadline_kept(b);
}

static void no_wake_lost_while_receiving(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    struct waker w = waker_of(b, 2000, 0);
    start(b, &op);
    check_pending(b, &op);
    hear(b, &w, TIME_NEVER);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &op), 1);
    pair_close(b, p);
}

static void wake_before_waiting(struct bench *b)
{
    for (int i = 0; i < 20; i++) {
        b->backend->wake(b->io);
        if (i % 2)
            b->backend->wake(b->io);
        b->backend->wait(b->io, TIME_NEVER);
    }
    /* All of them are spent: what follows waits for its time. */
    deadline_kept(b);
}

static void *wake_blindly(void *arg)
{
    struct waker *w = arg;
    for (int i = 0; i < w->count; i++)
        w->backend->wake(w->io);
    return NULL;
}

/* Wakes come in between bytes and take none of them away. */
static void wakes_and_bytes(struct bench *b)
{
    enum { THREADS = 3, BYTES = 300 };
    struct pair p = pair_open(NET_UNIX);
    struct waker w = waker_of(b, 1000, 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, wake_blindly, &w), 0);
    for (int i = 0; i < BYTES; i++) {
        uint8_t sent = (uint8_t)i, got = 0;
        struct op op = recv_op(p.ours, &got, 1);
        start(b, &op);
        peer_send(p.peer, &sent, 1);
        CHECK_EQ(finish(b, &op), 1);
        CHECK_EQ(got, sent);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    pair_close(b, p);
}

/* What a cancel has completed is to be looked at before anything is waited for. */
static void completions_first(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    char c;
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    give_up(b, &op);
    b->backend->cancel(b->io, &op);
    while (list_is_empty(&b->done))
        b->backend->wait(b->io, now(b) + 1000 * ms);
    weir_time before = now(b);
    b->backend->wait(b->io, before + 5000 * ms);
    CHECK(now(b) - before < 2500 * ms);
    CHECK_EQ(ended(b, &op), -ECANCELED);
    pair_close(b, p);
}

/* ---- Instances ------------------------------------------------------------------------------- */

static void *drive_another(void *arg)
{
    const struct bench *first = arg;
    struct bench b;
    b = (struct bench){.bare = first->bare, .backend = first->backend, .mix = first->mix};
    list_init(&b.done);
    CHECK_EQ(b.backend->open(&b.io, &b.done), 0);
    for (int i = 0; i < 50; i++) {
        struct pair p = pair_open(i % 2 ? NET_UNIX : NET_TCP4);
        char c;
        struct op op = recv_op(p.ours, &c, 1);
        start(&b, &op);
        turn(&b);
        peer_send(p.peer, "x", 1);
        CHECK_EQ(finish(&b, &op), 1);
        pair_close(&b, p);
    }
    bench_close(&b);
    return NULL;
}

/* Numbers go to and fro between them all the time. */
static void threads_apart(struct bench *b)
{
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, drive_another, b), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

const struct row wait_rows[] = {
    {.promise = "a wait whose time is over returns at once", .fn = past_deadlines},
    {.promise = "a wait whose time is over delivers what is there", .fn = past_but_ready},
    {.promise = "a wait with nothing to wait for lasts until its time",
     .fn = deadline_kept,
     .flags = ROW_PLAIN},
    {.promise = "a wait for an operation lasts until its time",
     .fn = pending_deadline,
     .flags = ROW_PLAIN},
    {.promise = "the clock is CLOCK_MONOTONIC and never goes back", .fn = clock_runs},
    {.promise = "a wake ends a wait, however far its time", .fn = wake_while_waiting},
    {.promise = "no wake is lost in ten thousand", .fn = no_wake_lost, .flags = ROW_HEAVY},
    {.promise = "no wake is lost while an operation pends", .fn = no_wake_lost_while_receiving},
    {.promise = "a wake before a wait ends it, once",
     .fn = wake_before_waiting,
     .flags = ROW_PLAIN},
    {.promise = "wakes from several threads take no bytes away", .fn = wakes_and_bytes},
    {.promise = "instances in several threads share the numbers of descriptors",
     .fn = threads_apart,
     .flags = ROW_HEAVY},
    {.promise = "a wait returns at once while completions wait to be taken",
     .fn = completions_first,
     .flags = ROW_PLAIN},
    {.promise = NULL},
};
