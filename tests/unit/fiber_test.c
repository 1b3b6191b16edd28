/* fiber_test.c -- promises of the switch: what survives it, where a fiber runs and how it ends.
 *
 * The fibers of these tests are bare: a context, a stack and a function that switches back to the
 * test when it has something to show.
 */
#include "fiber/fiber.h"

#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

struct fiber {
    struct fiber_context context;
    struct fiber_context *home; /* whom it switches back to */
    struct stack_pool *pool;
    char *top;
    void (*fn)(struct fiber *);
    long number;
    bool ended;
};

static struct fiber_context home;

static struct stack_arena *new_arena(struct stack_pool *pool, size_t count_max)
{
    struct stack_arena *arena;
    CHECK_EQ(stack_arena_new(&arena, 256 << 10, count_max), 0);
    stack_pool_init(pool, arena);
    return arena;
}

static void free_arena(struct stack_pool *pool)
{
    stack_pool_drain(pool);
    stack_arena_free(pool->arena);
}

static void fiber_main(void *arg)
{
    struct fiber *f = arg;
    f->fn(f);
    f->ended = true;
    fiber_switch_last(&f->context, f->home);
}

static void begin(struct fiber *f, struct stack_pool *pool, void (*fn)(struct fiber *), long number)
{
    *f = (struct fiber){.home = &home, .pool = pool, .fn = fn, .number = number};
    f->top = stack_take(pool);
    CHECK(f->top != NULL);
    fiber_context_init(&f->context, stack_low(pool, f->top), f->top, fiber_main, f);
}

static void resume(struct fiber *f)
{
    fiber_switch(f->home, &f->context);
}

static void leave(struct fiber *f)
{
    fiber_switch(&f->context, f->home);
}

static void end(struct fiber *f)
{
    CHECK(f->ended);
    fiber_context_destroy(&f->context);
    stack_give(f->pool, f->top);
}

static void run_to_end(struct stack_pool *pool, void (*fn)(struct fiber *))
{
    struct fiber f;
    begin(&f, pool, fn, 0);
    while (!f.ended)
        resume(&f);
    end(&f);
}

/* ---- what survives a switch ---- */

enum { CROWD = 50, ROUNDS = 200 };

/* More live values than there are registers that calls preserve, of both kinds. */
static void keep_values(struct fiber *f)
{
    uint64_t i[16];
    double d[16];
    for (int k = 0; k < 16; k++) {
        i[k] = (uint64_t)(f->number * 1000 + k);
        d[k] = (double)(f->number * 1000 + k) / 8;
    }
    uint64_t i0 = i[0], i1 = i[1], i2 = i[2], i3 = i[3], i4 = i[4], i5 = i[5], i6 = i[6], i7 = i[7];
    double d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5], d6 = d[6], d7 = d[7];
    for (int round = 0; round < ROUNDS; round++) {
        leave(f);
        i0 += i1, i1 += i2, i2 += i3, i3 += i4, i4 += i5, i5 += i6, i6 += i7, i7 += i0;
        d0 += d1, d1 += d2, d2 += d3, d3 += d4, d4 += d5, d5 += d6, d6 += d7, d7 -= d0;
        for (int k = 0; k < 16; k++) {
            i[k]++;
            d[k] += 0.5;
        }
    }
    uint64_t j[8];
    double e[8];
    for (int k = 0; k < 8; k++) {
        j[k] = (uint64_t)(f->number * 1000 + k);
        e[k] = (double)(f->number * 1000 + k) / 8;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < 8; k++) {
            j[k] += j[(k + 1) % 8];
            e[k] += k == 7 ? -e[0] : e[k + 1];
        }
    }
    CHECK(i0 == j[0] && i1 == j[1] && i2 == j[2] && i3 == j[3]);
    CHECK(i4 == j[4] && i5 == j[5] && i6 == j[6] && i7 == j[7]);
    CHECK(memcmp((double[]){d0, d1, d2, d3, d4, d5, d6, d7}, e, sizeof e) == 0);
    for (int k = 0; k < 16; k++) {
        CHECK_EQ(i[k], f->number * 1000 + k + ROUNDS);
        CHECK(d[k] == (double)(f->number * 1000 + k) / 8 + ROUNDS * 0.5);
    }
}

