/* runtime.h -- what the layers above, and the runtime's own files, may ask of the runtime.
 *
 * A task is whoever can wait: a fiber of a worker, or a plain thread (which is the only task of
 * a private worker with the blocking backend).  Everything above this header is written once,
 * for tasks.  A task and its worker belong to one thread; the functions marked "any thread" may
 * be called from elsewhere.                                                                  */
#ifndef WEIR_RUNTIME_H
#define WEIR_RUNTIME_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../../include/weir.h"
#include "../base/base.h"
#include "../base/list.h"
#include "../base/spin.h"
#include "../fiber/fiber.h"
#include "../io/backend.h"

/* ---- timers (timer.c): a heap per worker ---- */
struct timer {
    weir_time at;
    uint32_t slot; /* 1 + position in the heap; 0: not armed */
    bool fired;
};
struct timers {
    struct timer_entry { weir_time at; struct timer *timer; } *heap;
    uint32_t count, size;
};
int timers_reserve(struct timers *, uint32_t count);  /* 0 or -ENOMEM; arm then cannot fail */
void timer_arm(struct timers *, struct timer *, weir_time at);
void timer_disarm(struct timers *, struct timer *);
weir_time timers_next(const struct timers *);         /* TIME_NEVER when none */
struct timer *timers_pop(struct timers *, weir_time now); /* the next one due, disarmed, fired */

/* ---- mail (worker.c): the only way into another worker ---- */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *); /* runs on the receiving worker, outside fibers; never waits */
};

/* ---- tasks ---- */
enum { STOP_CANCEL = 1, STOP_DRAIN = 2 };

/* What every wait of a fiber touches comes first, on one line: with thousands of connections each
 * line is a miss.                                                                            */
struct task {
    struct fiber_context context;
    struct task *next_ready;
    struct op *waiting_op;    /* for dumps: what it waits for, */
    weir_time waiting_since;  /* ... since when, */
    weir_time deadline;       /* ambient; TIME_PAST means WEIR_TRY */
    atomic_uint stops;        /* STOP_*, set by any thread, never cleared */
    bool queued;              /* on the ready list (a plain thread: told to go on) */
    bool is_fiber : 1;
    bool is_cold : 1;         /* it has waited for the kernel, and lies in no cache */
    uint8_t shield;           /* depth of WEIR_SHIELD scopes */
    uint8_t interrupt;        /* an errno another part wants this wait to end with, or 0 */

    struct worker *worker;
    const void *warm;         /* what it will touch when it goes on, fetched ahead: an object */
    const void *warm_name;    /* ... and what is behind its handle */
    const char *waiting_for;  /* for dumps: in words */
    struct timer timer;
    struct stack_pool *stacks; /* where its stack came from */
    struct group *group;
    struct list member;       /* in group->members, under the group's lock */
    struct list opened;       /* groups this task opened and has not closed (group.c) */
    bool has_opened;
    struct list peers;        /* in worker->tasks */
    struct mail stop_mail;
    atomic_bool stop_mailed;
    int (*fn)(void *);
    void *arg;
    char *name;
    weir_err *error;          /* weir_error(); allocated at the first failure */
};


enum {
    BUDGET = 1024,          /* switches between two looks at the kernel; an operation counts as */
    BUDGET_OP = 4,          /* ... so many */
    STREAK_MAX = 64,        /* operations in a row without a wait before others get their turn */
    STACK_CLASSES = 4,      /* sizes of stacks, each 16 times the one before */
    STACK_CLASS_SHIFT = 4,
};

struct worker {
    struct task *current;
    struct task *ready_head, *ready_last;
    int *errno_at;            /* &errno of its thread */
    int budget;               /* switches until the loop looks at the kernel again */
    int streak;               /* operations in a row that did not have to wait */
    const struct io_backend *backend;
    struct io *io;
    struct list done;
    struct timers timers;
    weir_time now;            /* as of the last look at the kernel */
    struct task *dead;        /* ended on its own stack; reaped by whoever runs next */
    struct fiber_context loop;
    struct stack_pool pools[STACK_CLASSES];
    bool native;              /* weir_native runs: waiting is a mistake */
    int id;                   /* 1..: index in the registry, 0: none */
    _Atomic(struct mail *) mailbox;
    atomic_int senders;         /* threads between pushing mail and waking us */
    struct list tasks;        /* every fiber that lives here */
    unsigned task_count;
    atomic_uint_fast64_t turns; /* for the watchdog: switches so far, */
    atomic_int asleep;          /* ... and whether it waits in the backend */
    int tid;
    atomic_bool ending;         /* the loop returns once no fiber is left */
    struct mail ending_mail;
    pthread_t thread;
    struct runtime *runtime;    /* NULL for a plain thread */
    struct task thread_task;    /* the one task of a plain thread */
};

