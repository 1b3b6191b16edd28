/* stack_test.c -- promises of stacks: their guards, their memory and their number.
 *
 * Whether memory is accessible is asked of the kernel, by a system call that would have to touch
 * it, and so is whether a page is committed (mincore).
 */
#include "fiber/fiber.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

enum { SIZE = 256 << 10, PAGES_MAX = SIZE / 4096 };

static size_t page;

static struct stack_arena *new_arena(struct stack_pool *pool, size_t count_max,
                                     const struct stack_arena_options *options)
{
    struct stack_arena *arena;
    page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK_EQ(stack_arena_new_with(&arena, SIZE, count_max, options), 0);
    stack_pool_init(pool, arena);
    return arena;
}

static void free_arena(struct stack_pool *pool)
{
    stack_pool_drain(pool);
    stack_arena_free(pool->arena);
}

/* Whether the kernel can write to `at`: it is asked for the processor time used. */
static bool accessible(void *at)
{
    return syscall(SYS_times, at) != -1;
}

static bool guarded(const struct stack_pool *pool, void *top)
{
    char *low = stack_low(pool, top);
    return !accessible(low - 32) && !accessible(low - pool->guard_size);
}

/* How many pages of the stack, its colour included, are committed. */
static size_t pages_of(const struct stack_pool *pool, void *top)
{
    unsigned char state[PAGES_MAX];
    char *low = stack_low(pool, top);
    size_t size = SIZE - pool->guard_size;
    CHECK_EQ(mincore(low, size, state), 0);
    size_t count = 0;
    for (size_t i = 0; i < size / page; i++)
        count += state[i] & 1;
    return count;
}

static size_t maps_of_process(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    size_t lines = 0;
    for (int c = getc(file); c != EOF; c = getc(file))
        lines += c == '\n';
    fclose(file);
    return lines;
}

static bool has_guard_install(void)
{
    void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    bool works = madvise(at, page, 102) == 0 && !accessible(at);
    munmap(at, page);
    return works;
}

static const struct stack_arena_options normal;

/* ---- giving and taking ---- */

TEST(stack_reuse, "a stack given back is the next one taken, with its memory")
{
    struct stack_pool pool;
    new_arena(&pool, 100, &normal);
    char *first = stack_take(&pool);
    char *second = stack_take(&pool);
    CHECK(first != second);
    memset(first - 100, 7, 100);
    stack_give(&pool, second);
    stack_give(&pool, first);
    CHECK_EQ(stack_take(&pool), first);
    CHECK_EQ(first[-50], 7);
    CHECK_EQ(stack_take(&pool), second);
    stack_give(&pool, first);
    stack_give(&pool, second);
    free_arena(&pool);
}

TEST(stack_count_max, "the arena gives as many stacks as was said, then none until one comes back")
{
    struct stack_pool pool;
    char *tops[50];
    new_arena(&pool, 50, &normal);
    for (int i = 0; i < 50; i++) {
        tops[i] = stack_take(&pool);
        CHECK(tops[i] != NULL);
        CHECK_EQ((uintptr_t)tops[i] % 16, 0);
        memset(stack_low(&pool, tops[i]), i, (size_t)(tops[i] - (char *)stack_low(&pool, tops[i])));
    }
    CHECK_EQ(stack_take(&pool), NULL);
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(tops[i][-1], i);
        CHECK_EQ(*(char *)stack_low(&pool, tops[i]), i);
    }
    stack_give(&pool, tops[31]);
    CHECK_EQ(stack_take(&pool), tops[31]);
    CHECK_EQ(stack_take(&pool), NULL);
    for (int i = 0; i < 50; i++)
        stack_give(&pool, tops[i]);
    free_arena(&pool);
}

