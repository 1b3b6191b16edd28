/* signals.c -- signals as something to wait for, and their usual effect for everybody else.
 *
 * In a runtime every worker blocks all asynchronous signals, so those sent to the process stay
 * pending until the steward's thread takes them, one by one, with sigtimedwait(2).  Only then is
 * it decided what becomes of each: if weir_signal has ever asked for it, it goes to all tasks
 * that wait for it now, or is kept for the next that will; if not, it is sent on to the
 * steward's own thread and let through, so that the default action or the program's handler
 * happens there, never on a fiber's stack.  Because nothing is let through undecided, there is
 * no moment at which a signal that somebody waits for could still kill.
 *
 * A signal sent to one thread (raise(3), pthread_kill(3)) belongs to that thread and can be seen
 * by no other: to a worker it stays pending until the run ends, as docs/decisions/signals.md
 * explains.  The program's dispositions are never changed.                                   */
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime.h"
#include "signals.h"
#include "steward.h"

struct asker {
    struct waiter waiter;
    sigset_t set;
    int signo;
    struct asker *next; /* of those that one signal wakes */
};

static struct {
    struct spin lock;
    bool open;
    sigset_t outer;      /* the mask of weir_run's caller: what it blocks is not ours to take */
    sigset_t asked;      /* what weir_signal has asked for in this runtime */
    unsigned kept[_NSIG];
    struct list askers;
    int fd;
    void (*poke)(void);
} signals = { .fd = -1, .askers = LIST_INIT(signals.askers) };

/* ---- sets ---- */

static bool is_synchronous(int signo)
{
    return signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL ||
           signo == SIGTRAP || signo == SIGABRT || signo == SIGSYS;
}

/* A background process that reads or writes its terminal is stopped by one of these, but gets
 * EIO when it blocks them; so they stay as they are unless a handler would run. */
static bool is_job_control(int signo)
{
    struct sigaction action;
    return (signo == SIGTTIN || signo == SIGTTOU) && sigaction(signo, NULL, &action) == 0 &&
           action.sa_handler == SIG_DFL;
}

static void asynchronous(sigset_t *set)
{
    sigfillset(set);
    for (int signo = 1; signo < _NSIG; signo++)
        if (is_synchronous(signo) || is_job_control(signo))
            sigdelset(set, signo);
}

void signals_block_in_worker(sigset_t *saved)
{
    sigset_t set, before;
    asynchronous(&set);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    if (saved)
        *saved = signals.outer = before;
}

/* A write to a pipe nobody reads has failed with EPIPE already; blocked, its SIGPIPE stayed
 * behind, and would now kill the program long after the fact. */
static void forget_sigpipe(const sigset_t *mask)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    if (!sigismember(mask, SIGPIPE))
        while (sigtimedwait(&set, NULL, &(struct timespec){ 0 }) > 0) {
        }
}

void signals_restore(const sigset_t *saved)
{
    forget_sigpipe(saved);
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* What the steward takes: all it may, and what was asked for explicitly. */
static void set_to_take(sigset_t *set)
{
    sigset_t all;
    asynchronous(&all);
    sigemptyset(set);
    spin_lock(&signals.lock);
    for (int signo = 1; signo < _NSIG; signo++)
        if (sigismember(&signals.asked, signo) ||
            (sigismember(&all, signo) == 1 && !sigismember(&signals.outer, signo)))
            sigaddset(set, signo);
    spin_unlock(&signals.lock);
}

/* ---- the steward's part ---- */

int signals_open(void (*poke)(void))
{
    sigset_t none;
    sigemptyset(&none);
    int fd = signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    signals.fd = fd;
    signals.poke = poke;
    sigemptyset(&signals.asked);
    memset(signals.kept, 0, sizeof signals.kept);
    spin_lock(&signals.lock);
    signals.open = true;
    spin_unlock(&signals.lock);
    signals_update();
    return 0;
}

int signals_fd(void)
{
    return signals.fd;
}

void signals_update(void)
{
    sigset_t set;
    set_to_take(&set);
    signalfd(signals.fd, &set, 0);
}

/* Its usual effect, on this thread, with the sender's particulars. */
static void let_through(int signo, siginfo_t *info)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signo);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), signo, info);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* With the lock: those who wait for it, off the list, in the order they came. */
static struct asker *askers_pop(int signo)
{
    struct asker *first = NULL, **last = &first;
    list_for_each(link, &signals.askers) {
        struct asker *a = container_of(link, struct asker, waiter.link);
        if (!sigismember(&a->set, signo))
            continue;
        list_remove(link);
        a->signo = signo;
        a->next = NULL;
        *last = a;
        last = &a->next;
    }
    return first;
}

