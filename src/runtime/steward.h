/* steward.h -- the runtime's one extra thread: it takes signals and watches for stalls. */
#ifndef WEIR_STEWARD_H
#define WEIR_STEWARD_H

#include <signal.h>

#include "runtime.h"

/* Every worker, before it runs fibers: blocks all asynchronous signals in the calling thread.
 * The thread that calls weir_run passes `saved`, which keeps its mask; the others NULL.       */
void signals_block_in_worker(sigset_t *saved);

/* That thread, at the very end: its mask again.  Signals nobody took are delivered here. */
void signals_restore(const sigset_t *saved);

/* Starts the thread, in a thread that has called signals_block_in_worker: 0 or -errno. */
int steward_start(struct runtime *r);

/* Ends it.  Signals it holds for a weir_signal that never came are pending again after this. */
void steward_stop(struct runtime *r);

/* A worker, whenever it comes back from waiting in the backend, after it cleared `asleep` (both
 * with the order that the default of atomics gives): the watch for stalls may have ended while
 * everybody slept.  It costs a load. */
extern atomic_bool steward_rests;
void steward_rouse(void);

static inline void steward_notice(void)
{
    if (unlikely(atomic_load(&steward_rests)))
        steward_rouse();
}

#endif
