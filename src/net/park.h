/* park.h -- a connection that waits for its peer without a task.
 *
 * What a fiber would wait for on its stack, a parked connection waits for with one operation.
 * While parked it counts as a call in progress, so that closing its handle, on whatever worker,
 * finds it and waits for park_over. */
#ifndef WEIR_PARK_H
#define WEIR_PARK_H

#include "conn.h"

struct parking {
    struct op op;
    struct mail mail;   /* `deliver` is the caller's */
    struct conn *conn;  /* NULL: not parked */
    weir_conn *name;
};

/* Parks `name` on the calling worker; nobody else reads from it.  0: p->mail will be delivered
 * here, once: there is something to read, or the connection ended or was closed.  1: there is
 * something already.  -ENODATA: the end of the stream was read, nothing will come.  -EBADF.
 * Before the first time, *p is zero but for p->mail.                                          */
int park(struct parking *p, weir_conn *name);
/* The same by waiting in the calling task: 1 when the handler should run again, -ENODATA, -EBADF,
 * -ETIMEDOUT when the peer was silent for too long, or why the task must stop. */
int park_task(weir_conn *name);
/* Once the mail was delivered, then or later; until then closing the connection waits. */
void park_over(struct parking *p);
/* Fetches what park_over and the handler after it will touch. */
static inline void park_fetch(const struct parking *p)
{
    fetch(p->conn);
    fetch((const char *)p->conn + CACHE_LINE);
    fetch(slot_of(p->name));
}
/* How long a parked connection may be silent; 0: for ever. */
int64_t park_patience(const struct parking *p);
/* For a connection that is being closed: ends its parking. */
void park_evict(struct conn *c);

#endif
