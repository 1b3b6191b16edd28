/* process.c -- serving with processes: one for each connection, or a stock of them.
 *
 * The parent knows its children by their pidfds and waits for these alone, so SIGCHLD and other
 * children of the program are left as they are.  A child inherits the read end of a pipe whose
 * only writer is the parent: a byte in it tells all children to drain, and so does its end, when
 * the parent was killed; its end after the byte tells them to cancel.  A child of WEIR_PROCESS has
 * the signal mask of weir_serve's caller and no signal handlers; a worker of WEIR_PREFORK is a
 * server itself and takes the same signals.                                                   */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"

#define RESTART_MIN (10 * WEIR_MS)
#define RESTART_MAX (1 * WEIR_SEC)
#define LIVED_WELL (1 * WEIR_SEC) /* who dies younger is restarted ever later */
#define KILL_AFTER (1 * WEIR_SEC)

struct child {
    struct post end;
    struct list link;
    struct family *family;
    pid_t pid;
    int pidfd;
    weir_time born;
};

struct family {
    struct server *server;
    struct stopper stopper;
    struct list children;
    int life[2];        /* the pipe */
    weir_time next_birth;
    int64_t delay;      /* between a death and the next birth */
};

/* ---- the end of a child ---- */

static void child_free(struct child *c)
{
    list_remove(&c->link);
    if (c->pidfd >= 0)
        close(c->pidfd);
    free(c);
}

static void delay_births(struct family *f, const struct child *c)
{
    weir_time now = weir_now();
    bool well = now - c->born >= LIVED_WELL;
    int64_t longer = f->delay ? time_min(2 * f->delay, RESTART_MAX) : RESTART_MIN;
    f->delay = well ? 0 : longer;
    f->next_birth = time_add(now, f->delay);
}

static void child_buried(struct child *c)
{
    struct server *s = c->family->server;
    delay_births(c->family, c);
    child_free(c);
    atomic_fetch_sub(&s->live, 1);
    serve_left(s);
    bell_ring(&s->changed);
}

/* The program may have asked the kernel not to keep its dead; then they are gone already. */
static bool child_reaped(struct child *c)
{
    pid_t pid = waitpid(c->pid, NULL, WNOHANG);
    if (pid == 0 || (pid < 0 && errno != ECHILD))
        return false;
    child_buried(c);
    return true;
}

static void child_ended(struct post *p)
{
    struct child *c = container_of(p, struct child, end);
    if (!child_reaped(c))
        post_begin(p, c->pidfd, POLLIN, child_ended);
}

static void children_kill(struct family *f)
{
    list_for_each(link, &f->children)
        pidfd_send_signal(container_of(link, struct child, link)->pidfd, SIGKILL, NULL, 0);
}

/* ---- the beginning of a child ---- */

/* What a program that was just executed would find, except that handlers which report crashes
 * stay. */
static void signals_default(void)
{
    struct sigaction action;
    for (int signo = 1; signo < _NSIG; signo++) {
        if (signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL ||
            signo == SIGTRAP || signo == SIGABRT || signo == SIGSYS)
            continue;
        if (!sigaction(signo, NULL, &action) && action.sa_handler != SIG_DFL &&
            action.sa_handler != SIG_IGN)
            signal(signo, SIG_DFL);
    }
}

/* In the child: what it has of the parent's is given up.  Nothing of this reaches the parent.  The
 * ends of brothers and sisters are none of its business any more, while it gives them up. */
static void family_leave(struct family *f)
{
    close(f->life[1]);
    list_for_each(link, &f->children)
        container_of(link, struct child, link)->end.came = NULL;
    list_for_each(link, &f->children) {
        struct child *c = container_of(link, struct child, link);
        post_end(&c->end);
        child_free(c);
    }
    signals_default();
    stopper_close(&f->stopper);
}

/* 0 in the child, 1 in the parent, or -errno. */
static int family_fork(struct family *f)
{
    struct child *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    pid_t pid = fork();
    if (pid <= 0) {
        int error = pid ? -errno : 0;
        free(c);
        return error;
    }
    c->family = f;
    c->pid = pid;
    c->born = weir_now();
    list_push(&f->children, &c->link);
    atomic_fetch_add(&f->server->live, 1);
    return 1;
}

/* Apart from the fork, so that a connection's descriptor can be given up first.  Without a
 * descriptor nobody would learn of the child's end: it is waited for, and nobody accepted
 * meanwhile.  Where the kernel keeps no dead, the child may be gone already. */
static void newest_watch(struct family *f)
{
    struct child *c = container_of(f->children.prev, struct child, link);
    while ((c->pidfd = pidfd_open(c->pid, 0)) < 0 && errno != ESRCH) {
        WEIR_SHIELD(2 * RETRY_DELAY);
        await_time(weir_after(RETRY_DELAY));
    }
    if (c->pidfd < 0)
        child_buried(c);
    else
        post_begin(&c->end, c->pidfd, POLLIN, child_ended);
}

/* ---- the life of a family ---- */

