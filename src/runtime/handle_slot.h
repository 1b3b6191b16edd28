/* handle_slot.h -- what is behind a handle: a slot of the table.
 *
 * For the table itself, for the calls that every request makes, which are inline, and for objects
 * that are looked up without being entered.  Slots are never unmapped, so the word of a stale
 * handle can always be read.                                                                  */
#ifndef WEIR_HANDLE_SLOT_H
#define WEIR_HANDLE_SLOT_H

#include "handle.h"

enum {
    CHUNK = 1024,      /* slots per chunk */
    CHUNKS_MAX = 4096, /* four million handles */
};

/* The word of a slot, from the top: generation, closed, a lock and a queue bit for each side,
 * and the number of calls inside. */
#define REFS UINT64_C(0x7fffffff)
#define CLOSED (UINT64_C(1) << 35)
#define GENERATION_SHIFT 36
#define LOCKED(side) (UINT64_C(1) << (34 - (side)))
#define QUEUED(side) (UINT64_C(1) << (32 - (side)))
static_assert((LOCKED(SIDE_WRITE) & (QUEUED(SIDE_READ) | QUEUED(SIDE_WRITE) | REFS)) == 0, "apart");
static_assert((QUEUED(SIDE_WRITE) & REFS) == 0, "apart");

struct handle_slot {
    _Alignas(CACHE_LINE) _Atomic uint64_t word;
    _Atomic(void *) object;
    const struct handle_type *type;
    struct task *holder[2];            /* written and followed on the holder's worker only */
    _Atomic uint16_t holder_worker[2]; /* which one that is */
    _Atomic uint16_t owner;            /* who changes the word with plain stores; 0: nobody */
    _Atomic uint8_t inside;            /* ... and is doing so */
    uint32_t next_free;                /* 1 + index */
};

static_assert(sizeof(struct handle_slot) == CACHE_LINE, "one line per handle");

extern _Atomic(struct handle_slot *) handle_chunks[CHUNKS_MAX];

/* Nearly every handle is only ever used on the worker that made it, so that worker owns the slot:
 * it changes the word without an atomic instruction, as base/bias.h explains.  Whoever else comes
 * ends the ownership first, for as long as the slot keeps its name. */
enum { OWNER_LEAVES = UINT16_MAX };

ALWAYS_INLINE bool owner_enter_as(struct handle_slot *slot, int id)
{
    if (unlikely((int)atomic_load_explicit(&slot->owner, memory_order_relaxed) != id))
        return false;
    atomic_store_explicit(&slot->inside, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (likely((int)atomic_load_explicit(&slot->owner, memory_order_relaxed) == id))
        return true;
    atomic_store_explicit(&slot->inside, 0, memory_order_release);
    return false;
}

static inline bool owner_enter(struct handle_slot *slot)
{
    return worker_here && owner_enter_as(slot, worker_here->id);
}

ALWAYS_INLINE void owner_leave(struct handle_slot *slot)
{
    atomic_store_explicit(&slot->inside, 0, memory_order_release);
}

static inline uint64_t name_generation(void *h)
{
    return (uint64_t)(uintptr_t)h >> GENERATION_SHIFT;
}

static inline enum handle_kind name_kind(void *h)
{
    return (enum handle_kind)((uint64_t)(uintptr_t)h >> 32 & 0xf);
}

ALWAYS_INLINE struct handle_slot *slot_of(void *h)
{
    uint32_t index = (uint32_t)(uintptr_t)h - 1;
    if (unlikely(index / CHUNK >= CHUNKS_MAX))
        return NULL;
    struct handle_slot *chunk =
        atomic_load_explicit(&handle_chunks[index / CHUNK], memory_order_acquire);
    return likely(chunk) ? &chunk[index % CHUNK] : NULL;
}

static inline bool is_live(uint64_t word, void *h)
{
    return word >> GENERATION_SHIFT == name_generation(h) && !(word & CLOSED);
}

/* The object the name stands for, without entering: NULL when the name is stale or of another
 * kind.  It may go stale the next moment, so this is for objects whose memory stays what it is
 * for ever, and which check under a lock of their own that the name is still theirs.  The object
 * is the one of this name when the word was the name's both before and after. */
static inline void *handle_peek(void *h, enum handle_kind kind)
{
    struct handle_slot *slot = slot_of(h);
    if (unlikely(!slot || name_kind(h) != kind))
        return NULL;
    if (unlikely(!is_live(atomic_load_explicit(&slot->word, memory_order_acquire), h)))
        return NULL;
    void *object = atomic_load_explicit(&slot->object, memory_order_acquire);
    bool same = is_live(atomic_load_explicit(&slot->word, memory_order_relaxed), h);
    return likely(same) ? object : NULL;
}

/* ---- sides ---- */

void handle_closer_wake(struct handle_slot *slot); /* only the closing call is left: it goes on */

static inline void left(struct handle_slot *slot, uint64_t before)
{
    if (unlikely((before & (CLOSED | REFS)) == (CLOSED | 2)))
        handle_closer_wake(slot);
}

static inline void holder_set(struct handle_slot *slot, enum handle_side side, struct task *t,
                              int worker)
{
    slot->holder[side] = t;
    t->warm_name = slot;
    atomic_store_explicit(&slot->holder_worker[side], (uint16_t)worker, memory_order_relaxed);
}

static inline void holder_unset(struct handle_slot *slot, enum handle_side side)
{
    slot->holder[side] = NULL;
    atomic_store_explicit(&slot->holder_worker[side], 0, memory_order_relaxed);
}

/* The owner's way in, when the side is free: one line touched, nothing atomic.  The object, or
 * NULL: any other way is handle_lock's. */
ALWAYS_INLINE void *owner_lock(struct worker *w, struct handle_slot *slot, void *h,
                               enum handle_kind kind, enum handle_side side)
{
    if (unlikely(!slot || name_kind(h) != kind || !owner_enter_as(slot, w->id)))
        return NULL;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    bool is_free = is_live(word, h) && !(word & LOCKED(side));
    if (likely(is_free))
        atomic_store_explicit(&slot->word, (word | LOCKED(side)) + 1, memory_order_relaxed);
    owner_leave(slot);
    if (unlikely(!is_free))
        return NULL;
    holder_set(slot, side, w->current, w->id);
    return atomic_load_explicit(&slot->object, memory_order_relaxed);
}

/* The way out of whoever holds the side, where nobody waits for it; else nothing was done. */
ALWAYS_INLINE bool owner_unlock(struct worker *w, struct handle_slot *slot, enum handle_side side)
{
    if (unlikely(!owner_enter_as(slot, w->id)))
        return false;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    bool is_alone = !(word & QUEUED(side));
    if (likely(is_alone)) {
        slot->holder[side]->interrupt = 0;
        holder_unset(slot, side);
        atomic_store_explicit(&slot->word, (word & ~LOCKED(side)) - 1, memory_order_relaxed);
    }
    owner_leave(slot);
    if (likely(is_alone))
        left(slot, word);
    return is_alone;
}

#endif
