/* lane.h -- helper threads for calls that block.
 *
 * Each lane has its own threads and its own limit, so that slow name servers cannot keep the
 * program's own blocking calls waiting, nor the other way round.                             */
#ifndef WEIR_LANE_H
#define WEIR_LANE_H

enum lane { LANE_USER, LANE_DNS };

/* Runs fn(arg) on a thread of the lane and waits for it, whatever happens to the caller
 * meanwhile: `arg` may lie on the caller's stack.  Returns what fn returned, with errno as fn
 * left it.  At the lane's limit callers queue, first come, first served.  When no thread can be
 * had, *error is -ENOMEM and fn did not run; else it is 0.  A plain thread runs fn in place. */
int lane_call(enum lane lane, int (*fn)(void *), void *arg, int *error);

/* At the end of weir_run, when nobody calls any more: ends the threads. */
void lanes_stop(void);

#endif
