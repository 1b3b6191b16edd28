/* handle.c -- the table of handles.
 *
 * A slot's word decides everything: who may enter, who holds a side, when the last call has
 * left.  The rare cases - a side is taken, a call is still inside at close - queue waiters in a
 * small hashed parking lot, so that a slot stays one cache line.                              */
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "../base/bias.h"
#include "handle_slot.h"

enum {
    LOTS = 64,
    OWNER_TURNS = 64,  /* of waiting for an owner, which may have lost its processor */
    SIDE_CLOSE = 2,    /* in the parking lot: who waits for the last call to leave */
};

static struct {
    struct spin lock;
    uint32_t first_free; /* 1 + index */
    uint32_t made;
} table;

_Atomic(struct handle_slot *) handle_chunks[CHUNKS_MAX];

static struct lot {
    struct spin lock;
    struct list waiters;
} lots[LOTS];

struct parked {
    struct waiter waiter;
    struct handle_slot *slot;
    int side;
};

/* ---- names ---- */

enum handle_kind handle_kind(void *h)
{
    return name_kind(h);
}

static void *name_of(uint64_t generation, enum handle_kind kind, uint32_t index)
{
    return (void *)(uintptr_t)(generation << GENERATION_SHIFT | (uint64_t)kind << 32 | (index + 1));
}

static struct lot *lot_of(const struct handle_slot *slot)
{
    return &lots[(uintptr_t)slot / sizeof *slot % LOTS];
}

/* ---- slots come and go ---- */

static bool table_grow(void)
{
    if (table.made / CHUNK >= CHUNKS_MAX)
        return false;
    struct handle_slot *chunk = aligned_alloc(CACHE_LINE, CHUNK * sizeof *chunk);
    if (!chunk)
        return false;
    memset(chunk, 0, CHUNK * sizeof *chunk);
    for (uint32_t i = 0; i < CHUNK; i++) {
        atomic_store_explicit(&chunk[i].word, CLOSED, memory_order_relaxed);
        chunk[i].next_free = i + 1 < CHUNK ? table.made + i + 2 : table.first_free;
    }
    if (table.made == 0)
        for (int i = 0; i < LOTS; i++)
            list_init(&lots[i].waiters);
    table.first_free = table.made + 1;
    atomic_store_explicit(&handle_chunks[table.made / CHUNK], chunk, memory_order_release);
    table.made += CHUNK;
    return true;
}

