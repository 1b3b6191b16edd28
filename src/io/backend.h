/* backend.h -- the one interface between the runtime and whatever performs operations.
 *
 * The contract: an op submitted completes exactly once; until then it and its buffers belong to
 * the backend.  Before that it may be handed back READY, once, and is submitted again.  At most
 * one input op and one output op (plus any number of POLLs) pend on a descriptor; a second reader
 * or writer queues above.  CLOSE first ends the others on its descriptor, with -ECANCELED unless
 * their true result won.  An instance is used by one thread; only `wake` may be called from
 * another, and ends one wait: whoever returns from it looks at all that may have changed.  A
 * backend never calls up.  A completed op is appended to the worker's done list (by `wait`,
 * `cancel` or the `submit` of a CLOSE), except when its own submit answers true: then it is
 * complete already and on no list.                                                            */
#ifndef WEIR_BACKEND_H
#define WEIR_BACKEND_H

#include "op.h"

struct io; /* an instance: each backend's own, begins with nothing in common */

struct io_backend {
    const char *name;
    int (*open)(struct io **out, struct list *done); /* 0, or -errno: not usable here */
    void (*close)(struct io *);                      /* nothing may pend */
    bool (*submit)(struct io *, struct op *);        /* true: complete already, never park */
    void (*cancel)(struct io *, struct op *);        /* asks; the op still completes, once */
    void (*wait)(struct io *, weir_time until);      /* may return early, with nothing */
    void (*wake)(struct io *);                       /* ends a wait; from any thread */
    weir_time (*now)(struct io *);
};

extern const struct io_backend io_epoll, io_poll, io_select, io_uring, io_blocking;

/* The backend of that name ("epoll", "poll", "select", "io_uring", "blocking"), or NULL. */
const struct io_backend *io_backend_find(const char *name);

/* io_uring when it passes its self-test on this kernel, else epoll. */
const struct io_backend *io_backend_auto(void);

/* Fault injection: fault.h. */
#endif
