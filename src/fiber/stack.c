/* stack.c -- the arena of stacks and the pools in front of it.
 *
 * The arena is one mapping without reserve, so that a stack costs only the pages it touches. When a
 * limit on address space (RLIMIT_AS, strict overcommit) refuses it, the arena grows by chunks as
 * stacks are asked for. Huge pages are off: one touched byte would commit 2 MiB.
 *
 * Guards are markers in the page tables (MADV_GUARD_INSTALL, Linux 6.13): they cost no mapping and
 * survive MADV_DONTNEED. Older kernels get mprotect, which splits the mapping in two at each guard,
 * and a process may have vm.max_map_count mappings, after which even malloc fails. So the guards of
 * a process take at most half of those; when an arena could need more, its first stacks are
 * all guarded and later ones only every n-th, and the arena has a notice about it.
 *
 * The kernel is asked by trying, never by its version: emulators answer yes to advice they ignore.
 */
#include "stack.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/base.h"

#if !defined(MADV_GUARD_INSTALL)
#define MADV_GUARD_INSTALL 102
#endif

/* A frame smaller than the guard cannot step over it, even in code built without
 * -fstack-clash-protection: enough for the 16 KiB buffer that foreign code likes. To install one
 * takes 0.5 to 1 us, once in a stack's life; eight pages instead of one are in the noise. */
#define GUARD_SIZE ((size_t)32 << 10)

/* A suspended fiber's hot lines are those near its top. Were all tops at the same place of a page,
 * every fiber would use the same few sets of a cache; 16 tops, a cache line apart, spread them. In
 * a ring of 1,000 fibers a switch takes 20 ns instead of 80 (bench/switch.c); beyond some 4,000 the
 * pages, not the lines, are too many, and it takes 120 to 190 whatever the colours. At most 960
 * bytes are given away, so live frames of up to 3,136 bytes still touch one page only. */
enum { COLOURS = 16 };

/* How many stacks move between a pool and the arena at a time. To empty one takes 3 us, and the
 * worker's fibers wait meanwhile. */
enum { BATCH = 16 };

enum { COUNT_MAX = 1 << 24 };
#define CHUNK_SIZE ((size_t)64 << 20)

struct chunk {
    char *mapping, *first; /* the first slot is the first aligned address */
    size_t count;
};

struct stack_arena {
    _Atomic(struct stack_arena *) next;
    pthread_mutex_t lock;
    size_t slot_size, guard_size, count_max;
    size_t chunk_stacks; /* in a chunk, when the arena is not one mapping */
    size_t carved;       /* stacks that were used at least once */
    size_t chunk_carved; /* ... of the last chunk */
    struct chunk *chunks;
    atomic_size_t chunk_count;
    void **free; /* tops of stacks given back */
    size_t free_count;
    bool protect;       /* guards are made by mprotect */
    size_t guards;      /* made so */
    size_t guards_max;  /* ... by the whole process */
    size_t guard_every; /* 1: all that are carved now, n: every n-th, 0: none */
    bool notice_given;
    char notice[200];
};

/* Every arena of the process, for who has an address and wants to know whose it is. */
static _Atomic(struct stack_arena *) arenas;
static pthread_mutex_t arenas_lock = PTHREAD_MUTEX_INITIALIZER;

/* Guards of the process made by mprotect. */
static atomic_size_t guards_total;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- guards ---- */

/* Whether the kernel refuses to write to `page`. Any system call that writes answers that without
 * a signal; this one does nothing else, and no sandbox minds it. */
static bool page_is_guarded(void *page)
{
    return syscall(SYS_times, page) == -1 && errno == EFAULT;
}

static bool guard_install_works(const struct stack_arena *arena)
{
    char *slot = arena->chunks[0].first;
    if (madvise(slot, arena->guard_size, MADV_GUARD_INSTALL) != 0)
        return false;
    if (page_is_guarded(slot))
        return true;
    madvise(slot, arena->guard_size, MADV_DONTNEED);
    return false;
}

static size_t maps_limit(void)
{
    size_t limit = 65530; /* the kernel's default */
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file == NULL)
        return limit;
    if (fscanf(file, "%zu", &limit) != 1)
        limit = 65530;
    fclose(file);
    return limit;
}

static void choose_guards(struct stack_arena *arena, const struct stack_arena_options *options)
{
    arena->guard_every = 1;
    if (!options->protect && guard_install_works(arena))
        return;
    size_t limit = options->maps_limit != 0 ? options->maps_limit : maps_limit();
    arena->protect = true;
    arena->guards_max = limit / 4; /* half of the mappings, two for each guard */
    snprintf(arena->notice, sizeof arena->notice,
             "not every stack has a guard page: vm.max_map_count is %zu and this kernel needs two "
             "mappings for each; raise it, or use Linux 6.13 or later",
             limit);
}

/* Decides how many of the stacks still to come are guarded: all while half of the guards are left,
 * or when there are enough for all; then as many as spread evenly over them. */
