/* listener.h -- what a listening socket is made of. */
#ifndef WEIR_LISTENER_H
#define WEIR_LISTENER_H

#include "../runtime/handle.h"
#include "poll.h"
#include "sock.h"

struct listener {
    int fd;
    int family;
    _Atomic int64_t read_stall, write_stall; /* what its connections start with */
    struct watch watch;
    char *path; /* to unlink at the end, by the process that made it; or NULL */
    uint64_t device, inode;
    pid_t owner;
    bool blocking; /* weir_detach gives it back in blocking mode */
    bool rejects;  /* clients for whom there is no descriptor are reset at once */
    int spare;     /* ... with the help of this one; -1: none; the accepter's */
};

/* A listener of this listening descriptor: 0, or -errno and the descriptor is the caller's. */
int listener_new(weir_listener **out, struct listener **object, int fd, int family);

/* From now on a client for whom there is no descriptor is reset instead of waiting. */
int listener_reject(weir_listener *name);
/* For who holds the read side and found no descriptor: resets the client at the head of the queue.
 * 0, or why that cannot be done. */
int reject_one(struct listener *l);

#endif
