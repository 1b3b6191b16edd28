/* worker.c -- a worker: its ready tasks, its loop, its mailbox.
 *
 * A worker is a thread that runs fibers.  A task that has to wait switches straight to the next
 * ready one; the loop's own stack runs only when none is ready, or when its budget is spent, and
 * then looks at the kernel, the mailbox and the timers.  Everything here belongs to the worker's
 * thread, except the mailbox, which any thread may push to.  A plain thread has a worker too,
 * private to it: no fibers, the blocking backend, and task_park runs the loop in place.        */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "ready.h"
#include "steward.h"

enum {
    WORKERS_MAX = 1 << 15, /* workers and plain threads that use weir, at one time */
};

/* Of sleeping, until the stacks that are kept warm for the next burst are fewer. */
#define REST_AFTER (1 * WEIR_SEC)

_Thread_local struct worker *worker_here;

/* ---- the registry: who can be reached by number ---- */

static struct {
    pthread_mutex_t mutex;
    struct worker *at[WORKERS_MAX];
    int top;  /* no worker has this number or a higher one */
    int free; /* 1 + a number below which none is free */
} registry = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* 0, or -EAGAIN when all numbers are taken. */
static int registry_add(struct worker *w)
{
    pthread_mutex_lock(&registry.mutex);
    int id = registry.free ? registry.free : 1;
    while (id < WORKERS_MAX && registry.at[id])
        id++;
    registry.free = id;
    if (id < WORKERS_MAX) {
        registry.at[id] = w;
        registry.top = registry.top > id ? registry.top : id + 1;
        w->id = id;
    }
    pthread_mutex_unlock(&registry.mutex);
    return w->id ? 0 : -EAGAIN;
}

static void registry_remove(struct worker *w)
{
    pthread_mutex_lock(&registry.mutex);
    registry.at[w->id] = NULL;
    registry.free = registry.free < w->id ? registry.free : w->id;
    pthread_mutex_unlock(&registry.mutex);
}

bool worker_mail_to(int id, struct mail *m)
{
    pthread_mutex_lock(&registry.mutex);
    struct worker *w = registry.at[id];
    if (w)
        worker_mail(w, m);
    pthread_mutex_unlock(&registry.mutex);
    return w != NULL;
}

void workers_mail_all(struct mail *(*make)(void *), void *arg)
{
    pthread_mutex_lock(&registry.mutex);
    for (int id = 1; id < registry.top; id++) {
        if (!registry.at[id])
            continue;
        struct mail *m;
        while (!(m = make(arg)))
            sched_yield(); /* out of memory for a few bytes: somebody is about to free some */
        worker_mail(registry.at[id], m);
    }
    pthread_mutex_unlock(&registry.mutex);
}

void workers_visit(void (*visit)(struct worker *, void *), void *arg)
{
    pthread_mutex_lock(&registry.mutex);
    for (int id = 1; id < registry.top; id++)
        if (registry.at[id])
            visit(registry.at[id], arg);
    pthread_mutex_unlock(&registry.mutex);
}

/* ---- the mailbox ---- */

void worker_mail(struct worker *w, struct mail *m)
{
    atomic_fetch_add_explicit(&w->senders, 1, memory_order_relaxed);
    struct mail *first = atomic_load_explicit(&w->mailbox, memory_order_relaxed);
    do
        m->next = first;
    while (!atomic_compare_exchange_weak_explicit(&w->mailbox, &first, m, memory_order_release,
                                                  memory_order_relaxed));
    if (!first && w != worker_here)
        w->backend->wake(w->io);
    atomic_fetch_sub_explicit(&w->senders, 1, memory_order_release);
}

/* Mail is delivered in the order it was sent. */
static void mailbox_deliver(struct worker *w)
{
    struct mail *newest = atomic_exchange_explicit(&w->mailbox, NULL, memory_order_acquire);
    struct mail *oldest = NULL;
    while (newest) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct mail *next = oldest->next;
        oldest->deliver(oldest);
        oldest = next;
    }
}

/* ---- the ready tasks ---- */

void task_ready(struct task *t)
{
    ready(t->worker, t);
}

/* ---- one look at the outside ---- */

