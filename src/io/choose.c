/* choose.c -- the backends by name, and the one a machine gets when nothing is asked for.
 *
 * Whether io_uring is usable is asked once per process: kernels too old for it, container
 * profiles and the sysctl kernel.io_uring_disabled all answer when an instance is opened.     */
#include <pthread.h>
#include <string.h>

#include "backend.h"

static const struct io_backend *const backends[] = {
    &io_epoll, &io_poll, &io_select, &io_uring, &io_blocking,
};

static const struct io_backend *usable = &io_epoll;
static pthread_once_t probed = PTHREAD_ONCE_INIT;

const struct io_backend *io_backend_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(backends); i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

static void probe(void)
{
    struct list done = LIST_INIT(done);
    struct io *io;
    if (io_uring.open(&io, &done))
        return;
    io_uring.close(io);
    usable = &io_uring;
}

const struct io_backend *io_backend_auto(void)
{
    pthread_once(&probed, probe);
    return usable;
}
