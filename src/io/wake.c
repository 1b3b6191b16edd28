/* wake.c -- the eventfd that interrupts a sleeping backend, and the word that spares it.
 *
 * The eventfd's counter is never read for its value.  A forked child must not share the one of
 * its parent, or reading it would swallow a wake meant for the parent; it forgets the inherited
 * descriptor without closing it, for the number may stand for something else in the child.   */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "wake.h"

enum { AWAKE, ASLEEP, WOKEN };

int wake_open(struct wake *w)
{
    pid_t here = getpid();
    if (w->fd >= 0 && w->owner == here)
        return 0;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->owner = here;
    return w->fd < 0 ? -errno : 0;
}

void wake_close(struct wake *w)
{
    if (w->fd >= 0 && w->owner == getpid())
        close(w->fd);
    w->fd = -1;
}

bool wake_sleeps(struct wake *w)
{
    int awake = AWAKE;
    return atomic_compare_exchange_strong(&w->state, &awake, ASLEEP);
}

void wake_rises(struct wake *w)
{
    atomic_store(&w->state, AWAKE);
}

void wake_drain(struct wake *w)
{
    eventfd_t count;
    (void)eventfd_read(w->fd, &count);
}

/* The write cannot fail for want of room: that takes 2^64 wakes that nobody saw. */
void wake_up(struct wake *w)
{
    if (atomic_exchange(&w->state, WOKEN) == ASLEEP)
        (void)eventfd_write(w->fd, 1);
}
