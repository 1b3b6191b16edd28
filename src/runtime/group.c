/* group.c -- scopes that own tasks.
 *
 * A group is a list of members (fibers of any worker, or threads) under one spin lock, and a
 * node in a tree: stopping a group reaches its members and the groups opened beneath it.  A
 * member leaves as the last thing it does, so a group is never freed under one; a task that ends
 * closes the groups it opened, which cancels and awaits what they still hold.                 */
#include <pthread.h>
#include <string.h>

#include "group.h"

static int group_destroy(void *object);
static void group_off_opened(struct group *g);
static void group_evict(void *object);
/* Who locks: a thread's worker, or anybody else. */
static inline const void *locker(void)
{
    static const char nobody;
    return likely(worker_here) ? (const void *)worker_here : &nobody;
}

static inline bool group_lock(struct group *g)
{
    return bias_lock(&g->lock, locker());
}

static inline void group_unlock(struct group *g, bool owner)
{
    bias_unlock(&g->lock, owner);
}

const struct handle_type group_type = { HANDLE_GROUP, group_evict, group_destroy };

/* The memory of groups is used for groups only and never returned, so that a stale name can be
 * told from a live one by locking the group and comparing. */
static struct {
    struct spin lock;
    struct list groups; /* by sibling */
} unused;

static struct group *group_take(void)
{
    spin_lock(&unused.lock);
    struct list *link = unused.groups.next ? list_pop(&unused.groups) : NULL;
    spin_unlock(&unused.lock);
    return link ? container_of(link, struct group, sibling) : calloc(1, sizeof(struct group));
}

static void group_give(struct group *g)
{
    spin_lock(&unused.lock);
    if (!unused.groups.next)
        list_init(&unused.groups);
    list_push(&unused.groups, &g->sibling);
    spin_unlock(&unused.lock);
}

int group_new(struct group **out, struct group *parent, struct worker *home,
              const weir_group_opts *o)
{
    struct group *g = group_take();
    if (!g)
        return -ENOMEM;
    g->opts = o ? *o : (weir_group_opts){ 0 };
    g->stops = 0;
    g->result = 0;
    g->parent = parent;
    g->home = home;
    spin_lock(&g->lock.spin);
    bias_give(&g->lock, home ? (const void *)home : NULL);
    spin_unlock(&g->lock.spin);
    list_init(&g->members);
    list_init(&g->children);
    list_init(&g->sibling);
    list_init(&g->opened);
    list_init(&g->joiners);
    list_init(&g->starters);
    if (parent) {
        bool owner = group_lock(parent);
        list_push(&parent->children, &g->sibling);
        g->stops = parent->stops;
        group_unlock(parent, owner);
    }
    *out = g;
    return 0;
}

void group_free(struct group *g)
{
    must(g->count == 0 && list_is_empty(&g->children));
    if (g->parent) {
        bool owner = group_lock(g->parent);
        list_remove(&g->sibling);
        group_unlock(g->parent, owner);
    }
    group_off_opened(g); /* from here on its opener may end, and the parent with it */
    group_give(g);
}

static void wake_first(struct list *waiters)
{
    struct list *link = list_pop(waiters);
    if (link)
        waiter_wake(container_of(link, struct waiter, link), 0);
}

/* Locks are taken from parent to child. */
void group_stop(struct group *g, unsigned stops)
{
    bool owner = group_lock(g);
    g->stops |= stops;
    list_for_each(link, &g->members)
        task_stop(container_of(link, struct task, member), stops);
    list_for_each(link, &g->children)
        group_stop(container_of(link, struct group, sibling), stops);
    while ((stops & STOP_CANCEL) && !list_is_empty(&g->starters))
        wake_first(&g->starters); /* they find it cancelled */
    group_unlock(g, owner);
}

/* ---- members come and go ---- */

/* Counts a member in, under the lock: 0, -ECANCELED, or -EAGAIN at the limit. */
static int group_admit(struct group *g)
{
    if (unlikely(g->stops & STOP_CANCEL))
        return -ECANCELED;
    if (unlikely(g->opts.max_fibers > 0 && g->count >= (unsigned)g->opts.max_fibers))
        return -EAGAIN;
    g->count++;
    return 0;
}

