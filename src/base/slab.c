/* slab.c -- blocks, each with a list of its free objects. */
#include <sys/mman.h>

#include "slab.h"

enum { BLOCK_SIZE = 256 << 10 };

struct object {
    struct object *next;
};

struct block {
    struct list link;    /* in slab->partial, while an object is free */
    struct object *free; /* objects that were given back */
    uint32_t fresh;      /* the offset of those never used, to the end of the block */
    uint32_t used;       /* objects */
} __attribute__((aligned(CACHE_LINE)));

/* Under AddressSanitizer each object is malloc's, for whoever uses one that was given back. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#define UNDER_ASAN __has_feature(address_sanitizer)
#else
#define UNDER_ASAN 0
#endif

static bool is_full(const struct slab *s, const struct block *b)
{
    return !b->free && b->fresh + s->size > BLOCK_SIZE;
}

static struct block *block_new(void)
{
    /* malloc would lose a page or two of each to aligning it. */
    char *map = mmap(NULL, 2 * BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)map & (BLOCK_SIZE - 1);
    struct block *b = (struct block *)(void *)(map + before);
    if (before)
        munmap(map, before);
    munmap(map + before + BLOCK_SIZE, BLOCK_SIZE - before);
    b->free = NULL;
    b->fresh = sizeof *b;
    b->used = 0;
    return b;
}

/* With the lock, which is let go meanwhile: others may add a block, too, and both are used. */
static bool block_add(struct slab *s)
{
    spin_unlock(&s->lock);
    struct block *b = block_new();
    spin_lock(&s->lock);
    if (b)
        list_push(&s->partial, &b->link);
    return b || !list_is_empty(&s->partial);
}

static void *block_take(struct slab *s, struct block *b)
{
    struct object *o = b->free;
    if (o) {
        b->free = o->next;
    } else {
        o = (struct object *)(void *)((char *)b + b->fresh);
        b->fresh += s->size;
    }
    b->used++;
    if (is_full(s, b))
        list_remove(&b->link);
    return o;
}

void *slab_take(struct slab *s)
{
    if (UNDER_ASAN)
        return malloc(s->size);
    spin_lock(&s->lock);
    void *object = NULL;
    if (likely(!list_is_empty(&s->partial)) || block_add(s))
        object = block_take(s, container_of(s->partial.next, struct block, link));
    spin_unlock(&s->lock);
    return object;
}

static bool is_last(const struct slab *s)
{
    return s->partial.next == s->partial.prev;
}

void slab_give(struct slab *s, void *object)
{
    struct block *b = (struct block *)((uintptr_t)object & ~(uintptr_t)(BLOCK_SIZE - 1));
    struct object *o = object;
    if (UNDER_ASAN)
        free(object);
    if (UNDER_ASAN || !object)
        return;
    spin_lock(&s->lock);
    if (is_full(s, b))
        list_push_front(&s->partial, &b->link);
    o->next = b->free;
    b->free = o;
    bool unused = --b->used == 0 && !is_last(s);
    if (unused)
        list_remove(&b->link);
    spin_unlock(&s->lock);
    if (unused)
        munmap(b, BLOCK_SIZE);
}
