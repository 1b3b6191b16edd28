/* thread.c -- plain threads as tasks.
 *
 * A thread that calls weir without being a worker gets a private worker on first use: the
 * blocking backend and one task, itself.  It is taken down when the thread ends.              */
#include <pthread.h>
#include <unistd.h>

#include "runtime.h"

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void thread_leaves(void *arg)
{
    struct worker *w = arg;
    worker_here = w; /* closing groups may wait */
    task_end(&w->thread_task, 0);
    worker_close(w);
    worker_here = NULL;
    free(w->thread_task.error);
    free(w->thread_task.name);
    free(w);
}

void thread_detach(void)
{
    struct worker *w = worker_here;
    pthread_setspecific(at_exit, NULL);
    thread_leaves(w);
}

static void make_key(void)
{
    must(pthread_key_create(&at_exit, thread_leaves) == 0);
}

struct worker *worker_of_thread(void)
{
    pthread_once(&once, make_key);
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    int error = worker_open(w, &io_blocking);
    if (!error && pthread_setspecific(at_exit, w)) {
        worker_here = w; /* mail may have come already */
        worker_close(w);
        worker_here = NULL;
        error = -ENOMEM;
    }
    if (error) {
        free(w);
        errno = ENOMEM;
        return NULL;
    }
    struct task *t = &w->thread_task;
    task_init(t, w, NULL);
    w->task_count = 1;
    w->current = t;
    worker_here = w;
    return w;
}
