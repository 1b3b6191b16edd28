/* stack.h -- stacks for fibers: one arena of address space, a pool per worker, guards below.
 *
 * A stack is a slot of the arena, aligned to its own size, so that its bounds follow from any
 * address in it and no header is needed. From low to high address:
 *
 *     guard    never accessible; touching it is the overflow
 *     usable   [stack_low(pool, top), top)
 *     colour   0 to 1 KiB, so that the tops of many stacks do not meet in the same cache sets
 *
 * Memory is committed page by page as it is touched. An arena may be used by every thread; a pool
 * belongs to one.
 */
#ifndef WEIR_STACK_H
#define WEIR_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a test may have otherwise than the kernel offers it. All zero is the normal case. */
struct stack_arena_options {
    bool protect;      /* as before Linux 6.13: guards by mprotect */
    size_t maps_limit; /* instead of vm.max_map_count */
    bool small_chunks; /* as under a tight RLIMIT_AS: several mappings */
};

struct stack_arena;

/* An arena of at most `count_max` stacks of `stack_size` bytes of address space each, the guard
 * included. The size is rounded up to a power of two and to at least STACK_SIZE_MIN; -EINVAL when
 * it exceeds STACK_SIZE_MAX, -ENOMEM when there is no address space. */
enum { STACK_SIZE_MIN = 16 << 10, STACK_SIZE_MAX = 1 << 30 };
int stack_arena_new(struct stack_arena **out, size_t stack_size, size_t count_max);
int stack_arena_new_with(struct stack_arena **out, size_t stack_size, size_t count_max,
                         const struct stack_arena_options *options);

/* Unmaps all its stacks; none may be in use, and its pools must be drained. NULL is allowed. */
void stack_arena_free(struct stack_arena *arena);

/* The first time it is asked after a stack had to go without a guard: a sentence that says why and
 * what to do. NULL otherwise. The text lives as long as the arena. */
const char *stack_arena_notice(struct stack_arena *arena);

enum { STACK_POOL_MAX = 128, STACK_POOL_REST = 16 };

struct stack_pool {
    struct stack_arena *arena;
    uintptr_t offset_mask; /* what of an address is the offset in its slot */
    size_t guard_size;
    unsigned count;
    void *tops[STACK_POOL_MAX];
};

void stack_pool_init(struct stack_pool *pool, struct stack_arena *arena);
/* Gives every stack the pool keeps back to the arena. */
void stack_pool_drain(struct stack_pool *pool);
/* The same but for STACK_POOL_REST of them, for a thread that has been idle. */
void stack_pool_rest(struct stack_pool *pool);

/* For stack_take and stack_give when the pool is empty or full. */
bool stack_pool_refill(struct stack_pool *pool);
void stack_pool_spill(struct stack_pool *pool);

/* A stack's high end, a multiple of 16; its content is whatever the last user left. NULL when the
 * arena's stacks are all in use or memory is short. No system call while the pool has one. */
static inline void *stack_take(struct stack_pool *pool)
{
    if (__builtin_expect(pool->count == 0, 0) && !stack_pool_refill(pool))
        return NULL;
    return pool->tops[--pool->count];
}

/* Takes back what stack_take of any pool of the arena gave; nothing may run on it any more. */
static inline void stack_give(struct stack_pool *pool, void *top)
{
    if (__builtin_expect(pool->count == STACK_POOL_MAX, 0))
        stack_pool_spill(pool);
    pool->tops[pool->count++] = top;
}

/* The low end of the stack that ends at `top`, just above its guard. */
static inline void *stack_low(const struct stack_pool *pool, const void *top)
{
    char *last = (char *)top - 1;
    return last - ((uintptr_t)last & pool->offset_mask) + pool->guard_size;
}

/* Returns to the kernel the pages of a suspended fiber's stack that lie wholly below its stack
 * pointer `sp`. They read as zero when used again. */
void stack_trim(const struct stack_pool *pool, const void *sp);

/* ---- overflow (overflow.c) ---- */

/* Where an address lies. */
struct stack_place {
    char *slot, *low, *top;
};
/* Whether the address lies in a stack of any arena. Async-signal-safe. */
bool stack_find(const void *address, struct stack_place *place);

/* Who runs on a stack, for the report. */
struct stack_owner {
    const char *name;  /* NULL: it has none */
    const void *entry; /* its entry function; NULL: not known */
};

/* From now on, a fiber that overflows its stack ends the process with a report on file descriptor 2
 * and SIGABRT. `describe` tells who owns the stack that ends at `top`; it is called in a signal
 * handler. Every other SIGSEGV and SIGBUS takes the way it took before. Returns -EBUSY when already
 * installed. */
int stack_overflow_install(void (*describe)(const void *top, struct stack_owner *owner));
void stack_overflow_remove(void);

/* Gives the calling thread the signal stack that the report needs, and unblocks the two signals;
 * leave gives back what was before. Not from a fiber. */
int stack_overflow_thread_enter(void);
void stack_overflow_thread_leave(void);

#endif
