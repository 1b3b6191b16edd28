/* stop.c -- how a plain thread hears that its server should stop, whatever it is doing.
 *
 * A thread that serves may be anywhere: accepting, in a handler that waits for its client, waiting
 * for a child.  So signals, the end of the grace period and the end of the parent are operations
 * posted to the thread's own backend, which every wait of the thread looks at; when one of them
 * completes, the thread's task is stopped.  No signal handler is installed and no thread started:
 * signals are blocked and read from a signalfd.
 *
 * A signal sent to the process is read by one thread; if several serve, that one tells all.    */
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "serve.h"

static struct {
    struct spin lock;
    struct list stoppers;
} all = { .stoppers = LIST_INIT(all.stoppers) };

/* ---- stopping ---- */

static void clock_start(struct stopper *b);

static void stopper_stop(struct stopper *b, int level)
{
    if (level <= b->level)
        return;
    unsigned stops = level >= CANCELLED ? STOP_CANCEL : STOP_DRAIN;
    b->level = level;
    group_stop(b->server->group, stops);
    task_stop(b->task, stops);
    bell_ring(&b->server->changed);
    if (level == DRAINING)
        clock_start(b);
}

/* A listener that somebody closed is a way to ask, too. */
int stopper_conclude(struct stopper *b, int error)
{
    bool asked = b->level > GO_ON || error == -ESHUTDOWN || error == -EBADF;
    stopper_stop(b, asked ? DRAINING : CANCELLED);
    return asked ? 0 : error;
}

/* ---- what is posted ---- */

static void post_start(struct post *p)
{
    p->pending = true;
    if (!op_post(&p->op, &p->mail))
        return;
    if (p->op.result < 0) {
        worker_mail(worker_here, &p->mail);
        return;
    }
    p->pending = false;
    p->came(p);
}

/* An operation that fails, for lack of memory, has told nothing and is begun anew in each turn of
 * the thread until it does not: a stop that goes unheard would be for ever. */
static void post_delivered(struct mail *m)
{
    struct post *p = container_of(m, struct post, mail);
    if (p->came && p->op.result < 0) {
        sched_yield();
        post_start(p);
        return;
    }
    p->pending = false;
    if (p->came)
        p->came(p);
}

void post_begin(struct post *p, int fd, short events, void (*came)(struct post *))
{
    p->op = (struct op){
        .kind = OP_POLL, .flags = OP_FOREIGN, .fd = fd, .poll = { .events = events }
    };
    p->mail.deliver = post_delivered;
    p->came = came;
    post_start(p);
}

/* The completion is waited for: the operation's memory is about to go. */
void post_end(struct post *p)
{
    p->came = NULL;
    if (p->pending)
        op_recall(&p->op);
    while (p->pending)
        task_yield(task_self());
}

/* ---- the grace period ---- */

static void clock_rang(struct post *p)
{
    stopper_stop(container_of(p, struct stopper, clock), CANCELLED);
}

/* With no descriptor for a clock there is no grace. */
static void clock_start(struct stopper *b)
{
    int64_t ns = b->server->opts.drain > 0 ? b->server->opts.drain : 1;
    struct itimerspec when = { .it_value = { ns / WEIR_SEC, ns % WEIR_SEC } };
    b->clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (b->clock_fd < 0 || timerfd_settime(b->clock_fd, 0, &when, NULL))
        stopper_stop(b, CANCELLED);
    else
        post_begin(&b->clock, b->clock_fd, POLLIN, clock_rang);
}

/* ---- the parent's word ---- */

/* The byte stays in the pipe for the others, so that only the end is waited for afterwards. */
static void life_came(struct post *p)
{
    struct stopper *b = container_of(p, struct stopper, life);
    bool byte = p->op.result & POLLIN;
    stopper_stop(b, b->life_byte ? CANCELLED : DRAINING);
    b->life_byte |= byte;
    if (byte)
        post_begin(p, p->op.fd, 0, life_came);
}

/* ---- signals ---- */

static void mail_delivered(struct mail *m)
{
    struct stopper *b = container_of(m, struct stopper, mail);
    atomic_store(&b->mailed, false);
    stopper_stop(b, atomic_load(&b->heard) > 1 ? CANCELLED : DRAINING);
}

static void tell_all(unsigned signals)
{
    spin_lock(&all.lock);
    list_for_each(link, &all.stoppers) {
        struct stopper *b = container_of(link, struct stopper, link);
        if (b->server->opts.no_signals)
            continue;
        atomic_fetch_add(&b->heard, signals);
        if (!atomic_exchange(&b->mailed, true)) {
            b->mail.deliver = mail_delivered;
            worker_mail(b->task->worker, &b->mail);
        }
    }
    spin_unlock(&all.lock);
}

static unsigned signals_read(int fd)
{
    struct signalfd_siginfo info;
    unsigned count = 0;
    while (read(fd, &info, sizeof info) == sizeof info)
        count++;
    return count;
}

static void signal_came(struct post *p)
{
    struct stopper *b = container_of(p, struct stopper, signal);
    unsigned count = signals_read(b->signal_fd);
    if (count)
        tell_all(count);
    post_begin(p, b->signal_fd, POLLIN, signal_came);
}

static int signals_open(struct stopper *b)
{
    sigset_t set;
    int signals[SERVE_SIGNALS];
    sigemptyset(&set);
    for (int i = serve_signals(signals); i > 0; i--)
        sigaddset(&set, signals[i - 1]);
    b->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (b->signal_fd < 0)
        return -errno;
    pthread_sigmask(SIG_BLOCK, &set, &b->mask);
    post_begin(&b->signal, b->signal_fd, POLLIN, signal_came);
    return 0;
}

/* Those that came too late to be told were still meant for this server. */
static void signals_close(struct stopper *b)
{
    if (b->signal_fd < 0)
        return;
    post_end(&b->signal);
    signals_read(b->signal_fd);
    close(b->signal_fd);
    b->signal_fd = -1;
    pthread_sigmask(SIG_SETMASK, &b->mask, NULL);
}

/* ---- its life ---- */

int stopper_open(struct stopper *b, struct server *s, int life_fd)
{
    *b = (struct stopper){
        .server = s, .task = task_self(), .signal_fd = -1, .clock_fd = -1
    };
    spin_lock(&all.lock);
    list_push(&all.stoppers, &b->link);
    spin_unlock(&all.lock);
    int error = s->opts.no_signals ? 0 : signals_open(b);
    if (!error && life_fd >= 0)
        post_begin(&b->life, life_fd, POLLIN, life_came);
    return error;
}

static void unlist(struct stopper *b)
{
    spin_lock(&all.lock);
    list_remove(&b->link);
    spin_unlock(&all.lock);
}

void stopper_close(struct stopper *b)
{
    unlist(b);
    while (atomic_load(&b->mailed))
        task_yield(b->task);
    signals_close(b);
    post_end(&b->clock);
    post_end(&b->life);
    if (b->clock_fd >= 0)
        close(b->clock_fd);
    task_stops_reset(b->task);
}