static void done_deliver(struct worker *w)
{
    struct list *link;
    while ((link = list_pop(&w->done))) {
        struct op *op = container_of(link, struct op, link);
        if (unlikely(op->flags & OP_MAIL)) {
            struct mail *m = op->waiter;
            m->deliver(m);
        } else {
            task_heard(w, op->waiter);
        }
    }
}

static void timers_deliver(struct worker *w)
{
    struct timer *timer;
    while ((timer = timers_pop(&w->timers, w->now)))
        ready(w, container_of(timer, struct task, timer));
}

/* A burst of fibers leaves warm stacks behind, a page and more each. */
static bool has_spare_stacks(const struct worker *w)
{
    for (int i = 0; i < STACK_CLASSES; i++)
        if (w->pools[i].count > STACK_POOL_REST)
            return true;
    return false;
}

static void spare_stacks_go(struct worker *w)
{
    for (int i = 0; i < STACK_CLASSES; i++)
        stack_pool_rest(&w->pools[i]);
}

static void look(struct worker *w, bool may_sleep)
{
    bool sleeps = may_sleep && list_is_empty(&w->done) &&
                  !atomic_load_explicit(&w->mailbox, memory_order_relaxed);
    weir_time until = sleeps ? timers_next(&w->timers) : TIME_PAST;
    weir_time rest = sleeps && has_spare_stacks(w) ? time_add(w->now, REST_AFTER) : TIME_NEVER;
    until = time_min(until, rest);
    if (sleeps)
        atomic_store_explicit(&w->asleep, 1, memory_order_relaxed);
    w->backend->wait(w->io, until);
    if (sleeps) {
        atomic_store(&w->asleep, 0);
        if (w->runtime)
            steward_notice();
    }
    w->now = w->backend->now(w->io);
    if (unlikely(w->now >= rest))
        spare_stacks_go(w);
    done_deliver(w);
    if (atomic_load_explicit(&w->mailbox, memory_order_relaxed))
        mailbox_deliver(w);
    if (w->timers.count)
        timers_deliver(w);
}

/* ---- a fiber's task lies at the top of its own stack ---- */

#define TASK_ROOM ((sizeof(struct task) + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1))

const struct task *task_at_top(const void *top)
{
    return (const struct task *)(const void *)((const char *)top - TASK_ROOM);
}

static char *task_top(struct task *t)
{
    return (char *)t + TASK_ROOM;
}

/* ---- switching ---- */

/* Returns a dead fiber's stack, once somebody else's runs. */
void worker_bury(struct worker *w)
{
    struct task *t = w->dead;
    w->dead = NULL;
    fiber_context_destroy(&t->context);
    stack_give(t->stacks, task_top(t));
}

static void thread_park(struct worker *w, struct task *t)
{
    while (!t->queued)
        look(w, true);
    t->queued = false;
}

/* In weir_native only a wake that is on its way is waited for, and nobody else may run: the loop's
 * stack is in use.  Its callers ask again whether it has come. */
void task_park(struct task *t)
{
    if (unlikely(!t->is_fiber))
        thread_park(t->worker, t);
    else if (likely(!t->worker->native))
        switch_to_next(t->worker, t);
    else
        look(t->worker, true);
}

/* A plain thread lets nobody else run, but hears what has come for it. */
void task_yield(struct task *t)
{
    if (unlikely(!t->is_fiber)) {
        look(t->worker, false);
        t->worker->streak = 0;
        return;
    }
    if (unlikely(t->worker->native)) { /* on the loop's own stack, which must stay as it is */
        t->worker->streak = 0;
        return;
    }
    if (likely(!t->queued))
        ready_push(t->worker, t);
    switch_to_next(t->worker, t);
}

void worker_loop(struct worker *w)
{
    while (w->task_count || !atomic_load_explicit(&w->ending, memory_order_acquire)) {
        look(w, !w->ready_head);
        w->budget = BUDGET;
        atomic_store_explicit(&w->turns, w->turns + 1, memory_order_relaxed);
        struct task *t = ready_pop(w);
        if (!t)
            continue;
        w->current = t;
        fetch_ahead(t);
        fiber_switch(&w->loop, &t->context);
        arrive(w);
    }
}

/* ---- fibers ---- */

