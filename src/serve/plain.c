/* plain.c -- serving from a plain thread: one client at a time, or a thread for each.
 *
 * The same straight line as on a fiber, with calls that block.  What would stop a fiber through its
 * group stops these threads through the stopper.                                              */
#include <sys/eventfd.h>
#include <unistd.h>

#include "serve.h"

struct visit {
    struct server *server;
    weir_conn *conn;
    bool late;
};

/* ---- one at a time ---- */

static int accept_each(struct server *s)
{
    for (;;) {
        weir_conn *c = weir_accept(s->listener, NULL);
        if (c)
            serve_through(s, c, false);
        else if (!serve_retries(-errno))
            return -errno;
        task_yield(task_self()); /* a thread that never waits would hear nothing */
    }
}

static unsigned count_live(const struct server *s)
{
    return atomic_load(&s->live);
}

static void accept_late_each(struct server *s)
{
    weir_conn *c;
    for (int i = 0; i < LATE_MAX; i++) {
        if (!(c = serve_accept_late(s, count_live)))
            break;
        serve_through(s, c, true);
    }
}

int serve_iterative(struct server *s, int life_fd)
{
    struct stopper b;
    int error = stopper_open(&b, s, life_fd);
    if (!error) {
        error = stopper_conclude(&b, accept_each(s));
        if (!error)
            accept_late_each(s);
        weir_close(s->listener);
    }
    stopper_close(&b);
    return error;
}

/* ---- a thread for each ---- */

static int visit_main(void *arg)
{
    struct visit *v = arg;
    struct server *s = v->server;
    serve_through(s, v->conn, v->late);
    atomic_fetch_sub(&s->live, 1);
    serve_left(s);
    return 0;
}

/* A thread needs a descriptor to be woken by (io/wake.h).  One that finds none is deaf and looks
 * about many times a second: better not to start it. */
static int check_descriptor(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int visit_try(struct server *s, struct visit *v)
{
    int error = check_descriptor();
    return error ? error : group_spawn(s->group, NULL, visit_main, v, sizeof *v, NULL);
}

static bool is_shortage(int error)
{
    return error == -EAGAIN || error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

/* When no thread can be had, the client waits for one; those behind it wait in the queue. */
static int visit_start(struct server *s, weir_conn *c, bool late)
{
    struct visit v = { .server = s, .conn = c, .late = late };
    int error;
    atomic_fetch_add(&s->live, 1);
    while (is_shortage(error = visit_try(s, &v)))
        if (s->opts.fast_reject || await_time(weir_after(RETRY_DELAY)))
            break;
    if (error) {
        atomic_fetch_sub(&s->live, 1);
        weir_abort(c);
    }
    return error;
}

static int accept_all(struct server *s)
{
    for (;;) {
        int error = serve_make_room(s, count_live);
        if (error)
            return error;
        weir_conn *c = weir_accept(s->listener, NULL);
        error = c ? visit_start(s, c, false) : -errno;
        if (error && !serve_retries(error))
            return error;
    }
}

static void accept_late_all(struct server *s)
{
    weir_conn *c;
    for (int i = 0; i < LATE_MAX; i++)
        if (!(c = serve_accept_late(s, count_live)) || visit_start(s, c, true))
            break;
}

int serve_threads(struct server *s)
{
    struct stopper b;
    int result;
    int error = stopper_open(&b, s, -1);
    if (!error) {
        error = stopper_conclude(&b, accept_all(s));
        if (!error)
            accept_late_all(s);
        weir_close(s->listener);
        group_join(s->group, NULL, AWAIT_ALWAYS, &result);
    }
    stopper_close(&b);
    return error;
}