static int pidfds_work(void)
{
    int fd = pidfd_open(getpid(), 0);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int family_open(struct family *f, struct server *s)
{
    *f = (struct family){ .server = s };
    list_init(&f->children);
    int error = pidfds_work();
    if (error)
        return error;
    if (pipe2(f->life, O_CLOEXEC))
        return -errno;
    error = stopper_open(&f->stopper, s, -1);
    if (!error)
        return 0;
    stopper_close(&f->stopper);
    close(f->life[0]);
    close(f->life[1]);
    return error;
}

/* Waits for a child's end, a signal or a moment: 0, or why the task must stop. */
static int family_wait(struct family *f, weir_time until)
{
    spin_lock(&f->server->changed.lock);
    return bell_wait_until(&f->server->changed, "its children", AWAIT_DRAINABLE, until);
}

/* The same, whatever wants the task to stop. */
static void family_await(struct family *f, weir_time until)
{
    WEIR_SHIELD(until == TIME_NEVER ? TIME_NEVER : until - weir_now());
    spin_lock(&f->server->changed.lock);
    bell_wait(&f->server->changed, "its children", 0);
}

/* The children drain from now on, those to come as well. */
static int family_conclude(struct family *f, int error)
{
    ssize_t written = write(f->life[1], "", 1);
    must(written == 1);
    return stopper_conclude(&f->stopper, error);
}

/* Children have a grace period of their own.  Those who are left after that, or after they were
 * told to cancel, do not listen any more. */
static void family_end(struct family *f, bool at_once)
{
    struct stopper *b = &f->stopper;
    weir_time until = weir_after(time_add(f->server->opts.drain, KILL_AFTER));
    bool cancelled = false, killed = false;
    while (!list_is_empty(&f->children)) {
        if (!cancelled && (at_once || atomic_load(&b->heard) > 1)) {
            cancelled = true;
            close(f->life[1]);
            until = weir_after(KILL_AFTER);
        }
        if (!killed && weir_now() >= until) {
            killed = true;
            children_kill(f);
            until = TIME_NEVER;
        }
        family_await(f, until);
    }
    if (!cancelled)
        close(f->life[1]);
    close(f->life[0]);
    stopper_close(b);
}

/* ---- one for each connection ---- */

static _Noreturn void child_visit(struct family *f, weir_conn *c, bool late)
{
    struct server *s = f->server;
    struct stopper b;
    int life = f->life[0];
    family_leave(f);
    weir_close(s->listener);
    s->opts.no_signals = true;
    int error = stopper_open(&b, s, life);
    int result = error ? error : serve_through(s, c, late);
    _exit(result < 0);
}

/* The client waits while no process can be had, and others wait behind it in the queue. */
static int visit_start(struct family *f, weir_conn *c, bool late)
{
    int forked;
    do
        forked = family_fork(f);
    while ((forked == -EAGAIN || forked == -ENOMEM) && !await_time(weir_after(RETRY_DELAY)));
    if (forked == 0)
        child_visit(f, c, late);
    if (forked < 0) {
        weir_abort(c);
        return forked;
    }
    conn_leave(c);
    newest_watch(f);
    return 0;
}

static unsigned count_live(const struct server *s)
{
    return atomic_load(&s->live);
}

static int accept_all(struct family *f)
{
    struct server *s = f->server;
    for (;;) {
        int error = serve_make_room(s, count_live);
        if (error)
            return error;
        weir_conn *c = weir_accept(s->listener, NULL);
        error = c ? visit_start(f, c, false) : -errno;
        if (error && !serve_retries(error))
            return error;
    }
}

static void accept_late(struct family *f)
{
    struct server *s = f->server;
    weir_conn *c;
    for (int i = 0; i < LATE_MAX; i++)
        if (!(c = serve_accept_late(s, count_live)) || visit_start(f, c, true))
            break;
}

int serve_processes(struct server *s)
{
    struct family f;
    int error = family_open(&f, s);
    if (error)
        return error;
    error = family_conclude(&f, accept_all(&f));
    if (!error)
        accept_late(&f);
    weir_close(s->listener);
    family_end(&f, error);
    return error;
}

/* ---- a stock of processes ---- */

static unsigned stock_size(const struct server *s)
{
    cpu_set_t set;
    if (s->opts.max_conns)
        return s->limit;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static _Noreturn void child_work(struct family *f)
{
    int life = f->life[0];
    family_leave(f);
    _exit(serve_iterative(f->server, life) < 0);
}

/* Until the stock is complete, or must wait before it may be. */
static void stock_fill(struct family *f, unsigned size)
{
    while (count_live(f->server) < size && weir_now() >= f->next_birth) {
        int forked = family_fork(f);
        if (forked == 0)
            child_work(f);
        if (forked > 0)
            newest_watch(f);
        else
            f->next_birth = weir_after(RESTART_MAX);
    }
}

int serve_prefork(struct server *s)
{
    struct family f;
    int error = family_open(&f, s);
    unsigned size = stock_size(s);
    if (error)
        return error;
    while (!error) {
        stock_fill(&f, size);
        bool full = count_live(s) >= size;
        error = family_wait(&f, full ? TIME_NEVER : f.next_birth);
    }
    error = family_conclude(&f, error);
    weir_close(s->listener);
    family_end(&f, error);
    return error;
}
