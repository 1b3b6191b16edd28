/* await.c -- the one door to I/O.
 *
 * Every operation of every layer above passes await(): here cancellation is looked at before
 * anything starts, the operation is submitted, the deadline armed, the task parked, and whatever
 * ends the wait early is turned into a cancel whose completion is awaited.  So when a call
 * returns, nobody holds its memory, and a result that beat the cancel is the result.          */
#include "../io/lend.h"
#include "ready.h"

enum {
    TRIM_MARGIN = 512, /* what madvise and its callers need below this frame */
};
#define TRIM_AFTER (1 * WEIR_SEC)

/* A plain thread runs no loop between its calls: its clock is read when a deadline asks. */
static int stop_on_entry(struct worker *w, struct task *t, unsigned how)
{
    if (how & AWAIT_ALWAYS)
        return 0;
    if (!t->is_fiber && t->deadline != TIME_NEVER)
        w->now = w->backend->now(w->io);
    int stop = task_stop_reason(t, how & AWAIT_DRAINABLE);
    return !stop && (how & AWAIT_NOW) ? -EAGAIN : stop;
}

static void wait_begins(struct worker *w, struct task *t, struct op *op, unsigned how)
{
    weir_time until = how & AWAIT_ALWAYS ? TIME_NEVER : t->deadline;
    t->waiting_op = op;
    t->waiting_since = w->now;
    if (unlikely(how & AWAIT_IDLE))
        until = time_min(until, time_add(w->now, TRIM_AFTER));
    if (until != TIME_NEVER)
        timer_arm(&w->timers, &t->timer, until);
}

static void wait_ends(struct worker *w, struct task *t)
{
    timer_disarm(&w->timers, &t->timer);
    t->waiting_op = NULL;
}

/* The first second of idleness is over: nothing below this frame is needed for a while. */
static void trim_idle_stack(struct worker *w, struct task *t)
{
    if (t->is_fiber)
        stack_trim(t->stacks, (char *)__builtin_frame_address(0) - TRIM_MARGIN);
    if (t->deadline != TIME_NEVER)
        timer_arm(&w->timers, &t->timer, t->deadline);
}

/* A cancel may complete an operation while its task is awake: it then stands on the done list and
 * nobody has been told.  Its memory is about to go. */
static void leave_done_list(struct op *op)
{
    list_remove(&op->link);
}

/* What the backend left to us is asked for here, next to what the caller does with it.  Who was
 * woken by something else may find its operation on the done list still. */
static inline bool is_over(struct worker *w, struct op *op)
{
    if (op->state == OP_PENDING)
        return false;
    leave_done_list(op);
    if (op->state == OP_DONE)
        return true;
    op->state = OP_PENDING;
    return w->backend->submit(w->io, op);
}

static inline void park_here(struct worker *w, struct task *t)
{
    if (likely(t->is_fiber))
        switch_to_next(w, t);
    else
        task_park(t);
}

int32_t await_parked(struct worker *w, struct task *t, struct op *op, unsigned how)
{
    int stop = 0;
    wait_begins(w, t, op, how);
    for (;;) {
        park_here(w, t);
        bool was_left = op->state == OP_READY;
        if (likely(is_over(w, op)))
            break;
        if (how & AWAIT_ALWAYS || (stop && !was_left))
            continue;
        stop = stop ? stop : task_stop_reason(t, how & AWAIT_DRAINABLE);
        if (stop)
            w->backend->cancel(w->io, op);
        else if (unlikely(t->timer.fired && (how & AWAIT_IDLE)))
            trim_idle_stack(w, t);
        t->timer.fired = false;
    }
    wait_ends(w, t);
    return op->result == -ECANCELED && stop ? stop : op->result;
}

/* The answer now, or `stop`.  An ACCEPT asks the backend, which may hold connections that it
 * took from the kernel ahead of us, and so does a receive into a buffer that is the backend's. */
static int32_t await_nothing(struct worker *w, struct task *t, struct op *op, int stop)
{
    if (op->kind == OP_ACCEPT || (op->flags & OP_LEND)) {
        op->state = OP_PENDING;
        op->waiter = t;
        op->flags |= OP_EAGER; /* what has arrived counts, even if its event has not been seen */
        if (!w->backend->submit(w->io, op)) {
            w->backend->cancel(w->io, op);
            while (op->state != OP_DONE)
                task_park(t);
            leave_done_list(op);
        }
        return op->result == -ECANCELED ? stop : op->result;
    }
    int32_t result = op_try(op);
    return result == -EAGAIN ? stop : result;
}