static void thin_out(struct stack_arena *arena)
{
    size_t made = atomic_load(&guards_total);
    size_t left = made < arena->guards_max ? arena->guards_max - made : 0;
    size_t stacks = arena->count_max - arena->carved;
    if (left == 0)
        arena->guard_every = 0;
    else if (arena->guard_every == 1 && left <= arena->guards_max / 2 && stacks > left)
        arena->guard_every = (stacks + left - 1) / left;
}

static bool guard_by_protection(struct stack_arena *arena, char *slot)
{
    thin_out(arena);
    if (arena->guard_every == 0 || arena->carved % arena->guard_every != 0)
        return false;
    if (mprotect(slot, arena->guard_size, PROT_NONE) != 0)
        return false;
    arena->guards++;
    atomic_fetch_add(&guards_total, 1);
    return true;
}

/* ---- chunks ---- */

static bool chunk_map(struct stack_arena *arena, size_t count)
{
    size_t size = (count + 1) * arena->slot_size; /* one more, for the alignment */
    char *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return false;
    madvise(mapping, size, MADV_NOHUGEPAGE); /* a kernel without huge pages refuses, rightly */
    uintptr_t mask = arena->slot_size - 1;
    size_t number = atomic_load(&arena->chunk_count);
    arena->chunks[number] = (struct chunk){
        .mapping = mapping,
        .first = mapping + (-(uintptr_t)mapping & mask),
        .count = count,
    };
    arena->chunk_carved = 0;
    atomic_store(&arena->chunk_count, number + 1);
    return true;
}

/* Leaves at least half of a limited address space to the rest of the process. */
static bool fits_address_space(size_t size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return true;
    return size <= limit.rlim_cur / 2;
}

static bool arena_grow(struct stack_arena *arena, bool whole)
{
    size_t left = arena->count_max - arena->carved;
    if (whole && fits_address_space(left * arena->slot_size) && chunk_map(arena, left))
        return true;
    return chunk_map(arena, left < arena->chunk_stacks ? left : arena->chunk_stacks);
}

/* ---- the arena ---- */

static bool arena_allocate(struct stack_arena *arena)
{
    size_t chunks = arena->count_max / arena->chunk_stacks + 2;
    arena->chunks = calloc(chunks, sizeof *arena->chunks);
    arena->free = malloc(arena->count_max * sizeof *arena->free);
    return arena->chunks != NULL && arena->free != NULL;
}

static void arena_list(struct stack_arena *arena)
{
    pthread_mutex_lock(&arenas_lock);
    atomic_store(&arena->next, atomic_load(&arenas));
    atomic_store(&arenas, arena);
    pthread_mutex_unlock(&arenas_lock);
}

static void arena_unlist(struct stack_arena *arena)
{
    pthread_mutex_lock(&arenas_lock);
    _Atomic(struct stack_arena *) *at = &arenas;
    while (atomic_load(at) != NULL && atomic_load(at) != arena)
        at = &atomic_load(at)->next;
    if (atomic_load(at) == arena)
        atomic_store(at, atomic_load(&arena->next));
    pthread_mutex_unlock(&arenas_lock);
}

static size_t round_up_to_power(size_t size)
{
    size_t power = STACK_SIZE_MIN;
    while (power < size || power < 4 * page_size())
        power *= 2;
    return power;
}

/* An eighth of a small stack, at least a page. */
static size_t guard_size_for(size_t slot_size)
{
    size_t page = page_size();
    size_t size = slot_size / 8 < GUARD_SIZE ? slot_size / 8 : GUARD_SIZE;
    return (size + page - 1) / page * page;
}

int stack_arena_new_with(struct stack_arena **out, size_t stack_size, size_t count_max,
                         const struct stack_arena_options *options)
{
    if (stack_size > STACK_SIZE_MAX || count_max == 0 || count_max > COUNT_MAX)
        return -EINVAL;
    struct stack_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        return -ENOMEM;
    pthread_mutex_init(&arena->lock, NULL);
    arena->slot_size = round_up_to_power(stack_size);
    arena->guard_size = guard_size_for(arena->slot_size);
    arena->count_max = count_max;
    arena->chunk_stacks = arena->slot_size < CHUNK_SIZE ? CHUNK_SIZE / arena->slot_size : 1;
    if (!arena_allocate(arena) || !arena_grow(arena, !options->small_chunks)) {
        stack_arena_free(arena);
        return -ENOMEM;
    }
    choose_guards(arena, options);
    arena_list(arena);
    *out = arena;
    return 0;
}

int stack_arena_new(struct stack_arena **out, size_t stack_size, size_t count_max)
{
    return stack_arena_new_with(out, stack_size, count_max, &(struct stack_arena_options){0});
}

void stack_arena_free(struct stack_arena *arena)
{
    if (arena == NULL)
        return;
    arena_unlist(arena);
    for (size_t i = 0; i < atomic_load(&arena->chunk_count); i++)
        munmap(arena->chunks[i].mapping, (arena->chunks[i].count + 1) * arena->slot_size);
    atomic_fetch_sub(&guards_total, arena->guards);
    pthread_mutex_destroy(&arena->lock);
    free(arena->chunks);
    free(arena->free);
    free(arena);
}

