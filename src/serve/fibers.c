/* fibers.c -- serving on the workers of weir_run.
 *
 * Each worker has a station, with an acceptor that starts the fibers of its connections.  Only
 * one acceptor at a time has the right to accept, so a new client wakes one thread.  It passes
 * the right on to the station with the fewest connections, when it has clearly more than that
 * one, or when clients have to queue while that one's worker sleeps.
 *
 * When the server is told to stop, the acceptors give up, whoever is in the kernel's queue by then
 * is still served, and the listener is closed, so that the next client is refused and does not
 * wait for nothing.                                                                           */
#include <signal.h>
#include <string.h>

#include "../runtime/group.h"
#include "serve.h"

enum {
    LOOK_EVERY = 8, /* connections between two looks at the other stations */
    SLACK = 16,     /* ... and an eighth: how many more than a busy station are no imbalance */
    SLACK_IDLE = 1, /* the same towards a worker that sleeps */
};

/* ---- who accepts ---- */

static unsigned count_live(const struct server *s)
{
    unsigned sum = 0;
    for (int i = 0; i < s->station_count; i++)
        sum += atomic_load(&s->stations[i].live);
    return sum;
}

static unsigned live(const struct station *st)
{
    return atomic_load_explicit(&st->live, memory_order_relaxed);
}

static struct station *least_busy(const struct server *s)
{
    struct station *least = &s->stations[0];
    for (int i = 1; i < s->station_count; i++)
        if (live(&s->stations[i]) < live(least))
            least = &s->stations[i];
    return least;
}

/* Whether clients come faster than they are taken: several in one turn of the worker. */
static bool clients_queue(struct station *st)
{
    uint_fast64_t turns = atomic_load_explicit(&st->worker->turns, memory_order_relaxed);
    st->row = turns == st->turns ? st->row + 1 : 1;
    st->turns = turns;
    return st->row % LOOK_EVERY == 0;
}

/* Looking at all stations costs a cache line each, so it is not done for every client: only when
 * the count has reached a multiple of LOOK_EVERY, while there are few, or when clients queue. */
static struct station *station_next(struct station *st)
{
    unsigned mine = live(st);
    bool queue = clients_queue(st);
    if (!queue && mine > LOOK_EVERY && mine % LOOK_EVERY)
        return st;
    struct station *least = least_busy(st->server);
    bool sleeps = atomic_load_explicit(&least->worker->asleep, memory_order_relaxed);
    unsigned slack = sleeps ? SLACK_IDLE : SLACK + mine / 8;
    bool pass = mine > live(least) + slack || (queue && sleeps && mine > live(least));
    return pass ? least : st;
}

static void turn_pass(struct station *st)
{
    atomic_store(&st->server->holder, (int)(st - st->server->stations));
    bell_ring(&st->turn);
}

static int turn_wait(struct station *st)
{
    int me = (int)(st - st->server->stations), error = 0;
    while (!error && atomic_load(&st->server->holder) != me) {
        spin_lock(&st->turn.lock);
        if (atomic_load(&st->server->holder) == me)
            spin_unlock(&st->turn.lock);
        else
            error = bell_wait(&st->turn, "its turn to accept", AWAIT_DRAINABLE);
    }
    return error;
}

/* ---- accepting ---- */

static int receive(struct station *st, weir_conn *c)
{
    struct server *s = st->server;
    if (!s->serial)
        return station_admit(st, c, false);
    weir_time deadline = task_self()->deadline;
    serve_through(s, c, false);
    task_self()->deadline = deadline;
    return 0;
}

/* Accepts until it is another station's turn: 0, or why it must stop. */
static int accept_turn(struct station *st)
{
    struct server *s = st->server;
    struct station *next = st;
    while (next == st) {
        int error = serve_make_room(s, count_live);
        if (unlikely(error))
            return error;
        weir_conn *c = weir_accept(s->listener, NULL);
        error = likely(c) ? receive(st, c) : -errno;
        if (unlikely(error) && !serve_retries(error))
            return error;
        next = s->station_count > 1 ? station_next(st) : st;
    }
    turn_pass(next);
    return 0;
}

static bool is_a_stop(int error)
{
    return error == -ESHUTDOWN || error == -ECANCELED || error == -EBADF;
}

static unsigned count_none(const struct server *s)
{
    (void)s;
    return 0;
}

/* One conversation at a time, and after the last those of the queue. */
static void receive_late(struct server *s)
{
    weir_conn *c;
    for (int i = 0; i < LATE_MAX; i++) {
        if (!(c = serve_accept_late(s, count_none)))
            break;
        serve_through(s, c, true);
    }
}

static int acceptor(void *arg)
{
    struct station *st = *(struct station **)arg;
    struct server *s = st->server;
    int error;
    do
        error = turn_wait(st);
    while (!error && !(error = accept_turn(st)));
    if (!is_a_stop(error))
        atomic_store(&s->error, error);
    atomic_fetch_sub(&s->accepting, 1);
    bell_ring(&s->changed);
    if (s->serial && error == -ESHUTDOWN)
        receive_late(s);
    return 0;
}

/* A fiber among the visits of its worker: it has as much time as they, and when it has taken all
 * of the queue nobody can join it any more. */
static int late_acceptor(void *arg)
{
    struct station *st = *(struct station **)arg;
    struct server *s = st->server;
    weir_conn *c;
    for (int i = 0; i < LATE_MAX; i++)
        if (!(c = serve_accept_late(s, count_live)) || station_admit(st, c, true))
            break;
    weir_close(s->listener);
    return 0;
}