/* Nobody is inside: an owner, if there is one still, is the caller. */
static void slot_free(struct handle_slot *slot, uint32_t index)
{
    atomic_store_explicit(&slot->owner, 0, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    atomic_store_explicit(&slot->word, (word >> GENERATION_SHIFT << GENERATION_SHIFT) | CLOSED,
                          memory_order_relaxed);
    spin_lock(&table.lock);
    slot->next_free = table.first_free;
    table.first_free = index + 1;
    spin_unlock(&table.lock);
}

/* ---- ownership ---- */

static __attribute__((noinline)) void owner_end(struct handle_slot *slot)
{
    struct lot *lot = lot_of(slot);
    spin_lock(&lot->lock);
    if (atomic_load_explicit(&slot->owner, memory_order_relaxed)) {
        atomic_store_explicit(&slot->owner, OWNER_LEAVES, memory_order_relaxed);
        bias_barrier();
        unsigned turns = 0;
        while (atomic_load_explicit(&slot->inside, memory_order_acquire)) {
            if (++turns % OWNER_TURNS == 0)
                sched_yield();
            spin_pause();
        }
        atomic_store_explicit(&slot->owner, 0, memory_order_release);
    }
    spin_unlock(&lot->lock);
}

/* Before the word is changed by compare-and-swap. */
static inline void owner_none(struct handle_slot *slot)
{
    if (unlikely(atomic_load_explicit(&slot->owner, memory_order_acquire)))
        owner_end(slot);
}

/* The owner itself may use compare-and-swap too: between its own plain changes. */
static inline void owner_none_but_me(struct handle_slot *slot)
{
    unsigned owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    if (owner && (!worker_here || owner != (unsigned)worker_here->id))
        owner_end(slot);
}

static void owner_begin(struct handle_slot *slot)
{
    if (!bias_is_prepared() || !worker_here || !worker_here->runtime)
        return;
    struct lot *lot = lot_of(slot);
    spin_lock(&lot->lock);
    atomic_store_explicit(&slot->owner, (uint16_t)worker_here->id, memory_order_relaxed);
    spin_unlock(&lot->lock);
}

void *handle_new(const struct handle_type *type, void *object)
{
    spin_lock(&table.lock);
    if (unlikely(!table.first_free) && !table_grow()) {
        spin_unlock(&table.lock);
        return NULL;
    }
    uint32_t index = table.first_free - 1;
    struct handle_slot *slot = &handle_chunks[index / CHUNK][index % CHUNK];
    table.first_free = slot->next_free;
    spin_unlock(&table.lock);
    atomic_store_explicit(&slot->object, object, memory_order_release);
    slot->type = type;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    uint64_t generation = (word >> GENERATION_SHIFT) + 1;
    atomic_store_explicit(&slot->word, generation << GENERATION_SHIFT, memory_order_release);
    owner_begin(slot);
    return name_of(generation & (UINT64_MAX >> GENERATION_SHIFT), type->kind, index);
}

/* ---- entering and leaving ---- */

void *handle_enter(void *h, enum handle_kind kind)
{
    struct handle_slot *slot = slot_of(h);
    if (unlikely(!slot || name_kind(h) != kind))
        return NULL;
    uint64_t word;
    if (likely(owner_enter(slot))) {
        word = atomic_load_explicit(&slot->word, memory_order_relaxed);
        bool live = is_live(word, h);
        if (likely(live))
            atomic_store_explicit(&slot->word, word + 1, memory_order_relaxed);
        owner_leave(slot);
        return live ? atomic_load_explicit(&slot->object, memory_order_relaxed) : NULL;
    }
    word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    if (likely(is_live(word, h)))
        owner_none(slot);
    do
        if (unlikely(!is_live(word, h)))
            return NULL;
    while (unlikely(!atomic_compare_exchange_weak_explicit(
        &slot->word, &word, word + 1, memory_order_acquire, memory_order_relaxed)));
    return atomic_load_explicit(&slot->object, memory_order_relaxed);
}

static struct parked *parked_first(struct lot *lot, const struct handle_slot *slot, int side)
{
    list_for_each(link, &lot->waiters) {
        struct parked *p = container_of(link, struct parked, waiter.link);
        if (p->slot == slot && p->side == side)
            return p;
    }
    return NULL;
}

void handle_closer_wake(struct handle_slot *slot)
{
    struct lot *lot = lot_of(slot);
    spin_lock(&lot->lock);
    struct parked *closer = parked_first(lot, slot, SIDE_CLOSE);
    if (closer) {
        list_remove(&closer->waiter.link);
        waiter_wake(&closer->waiter, 0);
    }
    spin_unlock(&lot->lock);
}

void handle_leave(void *h)
{
    struct handle_slot *slot = slot_of(h);
    uint64_t word;
    if (likely(owner_enter(slot))) {
        word = atomic_load_explicit(&slot->word, memory_order_relaxed);
        atomic_store_explicit(&slot->word, word - 1, memory_order_relaxed);
        owner_leave(slot);
    } else {
        owner_none(slot);
        word = atomic_fetch_sub_explicit(&slot->word, 1, memory_order_release);
    }
    left(slot, word);
}

bool handle_is_closed(void *h)
{
    return !is_live(atomic_load_explicit(&slot_of(h)->word, memory_order_relaxed), h);
}

/* ---- sides ---- */

/* One more holder or waiter: what the word becomes, or 0 when the name is stale. */
static uint64_t word_entered(uint64_t word, void *h, enum handle_side side)
{
    if (!is_live(word, h))
        return 0;
    return (word | (word & LOCKED(side) ? QUEUED(side) : LOCKED(side))) + 1;
}

/* Hands the side to its first waiter, or frees it. */
static void side_pass(struct handle_slot *slot, enum handle_side side)
{
    struct lot *lot = lot_of(slot);
    spin_lock(&lot->lock);
    struct parked *first = parked_first(lot, slot, (int)side);
    uint64_t clear = LOCKED(side) | QUEUED(side);
    if (first) {
        list_remove(&first->waiter.link);
        clear = parked_first(lot, slot, (int)side) ? 0 : QUEUED(side);
    }
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, (word & ~clear) - 1,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
    }
    if (first)
        waiter_wake(&first->waiter, 0);
    spin_unlock(&lot->lock);
    left(slot, word);
}