/* ---- the runtime of weir_run (run.c); one at a time in a process ---- */
struct runtime {
    weir_config config;        /* with its zeros replaced */
    struct stack_arena *_Atomic arenas[STACK_CLASSES]; /* of config.stack_size; more on demand */
    struct group *root;
    struct worker *workers;
    int worker_count;
};
extern struct runtime *_Atomic runtime_now; /* NULL outside weir_run */
/* How many descriptors weir may use by default: all the process may have but a reserve. */
int runtime_fd_limit(void);

/* worker.c: for run.c and the plain threads of group.c */
int worker_open(struct worker *w, const struct io_backend *backend);
void worker_close(struct worker *w);
void worker_loop(struct worker *w);
/* A new fiber, ready to run, or NULL: no memory.  *arg is copied onto its stack when arg_len > 0,
 * which must have room for it; else `arg` itself is passed.  stack_size 0: the configured one. */
struct task *fiber_new(struct worker *w, int (*fn)(void *), const void *arg, size_t arg_len,
                       size_t stack_size);
/* The smallest class of stacks that has `size` bytes, or -ENOMEM: none has. */
int stack_class(const struct runtime *r, size_t size);
void task_init(struct task *t, struct worker *w, int (*fn)(void *));
struct stack_arena *runtime_arena(struct runtime *r, int class); /* run.c; NULL: no memory */
const struct task *task_at_top(const void *top); /* whose stack ends there */
void thread_detach(void); /* thread.c: takes the calling plain thread's worker down */

/* The calling thread's worker, made on first use for a plain thread; NULL: out of memory.
 * Fibers never change threads, so a cached thread-local address stays right.                 */
extern _Thread_local struct worker *worker_here;
struct worker *worker_of_thread(void);

static inline struct worker *worker_self(void)
{
    struct worker *w = worker_here;
    return likely(w) ? w : worker_of_thread();
}

static inline struct task *task_self(void)
{
    struct worker *w = worker_self();
    return likely(w) ? w->current : NULL;
}

/* Makes a task of *this* worker go on.  Harmless when it already does. */
void task_ready(struct task *t);
/* Waits until task_ready; may return for no reason: callers loop. */
void task_park(struct task *t);
/* Whether nothing but its operation's end can end a wait of the task's now. */
static inline bool task_is_unhurried(const struct task *t)
{
    return t->deadline == TIME_NEVER && !t->interrupt &&
           !atomic_load_explicit(&t->stops, memory_order_relaxed);
}
/* Lets every other ready task of the worker run first. */
void task_yield(struct task *t);
/* -ECANCELED, -ESHUTDOWN (only when `drainable`), -ETIME, -EAGAIN: why this task must not wait
 * now, or 0. */
int task_stop_reason(struct task *t, bool drainable);
/* Ends the current wait of a task of *this* worker with -error (EBADF: its handle was closed). */
void task_interrupt(struct task *t, int error);
/* Any thread; the caller must know that `t` lives (it holds the group's lock). */
void task_stop(struct task *t, unsigned stops);

/* Any thread.  To a live worker; the mail's memory must last until delivered. */
void worker_mail(struct worker *w, struct mail *m);
/* Any thread.  By registry number: false when that worker is gone. */
bool worker_mail_to(int id, struct mail *m);
/* Any thread.  To every worker alive, one piece from make(arg) each. */
void workers_mail_all(struct mail *(*make)(void *), void *arg);
/* Any thread.  Calls `visit` for every worker alive, and keeps them alive meanwhile: it must not
 * wait, and may only send mail and read what never changes. */
void workers_visit(void (*visit)(struct worker *, void *), void *arg);

/* ---- the one door to I/O (await.c) ---- */
enum {
    AWAIT_DRAINABLE = 1, /* a draining group ends the wait with -ESHUTDOWN */
    AWAIT_ALWAYS = 2,    /* close: neither deadline nor cancellation matters */
    AWAIT_IDLE = 4,      /* after a second of waiting, give the unused stack back */
    AWAIT_NOW = 8,       /* answer -EAGAIN instead of waiting */
    AWAIT_NUDGED = 16,   /* await_any: task_ready ends the wait too, with 0 when nothing is done */
};
/* Performs `op` for the calling task: its result, or why it ended.  A result beats every reason
 * to stop.  Reads cancellation on entry, before anything starts, and while it waits.  Not while a
 * spin lock is held.                                                                         */