static void accept_late(struct server *s)
{
    struct station *st = s->stations;
    weir_fiber_opts o = { .name = "late acceptor" };
    while (st->worker != worker_here)
        st++;
    if (group_spawn(st->group, NULL, late_acceptor, &st, sizeof st, &o))
        weir_close(s->listener);
}

/* ---- signals ---- */

static int watch(void *arg)
{
    int signals[SERVE_SIGNALS], count = serve_signals(signals);
    struct server *s = *(struct server **)arg;
    while (weir_signal(signals, count) > 0) {
        if (atomic_fetch_add(&s->signals, 1) > 0)
            group_stop(s->group, STOP_CANCEL);
        bell_ring(&s->changed);
    }
    return 0;
}

/* ---- its life ---- */

/* 0 when a signal came or accepting has ended, else why the calling task must stop.  A cancelled
 * group stops acceptors on other workers, too, and they may say so before this task runs. */
static int wait_for_end(struct server *s)
{
    int error = 0;
    while (!error) {
        spin_lock(&s->changed.lock);
        if (atomic_load(&s->signals) || atomic_load(&s->accepting) < (unsigned)s->station_count) {
            spin_unlock(&s->changed.lock);
            return weir_cancelled() == ECANCELED ? -ECANCELED : 0;
        }
        error = bell_wait(&s->changed, "its server to be told to stop", AWAIT_DRAINABLE);
    }
    return error == -ESHUTDOWN ? 0 : error;
}

static int join_all(struct server *s, unsigned how)
{
    int error = 0, result;
    for (int i = 0; i < s->station_count && !error; i++)
        error = group_join(s->stations[i].group, NULL, how, &result);
    return error;
}

/* `stop` is 0 to do it politely first.  Where conversations go on in the acceptor itself, it sees
 * to the queue. */
static void drain(struct server *s, int stop)
{
    struct task *t = task_self();
    weir_time outer = t->deadline, until = weir_after(s->opts.drain);
    int result;
    group_stop(s->group, stop ? STOP_CANCEL : STOP_DRAIN);
    group_join(s->keepers, NULL, AWAIT_ALWAYS, &result);
    if (!stop && !s->serial && !atomic_load(&s->error))
        accept_late(s);
    t->deadline = time_min(outer, until);
    if (stop || join_all(s, 0))
        group_stop(s->group, STOP_CANCEL);
    t->deadline = outer;
    join_all(s, AWAIT_ALWAYS);
}

/* Listens for signals before the first client is accepted: who has been served by a program may
 * expect that SIGTERM does not kill it. */
static int watch_start(struct server *s)
{
    weir_fiber_opts o = { .name = "signals" };
    if (s->opts.no_signals)
        return 0;
    int error = group_spawn(s->watch, NULL, watch, &s, sizeof s, &o);
    task_yield(task_self());
    return error;
}

static int station_start(struct server *s, struct station *st)
{
    weir_fiber_opts o = { .worker = (int)(st->worker - st->worker->runtime->workers) + 1 };
    o.name = "keeper";
    int error = group_spawn(s->keepers, NULL, station_keeper, &st, sizeof st, &o);
    if (error)
        return error;
    o.name = "acceptor";
    return group_spawn(s->serial ? st->group : s->keepers, NULL, acceptor, &st, sizeof st, &o);
}

static int start(struct server *s)
{
    int error = watch_start(s);
    atomic_store(&s->accepting, (unsigned)s->station_count);
    for (int i = 0; i < s->station_count && !error; i++)
        error = station_start(s, &s->stations[i]);
    return error;
}

static int station_open(struct server *s, struct station *st, struct worker *w)
{
    *st = (struct station){ .server = s, .worker = w };
    bell_init(&st->turn);
    bell_init(&st->keep);
    list_init(&st->parked);
    list_init(&st->timed);
    list_init(&st->spoken);
    return group_new(&st->group, s->group, w, NULL);
}

static int stations_open(struct server *s)
{
    struct worker *here = worker_here;
    int count = s->serial ? 1 : here->runtime->worker_count;
    s->stations = aligned_alloc(CACHE_LINE, (size_t)count * sizeof *s->stations);
    if (!s->stations)
        return -ENOMEM;
    int error = group_new(&s->keepers, s->group, here, NULL);
    if (!error)
        error = group_new(&s->watch, s->group, here, NULL);
    for (int i = 0; i < count && !error; i++) {
        struct worker *w = s->serial ? here : &here->runtime->workers[i];
        error = station_open(s, &s->stations[i], w);
        s->station_count += !error;
        if (w == here)
            atomic_store(&s->holder, i);
    }
    return error;
}

static void stations_close(struct server *s)
{
    for (int i = 0; i < s->station_count; i++)
        group_free(s->stations[i].group);
    if (s->watch)
        group_free(s->watch);
    if (s->keepers)
        group_free(s->keepers);
    free(s->stations);
}

int serve_fibers(struct server *s)
{
    int result;
    int error = stations_open(s);
    if (!error) {
        error = start(s);
        if (!error)
            error = wait_for_end(s);
        drain(s, error);
        group_stop(s->watch, STOP_CANCEL);
        group_join(s->watch, NULL, AWAIT_ALWAYS, &result);
        if (!error)
            error = atomic_load(&s->error);
    }
    stations_close(s);
    return error;
}
