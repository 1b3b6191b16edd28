/* lend.h -- buffers for receives that bring none (OP_LEND), where the kernel does not choose them.
 *
 * A connection that waits owns no buffer: one is taken when a receive is tried and kept only if
 * bytes came, until OP_GIVE brings it back.  The one given last is lent next, while it is still
 * in the processor's cache.                                                                   */
#ifndef WEIR_LEND_H
#define WEIR_LEND_H

#include "op.h"

struct lent;

/* All zeros is ready for use, by one thread. */
struct lender {
    struct shelf {
        struct lent *first;
        int count;
    } small, large;
};

/* op_try for a RECV with OP_LEND; -ENOMEM leaves the bytes where they are. */
int32_t lender_recv(struct lender *l, struct op *op);

void lender_give(struct lender *l, void *buf);

/* The same when the lender is gone. */
void lent_free(void *buf);

/* Frees what has been given back; what is still lent is lost. */
void lender_close(struct lender *l);

#endif
