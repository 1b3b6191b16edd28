/* guest.c -- the connections at one station: visits in fibers, and parking between them.
 *
 * A visit is a fiber in which the handler runs.  When it answers WEIR_PARK the visit ends and a
 * guest remains: 120 bytes with one operation, whose completion leads to the next visit.  Guests
 * belong to their station's worker.  A keeper, one fiber per station, sends away those who are
 * silent for too long, and everybody once the server drains: a parked connection is between two
 * messages by its own word.                                                                   */
#include "../base/slab.h"
#include "serve.h"

struct guest {
    struct parking parking;
    struct list link;        /* in one of the station's lists */
    struct station *station; /* NULL: it is being sent away */
};

static_assert(sizeof(struct guest) <= 120, "a parked connection costs 512 bytes in all");

static struct slab guest_memory = SLAB_INIT(guest_memory, sizeof(struct guest));

/* What a visit's fiber knows, on its own stack. */
struct visit {
    struct station *station;
    weir_conn *conn;
    struct guest *guest; /* once it has parked */
    bool late;
};

static int spoken_main(void *arg);

static void station_left(struct station *st)
{
    atomic_fetch_sub(&st->live, 1);
    serve_left(st->server);
}

/* ---- parking ---- */

/* Those with a limit to their silence stand in the order of its end; as all connections of a
 * listener begin with the same limit, that is mostly at the end of the list. */
static void guest_seat(struct guest *g)
{
    struct station *st = g->station;
    int64_t patience = park_patience(&g->parking);
    if (likely(!patience)) {
        list_push(&st->parked, &g->link);
        return;
    }
    weir_time until = time_add(st->worker->now, patience);
    g->parking.conn->parked_until = until;
    struct list *at = &st->timed;
    while (at->prev != &st->timed &&
           container_of(at->prev, struct guest, link)->parking.conn->parked_until > until)
        at = at->prev;
    list_insert_before(at, &g->link);
    if (st->timed.next == &g->link)
        bell_ring(&st->keep);
}

/* Its handle is let go of as late as this, because its lines are at hand then. */
static void guest_unpark(struct guest *g)
{
    if (g->parking.conn)
        park_over(&g->parking);
}

/* One fiber at a time is on its way to those who have spoken.  It starts another one when there
 * are more of them, in case its handler waits; if it does not, it goes on to the next itself, on
 * a stack that is warm, and a thousand guests who speak at once do not need a thousand. */
static bool spoken_serve(struct station *st)
{
    if (st->on_the_way || list_is_empty(&st->spoken))
        return true;
    if (likely(!group_spawn(st->group, NULL, spoken_main, &st, sizeof st, NULL))) {
        st->on_the_way = true;
        return true;
    }
    /* Whoever closes one of them meanwhile must not wait for a fiber that may never come. */
    list_for_each(link, &st->spoken)
        guest_unpark(container_of(link, struct guest, link));
    bell_ring(&st->keep);
    return false;
}

static void guest_spoke(struct mail *m)
{
    struct guest *g = container_of(m, struct guest, parking.mail);
    if (unlikely(!g->station)) {
        park_over(&g->parking);
        return;
    }
    list_remove(&g->link);
    list_push(&g->station->spoken, &g->link);
    spoken_serve(g->station);
}

static struct guest *guest_new(struct station *st)
{
    struct guest *g = slab_take(&guest_memory);
    if (!g)
        return NULL;
    *g = (struct guest){ .parking.mail.deliver = guest_spoke };
    g->station = st;
    list_init(&g->link);
    return g;
}

enum next { AGAIN, PARKED, OVER };

/* With no memory for a guest, the fiber waits as it is. */
static enum next visit_wait(struct visit *v)
{
    return park_task(v->conn) > 0 ? AGAIN : OVER;
}

static enum next visit_park(struct visit *v)
{
    struct station *st = v->station;
    if (st->closing)
        return OVER;
    if (!v->guest)
        v->guest = guest_new(st);
    if (!v->guest)
        return visit_wait(v);
    int result = park(&v->guest->parking, v->conn);
    if (result == 0)
        guest_seat(v->guest);
    return result == 0 ? PARKED : result > 0 ? AGAIN : OVER;
}

/* ---- visits ---- */

static void visit_begin(struct visit *v)
{
    const struct server *s = v->station->server;
    if (s->opts.on_open)
        s->opts.on_open(v->conn, s->arg);
    if (unlikely(v->late))
        serve_listen_late(v->conn);
}

