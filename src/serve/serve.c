/* serve.c -- weir_serve: which model, and what all models have in common.
 *
 * A conversation is the same everywhere: on_open, the handler, as often as it answers WEIR_PARK,
 * on_close, and the end that the handler's result asks for.  WEIR_DONE is a close in good order;
 * anything negative is a reset, so that a peer never takes half an answer for all of it.      */
#include <signal.h>

#include "../net/listener.h"
#include "serve.h"

#define DRAIN_DEFAULT (10 * WEIR_SEC)
#define LATE_PATIENCE (1 * WEIR_SEC)

/* ---- bells ---- */

void bell_init(struct bell *b)
{
    *b = (struct bell){ 0 };
    list_init(&b->waiters);
}

int bell_wait(struct bell *b, const char *what, unsigned how)
{
    struct waiter w;
    waiter_init(&w, what, NULL);
    list_push(&b->waiters, &w.link);
    return waiter_wait(&w, &b->lock, how);
}

int bell_wait_until(struct bell *b, const char *what, unsigned how, weir_time until)
{
    struct task *t = task_self();
    weir_time outer = t->deadline;
    t->deadline = time_min(outer, until);
    int error = bell_wait(b, what, how);
    t->deadline = outer;
    return error == -ETIME && until <= outer ? 0 : error;
}

void bell_ring(struct bell *b)
{
    struct list *link;
    spin_lock(&b->lock);
    while ((link = list_pop(&b->waiters)))
        waiter_wake(container_of(link, struct waiter, link), 0);
    spin_unlock(&b->lock);
}

/* ---- being told to stop ---- */

/* Who is to outlive the terminal was started to ignore that it hangs up: nohup(1). */
int serve_signals(int signals[SERVE_SIGNALS])
{
    struct sigaction hangup;
    int count = 0;
    signals[count++] = SIGTERM;
    signals[count++] = SIGINT;
    if (sigaction(SIGHUP, NULL, &hangup) || hangup.sa_handler != SIG_IGN)
        signals[count++] = SIGHUP;
    return count;
}

/* ---- a conversation ---- */

void serve_settle(struct server *s, weir_conn *c, int result)
{
    if (result == WEIR_KEEP)
        return;
    if (s->opts.on_close)
        s->opts.on_close(c, s->arg);
    if (result == WEIR_DONE)
        weir_close(c);
    else
        weir_abort(c);
}

void serve_listen_late(weir_conn *c)
{
    const void *bytes;
    WEIR_DEADLINE(LATE_PATIENCE);
    weir_peek(c, &bytes, 1);
}

/* Where there is no fiber to give up, a parked connection waits in its task. */
int serve_through(struct server *s, weir_conn *c, bool late)
{
    struct task *t = task_self();
    weir_time deadline = t->deadline;
    int result;
    if (s->opts.on_open)
        s->opts.on_open(c, s->arg);
    if (late)
        serve_listen_late(c);
    do {
        result = s->handler(c, s->arg);
        t->deadline = deadline;
    } while (result == WEIR_PARK && park_task(c) > 0);
    if (result == WEIR_PARK)
        result = WEIR_DONE;
    serve_settle(s, c, result);
    return result;
}

/* ---- how many ---- */

static int reject_next(struct server *s)
{
    weir_conn *c = weir_accept(s->listener, NULL);
    if (!c)
        return -errno;
    weir_abort(c);
    return 0;
}

/* The flag is set before counting again, and those who leave are counted out before they look at
 * it: either this task sees the room or they see the flag. */
static int wait_for_room(struct server *s, unsigned (*count)(const struct server *), unsigned how)
{
    atomic_store(&s->waits_for_room, true);
    spin_lock(&s->room.lock);
    if (count(s) >= s->limit)
        return bell_wait(&s->room, "room for another connection", how);
    spin_unlock(&s->room.lock);
    return 0;
}

static int make_room(struct server *s, unsigned (*count)(const struct server *), unsigned how)
{
    bool rejects = s->opts.fast_reject && how == AWAIT_DRAINABLE;
    int error = 0;
    while (unlikely(count(s) >= s->limit) && !error)
        error = rejects ? reject_next(s) : wait_for_room(s, count, how);
    if (unlikely(atomic_load_explicit(&s->waits_for_room, memory_order_relaxed)))
        atomic_store(&s->waits_for_room, false);
    return error;
}

int serve_make_room(struct server *s, unsigned (*count)(const struct server *))
{
    return make_room(s, count, AWAIT_DRAINABLE);
}

void serve_left(struct server *s)
{
    if (unlikely(atomic_load(&s->waits_for_room)))
        bell_ring(&s->room);
}