static void group_list(struct group *g, struct task *t)
{
    t->group = g;
    list_push(&g->members, &t->member);
    atomic_store_explicit(&t->stops, g->stops, memory_order_relaxed);
}

static void group_enter(struct group *g, struct task *t)
{
    bool owner = group_lock(g);
    group_list(g, t);
    group_unlock(g, owner);
}

/* The group may be reused before a joiner runs, so the result goes with the wake. */
static void wake_joiners(struct group *g)
{
    struct list *link;
    while ((link = list_pop(&g->joiners))) {
        struct waiter *w = container_of(link, struct waiter, link);
        *(int *)w->item = g->result;
        waiter_wake(w, 0);
    }
}

/* After this the group may be gone. */
static void group_leave(struct group *g, struct task *t, int result)
{
    bool owner = group_lock(g);
    bool fails = result && !g->result;
    if (fails)
        g->result = result;
    if (t)
        list_remove(&t->member);
    if (unlikely(fails && g->opts.fail_fast)) {
        group_unlock(g, owner);
        group_stop(g, STOP_CANCEL); /* we still count, so the group lives */
        owner = group_lock(g);
    }
    g->count--;
    if (!list_is_empty(&g->starters))
        wake_first(&g->starters);
    if (g->count == 0)
        wake_joiners(g);
    group_unlock(g, owner);
}

int group_join(struct group *g, void *name, unsigned how, int *result)
{
    struct waiter w;
    bool owner = group_lock(g);
    int error = g->name == name ? 0 : -EBADF;
    if (error || g->count == 0) {
        *result = g->result;
        group_unlock(g, owner);
        return error;
    }
    waiter_init(&w, "its group to end", result);
    list_push(&g->joiners, &w.link);
    group_unlock(g, owner);
    return waiter_await(&w, &g->lock.spin, how);
}

/* ---- the end of a task ---- */

/* Groups on their openers' lists, and openers that wait for somebody else to finish closing one. */
static struct {
    struct spin lock;
    struct list waiters; /* struct waiter, for the group in `item` */
} opened = { .waiters = LIST_INIT(opened.waiters) };

void group_opened(struct group *g, struct task *t, void *name)
{
    spin_lock(&opened.lock);
    g->opened_as = name;
    list_push(&t->opened, &g->opened);
    spin_unlock(&opened.lock);
    t->has_opened = true;
}

static void group_off_opened(struct group *g)
{
    spin_lock(&opened.lock);
    list_remove(&g->opened);
    list_for_each(link, &opened.waiters) {
        struct waiter *w = container_of(link, struct waiter, link);
        if (w->item == g) {
            list_remove(link);
            waiter_wake(w, 0);
        }
    }
    spin_unlock(&opened.lock);
}

/* What a task opened may be closed by another, and is then waited for. */
static void close_opened_groups(struct task *t)
{
    struct waiter w;
    spin_lock(&opened.lock);
    while (!list_is_empty(&t->opened)) {
        struct group *g = container_of(t->opened.next, struct group, opened);
        void *name = g->opened_as;
        spin_unlock(&opened.lock);
        int error = handle_close(name);
        spin_lock(&opened.lock);
        if (error && t->opened.next == &g->opened) {
            waiter_init(&w, "its group to be closed", g);
            list_push(&opened.waiters, &w.link);
            waiter_wait(&w, &opened.lock, AWAIT_ALWAYS);
            spin_lock(&opened.lock);
        }
    }
    spin_unlock(&opened.lock);
}

void task_end(struct task *t, int result)
{
    if (unlikely(t->has_opened))
        close_opened_groups(t);
    if (likely(t->group != NULL))
        group_leave(t->group, t, result);
    t->group = NULL;
    while (t->queued || atomic_load_explicit(&t->stop_mailed, memory_order_acquire))
        task_park(t);
    if (unlikely(t->is_fiber && (t->error || t->name))) {
        free(t->error);
        free(t->name);
    }
}

void task_stops_reset(struct task *t)
{
    struct group *g = t->group;
    if (!g) {
        atomic_store_explicit(&t->stops, 0, memory_order_relaxed);
        return;
    }
    bool owner = group_lock(g);
    atomic_store_explicit(&t->stops, g->stops, memory_order_relaxed);
    group_unlock(g, owner);
}