static void fiber_main(void *arg)
{
    struct task *t = arg;
    struct worker *w = t->worker;
    arrive(w);
    task_end(t, t->fn(t->arg));
    w->dead = t;
    w->task_count--;
    list_remove(&t->peers);
    fiber_switch_last(&t->context, leave_for_next(w));
}

int stack_class(const struct runtime *r, size_t size)
{
    size_t class_size = r->config.stack_size;
    int class = 0;
    while (class_size < size) {
        class_size <<= STACK_CLASS_SHIFT;
        if (++class == STACK_CLASSES || class_size > STACK_SIZE_MAX)
            return -ENOMEM;
    }
    return class;
}

/* The pool of the smallest class that has `size` bytes, opened on first use. */
static struct stack_pool *pool_for(struct worker *w, size_t size)
{
    int class = stack_class(w->runtime, size);
    if (unlikely(class < 0))
        return NULL;
    struct stack_pool *pool = &w->pools[class];
    if (unlikely(!pool->arena)) {
        struct stack_arena *arena = runtime_arena(w->runtime, class);
        if (!arena)
            return NULL;
        stack_pool_init(pool, arena);
    }
    return pool;
}

/* Field by field: clearing the whole struct costs more than all the rest of a start. */
void task_init(struct task *t, struct worker *w, int (*fn)(void *))
{
    t->worker = w;
    t->stacks = NULL;
    t->queued = t->is_fiber = t->is_cold = false;
    t->shield = t->interrupt = 0;
    atomic_store_explicit(&t->stops, 0, memory_order_relaxed);
    t->deadline = TIME_NEVER;
    t->timer.slot = 0;
    t->timer.fired = false;
    t->waiting_op = NULL;
    t->waiting_for = NULL;
    t->warm = t->warm_name = t;
    t->group = NULL;
    list_init(&t->member);
    list_init(&t->opened);
    t->has_opened = false;
    list_push(&w->tasks, &t->peers);
    atomic_store_explicit(&t->stop_mailed, false, memory_order_relaxed);
    t->fn = fn;
    t->name = NULL;
    t->error = NULL;
}

struct task *fiber_new(struct worker *w, int (*fn)(void *), const void *arg, size_t arg_len,
                       size_t stack_size)
{
    struct stack_pool *pool = pool_for(w, stack_size);
    uint32_t timers = w->task_count + 2;
    bool room = timers <= w->timers.size || !timers_reserve(&w->timers, timers);
    if (unlikely(!pool || !room))
        return NULL;
    char *top = stack_take(pool);
    if (unlikely(!top))
        return NULL;
    struct task *t = (struct task *)(void *)(top - TASK_ROOM);
    char *high = (char *)t - ((arg_len + 15) & ~(size_t)15);
    task_init(t, w, fn);
    t->stacks = pool;
    t->is_fiber = true;
    t->arg = arg_len ? memcpy(high, arg, arg_len) : (void *)(uintptr_t)arg;
    w->task_count++;
    fiber_context_init(&t->context, stack_low(pool, top), high, fiber_main, t);
    task_ready(t);
    return t;
}

/* ---- birth and death of workers ---- */

int worker_open(struct worker *w, const struct io_backend *backend)
{
    w->errno_at = &errno;
    list_init(&w->done);
    list_init(&w->tasks);
    w->backend = backend;
    w->tid = gettid();
    int error = timers_reserve(&w->timers, 1);
    if (error)
        return error;
    error = backend->open(&w->io, &w->done);
    if (error) {
        free(w->timers.heap);
        return error;
    }
    w->now = backend->now(w->io);
    error = registry_add(w);
    if (error) {
        backend->close(w->io);
        free(w->timers.heap);
    }
    return error;
}

void worker_close(struct worker *w)
{
    registry_remove(w);
    while (atomic_load_explicit(&w->senders, memory_order_acquire))
        sched_yield(); /* their mail has arrived, but they are about to touch the backend */
    mailbox_deliver(w);
    w->backend->close(w->io);
    for (int class = 0; class < STACK_CLASSES; class++)
        if (w->pools[class].arena)
            stack_pool_drain(&w->pools[class]);
    free(w->timers.heap);
}
