/* wake.h -- how another thread ends the sleep of a backend that waits in a system call.
 *
 * One word says whether its owner is awake, asleep or has been woken.  Only the change from
 * asleep to woken costs a write to the eventfd, and a wake that comes just before the owner
 * falls asleep makes it stay awake instead: none is lost.  A wake ends one wait; whoever is
 * woken looks at all that may have changed before it waits again.                             */
#ifndef WEIR_WAKE_H
#define WEIR_WAKE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "../base/base.h"

struct wake {
    atomic_int state;
    int fd;      /* an eventfd, or -1 */
    pid_t owner; /* the process the eventfd was made in */
};

#define WAKE_INIT                                                                                  \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Makes the eventfd, unless this process has one already.  0, or -errno. */
int wake_open(struct wake *w);

void wake_close(struct wake *w);

/* The owner is about to sleep.  False: it has been woken already and must not. */
bool wake_sleeps(struct wake *w);

/* The owner is up, whether it slept or not. */
void wake_rises(struct wake *w);

/* Empties the eventfd, which a level-triggered wait has reported and would report again. */
void wake_drain(struct wake *w);

/* From any thread. */
void wake_up(struct wake *w);

#endif