/* ---- starting members ---- */

struct start {
    struct mail mail;
    struct group *group;
    int (*fn)(void *);
    struct worker *worker;
    size_t arg_len, stack_size;
    char *name;
    union {
        const void *pointer;
        char bytes[1];
    } arg;
};

static const void *start_arg(const struct start *s)
{
    return s->arg_len ? s->arg.bytes : s->arg.pointer;
}

static int start_here(struct worker *w, struct group *g, int (*fn)(void *), const void *arg,
                      size_t arg_len, size_t stack_size, char *name)
{
    struct task *t = fiber_new(w, fn, arg, arg_len, stack_size);
    if (unlikely(!t))
        return -ENOMEM;
    t->name = name;
    group_enter(g, t);
    return 0;
}

/* On the chosen worker.  Out of memory there: the group sees a member that failed at once. */
static void start_delivered(struct mail *m)
{
    struct start *s = container_of(m, struct start, mail);
    if (start_here(s->worker, s->group, s->fn, start_arg(s), s->arg_len, s->stack_size, s->name)) {
        free(s->name);
        group_leave(s->group, NULL, ENOMEM);
    }
    free(s);
}

static struct start *start_new(struct group *g, int (*fn)(void *), const void *arg,
                               size_t arg_len, char *name)
{
    size_t size;
    struct start *s = NULL;
    if (!__builtin_add_overflow(sizeof *s, arg_len, &size))
        s = calloc(1, size);
    if (!s)
        return NULL;
    s->group = g;
    s->fn = fn;
    s->arg_len = arg_len;
    s->name = name;
    if (arg_len)
        memcpy(s->arg.bytes, arg, arg_len);
    else
        s->arg.pointer = arg;
    return s;
}

static int start_there(struct worker *w, struct group *g, int (*fn)(void *), const void *arg,
                       size_t arg_len, size_t stack_size, char *name)
{
    struct start *s = start_new(g, fn, arg, arg_len, name);
    if (!s)
        return -ENOMEM;
    s->worker = w;
    s->stack_size = stack_size;
    s->mail.deliver = start_delivered;
    worker_mail(w, &s->mail);
    return 0;
}

static void *thread_main(void *arg)
{
    struct start *s = arg;
    struct worker *w = worker_self();
    if (!w) {
        group_leave(s->group, NULL, ENOMEM);
        free(s->name);
        free(s);
        return NULL;
    }
    struct task *t = w->current;
    t->name = s->name;
    group_enter(s->group, t);
    int result = s->fn(s->arg_len ? s->arg.bytes : (void *)(uintptr_t)s->arg.pointer);
    if (t->has_opened)
        close_opened_groups(t);
    bool owner = group_lock(s->group);
    list_remove(&t->member);
    t->group = NULL;
    group_unlock(s->group, owner);
    thread_detach(); /* nothing of the thread is left when its group learns that it ended */
    group_leave(s->group, NULL, result);
    free(s);
    return NULL;
}

static int start_thread(struct group *g, int (*fn)(void *), const void *arg, size_t arg_len,
                        char *name)
{
    struct start *s = start_new(g, fn, arg, arg_len, name);
    if (!s)
        return -ENOMEM;
    pthread_t thread;
    int error = pthread_create(&thread, NULL, thread_main, s);
    if (error)
        free(s);
    else
        pthread_detach(thread);
    return -error;
}

/* Where the fiber goes: a worker, NULL for a thread of its own, or -EINVAL.  With the lock. */
static int choose_worker(const struct group *g, const weir_fiber_opts *o, struct worker **target)
{
    struct worker *self = worker_self();
    *target = self->runtime ? self : g->home;
    if (!o || !o->worker || !*target)
        return 0;
    struct runtime *r = (*target)->runtime;
    if (o->worker < 0 || o->worker > r->worker_count)
        return -EINVAL;
    *target = &r->workers[o->worker - 1];
    return 0;
}

/* An argument lies on the new stack.  One that would take more than an eighth of it gets room of
 * its own besides.  Looked at here because the chosen worker has nobody to tell any more. */