int32_t await(struct op *op, unsigned how);
/* What is left of await once the backend has said that `op` has to wait. */
int32_t await_parked(struct worker *w, struct task *t, struct op *op, unsigned how);
/* The same, laid out where it is called, for the few calls that every request makes. */
static inline int32_t await_inline(struct op *op, unsigned how)
{
    struct worker *w = worker_here;
    if (unlikely(!w || w->native || how || !task_is_unhurried(w->current) ||
                 w->streak == STREAK_MAX))
        return await(op, how);
    op->state = OP_PENDING;
    op->waiter = w->current;
    w->budget -= BUDGET_OP;
    w->streak++;
    return w->backend->submit(w->io, op) ? op->result : await_parked(w, op->waiter, op, 0);
}
/* Gives a buffer that a receive of that worker was lent (OP_LEND) back to it, from any task. */
void io_give(int lender, void *buf);
/* The same for several operations at once: waits until at least one is done, cancels the others
 * and waits for those too.  Returns the number done with a result >= 0 (0 on none), or -errno.  */
int await_any(struct op *const *ops, int count, unsigned how);
/* Waits until the ambient deadline, at most until `until`: 0 when `until` came. */
int await_time(weir_time until);
/* For no task (post.c): starts `op` on the calling worker.  True: it is complete already.  Else
 * the mail is delivered here when it is; both must last until then. */
bool op_post(struct op *op, struct mail *m);
/* Asks that an operation this worker posted end soon, if it has not. */
void op_recall(struct op *op);

/* ---- waiting for another task (waiter.c) ----
 * A waiter lies on the waiting task's stack and on a list that a spin lock guards.  Who has
 * something for it takes it off the list under that lock and calls waiter_wake.              */
struct waiter {
    struct list link;
    struct task *task;
    void *item;             /* the queue's own: where to put or fetch the thing */
    int result;
    bool woken;             /* written on the task's own worker only */
    struct mail mail;
};
/* Sets up `w` for the calling task (not on a list yet). */
static inline void waiter_init(struct waiter *w, const char *what, void *item)
{
    struct task *t = task_self();
    list_init(&w->link);
    w->task = t;
    w->item = item;
    w->woken = false;
    t->waiting_for = what;
    t->waiting_since = t->worker->now;
}
/* Call with `lock` held and `w` on a list it guards; returns without the lock: what waiter_wake
 * was given, or -ETIME, -EAGAIN, -ECANCELED with `w` off the list and nobody holding it.
 * how: AWAIT_DRAINABLE, AWAIT_ALWAYS.                                                        */
int waiter_wait(struct waiter *w, struct spin *lock, unsigned how);
/* The same, called without the lock, some time after `w` was put on the list: it may have been
 * taken off already.  `lock` is taken only to give up. */
int waiter_await(struct waiter *w, struct spin *lock, unsigned how);
/* Any thread, `w` already off its list; `w` must not be touched afterwards. */
void waiter_wake(struct waiter *w, int result);

/* ---- groups (group.c) ---- */
struct group;
int group_new(struct group **out, struct group *parent, struct worker *home,
              const weir_group_opts *o);
void group_free(struct group *g);              /* must be empty */
/* A fiber of `g`, or a thread where no worker is at hand; *arg is copied when arg_len > 0, else
 * `arg` itself is passed.  Waits while the group is at its limit.  -EBADF when the group is not
 * the one called `name` any more. */
int group_spawn(struct group *g, void *name, int (*fn)(void *), const void *arg, size_t arg_len,
                const weir_fiber_opts *o);
void group_stop(struct group *g, unsigned stops);
/* 0 once no member is left, *result then the first non-zero result of one; or why the wait ended.
 * AWAIT_ALWAYS to wait come what may. */
int group_join(struct group *g, void *name, unsigned how, int *result);
void task_end(struct task *t, int result);     /* the last thing a task does */
/* Forgets stops that reached the calling task otherwise than through its group. */
void task_stops_reset(struct task *t);

/* ---- errors (error.c) ---- */
/* Records what failed for weir_error, sets errno, returns -1.  `error` is negative. */
int fail(int error, const char *op, const char *phase, const weir_addr *addr, weir_time since);
int fail_text(int error, const char *op, const char *phase, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
