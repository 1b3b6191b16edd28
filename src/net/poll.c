/* poll.c -- waiting for several things at once: connections, listeners, channels, descriptors.
 *
 * What poll(2) does for descriptors, this does for handles.  Bytes the library has buffered count
 * as readable.  A handle that is closed, before or meanwhile, is POLLNVAL and does not fail the
 * call for the others.                                                                        */
#include "../runtime/channel.h"
#include "poll.h"
#include "subject.h"

/* ---- being told that a handle was closed ---- */

/* One call of weir_poll.  `told` is claimed by the first who closes something it polls; the call
 * does not return before that mail has come. */
struct poll_call {
    struct task *task;
    struct mail mail;
    atomic_bool told;
    bool delivered;
};

struct poller {
    struct list link;
    struct poll_call *call;
};

void watch_init(struct watch *w)
{
    list_init(&w->pollers);
}

static void closed_delivered(struct mail *m)
{
    struct poll_call *call = container_of(m, struct poll_call, mail);
    call->delivered = true;
    task_ready(call->task);
}

void watch_end(struct watch *w)
{
    struct list *link;
    do {
        struct poll_call *tell = NULL;
        spin_lock(&w->lock);
        link = list_pop(&w->pollers);
        if (link) {
            struct poll_call *call = container_of(link, struct poller, link)->call;
            tell = atomic_exchange(&call->told, true) ? NULL : call;
        }
        spin_unlock(&w->lock);
        if (tell)
            worker_mail(tell->task->worker, &tell->mail);
    } while (link);
}

/* ---- entries ---- */

struct slot {
    struct op op;
    union {
        struct poller poller;
        struct chan_watch channel;
    };
    struct watch *watch;   /* of the object that was entered; or NULL */
    bool polls;            /* `op` is to be awaited */
    bool watches_channel;  /* `channel` is on the channel's list */
};

static void slot_poll(struct slot *s, int fd, short events, unsigned flags)
{
    s->op = (struct op){
        .kind = OP_POLL, .flags = (uint16_t)flags, .fd = fd, .poll = { .events = events }
    };
    s->polls = true;
}

static void slot_add_socket(struct slot *s, struct poll_call *call, weir_pollent *e)
{
    struct subject subject;
    if (subject_enter(&subject, e->h)) {
        e->revents = POLLNVAL;
        return;
    }
    s->watch = subject.conn ? &subject.conn->watch : &subject.listener->watch;
    s->poller.call = call;
    spin_lock(&s->watch->lock);
    list_push(&s->watch->pollers, &s->poller.link);
    spin_unlock(&s->watch->lock);
    if (subject.conn && conn_buffered(subject.conn))
        e->revents = (short)(e->events & (POLLIN | POLLRDNORM));
    slot_poll(s, subject.fd, e->events, 0);
}

static void slot_add(struct slot *s, struct poll_call *call, weir_pollent *e)
{
    *s = (struct slot){ .polls = false };
    e->revents = 0;
    if (!e->h && e->fd >= 0)
        slot_poll(s, e->fd, e->events, OP_FOREIGN);
    if (!e->h)
        return;
    if (handle_kind(e->h) != HANDLE_CHAN) {
        slot_add_socket(s, call, e);
        return;
    }
    e->revents = chan_watch(e->h, e->events, &s->channel);
    s->watches_channel = e->revents == 0;
}

static void channel_leave(struct slot *s, weir_pollent *e)
{
    struct waiter *w = &s->channel.waiter;
    if (chan_unwatch(&s->channel))
        return;
    while (!w->woken)
        task_park(w->task);
    e->revents = (short)w->result;
}

/* That it was closed meanwhile is found when the name is entered again. */
static void socket_leave(struct slot *s, weir_pollent *e)
{
    spin_lock(&s->watch->lock);
    list_remove(&s->poller.link);
    spin_unlock(&s->watch->lock);
    handle_leave(e->h);
}

/* A descriptor that cannot be waited for, for lack of memory or because the backend has no place
 * for its number, is as open as before: that is the call's failure. */
static int op_answer(const struct op *op, weir_pollent *e)
{
    if (op->state != OP_DONE || op->result == -ECANCELED || op->result == -EAGAIN)
        return 0;
    if (op->result < 0 && op->result != -EBADF)
        return op->result;
    e->revents = (short)(op->result < 0 ? POLLNVAL : e->revents | op->result);
    return 0;
}

/* 0, or -errno: the entry could not be waited for. */
static int slot_leave(struct slot *s, weir_pollent *e)
{
    int error = s->polls ? op_answer(&s->op, e) : 0;
    if (s->watches_channel)
        channel_leave(s, e);
    if (s->watch)
        socket_leave(s, e);
    return error;
}

/* ---- the call ---- */

static int poll_wait(struct slot *slots, int n, struct op **ops, bool ready)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        if (slots[i].polls)
            ops[count++] = &slots[i].op;
    int result = await_any(ops, count, AWAIT_NUDGED | (ready ? AWAIT_NOW : 0));
    return result == -EAGAIN && ready ? 0 : result;
}

static int count_ready(const weir_pollent *e, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += e[i].revents != 0;
    return count;
}

/* One wait: how many are ready, 0 when it was woken for nothing, or -errno.  Those that are ready
 * are told of before what is wrong with another. */
static int poll_once(struct slot *slots, struct op **ops, weir_pollent *e, int n)
{
    struct poll_call call = { .task = task_self(), .mail = { .deliver = closed_delivered } };
    for (int i = 0; i < n; i++)
        slot_add(&slots[i], &call, &e[i]);
    int error = poll_wait(slots, n, ops, count_ready(e, n) > 0);
    for (int i = 0; i < n; i++) {
        int failed = slot_leave(&slots[i], &e[i]);
        error = failed ? failed : error;
    }
    while (atomic_load(&call.told) && !call.delivered)
        task_park(call.task);
    call.task->waiting_for = NULL;
    int count = count_ready(e, n);
    return count ? count : error < 0 ? error : 0;
}

static int poll_all(weir_pollent *e, int n)
{
    struct slot *slots = malloc((size_t)n * sizeof *slots + 1);
    struct op **ops = malloc((size_t)n * sizeof(struct op *) + 1);
    int result = slots && ops ? 0 : -ENOMEM;
    while (result == 0)
        result = poll_once(slots, ops, e, n);
    free(ops);
    free(slots);
    return result;
}

int weir_poll(weir_pollent *e, int n)
{
    if (!task_self())
        return fail(-ENOMEM, "poll", "poll", NULL, 0);
    weir_time since = weir_now();
    int result = n < 0 || (n && !e) ? -EINVAL : poll_all(e, n);
    return result < 0 ? fail(result, "poll", "poll", NULL, since) : result;
}