static int side_wait(struct handle_slot *slot, void *h, enum handle_side side, unsigned how)
{
    struct lot *lot = lot_of(slot);
    spin_lock(&lot->lock);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed), next;
    do
        if (!(next = word_entered(word, h, side))) {
            spin_unlock(&lot->lock);
            return -EBADF;
        }
    while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_acquire,
                                                  memory_order_relaxed));
    if (!(word & LOCKED(side))) {
        spin_unlock(&lot->lock);
        return 0;
    }
    struct parked p = { .slot = slot, .side = (int)side };
    waiter_init(&p.waiter, side == SIDE_READ ? "its turn to read" : "its turn to write", NULL);
    list_push(&lot->waiters, &p.waiter.link);
    int error = waiter_wait(&p.waiter, &lot->lock, how);
    if (error) {
        handle_leave(h);
        return error;
    }
    if (handle_is_closed(h)) { /* the former holder left before the closing call came to us */
        side_pass(slot, side);
        return -EBADF;
    }
    return 0;
}

int handle_lock(void *h, enum handle_kind kind, enum handle_side side, void **object)
{
    return handle_lock_how(h, kind, side, 0, object);
}

int handle_lock_how(void *h, enum handle_kind kind, enum handle_side side, unsigned how,
                    void **object)
{
    struct handle_slot *slot = slot_of(h);
    struct task *t = task_self();
    if (unlikely(!slot || name_kind(h) != kind || !t))
        return -EBADF;
    if ((*object = owner_lock(worker_here, slot, h, kind, side)))
        return 0;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    if (likely(is_live(word, h)))
        owner_none(slot);
    do {
        if (unlikely(!is_live(word, h)))
            return -EBADF;
        if (unlikely(word & LOCKED(side))) {
            int error = side_wait(slot, h, side, how);
            if (error)
                return error;
            break;
        }
    } while (unlikely(!atomic_compare_exchange_weak_explicit(
        &slot->word, &word, (word | LOCKED(side)) + 1, memory_order_acquire,
        memory_order_relaxed)));
    holder_set(slot, side, t, worker_here->id);
    *object = atomic_load_explicit(&slot->object, memory_order_relaxed);
    return 0;
}

void handle_unlock(void *h, enum handle_side side)
{
    struct handle_slot *slot = slot_of(h);
    if (likely(owner_unlock(worker_here, slot, side)))
        return;
    slot->holder[side]->interrupt = 0;
    holder_unset(slot, side);
    owner_none(slot);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    do
        if (unlikely(word & QUEUED(side))) {
            side_pass(slot, side);
            return;
        }
    while (unlikely(!atomic_compare_exchange_weak_explicit(
        &slot->word, &word, (word & ~LOCKED(side)) - 1, memory_order_release,
        memory_order_relaxed)));
    left(slot, word);
}

/* ---- closing ---- */

struct eviction {
    struct mail mail;
    struct handle_slot *slot;
    uint64_t generation;
};

/* On a worker: ends the waits of its own tasks that hold a side of the slot, but not of the one
 * that is closing it. */
static void holders_interrupt(struct handle_slot *slot, const struct task *closing)
{
    for (int side = SIDE_READ; side <= SIDE_WRITE; side++)
        if (atomic_load_explicit(&slot->holder_worker[side], memory_order_relaxed) ==
                worker_here->id &&
            slot->holder[side] != closing)
            task_interrupt(slot->holder[side], EBADF);
}

