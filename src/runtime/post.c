/* post.c -- operations that no task waits for.
 *
 * A connection that waits for its peer without a stack, a plain thread that must hear of signals
 * whatever it is doing: their operations lie outside any call.  What ends one is mail to the
 * worker that posted it.                                                                      */
#include "runtime.h"

bool op_post(struct op *op, struct mail *m)
{
    struct worker *w = worker_here;
    op->flags |= OP_MAIL;
    op->state = OP_PENDING;
    op->waiter = m;
    if (!w->backend->submit(w->io, op))
        return false;
    op->state = OP_DONE;
    return true;
}

void op_recall(struct op *op)
{
    struct worker *w = worker_here;
    if (op->state == OP_PENDING)
        w->backend->cancel(w->io, op);
}
