/* channel.h -- what weir_poll asks of channels.
 *
 * Sending and receiving are public functions; this is the multi-wait's side door.  A watch lies
 * on the waiting task's stack.  Its waiter is woken once, when the channel becomes ready for one
 * of the events, is done or is closed.                                                       */
#ifndef WEIR_CHANNEL_H
#define WEIR_CHANNEL_H

#include "runtime.h"

struct chan;

struct chan_watch {
    struct waiter waiter; /* its result: the events, as chan_watch returns them */
    struct chan *chan;
    void *name;
    short events;
};

/* Which of `events` (POLLIN, POLLOUT) would not wait now, plus POLLHUP after weir_chan_done;
 * POLLNVAL when the name is stale.  When that is nothing, 0, and the watch has been set up for
 * the calling task and is on the channel's list: it must be given to chan_unwatch.           */
short chan_watch(void *h, short events, struct chan_watch *watch);

/* Takes the watch off.  False: it was taken already, and watch->waiter is woken or will be; the
 * task must wait for that (waiter.woken) before the watch may go out of scope.               */
bool chan_unwatch(struct chan_watch *watch);

#endif