TEST(switch_keeps_values, "a switch keeps every variable of both sides, in registers or not")
{
    static struct fiber fibers[CROWD];
    struct stack_pool pool;
    new_arena(&pool, CROWD);
    fiber_context_thread(&home);
    for (long i = 0; i < CROWD; i++)
        begin(&fibers[i], &pool, keep_values, i);
    double sum = 0;
    uint64_t count = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        for (int i = 0; i < CROWD; i++) {
            resume(&fibers[i]);
            sum += 0.25;
            count += 3;
        }
    }
    CHECK_EQ(count, 3 * CROWD * (ROUNDS + 1));
    CHECK(sum == CROWD * (ROUNDS + 1) / 4.0);
    for (int i = 0; i < CROWD; i++)
        end(&fibers[i]);
    free_arena(&pool);
}

static void look_at_stack(struct fiber *f)
{
    char *here = __builtin_frame_address(0);
    CHECK(here < f->top && here >= (char *)stack_low(f->pool, f->top));
    CHECK_EQ((uintptr_t)__builtin_frame_address(0) % 16, 0);
    char words[64];
    CHECK(snprintf(words, sizeof words, "%.2f", 0.25) == 4); /* aligned moves, in libc */
    CHECK_STR(words, "0.25");
}

TEST(fiber_stack, "a fiber runs on the stack it was given, aligned as the ABI wants it")
{
    struct stack_pool pool;
    new_arena(&pool, 20);
    fiber_context_thread(&home);
    struct fiber fibers[20];
    for (int i = 0; i < 20; i++) {
        begin(&fibers[i], &pool, look_at_stack, i);
        resume(&fibers[i]);
    }
    for (int i = 0; i < 20; i++)
        end(&fibers[i]);
    free_arena(&pool);
}

static void ring_station(struct fiber *f)
{
    for (;;) {
        f->number++;
        leave(f);
    }
}

TEST(fiber_to_fiber, "a fiber switches straight to another, through a ring of a thousand")
{
    enum { RING = 1000 };
    static struct fiber fibers[RING];
    struct stack_pool pool;
    new_arena(&pool, RING);
    fiber_context_thread(&home);
    for (int i = 0; i < RING; i++)
        begin(&fibers[i], &pool, ring_station, 0);
    for (int i = 0; i < RING - 1; i++)
        fibers[i].home = &fibers[i + 1].context;
    for (int round = 0; round < 100; round++)
        fiber_switch(&home, &fibers[0].context);
    for (int i = 0; i < RING; i++)
        CHECK_EQ(fibers[i].number, 100);
    for (int i = 0; i < RING; i++)
        fiber_context_destroy(&fibers[i].context);
}

static void end_deep(struct fiber *f)
{
    volatile char frame[200];
    memset((char *)frame, 1, sizeof frame);
    if (++f->number < 20)
        f->fn(f);
    f->ended = true;
    fiber_switch_last(&f->context, f->home);
}

TEST(many_lives, "twenty thousand fibers live and end one after another on the same stack")
{
    struct stack_pool pool;
    new_arena(&pool, 1);
    fiber_context_thread(&home);
    for (int i = 0; i < 20000; i++)
        run_to_end(&pool, i % 2 ? look_at_stack : end_deep);
    free_arena(&pool);
}

static void jump_about(struct fiber *f)
{
    jmp_buf place;
    volatile int jumps = 0;
    if (setjmp(place) < 5) {
        char frame[3000];
        memset(frame, 2, sizeof frame);
        f->number += frame[17];
        leave(f);
        longjmp(place, ++jumps);
    }
    CHECK_EQ(f->number, 10);
}

TEST(longjmp_inside, "a fiber may longjmp within its own stack")
{
    struct stack_pool pool;
    new_arena(&pool, 1);
    fiber_context_thread(&home);
    run_to_end(&pool, jump_about);
    run_to_end(&pool, jump_about);
    free_arena(&pool);
}

static __thread int thread_word;

static void use_thread_words(struct fiber *f)
{
    for (int i = 0; i < 10; i++) {
        errno = (int)f->number;
        thread_word++;
        leave(f);
    }
}

static void *run_thread(__attribute__((unused)) void *arg)
{
    struct fiber_context loop;
    struct stack_pool pool;
    struct fiber f;
    struct stack_arena *arena = new_arena(&pool, 1);
    fiber_context_thread(&loop);
    for (int i = 0; i < 200; i++) {
        begin(&f, &pool, use_thread_words, i);
        f.home = &loop;
        while (!f.ended)
            resume(&f);
        end(&f);
        CHECK_EQ(errno, i);
    }
    CHECK_EQ(thread_word, 2000);
    fiber_context_destroy(&loop);
    stack_pool_drain(&pool);
    stack_arena_free(arena);
    return NULL;
}

