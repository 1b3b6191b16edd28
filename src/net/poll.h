/* poll.h -- how a connection or listener wakes those who poll it when it is closed. */
#ifndef WEIR_POLL_H
#define WEIR_POLL_H

#include "../runtime/runtime.h"

struct watch {
    struct spin lock;
    struct list pollers;
};

void watch_init(struct watch *w);
/* The object is being closed: everybody who polls it returns. */
void watch_end(struct watch *w);

#endif