static void eviction_delivered(struct mail *m)
{
    struct eviction *e = container_of(m, struct eviction, mail);
    uint64_t word = atomic_load_explicit(&e->slot->word, memory_order_relaxed);
    if (word >> GENERATION_SHIFT == e->generation && (word & CLOSED))
        holders_interrupt(e->slot, NULL);
    free(e);
}

static struct mail *eviction_new(void *arg)
{
    struct eviction *e = malloc(sizeof *e);
    if (e)
        *e = *(struct eviction *)arg;
    return e ? &e->mail : NULL;
}

/* A side is held elsewhere: its worker is told by mail.  Which one that is cannot be read
 * without a fence in every call, so all of them are told; it is rare. */
static void holders_evict(struct handle_slot *slot, uint64_t word)
{
    bool elsewhere = false;
    for (int side = SIDE_READ; side <= SIDE_WRITE; side++)
        elsewhere |= (word & LOCKED(side)) &&
                     atomic_load_explicit(&slot->holder_worker[side], memory_order_relaxed) !=
                         worker_here->id;
    holders_interrupt(slot, worker_here->current);
    struct eviction e = { .mail = { .deliver = eviction_delivered },
                          .slot = slot,
                          .generation = word >> GENERATION_SHIFT };
    if (elsewhere)
        workers_mail_all(eviction_new, &e);
}

static void queued_evict(struct handle_slot *slot)
{
    struct lot *lot = lot_of(slot);
    spin_lock(&lot->lock);
    for (int side = SIDE_READ; side <= SIDE_WRITE; side++) {
        struct parked *p;
        while ((p = parked_first(lot, slot, (int)side))) {
            list_remove(&p->waiter.link);
            waiter_wake(&p->waiter, -EBADF);
        }
    }
    spin_unlock(&lot->lock);
}

static void last_call_wait(struct handle_slot *slot)
{
    struct lot *lot = lot_of(slot);
    for (;;) {
        spin_lock(&lot->lock);
        if ((atomic_load_explicit(&slot->word, memory_order_acquire) & REFS) == 1)
            break;
        struct parked p = { .slot = slot, .side = SIDE_CLOSE };
        waiter_init(&p.waiter, "calls in progress to leave", NULL);
        list_push(&lot->waiters, &p.waiter.link);
        waiter_wait(&p.waiter, &lot->lock, AWAIT_ALWAYS);
    }
    spin_unlock(&lot->lock);
}

int handle_close(void *h)
{
    struct handle_slot *slot = slot_of(h);
    if (!slot || !task_self())
        return -EBADF;
    if (worker_here->native)
        return -EDEADLK; /* closing may have to wait for who is inside */
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    if (is_live(word, h))
        owner_none_but_me(slot);
    do
        if (!is_live(word, h))
            return -EBADF;
    while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, (word | CLOSED) + 1,
                                                  memory_order_acq_rel, memory_order_relaxed));
    if (unlikely(word & REFS)) {
        queued_evict(slot);
        holders_evict(slot, word);
    }
    if (slot->type->evict)
        slot->type->evict(slot->object);
    if (unlikely(word & REFS))
        last_call_wait(slot);
    int error = slot->type->destroy(slot->object);
    slot_free(slot, (uint32_t)(uintptr_t)h - 1);
    return error;
}

int handle_forget(void *h)
{
    struct handle_slot *slot = slot_of(h);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    owner_none_but_me(slot);
    do
        if ((word & REFS) != 1 || !is_live(word, h))
            return -EBUSY;
    while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, word | CLOSED,
                                                  memory_order_acq_rel, memory_order_relaxed));
    for (int side = SIDE_READ; side <= SIDE_WRITE; side++)
        holder_unset(slot, (enum handle_side)side);
    slot_free(slot, (uint32_t)(uintptr_t)h - 1);
    return 0;
}
