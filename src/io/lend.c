/* lend.c -- two shelves of buffers, small and large.
 *
 * A shelf keeps SHELF_MAX buffers at rest and frees the others, so that memory follows the number
 * of connections that have bytes in hand.  The header in front of the bytes fills a cache line,
 * which leaves them aligned.                                                                  */
#include <errno.h>

#include "lend.h"

enum { SHELF_MAX = 32 };

struct lent {
    struct lent *next;
    size_t size;
    _Alignas(CACHE_LINE) unsigned char bytes[];
};

static struct shelf *shelf_of(struct lender *l, size_t size)
{
    return size == LEND_SMALL ? &l->small : &l->large;
}

static struct lent *take(struct lender *l, size_t size)
{
    struct shelf *shelf = shelf_of(l, size);
    struct lent *lent = shelf->first;
    if (likely(lent)) {
        shelf->first = lent->next;
        shelf->count--;
        return lent;
    }
    lent = aligned_alloc(CACHE_LINE, sizeof *lent + size);
    if (lent)
        lent->size = size;
    return lent;
}

static void put(struct lender *l, struct lent *lent)
{
    struct shelf *shelf = shelf_of(l, lent->size);
    if (shelf->count == SHELF_MAX) {
        free(lent);
        return;
    }
    lent->next = shelf->first;
    shelf->first = lent;
    shelf->count++;
}

int32_t lender_recv(struct lender *l, struct op *op)
{
    if (op->recv.len > LEND_LARGE)
        op->recv.len = LEND_LARGE;
    struct lent *lent = take(l, op->recv.len <= LEND_SMALL ? LEND_SMALL : LEND_LARGE);
    if (!lent)
        return -ENOMEM;
    op->recv.buf = lent->bytes;
    int32_t result = op_try(op);
    if (result <= 0) {
        op->recv.buf = NULL;
        put(l, lent);
    }
    return result;
}

void lender_give(struct lender *l, void *buf)
{
    put(l, container_of(buf, struct lent, bytes));
}

void lent_free(void *buf)
{
    free(container_of(buf, struct lent, bytes));
}

static void shelf_clear(struct shelf *shelf)
{
    struct lent *lent;
    while ((lent = shelf->first)) {
        shelf->first = lent->next;
        free(lent);
    }
}

void lender_close(struct lender *l)
{
    shelf_clear(&l->small);
    shelf_clear(&l->large);
}