const char *stack_arena_notice(struct stack_arena *arena)
{
    if (!arena->protect)
        return NULL;
    pthread_mutex_lock(&arena->lock);
    bool bare = arena->guards < arena->carved && !arena->notice_given;
    if (bare)
        arena->notice_given = true;
    pthread_mutex_unlock(&arena->lock);
    return bare ? arena->notice : NULL;
}

static char *slot_top(const struct stack_arena *arena, char *slot)
{
    size_t colour = (uintptr_t)slot / arena->slot_size % COLOURS;
    return slot + arena->slot_size - colour * CACHE_LINE;
}

/* The next stack nobody has used yet, or NULL. */
static char *arena_carve(struct stack_arena *arena)
{
    if (arena->carved == arena->count_max)
        return NULL;
    const struct chunk *chunk = &arena->chunks[atomic_load(&arena->chunk_count) - 1];
    if (arena->chunk_carved == chunk->count) {
        if (!arena_grow(arena, false))
            return NULL;
        chunk++;
    }
    char *slot = chunk->first + arena->chunk_carved * arena->slot_size;
    if (arena->protect)
        guard_by_protection(arena, slot);
    else if (madvise(slot, arena->guard_size, MADV_GUARD_INSTALL) != 0)
        return NULL; /* no memory for the page table */
    arena->carved++;
    arena->chunk_carved++;
    return slot_top(arena, slot);
}

/* ---- the pool ---- */

void stack_pool_init(struct stack_pool *pool, struct stack_arena *arena)
{
    pool->arena = arena;
    pool->offset_mask = arena->slot_size - 1;
    pool->guard_size = arena->guard_size;
    pool->count = 0;
}

bool stack_pool_refill(struct stack_pool *pool)
{
    struct stack_arena *arena = pool->arena;
    pthread_mutex_lock(&arena->lock);
    while (pool->count < BATCH && arena->free_count > 0)
        pool->tops[pool->count++] = arena->free[--arena->free_count];
    while (pool->count < BATCH) {
        void *top = arena_carve(arena);
        if (top == NULL)
            break;
        pool->tops[pool->count++] = top;
    }
    pthread_mutex_unlock(&arena->lock);
    return pool->count > 0;
}

/* Gives the `count` stacks that were not used for the longest time to the arena, without memory. */
static void pool_shrink(struct stack_pool *pool, unsigned count)
{
    struct stack_arena *arena = pool->arena;
    size_t usable = arena->slot_size - arena->guard_size;
    for (unsigned i = 0; i < count; i++)
        madvise(stack_low(pool, pool->tops[i]), usable, MADV_DONTNEED);
    pthread_mutex_lock(&arena->lock);
    for (unsigned i = 0; i < count; i++)
        arena->free[arena->free_count++] = pool->tops[i];
    pthread_mutex_unlock(&arena->lock);
    pool->count -= count;
    for (unsigned i = 0; i < pool->count; i++)
        pool->tops[i] = pool->tops[i + count];
}

void stack_pool_spill(struct stack_pool *pool)
{
    pool_shrink(pool, BATCH);
}

void stack_pool_rest(struct stack_pool *pool)
{
    if (pool->count > STACK_POOL_REST)
        pool_shrink(pool, pool->count - STACK_POOL_REST);
}

void stack_pool_drain(struct stack_pool *pool)
{
    pool_shrink(pool, pool->count);
}

/* ---- memory ---- */

/* Below the stack pointer a function may have its red zone: 128 bytes on x86-64 (switch.h). */
void stack_trim(const struct stack_pool *pool, const void *sp)
{
    char *low = stack_low(pool, sp);
    char *end = (char *)sp - 128;
    end -= (uintptr_t)end & (page_size() - 1);
    if (end > low)
        madvise(low, (size_t)(end - low), MADV_DONTNEED);
}

static bool chunk_find(const struct stack_arena *arena, const struct chunk *chunk, const char *at,
                       struct stack_place *place)
{
    if (at < chunk->first || at >= chunk->first + chunk->count * arena->slot_size)
        return false;
    size_t number = (size_t)(at - chunk->first) / arena->slot_size;
    char *slot = chunk->first + number * arena->slot_size;
    *place = (struct stack_place){
        .slot = slot,
        .low = slot + arena->guard_size,
        .top = slot_top(arena, slot),
    };
    return true;
}

bool stack_find(const void *address, struct stack_place *place)
{
    struct stack_arena *arena = atomic_load(&arenas);
    for (; arena != NULL; arena = atomic_load(&arena->next)) {
        for (size_t i = 0; i < atomic_load(&arena->chunk_count); i++) {
            if (chunk_find(arena, &arena->chunks[i], address, place))
                return true;
        }
    }
    return false;
}