TEST(threads_apart, "fibers of several threads run at once, each with its thread's variables")
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_thread, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- calls on another stack ---- */

static char *called_at;

static int called(void *arg)
{
    char big[200 << 10]; /* more than a fiber has */
    memset(big, 3, sizeof big);
    called_at = __builtin_frame_address(0);
    return *(int *)arg + big[100];
}

static void call_home(struct fiber *f)
{
    int four = 4;
    leave(f);
    CHECK_EQ(fiber_call_on(f->home, called, &four), 7);
    CHECK(called_at < (char *)stack_low(f->pool, f->top) || called_at > f->top);
    leave(f);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(fiber_call_on(f->home, called, &i), i + 3);
}

TEST(call_on, "fiber_call_on runs the function on the other stack, returns its value and resumes")
{
    struct stack_pool pool;
    struct fiber f;
    new_arena(&pool, 1);
    fiber_context_thread(&home);
    begin(&f, &pool, call_home, 0);
    volatile char mine[1000];
    memset((char *)mine, 5, sizeof mine);
    resume(&f);
    resume(&f);
    for (size_t i = 0; i < sizeof mine; i++)
        CHECK_EQ(mine[i], 5);
    resume(&f);
    end(&f);
    free_arena(&pool);
}

/* ---- backtraces ---- */

static void *frames[64];
static int frame_count;

static __attribute__((noinline)) int take_backtrace(__attribute__((unused)) void *arg)
{
    frame_count = backtrace(frames, 64);
    return frame_count;
}

static bool in_frames(void (*function)(void), size_t size)
{
    for (int i = 0; i < frame_count; i++) {
        char *start = (char *)function;
        if ((char *)frames[i] > start && (char *)frames[i] <= start + size)
            return true;
    }
    return false;
}

static void trace_plainly(__attribute__((unused)) struct fiber *f)
{
    take_backtrace(NULL);
    __asm__ volatile("" ::: "memory"); /* not a tail call */
}

static void trace_on_home(struct fiber *f)
{
    fiber_call_on(f->home, take_backtrace, NULL);
    __asm__ volatile("" ::: "memory");
}

TEST(backtrace_ends, "a backtrace of a fiber ends at its first frame")
{
    struct stack_pool pool;
    new_arena(&pool, 1);
    fiber_context_thread(&home);
    take_backtrace(NULL); /* the first one loads the unwinder, which wants a big stack */
    run_to_end(&pool, trace_plainly);
    CHECK(frame_count >= 4 && frame_count < 12);
    CHECK(in_frames((void (*)(void))fiber_main, 256));
    CHECK((char *)frames[frame_count - 1] > (char *)context_start);
    CHECK((char *)frames[frame_count - 1] < (char *)context_start + 64);
    free_arena(&pool);
}

TEST(backtrace_crosses, "a backtrace on another stack goes on to the fiber that called")
{
    struct stack_pool pool;
    new_arena(&pool, 1);
    fiber_context_thread(&home);
    take_backtrace(NULL);
    run_to_end(&pool, trace_on_home);
    CHECK(in_frames((void (*)(void))context_call, 64));
    CHECK(in_frames((void (*)(void))fiber_main, 256));
    CHECK((char *)frames[frame_count - 1] > (char *)context_start);
    CHECK((char *)frames[frame_count - 1] < (char *)context_start + 64);
    free_arena(&pool);
}

/* ---- under AddressSanitizer ---- */

static void overrun(struct fiber *f)
{
    char buffer[16];
    memset(buffer, 0, sizeof buffer);
    leave(f);
    volatile char *at = buffer;
    at[16 + f->number] = 1;
}

/* The exit status of a child that runs `fn` in a fiber. A sanitizer's report has a symbolizer of
   its own, a process that may outlive the one it is for: it is waited for too. */
static int status_of_child(void (*fn)(struct fiber *))
{
    CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t child = CHECK_OK(fork());
    if (child == 0) {
        struct stack_pool pool;
        new_arena(&pool, 1);
        fiber_context_thread(&home);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        run_to_end(&pool, look_at_stack);
        run_to_end(&pool, fn);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    return status;
}

TEST(asan_sees, "AddressSanitizer finds an overrun in a fiber's frame")
{
    if (!FIBER_ASAN)
        SKIP("this build has no AddressSanitizer");
    int status = status_of_child(overrun);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 3);
    CHECK_EQ(status_of_child(look_at_stack), 0);
}
