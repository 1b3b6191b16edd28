/* reject.c -- saying no at once to clients for whom there is no descriptor.
 *
 * Usually they wait in the kernel's queue until there is one.  A server that would rather have
 * them go elsewhere keeps a spare descriptor: it is closed to make room for the client at the head
 * of the queue, who is reset, and opened again.  Accepting is one task's business at a time, so
 * the spare never has two users; another part of the program may still be faster to take its
 * number, and then the clients wait after all until a spare can be had again.                 */
#include <fcntl.h>

#include "listener.h"

static bool spare_open(struct listener *l)
{
    if (l->spare < 0)
        l->spare = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    return l->spare >= 0;
}

int listener_reject(weir_listener *name)
{
    struct listener *l;
    int error = handle_lock(name, HANDLE_LISTENER, SIDE_READ, (void **)&l);
    if (error)
        return error;
    l->rejects = true;
    spare_open(l);
    handle_unlock(name, SIDE_READ);
    return 0;
}

int reject_one(struct listener *l)
{
    struct op op = { .kind = OP_ACCEPT, .flags = OP_EAGER, .fd = l->fd };
    int fd = await(&op, AWAIT_NOW);
    if (fd == -EMFILE && spare_open(l)) {
        sock_close(l->spare);
        l->spare = -1;
        fd = await(&op, AWAIT_NOW);
    }
    if (fd >= 0) {
        sock_reset_on_close(fd);
        sock_close(fd);
    }
    spare_open(l);
    return fd >= 0 || fd == -EAGAIN ? 0 : fd;
}