static void askers_wake(struct asker *a)
{
    while (a) {
        struct asker *next = a->next;
        waiter_wake(&a->waiter, a->signo);
        a = next;
    }
}

static void dispatch(int signo, siginfo_t *info)
{
    spin_lock(&signals.lock);
    bool asked = sigismember(&signals.asked, signo);
    struct asker *askers = askers_pop(signo);
    if (asked && !askers)
        signals.kept[signo]++;
    spin_unlock(&signals.lock);
    if (asked)
        askers_wake(askers);
    else
        let_through(signo, info);
}

void signals_take(void)
{
    sigset_t set;
    siginfo_t info;
    int signo;
    set_to_take(&set);
    while ((signo = sigtimedwait(&set, &info, &(struct timespec){ 0 })) > 0)
        dispatch(signo, &info);
}

void signals_close(void)
{
    spin_lock(&signals.lock);
    signals.open = false;
    struct asker *left = NULL;
    struct list *link;
    while ((link = list_pop(&signals.askers))) {
        struct asker *a = container_of(link, struct asker, waiter.link);
        a->signo = 0;
        a->next = left;
        left = a;
    }
    spin_unlock(&signals.lock);
    askers_wake(left);
    for (int signo = 1; signo < _NSIG; signo++)
        for (unsigned i = 0; i < signals.kept[signo]; i++)
            kill(getpid(), signo);
    close(signals.fd);
    signals.fd = -1;
}

/* ---- asking ---- */

/* In a runtime: the signal, a reason not to wait, or 0 when the runtime ended or there is none. */
static int ask_steward(const sigset_t *set)
{
    struct asker a = { .set = *set };
    waiter_init(&a.waiter, "a signal", NULL);
    spin_lock(&signals.lock);
    if (!signals.open) {
        spin_unlock(&signals.lock);
        return 0;
    }
    bool grown = false;
    for (int signo = 1; signo < _NSIG; signo++) {
        if (!sigismember(set, signo))
            continue;
        if (signals.kept[signo]) {
            signals.kept[signo]--;
            spin_unlock(&signals.lock);
            return signo;
        }
        grown |= !sigismember(&signals.asked, signo);
        sigaddset(&signals.asked, signo);
    }
    list_push(&signals.askers, &a.waiter.link);
    if (grown)
        signals.poke(); /* with the lock, or the steward's descriptors might be gone */
    spin_unlock(&signals.lock);
    return waiter_await(&a.waiter, &signals.lock, 0);
}

/* Without a runtime; the calling thread blocks them. */
static int wait_in_thread(const sigset_t *set)
{
    int signo, error = 0;
    int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    while ((signo = sigtimedwait(set, NULL, &(struct timespec){ 0 })) < 0 && error >= 0) {
        struct op op = { .kind = OP_POLL, .fd = fd, .flags = OP_FOREIGN,
                         .poll = { .events = POLLIN } };
        error = await(&op, 0);
    }
    close(fd);
    return signo > 0 ? signo : error;
}

/* Workers block them already; a plain thread does while it waits. */
static int wait_for(const sigset_t *set)
{
    sigset_t mask;
    bool in_worker = worker_here->runtime;
    if (!in_worker)
        pthread_sigmask(SIG_BLOCK, set, &mask);
    int got = ask_steward(set);
    if (!got)
        got = wait_in_thread(set);
    if (!in_worker)
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return got;
}

static int set_of(const int *signo, int n, sigset_t *set)
{
    sigemptyset(set);
    for (int i = 0; i < n; i++)
        if (signo[i] == SIGKILL || signo[i] == SIGSTOP || is_synchronous(signo[i]) ||
            sigaddset(set, signo[i]))
            return fail_text(-EINVAL, "signal", "ask", "nobody can wait for signal %d", signo[i]);
    return n > 0 ? 0 : fail_text(-EINVAL, "signal", "ask", "no signal was named");
}

int weir_signal(const int *signo, int n)
{
    sigset_t set;
    struct worker *self = worker_self();
    if (!self)
        return fail(-ENOMEM, "signal", NULL, NULL, 0);
    if (set_of(signo, n, &set))
        return -1;
    weir_time since = self->now;
    int stop = task_stop_reason(self->current, false);
    int got = stop == -ECANCELED ? stop : wait_for(&set);
    return got > 0 ? got : fail(got, "signal", "wait", NULL, since);
}