static int make_stack_fit(const struct worker *target, size_t arg_len, size_t *size)
{
    size_t usual = target->runtime->config.stack_size;
    if (likely(arg_len <= usual / 8 && *size <= usual))
        return 0;
    if (arg_len > usual / 8 &&
        __builtin_add_overflow(*size > usual ? *size : usual, arg_len, size))
        return -ENOMEM;
    int class = stack_class(target->runtime, *size);
    return class < 0 ? class : 0;
}

static int start_elsewhere(struct worker *target, struct group *g, int (*fn)(void *),
                           const void *arg, size_t arg_len, size_t stack_size, char *name)
{
    int error = target ? start_there(target, g, fn, arg, arg_len, stack_size, name)
                       : start_thread(g, fn, arg, arg_len, name);
    if (error)
        group_leave(g, NULL, 0);
    return error;
}

/* error 0: under the group's lock, and counted in. */
struct reserved {
    int error;
    bool owner; /* of the lock */
};

/* Under the lock, of somebody who was not admitted at once. */
static __attribute__((noinline)) struct reserved reserve_slowly(struct group *g, void *name,
                                                                bool owner)
{
    struct waiter w;
    for (;;) {
        int error = g->name == name ? group_admit(g) : -EBADF;
        if (!error)
            return (struct reserved){ 0, owner };
        bool waits = error == -EAGAIN;
        if (waits) {
            waiter_init(&w, "room in its group", NULL);
            list_push(&g->starters, &w.link);
        }
        group_unlock(g, owner);
        if (!waits || (error = waiter_await(&w, &g->lock.spin, 0)))
            return (struct reserved){ error, false };
        owner = group_lock(g);
    }
}

static struct reserved group_reserve(struct group *g, void *name)
{
    bool owner = group_lock(g);
    if (likely(g->name == name && !group_admit(g)))
        return (struct reserved){ 0, owner };
    return reserve_slowly(g, name, owner);
}

/* Under the same lock that counted it in: nobody has begun to wait for it. */
static void group_unreserve(struct group *g)
{
    g->count--;
    if (!list_is_empty(&g->starters))
        wake_first(&g->starters);
}

static int start_member(struct worker *target, struct group *g, int (*fn)(void *),
                        const void *arg, size_t arg_len, size_t stack_size, char *name)
{
    struct task *t = fiber_new(target, fn, arg, arg_len, stack_size);
    if (unlikely(!t))
        return -ENOMEM;
    t->name = name;
    group_list(g, t);
    return 0;
}

int group_spawn(struct group *g, void *group_name, int (*fn)(void *), const void *arg,
                size_t arg_len, const weir_fiber_opts *o)
{
    struct worker *target;
    char *name = NULL;
    size_t stack_size = o ? o->stack_size : 0;
    if (unlikely(o && o->name && !(name = strdup(o->name))))
        return -ENOMEM;
    struct reserved r = group_reserve(g, group_name);
    if (unlikely(r.error)) {
        free(name);
        return r.error;
    }
    int error = choose_worker(g, o, &target);
    if (unlikely(arg_len | stack_size) && !error && target)
        error = make_stack_fit(target, arg_len, &stack_size);
    bool is_here = likely(!error) && likely(target && target == worker_here);
    if (likely(is_here))
        error = start_member(target, g, fn, arg, arg_len, stack_size, name);
    if (unlikely(error))
        group_unreserve(g);
    group_unlock(g, r.owner);
    if (unlikely(!error && !is_here))
        error = start_elsewhere(target, g, fn, arg, arg_len, stack_size, name);
    if (unlikely(error))
        free(name);
    return error;
}

/* ---- closing ---- */

static void group_evict(void *object)
{
    struct group *g = object;
    int result;
    group_stop(g, STOP_CANCEL);
    group_join(g, g->name, AWAIT_ALWAYS, &result);
}

static int group_destroy(void *object)
{
    struct group *g = object;
    bool owner = group_lock(g);
    g->name = NULL;
    while (!list_is_empty(&g->starters))
        wake_first(&g->starters); /* they find the name stale */
    group_unlock(g, owner);
    group_free(g);
    return 0;
}