static void visit_end(struct visit *v, int result)
{
    serve_settle(v->station->server, v->conn, result);
    if (v->guest)
        slab_give(&guest_memory, v->guest);
    station_left(v->station);
}

/* Whoever closed it while it was parked has spoken the last word for its handler. */
static void visit(struct visit *v)
{
    const struct server *s = v->station->server;
    enum next next;
    int result;
    do {
        result = handle_is_closed(v->conn) ? WEIR_DONE : s->handler(v->conn, s->arg);
        next = likely(result != WEIR_PARK) ? OVER : visit_park(v);
    } while (next == AGAIN);
    if (next == OVER)
        visit_end(v, result == WEIR_PARK ? WEIR_DONE : result);
}

/* Whether a task is as good as new: it has no groups to close at its end, and no name. */
static bool task_is_clean(struct task *t)
{
    t->deadline = TIME_NEVER;
    return list_is_empty(&t->opened) && !t->name;
}

static void expel_spoken(struct station *st);

/* At the end of a server nobody else may be left to see to those who have spoken. */
static void visits_end(struct station *st)
{
    if (!spoken_serve(st) && st->closing)
        expel_spoken(st);
}

static int spoken_main(void *arg)
{
    struct station *st = *(struct station **)arg;
    struct task *t = task_self();
    struct list *link;
    st->on_the_way = false;
    while (task_is_clean(t) && (link = list_pop(&st->spoken))) {
        struct guest *g = container_of(link, struct guest, link);
        struct visit v = { .station = st, .conn = g->parking.name, .guest = g };
        if (!list_is_empty(&st->spoken))
            park_fetch(&container_of(st->spoken.next, struct guest, link)->parking);
        guest_unpark(g);
        spoken_serve(st);
        visit(&v);
    }
    visits_end(st);
    return 0;
}

static int visit_main(void *arg)
{
    struct visit *v = arg;
    struct station *st = v->station;
    visit_begin(v);
    visit(v);
    visits_end(st);
    return 0;
}

int station_admit(struct station *st, weir_conn *c, bool late)
{
    struct visit v = { .station = st, .conn = c, .late = late };
    atomic_fetch_add_explicit(&st->live, 1, memory_order_relaxed);
    int error = group_spawn(st->group, NULL, visit_main, &v, sizeof v, NULL);
    if (unlikely(error)) {
        weir_abort(c);
        station_left(st);
    }
    return error;
}

/* ---- the keeper ---- */

/* Somebody else may be closing it too; then its mail is still to come. */
static void guest_expel(struct guest *g)
{
    struct station *st = g->station;
    list_remove(&g->link);
    g->station = NULL;
    serve_settle(st->server, g->parking.name, WEIR_DONE);
    while (g->parking.conn) {
        op_recall(&g->parking.op);
        task_yield(task_self());
    }
    slab_give(&guest_memory, g);
    station_left(st);
}

static void expel_all(struct list *guests)
{
    while (!list_is_empty(guests))
        guest_expel(container_of(guests->next, struct guest, link));
}

static void expel_spoken(struct station *st)
{
    while (!list_is_empty(&st->spoken)) {
        struct guest *g = container_of(st->spoken.next, struct guest, link);
        guest_unpark(g);
        guest_expel(g);
    }
}

static void expel_silent(struct station *st)
{
    while (!list_is_empty(&st->timed)) {
        struct guest *g = container_of(st->timed.next, struct guest, link);
        if (g->parking.conn->parked_until > st->worker->now)
            break;
        guest_expel(g);
    }
}

static weir_time keeper_alarm(const struct station *st)
{
    if (!list_is_empty(&st->spoken) && !st->on_the_way)
        return weir_after(RETRY_DELAY);
    if (!list_is_empty(&st->timed))
        return container_of(st->timed.next, struct guest, link)->parking.conn->parked_until;
    return TIME_NEVER;
}

int station_keeper(void *arg)
{
    struct station *st = *(struct station **)arg;
    int error;
    do {
        spin_lock(&st->keep.lock);
        error = bell_wait_until(&st->keep, "parked connections", AWAIT_DRAINABLE, keeper_alarm(st));
        spoken_serve(st);
        expel_silent(st);
    } while (!error);
    st->closing = true;
    expel_all(&st->parked);
    expel_all(&st->timed);
    if (error != -ESHUTDOWN || !st->on_the_way)
        expel_spoken(st);
    return 0;
}
