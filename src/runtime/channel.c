/* channel.c -- bounded queues between tasks, on whatever worker or thread they run.
 *
 * A channel is a ring of elements and two queues of waiters, behind one lock.  At most one of
 * "elements and waiting senders" and "waiting receivers" is there at a time, so an operation
 * meets its counterpart on arrival: a sender copies straight into the slot of the receiver that
 * has waited longest, a receiver of a full ring moves the first waiting sender's element in.
 * Elements change owners under the lock, hence none is lost or doubled when a waiter is
 * cancelled: the one who takes a waiter off its queue has settled its result.
 *
 * An operation costs one lock, no entry in the handle table: the memory of a channel is kept for
 * other channels and never freed, so it may be locked on suspicion, and the name it carries tells
 * whether it is still the channel that was asked for.                                         */
#include <string.h>

#include "../base/bias.h"
#include "channel.h"
#include "handle_slot.h"

struct chan {
    struct bias lock;
    void *name; /* NULL while closed */
    bool done;
    size_t elem, capacity;
    size_t first, count; /* in elements */
    char *ring;
    struct list senders, receivers, watches;
    struct chan *next_spare;
};

static struct {
    struct spin lock;
    struct chan *first;
} spares;

/* ---- small parts ---- */

/* One element; most are a pointer or a number. */
static inline void copy(void *to, const void *from, size_t len)
{
    if (likely(len == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else if (len)
        memcpy(to, from, len);
}

static inline struct waiter *waiter_pop(struct list *queue)
{
    struct list *link = list_pop(queue);
    return link ? container_of(link, struct waiter, link) : NULL;
}

static inline char *ring_at(const struct chan *chan, size_t index)
{
    return chan->ring + (index < chan->capacity ? index : index - chan->capacity) * chan->elem;
}

static inline void ring_put(struct chan *chan, const void *v)
{
    copy(ring_at(chan, chan->first + chan->count), v, chan->elem);
    chan->count++;
}

static inline void ring_take(struct chan *chan, void *v)
{
    copy(v, ring_at(chan, chan->first), chan->elem);
    chan->first = chan->first + 1 < chan->capacity ? chan->first + 1 : 0;
    chan->count--;
}

/* ---- watches ---- */

static short ready_events(const struct chan *chan, short events)
{
    bool input = chan->count || chan->done || !list_is_empty(&chan->senders);
    bool output = chan->count < chan->capacity || chan->done || !list_is_empty(&chan->receivers);
    int ready = (input ? POLLIN : 0) | (output ? POLLOUT : 0);
    return (short)((ready & events) | (chan->done ? POLLHUP : 0));
}

/* Takes the first watch that `name`'s state makes ready off the list. */
static struct chan_watch *watch_pop(struct chan *chan, short *revents)
{
    list_for_each(link, &chan->watches) {
        struct chan_watch *watch = container_of(link, struct chan_watch, waiter.link);
        *revents = watch->name == chan->name ? ready_events(chan, watch->events) : POLLNVAL;
        if (*revents) {
            list_remove(link);
            return watch;
        }
    }
    return NULL;
}

static __attribute__((noinline)) void watches_wake(struct chan *chan)
{
    struct chan_watch *watch;
    do {
        short revents = 0;
        bool owner = bias_lock(&chan->lock, worker_self());
        watch = watch_pop(chan, &revents);
        bias_unlock(&chan->lock, owner);
        if (watch)
            waiter_wake(&watch->waiter, revents);
    } while (watch);
}

short chan_watch(void *h, short events, struct chan_watch *watch)
{
    struct chan *chan = handle_peek(h, HANDLE_CHAN);
    if (!chan)
        return POLLNVAL;
    waiter_init(&watch->waiter, "poll", NULL);
    watch->chan = chan;
    watch->name = h;
    watch->events = events;
    bool owner = bias_lock(&chan->lock, worker_self());
    short ready = chan->name == h ? ready_events(chan, events) : POLLNVAL;
    if (!ready)
        list_push(&chan->watches, &watch->waiter.link);
    bias_unlock(&chan->lock, owner);
    return ready;
}

bool chan_unwatch(struct chan_watch *watch)
{
    bool owner = bias_lock(&watch->chan->lock, worker_self());
    bool listed = !list_is_empty(&watch->waiter.link);
    list_remove(&watch->waiter.link);
    bias_unlock(&watch->chan->lock, owner);
    return listed;
}

/* ---- sending and receiving ---- */

enum { MUST_WAIT = 1 }; /* beside 0 and the negative errno values */

/* With the lock: the element is handed over, or stored, or it has to wait. */
static inline int send_locked(struct chan *chan, const void *v, struct waiter **receiver)
{
    if (unlikely(chan->done))
        return -EPIPE;
    *receiver = waiter_pop(&chan->receivers);
    if (*receiver)
        copy((*receiver)->item, v, chan->elem);
    else if (chan->count < chan->capacity)
        ring_put(chan, v);
    else
        return MUST_WAIT;
    return 0;
}

/* With the lock: *got is 1 when there was an element, 0 when there never will be. */
static inline int recv_locked(struct chan *chan, void *v, struct waiter **sender, int *got)
{
    *got = 1;
    *sender = NULL;
    if (chan->count) {
        ring_take(chan, v);
        *sender = waiter_pop(&chan->senders);
        if (*sender)
            ring_put(chan, (*sender)->item);
    } else if ((*sender = waiter_pop(&chan->senders))) {
        copy(v, (*sender)->item, chan->elem);
    } else if (chan->done) {
        *got = 0;
    } else {
        return MUST_WAIT;
    }
    return 0;
}

/* What the two directions differ in. */
struct direction {
    const char *name;  /* for errors */
    const char *waits; /* for dumps */
    size_t queue;      /* where its waiters are in struct chan */
};

static const struct direction sending = { "send", "room in a channel",
                                          offsetof(struct chan, senders) };
static const struct direction receiving = { "receive", "an element of a channel",
                                            offsetof(struct chan, receivers) };

static __attribute__((noinline)) int chan_fail(const struct direction *d, int error)
{
    struct worker *self = worker_self();
    return fail(error, "channel", d->name, NULL, self ? self->now : 0);
}

/* Called with the lock, as the last thing a send or receive does, so that it returns straight to
 * their caller: after a switch every return that another fiber did not make is a wrong guess of
 * the processor's, and costs as much as the switch.                                          */
static __attribute__((noinline)) int chan_wait(struct chan *chan, bool owner, void *item,
                                               const struct direction *d)
{
    struct waiter w;
    waiter_init(&w, d->waits, item);
    weir_time since = w.task->worker->now;
    bool watched = !list_is_empty(&chan->watches);
    list_push((struct list *)(void *)((char *)chan + d->queue), &w.link);
    bias_unlock(&chan->lock, owner);
    if (unlikely(watched))
        watches_wake(chan);
    int result = waiter_await(&w, &chan->lock.spin, 0);
    return likely(result >= 0) ? result : fail(result, "channel", d->name, NULL, since);
}

/* Called with the lock, when nothing had to be waited for: wakes whoever that concerns, and lets
 * others run now and then, so that nobody starves the worker by never having to wait. */
static inline void chan_leave(struct worker *self, struct chan *chan, bool owner,
                              struct waiter *partner, int result)
{
    bool watched = !list_is_empty(&chan->watches);
    bias_unlock(&chan->lock, owner);
    if (partner)
        waiter_wake(partner, result);
    if (unlikely(watched))
        watches_wake(chan);
    if (unlikely(++self->streak > STREAK_MAX))
        task_yield(self->current);
}

/* Enters the channel: 0 with the lock, or why not.  A task that is cancelled does not begin. */
static inline int chan_enter(struct worker *self, void *h, struct chan **chan, bool *owner)
{
    if (unlikely(!self))
        return -ENOMEM;
    if (unlikely(atomic_load_explicit(&self->current->stops, memory_order_relaxed)) &&
        task_stop_reason(self->current, false) == -ECANCELED)
        return -ECANCELED;
    *chan = handle_peek(h, HANDLE_CHAN);
    if (unlikely(!*chan))
        return -EBADF;
    *owner = bias_lock(&(*chan)->lock, self);
    if (likely((*chan)->name == h))
        return 0;
    bias_unlock(&(*chan)->lock, *owner);
    return -EBADF;
}

int weir_chan_send(weir_chan *ch, const void *v)
{
    struct worker *self = worker_self();
    struct waiter *receiver = NULL;
    struct chan *chan;
    bool owner;
    int error = chan_enter(self, ch, &chan, &owner);
    if (unlikely(error))
        return chan_fail(&sending, error);
    error = send_locked(chan, v, &receiver);
    if (error == MUST_WAIT)
        return chan_wait(chan, owner, (void *)(uintptr_t)v, &sending);
    chan_leave(self, chan, owner, receiver, 1);
    return likely(!error) ? 0 : chan_fail(&sending, error);
}

int weir_chan_recv(weir_chan *ch, void *v)
{
    struct worker *self = worker_self();
    struct waiter *sender = NULL;
    struct chan *chan;
    bool owner;
    int got = 1, error = chan_enter(self, ch, &chan, &owner);
    if (unlikely(error))
        return chan_fail(&receiving, error);
    if (recv_locked(chan, v, &sender, &got) == MUST_WAIT)
        return chan_wait(chan, owner, v, &receiving);
    chan_leave(self, chan, owner, sender, 0);
    return got;
}

/* ---- the end ---- */

/* Wakes all waiters of a queue that nobody joins any more. */
static void queue_wake(struct chan *chan, struct list *queue, int result)
{
    struct waiter *w;
    do {
        bool owner = bias_lock(&chan->lock, worker_self());
        w = waiter_pop(queue);
        bias_unlock(&chan->lock, owner);
        if (w)
            waiter_wake(w, result);
    } while (w);
}

/* Senders still waiting have not sent: they get EPIPE, and their elements stay theirs. */
int weir_chan_done(weir_chan *ch)
{
    struct chan *chan = handle_enter(ch, HANDLE_CHAN); /* so that it stays this one throughout */
    if (!chan)
        return fail(-EBADF, "channel", "finish", NULL, 0);
    bool owner = bias_lock(&chan->lock, worker_self());
    chan->done = true;
    bias_unlock(&chan->lock, owner);
    queue_wake(chan, &chan->senders, -EPIPE);
    queue_wake(chan, &chan->receivers, 0);
    watches_wake(chan);
    handle_leave(ch);
    return 0;
}

static void chan_evict(void *object)
{
    struct chan *chan = object;
    bool owner = bias_lock(&chan->lock, worker_self());
    chan->name = NULL;
    bias_unlock(&chan->lock, owner);
    queue_wake(chan, &chan->senders, -EBADF);
    queue_wake(chan, &chan->receivers, -EBADF);
    watches_wake(chan);
}

static void spare_put(struct chan *chan)
{
    spin_lock(&spares.lock);
    chan->next_spare = spares.first;
    spares.first = chan;
    spin_unlock(&spares.lock);
}

static int chan_destroy(void *object)
{
    struct chan *chan = object;
    free(chan->ring);
    spare_put(chan);
    return 0;
}

static const struct handle_type chan_type = { HANDLE_CHAN, chan_evict, chan_destroy };

/* ---- the beginning ---- */

/* The memory of a channel, all zeros or a closed one's. */
static struct chan *spare_take(void)
{
    spin_lock(&spares.lock);
    struct chan *chan = spares.first;
    if (chan)
        spares.first = chan->next_spare;
    spin_unlock(&spares.lock);
    return chan ? chan : calloc(1, sizeof *chan);
}

/* Somebody with a stale name may be about to lock this memory, so it is set up under the lock.
 * A plain thread that opens a channel does so for others more often than not. */
static void chan_init(struct chan *chan, size_t elem, size_t capacity, char *ring, void *name)
{
    struct worker *self = worker_self();
    spin_lock(&chan->lock.spin);
    bias_give(&chan->lock, self->runtime ? self : NULL);
    chan->name = name;
    chan->done = false;
    chan->elem = elem;
    chan->capacity = capacity;
    chan->first = chan->count = 0;
    chan->ring = ring;
    list_init(&chan->senders);
    list_init(&chan->receivers);
    list_init(&chan->watches);
    spin_unlock(&chan->lock.spin);
}

static int chan_new(size_t elem, size_t capacity, void **name)
{
    size_t size;
    if (!worker_self() || __builtin_mul_overflow(elem, capacity, &size))
        return -ENOMEM;
    struct chan *chan = spare_take();
    char *ring = malloc(size ? size : 1); /* elements of no bytes have an address all the same */
    if (!chan || !ring)
        goto fail;
    *name = handle_new(&chan_type, chan);
    if (!*name)
        goto fail;
    chan_init(chan, elem, capacity, ring, *name);
    return 0;
fail:
    free(ring);
    if (chan)
        spare_put(chan);
    return -ENOMEM;
}

weir_chan *weir_chan_open(size_t elem, size_t capacity)
{
    void *name = NULL;
    int error = chan_new(elem, capacity, &name);
    if (!error)
        return name;
    fail(error, "channel", "open", NULL, 0);
    return NULL;
}
