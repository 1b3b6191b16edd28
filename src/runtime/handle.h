/* handle.h -- names for things: slot number, kind and generation in one pointer-sized value.
 *
 * A handle is never dereferenced.  The slot it names holds one 64-bit word: generation, closed
 * bit, a read lock, a write lock and a count of calls in progress.  One change of it, atomic but on
 * the worker that made the handle, checks the name and enters; another one leaves; so a stale name
 * is -EBADF, and an object is freed only when the last call has left it.  The holder of a side is
 * on record, so that closing finds it on whatever worker it waits.                            */
#ifndef WEIR_HANDLE_H
#define WEIR_HANDLE_H

#include "runtime.h"

enum handle_kind { HANDLE_LISTENER = 1, HANDLE_CONN, HANDLE_GROUP, HANDLE_CHAN, HANDLE_OUTBOX };
enum handle_side { SIDE_READ, SIDE_WRITE };

struct handle_type {
    enum handle_kind kind;
    /* Called once by handle_close, after the name has gone stale for everybody else and the
     * holders of both sides were interrupted with EBADF: makes remaining calls leave. May wait. */
    void (*evict)(void *object);
    /* Called when no call is left: releases the object.  0 or -errno, for weir_close. */
    int (*destroy)(void *object);
};

/* A name for `object`, or NULL when all slots are taken. */
void *handle_new(const struct handle_type *type, void *object);

/* Enters: the object, or NULL when the name is stale or of another kind. */
void *handle_enter(void *h, enum handle_kind kind);
void handle_leave(void *h);

/* Enters and takes one side; waits in FIFO order behind the present holder, under the ambient
 * deadline.  *object is set on success.  0, -EBADF, -ETIME, -EAGAIN, -ECANCELED.  While it holds
 * a side the task's waits in await() end with -EBADF when the handle is closed. */
int handle_lock(void *h, enum handle_kind kind, enum handle_side side, void **object);
/* The same where a draining group ends the wait, with -ESHUTDOWN: how is AWAIT_DRAINABLE. */
int handle_lock_how(void *h, enum handle_kind kind, enum handle_side side, unsigned how,
                    void **object);
/* Releases the side (its first waiter gets it) and leaves. */
void handle_unlock(void *h, enum handle_side side);

/* Makes the name stale, evicts the calls in progress, waits until they left, destroys.
 * 0 or what destroy said; -EBADF when the name was stale already. */
int handle_close(void *h);
/* Frees the name without calling evict or destroy, when the caller is the only one inside (it
 * entered or holds a side): -EBUSY otherwise.  Its enter or lock is consumed. */
int handle_forget(void *h);
bool handle_is_closed(void *h);        /* for a call in progress: was it closed under us? */
enum handle_kind handle_kind(void *h); /* as its bits say; 0 when NULL */

#endif
