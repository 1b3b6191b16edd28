/* lane.c -- helper threads for calls that block.
 *
 * A lane is a queue of calls, which lie on their callers' stacks, and the threads that take from
 * it.  A thread is started when a call finds none idle and the limit allows, and ends after some
 * idle seconds or with the runtime.  A caller waits even if it is cancelled: the code it asked
 * for cannot be interrupted, and may use the caller's stack.
 *
 * The mutex is held for a few instructions and never while anybody waits for a task, so a worker
 * that takes it stands still for no longer than with a spin lock.                            */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "lane.h"
#include "runtime.h"

enum { IDLE_SECONDS = 2, LANES = 2 };

struct call {
    int (*fn)(void *);
    void *arg;
    int result;
    int saved_errno;
    struct spin lock;     /* guards `waiting` */
    struct list waiting;  /* the caller's waiter */
    struct list link;     /* in lane->calls */
};

struct helper {
    pthread_t thread;
    struct lane_state *lane;
    struct list link;     /* in lane->ended, once it has left */
};

struct lane_state {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct list calls, ended;
    int threads, idle, queued;
    bool stopping;
};

#define LANE_INIT(lane)                                                                            \
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER,                     \
      .calls = LIST_INIT((lane).calls), .ended = LIST_INIT((lane).ended) }

static struct lane_state lanes[LANES] = {
    [LANE_USER] = LANE_INIT(lanes[LANE_USER]),
    [LANE_DNS] = LANE_INIT(lanes[LANE_DNS]),
};

/* ---- a helper's life ---- */

static void call_run(struct call *c)
{
    errno = 0;
    c->result = c->fn(c->arg);
    c->saved_errno = errno;
    spin_lock(&c->lock);
    struct waiter *w = container_of(list_pop(&c->waiting), struct waiter, link);
    spin_unlock(&c->lock);
    waiter_wake(w, 0);
}

/* Waits with the mutex for a call; NULL when there was none for long or the lane stops. */
static struct call *call_take(struct lane_state *lane)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    lane->idle++;
    while (list_is_empty(&lane->calls) && !lane->stopping && !error)
        error = pthread_cond_clockwait(&lane->changed, &lane->mutex, CLOCK_MONOTONIC, &until);
    lane->idle--;
    struct list *link = list_pop(&lane->calls);
    if (!link)
        return NULL;
    lane->queued--;
    return container_of(link, struct call, link);
}

/* Joins those of `ended`, which have left their lane for good. */
static void helpers_join(struct list *ended)
{
    struct list *link;
    while ((link = list_pop(ended))) {
        struct helper *h = container_of(link, struct helper, link);
        pthread_join(h->thread, NULL);
        free(h);
    }
}

/* With the mutex, which it gives up.  Who leaves, joins those that left before. */
static void helper_leave(struct lane_state *lane, struct helper *self)
{
    struct list before = LIST_INIT(before);
    list_splice(&before, &lane->ended);
    list_push(&lane->ended, &self->link);
    lane->threads--;
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->mutex);
    helpers_join(&before);
}

static void *helper_main(void *arg)
{
    struct helper *self = arg;
    struct lane_state *lane = self->lane;
    struct call *c;
    pthread_setname_np(pthread_self(), lane == &lanes[LANE_DNS] ? "weir-dns" : "weir-blocking");
    pthread_mutex_lock(&lane->mutex);
    while ((c = call_take(lane))) {
        pthread_mutex_unlock(&lane->mutex);
        call_run(c);
        pthread_mutex_lock(&lane->mutex);
    }
    helper_leave(lane, self);
    return NULL;
}

/* With the mutex.  A helper inherits the mask, and no signal is its business. */
static int helper_start(struct lane_state *lane)
{
    sigset_t all, mask;
    struct helper *h = malloc(sizeof *h);
    if (!h)
        return -ENOMEM;
    *h = (struct helper){ .lane = lane };
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    int error = pthread_create(&h->thread, NULL, helper_main, h);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (error) {
        free(h);
        return -ENOMEM;
    }
    lane->threads++;
    return 0;
}

/* ---- calling ---- */

/* Queues the call and sees to it that a helper comes for it. */
static int call_queue(struct lane_state *lane, struct call *c, int threads_max)
{
    int error = 0;
    pthread_mutex_lock(&lane->mutex);
    if (lane->queued >= lane->idle && lane->threads < threads_max)
        error = helper_start(lane);
    if (lane->threads > 0) { /* else there is nobody to wait for */
        error = 0;
        list_push(&lane->calls, &c->link);
        lane->queued++;
        pthread_cond_signal(&lane->changed);
    }
    pthread_mutex_unlock(&lane->mutex);
    return error;
}

int lane_call(enum lane lane, int (*fn)(void *), void *arg, int *error)
{
    struct worker *self = worker_self();
    *error = 0;
    if (!self || !self->runtime || self->native)
        return fn(arg);
    struct call c = { .fn = fn, .arg = arg };
    struct waiter w;
    list_init(&c.waiting);
    waiter_init(&w, lane == LANE_DNS ? "the resolver" : "a blocking call", NULL);
    list_push(&c.waiting, &w.link);
    *error = call_queue(&lanes[lane], &c, self->runtime->config.blocking_threads);
    if (*error) {
        self->current->waiting_for = NULL;
        return -1;
    }
    waiter_await(&w, &c.lock, AWAIT_ALWAYS);
    errno = c.saved_errno;
    return c.result;
}

/* A call is not begun for a fiber that is cancelled already; once begun, it is waited for. */
int weir_blocking(int (*fn)(void *), void *arg)
{
    struct task *t = task_self();
    int error = t ? task_stop_reason(t, false) : -ENOMEM;
    if (error == -ECANCELED || error == -ENOMEM)
        return fail(error, "blocking", NULL, NULL, 0);
    int result = lane_call(LANE_USER, fn, arg, &error);
    return error ? fail(error, "blocking", "start a thread", NULL, 0) : result;
}

/* ---- the end ---- */

static void lane_stop(struct lane_state *lane)
{
    pthread_mutex_lock(&lane->mutex);
    lane->stopping = true;
    pthread_cond_broadcast(&lane->changed);
    while (lane->threads > 0)
        pthread_cond_wait(&lane->changed, &lane->mutex);
    helpers_join(&lane->ended);
    lane->stopping = false;
    pthread_mutex_unlock(&lane->mutex);
}

void lanes_stop(void)
{
    for (int i = 0; i < LANES; i++)
        lane_stop(&lanes[i]);
}