TEST(stack_refused, "a size or a number no arena can have is refused")
{
    struct stack_arena *arena = NULL;
    CHECK_EQ(stack_arena_new(&arena, (size_t)STACK_SIZE_MAX + 1, 1), -EINVAL);
    CHECK_EQ(stack_arena_new(&arena, SIZE, 0), -EINVAL);
    CHECK_EQ(stack_arena_new(&arena, SIZE, SIZE_MAX / 2), -EINVAL);
    CHECK_EQ(arena, NULL);
    stack_arena_free(NULL);
}

TEST(stack_sizes, "stacks of every size from the smallest on are guarded and whole")
{
    for (size_t size = 1; size <= 64 << 20; size = size * 5 + 3) {
        struct stack_arena *arena;
        struct stack_pool pool;
        CHECK_EQ(stack_arena_new(&arena, size, 3), 0);
        stack_pool_init(&pool, arena);
        for (int i = 0; i < 3; i++) {
            char *top = stack_take(&pool);
            char *low = stack_low(&pool, top);
            CHECK((size_t)(top - low) + pool.guard_size + 1024 >= size);
            CHECK(accessible(low) && accessible(top - 32));
            CHECK(guarded(&pool, top));
            CHECK_EQ(stack_low(&pool, low + 16), low);
        }
        pool.count = 0;
        stack_arena_free(arena);
    }
}

static void *take_and_give(void *arg)
{
    struct stack_pool pool;
    static const int counts[] = {1, 40, 700, 3, 200};
    char *tops[700];
    stack_pool_init(&pool, arg);
    for (int round = 0; round < 20; round++) {
        int count = counts[round % 5];
        for (int i = 0; i < count; i++) {
            tops[i] = stack_take(&pool);
            CHECK(tops[i] != NULL);
            memcpy(tops[i] - 8, &tops[i], 8);
            *(void **)stack_low(&pool, tops[i]) = &pool;
        }
        for (int i = 0; i < count; i++) {
            CHECK(memcmp(tops[i] - 8, &tops[i], 8) == 0);
            CHECK_EQ(*(void **)stack_low(&pool, tops[i]), &pool);
            stack_give(&pool, tops[i]);
        }
    }
    stack_pool_drain(&pool);
    return NULL;
}

TEST(stack_threads, "threads share an arena and never get the same stack at the same time")
{
    struct stack_pool pool;
    pthread_t threads[4];
    struct stack_arena *arena = new_arena(&pool, 4 * 800, &normal);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, take_and_give, arena), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    free_arena(&pool);
}

/* ---- guards ---- */

TEST(sixty_thousand, "60,000 guarded stacks exist at once, with less than 50 mappings more")
{
    enum { COUNT = 60000 };
    static char *tops[COUNT];
    struct stack_pool pool;
    size_t before = maps_of_process();
    struct stack_arena *arena = new_arena(&pool, COUNT, &normal);
    if (!has_guard_install())
        SKIP("this kernel has no MADV_GUARD_INSTALL");
    for (int i = 0; i < COUNT; i++) {
        tops[i] = stack_take(&pool);
        CHECK(tops[i] != NULL);
        tops[i][-1] = 1;
    }
    CHECK(maps_of_process() < before + 50);
    for (int i = 0; i < COUNT; i++)
        CHECK(guarded(&pool, tops[i]) && accessible(stack_low(&pool, tops[i])));
    CHECK_EQ(stack_arena_notice(arena), NULL);
    for (int i = 0; i < COUNT; i++)
        stack_give(&pool, tops[i]);
    free_arena(&pool);
    CHECK(maps_of_process() < before + 50);
}

TEST(guards_protect, "without guard regions, stacks are guarded by protection")
{
    struct stack_pool pool;
    char *tops[100];
    struct stack_arena *arena =
        new_arena(&pool, 100, &(struct stack_arena_options){.protect = true});
    for (int i = 0; i < 100; i++) {
        tops[i] = stack_take(&pool);
        CHECK(guarded(&pool, tops[i]));
        CHECK(accessible(stack_low(&pool, tops[i])));
    }
    CHECK_EQ(stack_arena_notice(arena), NULL);
    for (int i = 0; i < 100; i++)
        stack_give(&pool, tops[i]);
    for (int i = 0; i < 100; i++)
        CHECK(guarded(&pool, tops[i]));
    free_arena(&pool);
}

