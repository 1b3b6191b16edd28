/* watch.h -- the watch for workers that do not switch. */
#ifndef WEIR_WATCH_H
#define WEIR_WATCH_H

#include "runtime.h"

int watch_open(struct runtime *r); /* 0 or -ENOMEM */
void watch_close(void);
/* Looks at all workers, reports stalls; false when all of them have slept for long. */
bool watch_tick(void);
/* How long until the next look is due, in nanoseconds. */
int64_t watch_interval(void);
bool watch_all_asleep(void);

/* What the worker's current fiber is and what the thread `tid` does, read without its help and
 * without risk whatever it does meanwhile: `fiber "reader" (client) is in system call 35`. */
void stall_describe(const struct worker *w, int tid, char *buf, size_t size);

#endif
