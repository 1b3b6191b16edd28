/* scope.c -- the public face of fibers and groups. */
#include <stdarg.h>

#include "group.h"
#include "handle_slot.h"

int weir_in_fiber(void)
{
    return worker_here && worker_here->runtime;
}

void weir_name(const char *fmt, ...)
{
    struct task *t = task_self();
    char *name = NULL;
    va_list args;
    va_start(args, fmt);
    if (t && vasprintf(&name, fmt, args) >= 0) {
        free(t->name);
        t->name = name;
    }
    va_end(args);
}

/* ---- groups ---- */

static weir_group *group_open(const weir_group_opts *o, struct task *t)
{
    struct group *g;
    struct worker *home = t->worker->runtime ? t->worker : NULL;
    if (!home && t->group)
        home = t->group->home;
    int error = group_new(&g, t->group, home, o);
    if (error)
        return fail(error, "group", "open", NULL, 0), NULL;
    void *name = handle_new(&group_type, g);
    bool owner = bias_lock(&g->lock, t->worker);
    g->name = name;
    bias_unlock(&g->lock, owner);
    if (!name) {
        group_free(g);
        return fail(-ENFILE, "group", "open", NULL, 0), NULL;
    }
    group_opened(g, t, name);
    return name;
}

weir_group *weir_group_open(const weir_group_opts *o)
{
    struct task *t = task_self();
    if (!t)
        return fail(-ENOMEM, "group", "open", NULL, 0), NULL;
    if (o && o->max_fibers < 0)
        return fail_text(-EINVAL, "group", "open", "max_fibers is %d: it cannot be negative",
                         o->max_fibers), NULL;
    return group_open(o, t);
}

static int spawn(weir_group *name, int (*fn)(void *), const void *arg, size_t n,
                 const weir_fiber_opts *o)
{
    struct task *t = task_self();
    struct group *g = name ? handle_peek(name, HANDLE_GROUP) : t ? t->group : NULL;
    if (unlikely(!g && !name))
        return fail_text(-EINVAL, "go", "start",
                         "a plain thread has no group of its own: weir_group_open makes one");
    int error = g && t ? group_spawn(g, name ? name : g->name, fn, arg, n, o) : -EBADF;
    return likely(!error) ? 0 : fail(error, "go", "start", NULL, 0);
}

int weir_go(weir_group *g, int (*fn)(void *), void *arg)
{
    return spawn(g, fn, arg, 0, NULL);
}

int weir_go_copy(weir_group *g, int (*fn)(void *), const void *arg, size_t n,
                 const weir_fiber_opts *o)
{
    return spawn(g, fn, arg, n, o);
}

int weir_group_wait(weir_group *name)
{
    int result = 0;
    struct group *g = handle_peek(name, HANDLE_GROUP);
    int error = g && task_self() ? group_join(g, name, 0, &result) : -EBADF;
    return unlikely(error) ? fail(error, "group", "wait", NULL, 0) : result;
}

static int stop(weir_group *name, unsigned stops, const char *phase)
{
    struct group *g = handle_enter(name, HANDLE_GROUP);
    if (!g)
        return fail(-EBADF, "group", phase, NULL, 0);
    group_stop(g, stops);
    handle_leave(name);
    return 0;
}

int weir_group_drain(weir_group *g)
{
    return stop(g, STOP_DRAIN, "drain");
}

int weir_group_cancel(weir_group *g)
{
    return stop(g, STOP_CANCEL, "cancel");
}

/* ---- the worker's big stack ---- */

int weir_native(int (*fn)(void *), void *arg)
{
    struct worker *w = worker_self();
    if (!w || !w->current->is_fiber || w->native)
        return fn(arg);
    w->native = true;
    int result = fiber_call_on(&w->loop, fn, arg);
    w->native = false;
    return result;
}