TEST(guards_thin_out, "when mappings run short every n-th stack is guarded, and one notice says so")
{
    enum { COUNT = 1000, LIMIT = 400 };
    struct stack_pool pool;
    char *tops[COUNT];
    struct stack_arena *arena = new_arena(
        &pool, COUNT, &(struct stack_arena_options){.protect = true, .maps_limit = LIMIT});
    size_t before = maps_of_process();
    int guards = 0, gap = 0, gap_max = 0;
    stack_take(&pool);
    CHECK_EQ(stack_arena_notice(arena), NULL);
    for (int i = 1; i < COUNT; i++)
        tops[i] = stack_take(&pool);
    struct stack_place place;
    char *slot = (char *)stack_low(&pool, tops[1]);
    while (stack_find(slot - SIZE, &place))
        slot -= SIZE;
    for (; stack_find(slot, &place); slot += SIZE) {
        gap = accessible(place.slot) ? gap + 1 : 0;
        guards += gap == 0;
        gap_max = gap > gap_max ? gap : gap_max;
    }
    CHECK(maps_of_process() - before <= LIMIT / 2 + 2);
    CHECK(guards > LIMIT / 4 * 9 / 10 && guards <= LIMIT / 4);
    CHECK(gap_max <= COUNT / (LIMIT / 8));
    const char *notice = stack_arena_notice(arena);
    CHECK(notice != NULL && strstr(notice, "vm.max_map_count is 400") != NULL);
    CHECK_EQ(stack_arena_notice(arena), NULL);
    stack_arena_free(arena);
}

TEST(guards_counted, "the guards of all arenas together keep to the limit, and freeing gives back")
{
    const struct stack_arena_options options = {.protect = true, .maps_limit = 400};
    for (int round = 0; round < 3; round++) {
        struct stack_pool first, second;
        new_arena(&first, 96, &options);
        new_arena(&second, 96, &options);
        int guards = 0;
        for (int i = 0; i < 96; i++)
            guards += guarded(&first, stack_take(&first));
        CHECK_EQ(guards, 96);
        for (int i = 0; i < 96; i++)
            guards += guarded(&second, stack_take(&second));
        CHECK_EQ(guards, 100);
        stack_arena_free(first.arena);
        stack_arena_free(second.arena);
    }
}

TEST(small_chunks, "an arena that grows by small mappings gives the same stacks")
{
    struct stack_pool pool;
    char *tops[700];
    new_arena(&pool, 700, &(struct stack_arena_options){.small_chunks = true});
    for (int i = 0; i < 700; i++) {
        tops[i] = stack_take(&pool);
        CHECK(tops[i] != NULL);
        CHECK(guarded(&pool, tops[i]));
        memcpy(tops[i] - 8, &tops[i], 8);
        struct stack_place place;
        CHECK(stack_find(tops[i] - 1, &place));
        CHECK_EQ(place.top, tops[i]);
        CHECK_EQ(place.low, stack_low(&pool, tops[i]));
    }
    CHECK_EQ(stack_take(&pool), NULL);
    for (int i = 0; i < 700; i++) {
        CHECK(memcmp(tops[i] - 8, &tops[i], 8) == 0);
        stack_give(&pool, tops[i]);
    }
    free_arena(&pool);
}

TEST(address_space, "under a limit on address space an arena for a million stacks still gives some")
{
    if (FIBER_ASAN || FIBER_TSAN)
        SKIP("sanitizers cannot live under a limit on address space");
    struct stack_pool pool;
    CHECK_EQ(setrlimit(RLIMIT_AS, &(struct rlimit){1 << 30, 1 << 30}), 0);
    new_arena(&pool, 1000000, &normal);
    for (int i = 0; i < 1000; i++) {
        char *top = stack_take(&pool);
        CHECK(top != NULL);
        CHECK(guarded(&pool, top));
        top[-1] = 1;
    }
    void *other = malloc(100 << 20);
    CHECK(other != NULL);
    free(other);
}