int32_t await(struct op *op, unsigned how)
{
    struct worker *w = worker_self();
    if (unlikely(!w))
        return -ENOMEM;
    struct task *t = w->current;
    if (unlikely(w->native && op->kind >= OP_ACCEPT))
        return -EDEADLK;
    if (unlikely(how || !task_is_unhurried(t))) {
        int stop = stop_on_entry(w, t, how);
        if (stop == -ETIME || stop == -EAGAIN)
            return await_nothing(w, t, op, stop);
        if (stop)
            return stop;
    }
    op->state = OP_PENDING;
    op->waiter = t;
    w->budget -= BUDGET_OP;
    if (!w->backend->submit(w->io, op))
        return await_parked(w, t, op, how);
    if (unlikely(++w->streak > STREAK_MAX))
        task_yield(t);
    return op->result;
}

/* ---- lent buffers ---- */

static void give(struct worker *w, void *buf)
{
    struct op op = { .kind = OP_GIVE, .fd = -1, .give = { .buf = buf } };
    bool done = w->backend->submit(w->io, &op);
    must(done);
}

/* The mail lies in the buffer it is about. */
static void gift_delivered(struct mail *m)
{
    give(worker_here, m);
}

void io_give(int lender, void *buf)
{
    struct worker *w = worker_here;
    if (likely(w && w->id == lender)) {
        give(w, buf);
        return;
    }
    struct mail *m = buf;
    m->deliver = gift_delivered;
    if (!worker_mail_to(lender, m))
        lent_free(buf);
}

/* ---- several at once ---- */

static int count_pending(struct op *const *ops, int count)
{
    int pending = 0;
    for (int i = 0; i < count; i++)
        pending += ops[i]->state == OP_PENDING;
    return pending;
}

static void cancel_pending(struct worker *w, struct op *const *ops, int count)
{
    for (int i = 0; i < count; i++)
        if (ops[i]->state == OP_PENDING)
            w->backend->cancel(w->io, ops[i]);
}

static int submit_all(struct worker *w, struct task *t, struct op *const *ops, int count)
{
    int done = 0;
    for (int i = 0; i < count; i++) {
        ops[i]->state = OP_PENDING;
        ops[i]->waiter = t;
        list_init(&ops[i]->link);
        if (w->backend->submit(w->io, ops[i])) {
            ops[i]->state = OP_DONE;
            done++;
        }
    }
    return done;
}

int await_any(struct op *const *ops, int count, unsigned how)
{
    struct worker *w = worker_self();
    if (!w)
        return -ENOMEM;
    struct task *t = w->current;
    if (w->native)
        return -EDEADLK;
    int stop = stop_on_entry(w, t, how), done = 0;
    if (stop && stop != -ETIME && stop != -EAGAIN)
        return stop;
    bool asked = submit_all(w, t, ops, count) > 0 || stop;
    if (asked)
        cancel_pending(w, ops, count);
    wait_begins(w, t, count ? ops[0] : NULL, how);
    bool nudged = false;
    while (count_pending(ops, count) || (!count && !stop && !nudged)) {
        task_park(t);
        nudged = how & AWAIT_NUDGED;
        bool some_done = count_pending(ops, count) < count;
        if (!stop && !some_done)
            stop = task_stop_reason(t, how & AWAIT_DRAINABLE);
        if (!asked && (stop || some_done || nudged)) {
            asked = true;
            cancel_pending(w, ops, count);
        }
    }
    wait_ends(w, t);
    for (int i = 0; i < count; i++) {
        leave_done_list(ops[i]);
        done += ops[i]->result >= 0;
    }
    return done ? done : stop;
}

/* ---- time alone ---- */

int await_time(weir_time until)
{
    struct worker *w = worker_self();
    if (!w)
        return -ENOMEM;
    struct task *t = w->current;
    if (w->native)
        return -EDEADLK;
    w->now = w->backend->now(w->io);
    int stop = task_stop_reason(t, false);
    if (stop || until <= w->now)
        return stop;
    timer_arm(&w->timers, &t->timer, time_min(until, t->deadline));
    t->waiting_for = "sleep";
    t->waiting_since = w->now;
    do
        task_park(t);
    while (!(stop = task_stop_reason(t, false)) && until > w->now);
    timer_disarm(&w->timers, &t->timer);
    t->waiting_for = NULL;
    return until <= w->now ? 0 : stop;
}

int weir_sleep(int64_t ns)
{
    weir_time since = weir_now();
    int error = await_time(time_add(since, ns));
    if (ns <= 0 && (error == -ETIME || error == -EAGAIN))
        error = 0; /* there was nothing to wait for */
    return error ? fail(error, "sleep", "sleep", NULL, since) : 0;
}

int weir_yield(void)
{
    struct task *t = task_self();
    if (unlikely(!t))
        return fail(-ENOMEM, "yield", "yield", NULL, 0);
    task_yield(t);
    if (likely(!atomic_load_explicit(&t->stops, memory_order_relaxed)))
        return 0;
    int stop = task_stop_reason(t, false);
    return stop == -ECANCELED ? fail(stop, "yield", "yield", NULL, t->worker->now) : 0;
}