/* ---- accepting ---- */

weir_conn *serve_accept_late(struct server *s, unsigned (*count)(const struct server *))
{
    if (weir_cancelled() == ECANCELED || make_room(s, count, 0))
        return NULL;
    WEIR_SHIELD(0);
    return weir_accept(s->listener, NULL);
}

bool serve_retries(int error)
{
    if (error != -ENOMEM && error != -ENOBUFS && error != -ENFILE && error != -EMFILE)
        return false;
    return !await_time(weir_after(RETRY_DELAY));
}

/* ---- the choice ---- */

static int refuse(const char *text)
{
    return fail_text(-EINVAL, "serve", "configure", "%s", text);
}

static void count_worker(struct worker *w, void *arg)
{
    (void)w;
    ++*(int *)arg;
}

/* What another thread holds locked while this one forks, nobody unlocks in the child. */
static bool is_alone(void)
{
    int workers = 0;
    workers_visit(count_worker, &workers);
    return workers <= 1 && !atomic_load(&runtime_now);
}

static int check_model(weir_model model)
{
    bool in_fiber = weir_in_fiber();
    switch (model) {
    case WEIR_FIBER:
        if (!in_fiber)
            return refuse("model WEIR_FIBER needs the workers of weir_run: call weir_serve inside "
                          "it, or choose another model");
        return 0;
    case WEIR_ITERATIVE:
        return 0;
    case WEIR_THREAD:
        if (in_fiber)
            return refuse("model WEIR_THREAD is for plain threads: inside weir_run use WEIR_FIBER");
        return 0;
    case WEIR_PROCESS:
    case WEIR_PREFORK:
        if (in_fiber)
            return refuse("a process that runs workers cannot fork: call weir_serve outside "
                          "weir_run, or use WEIR_FIBER");
        if (!is_alone())
            return refuse("other threads of this process use weir, so it cannot fork: serve from "
                          "the only one, or use WEIR_THREAD");
        return 0;
    }
    return refuse("the model is not one of weir_model");
}

static int check(weir_listener *l, int (*handler)(weir_conn *, void *), const weir_serve_opts *o)
{
    if (!task_self())
        return fail(-ENOMEM, "serve", "configure", NULL, 0);
    if (!handle_enter(l, HANDLE_LISTENER))
        return fail(-EBADF, "serve", "configure", NULL, 0);
    handle_leave(l);
    if (!handler)
        return refuse("there is no handler");
    if (o->max_conns < 0)
        return refuse("max_conns cannot be negative");
    return check_model(o->model);
}

/* Without weir_run nobody counts descriptors: a thread needs two for its connection, and of a
 * process its parent keeps one.  Workers in stock are as many as was said. */
static unsigned limit_of(const weir_serve_opts *o)
{
    unsigned limit = o->max_conns ? (unsigned)o->max_conns : UINT32_MAX;
    unsigned most = UINT32_MAX;
    if (o->model == WEIR_THREAD)
        most = (unsigned)runtime_fd_limit() / 2;
    else if (o->model == WEIR_PROCESS)
        most = (unsigned)runtime_fd_limit();
    return limit < most ? limit : most;
}

static int serve(struct server *s)
{
    switch (s->opts.model) {
    case WEIR_FIBER:
        return serve_fibers(s);
    case WEIR_ITERATIVE:
        return weir_in_fiber() ? serve_fibers(s) : serve_iterative(s, -1);
    case WEIR_THREAD:
        return serve_threads(s);
    case WEIR_PROCESS:
        return serve_processes(s);
    case WEIR_PREFORK:
        return serve_prefork(s);
    }
    return -EINVAL;
}

int weir_serve(weir_listener *l, int (*handler)(weir_conn *, void *), void *arg,
               const weir_serve_opts *o)
{
    static const weir_serve_opts all_zero;
    o = o ? o : &all_zero;
    if (check(l, handler, o))
        return -1;
    struct server s = { .listener = l, .handler = handler, .arg = arg, .opts = *o };
    s.limit = limit_of(o);
    s.opts.drain = o->drain < 0 ? 0 : o->drain ? o->drain : DRAIN_DEFAULT;
    s.serial = o->model == WEIR_ITERATIVE;
    bell_init(&s.changed);
    bell_init(&s.room);
    struct task *t = task_self();
    weir_time since = weir_now();
    if (o->fast_reject)
        listener_reject(l);
    int error = group_new(&s.group, t->group, NULL, NULL);
    if (!error) {
        error = serve(&s);
        group_free(s.group);
    }
    weir_close(l);
    return error ? fail(error, "serve", "serve", NULL, since) : 0;
}