/* ---- memory ---- */

static void dirty(const struct stack_pool *pool, char *top, size_t depth)
{
    CHECK(top - depth >= (char *)stack_low(pool, top));
    memset(top - depth, 9, depth);
}

TEST(trim, "a trim returns the pages below the stack pointer, keeps those above and the guard")
{
    for (int protect = 0; protect < 2; protect++) {
        struct stack_pool pool;
        new_arena(&pool, 1, &(struct stack_arena_options){.protect = protect});
        char *top = stack_take(&pool);
        dirty(&pool, top, 200 << 10);
        CHECK(pages_of(&pool, top) >= (200 << 10) / page);
        stack_trim(&pool, top - 10000);
        CHECK(pages_of(&pool, top) <= (10000 + 128 + 1024) / page + 1);
        for (int i = 1; i <= 10000; i++)
            CHECK_EQ(top[-i], 9);
        CHECK(guarded(&pool, top));
        CHECK_EQ(top[-(100 << 10)], 0);
        dirty(&pool, top, 200 << 10);
        stack_trim(&pool, stack_low(&pool, top));
        CHECK(pages_of(&pool, top) >= (200 << 10) / page);
        stack_give(&pool, top);
        free_arena(&pool);
    }
}

TEST(spill, "a pool keeps at most 128 stacks with memory, the arena's have none and keep the guard")
{
    enum { COUNT = 500 };
    struct stack_pool pool;
    char *tops[COUNT];
    new_arena(&pool, COUNT, &normal);
    for (int i = 0; i < COUNT; i++) {
        tops[i] = stack_take(&pool);
        dirty(&pool, tops[i], 20000);
    }
    for (int i = 0; i < COUNT; i++)
        stack_give(&pool, tops[i]);
    int warm = 0;
    for (int i = 0; i < COUNT; i++) {
        size_t pages = pages_of(&pool, tops[i]);
        CHECK(pages == 0 || pages >= 20000 / page);
        CHECK(guarded(&pool, tops[i]));
        warm += pages != 0;
    }
    CHECK(warm > 64 && warm <= STACK_POOL_MAX);
    CHECK(pages_of(&pool, tops[COUNT - 1]) != 0);
    stack_pool_drain(&pool);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(pages_of(&pool, tops[i]), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK(stack_take(&pool) != NULL);
    stack_arena_free(pool.arena);
}

static struct fiber_context home, guest;

static void idle_with_frames(void *arg)
{
    volatile char frame[2600];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = 1; /* no memset: resolving its name would take 3 KiB of the stack */
    fiber_switch(&guest, &home);
    fiber_switch_last(&guest, arg);
}

TEST(one_page, "an idle fiber with 2.5 KiB of frames touches one page, wherever its stack begins")
{
    if (FIBER_WATCHED)
        SKIP("sanitizers make frames larger");
    struct stack_pool pool;
    new_arena(&pool, 64, &normal);
    fiber_context_thread(&home);
    unsigned colours = 0;
    for (int i = 0; i < 64; i++) {
        char *top = stack_take(&pool);
        size_t colour = (0 - (uintptr_t)top) % page;
        CHECK(colour % 64 == 0 && colour < 1024);
        colours |= 1u << (colour / 64);
        fiber_context_init(&guest, stack_low(&pool, top), top, idle_with_frames, &home);
        fiber_switch(&home, &guest);
        CHECK((size_t)(top - (char *)guest.sp) > 2560 - CONTEXT_RED_ZONE);
        CHECK_EQ(pages_of(&pool, top), 1);
    }
    CHECK_EQ(colours, 0xffff);
    stack_arena_free(pool.arena);
}
