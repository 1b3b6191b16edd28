/* readiness.h -- operations on top of "this descriptor is ready", for epoll, poll and select.
 *
 * An operation is tried, parked in the slot of its descriptor when it would have to wait, and
 * tried again when the kernel reports that descriptor.  A backend is a way to have descriptors
 * watched, and the system call that waits.                                                    */
#ifndef WEIR_READINESS_H
#define WEIR_READINESS_H

#include "backend.h"
#include "clock.h"
#include "lend.h"
#include "slot.h"
#include "wake.h"

/* How an instance of a readiness backend begins. */
struct io {
    /* Has `events` of the descriptor reported from now on, and if they hold already.  `op` is the
     * one that waits for them.  0, or -errno. */
    int (*watch)(struct io *, struct slot *, const struct op *op, uint32_t events);
    /* An operation has left the slot; a watcher may want fewer events now, or none. */
    void (*leave)(struct io *, struct slot *, const struct op *op);
    bool is_edge;  /* events are reported when they begin, not while they last */
    bool is_exact; /* reported events are true to poll(2)'s last bit */

    struct list *done;
    struct slot *slots; /* by descriptor */
    size_t slot_count;
    struct lender lender;
    struct wake wake;

    /* Operations whose moment no event announces (a connect to a full AF_UNIX backlog): asked
     * again by the clock. */
    struct list clocked;
    struct backoff backoff;
};

int readiness_open(struct io *io, struct list *done);
void readiness_close(struct io *io);

/* Four entries of struct io_backend. */
bool readiness_submit(struct io *io, struct op *op);
void readiness_cancel(struct io *io, struct op *op);
void readiness_wake(struct io *io);
weir_time readiness_now(struct io *io);

/* Ends what waits on a descriptor with -ECANCELED.  Its slot, or NULL: it has none. */
struct slot *readiness_end(struct io *io, int fd);

/* The last step of a CLOSE, and its answer: true. */
bool readiness_close_fd(struct op *op);

/* Around the system call that waits: how many nanoseconds it may last (see clock_left), and what
 * follows it, after the events it brought have been reported.                                 */
int64_t readiness_sleeps(struct io *io, weir_time until);
void readiness_rises(struct io *io);

/* The kernel's word on a descriptor whose slot exists. */
void readiness_report(struct io *io, int fd, uint32_t events);

#endif
