/* signal_test.c -- what weir_signal promises, and what becomes of signals nobody asks for. */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "places.h"

#define ASK(...)                                                                                   \
    weir_signal((const int[]){ __VA_ARGS__ }, (int)(sizeof(int[]){ __VA_ARGS__ } / sizeof(int)))

static void tell(int signo)
{
    CHECK_EQ(kill(getpid(), signo), 0);
}

/* ---- asking ---- */

static atomic_int answers[8];

static int ask_usr1(void *arg)
{
    CHECK_EQ(ASK(SIGHUP, SIGUSR1), SIGUSR1);
    atomic_store((atomic_int *)arg, SIGUSR1);
    return 0;
}

static void hold(int signo)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signo);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
}

/* From now on the signal kills nobody: a runtime keeps what was asked for once, a thread blocks
 * it. */
static void claim(int signo)
{
    WEIR_TRY;
    CHECK_ERRNO(ASK(signo), EAGAIN);
    hold(signo);
}

static void asker_gets_it(void)
{
    claim(SIGUSR1);
    weir_group *g = group();
    start(g, ask_usr1, &answers[0]);
    tell(SIGUSR1);
    finish(g);
    CHECK_EQ(atomic_load(&answers[0]), SIGUSR1);
}

static int ask_once(void *arg)
{
    int got = ASK(SIGUSR1, SIGUSR2);
    atomic_store((atomic_int *)arg, got);
    return 0;
}

static int ask_hup(void *arg)
{
    int got = ASK(SIGHUP);
    atomic_store((atomic_int *)arg, got);
    return 0;
}

/* One worker: after a yield the others wait. */
static void all_askers_get_it(void)
{
    weir_group *g = group(), *other = group();
    for (int i = 0; i < 4; i++)
        CHECK_OK(weir_go(g, ask_once, &answers[i]));
    CHECK_OK(weir_go(other, ask_hup, &answers[4]));
    CHECK_OK(weir_yield());
    tell(SIGUSR2);
    finish(g);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(atomic_load(&answers[i]), SIGUSR2);
    CHECK_EQ(atomic_load(&answers[4]), 0);
    tell(SIGHUP);
    finish(other);
    CHECK_EQ(atomic_load(&answers[4]), SIGHUP);
}

static void none_is_lost_between_two_calls(void)
{
    claim(SIGUSR1);
    for (int i = 0; i < 200; i++) {
        tell(SIGUSR1);
        if (i % 3 == 0)
            weir_yield();
        CHECK_EQ(ASK(SIGUSR1), SIGUSR1);
    }
    WEIR_DEADLINE(5 * WEIR_MS);
    CHECK_ERRNO(ASK(SIGUSR1), ETIME);
}

static int ask_until_cancelled(void *arg)
{
    CHECK_ERRNO(ASK(SIGUSR1), ECANCELED);
    CHECK_ERRNO(ASK(SIGUSR1), ECANCELED);
    return arg != NULL;
}

static void asking_can_be_ended(void)
{
    {
        WEIR_DEADLINE(5 * WEIR_MS);
        CHECK_ERRNO(ASK(SIGUSR1), ETIME);
    }
    {
        WEIR_TRY;
        CHECK_ERRNO(ASK(SIGUSR1), EAGAIN);
    }
    weir_group *g = group();
    start(g, ask_until_cancelled, NULL);
    start(g, ask_until_cancelled, NULL);
    CHECK_OK(weir_group_cancel(g));
    finish(g);
}

static void nonsense_is_refused(void)
{
    CHECK_ERRNO(ASK(SIGKILL), EINVAL);
    CHECK_ERRNO(ASK(SIGUSR1, SIGSEGV), EINVAL);
    CHECK_ERRNO(ASK(0), EINVAL);
    CHECK_ERRNO(ASK(1000), EINVAL);
    CHECK_ERRNO(weir_signal(NULL, 0), EINVAL);
}

/* ---- what stays as it was ---- */

static int do_nothing(void *arg)
{
    return arg != NULL;
}

static void masks_equal(const sigset_t *a, const sigset_t *b)
{
    for (int signo = 1; signo < 32; signo++)
        CHECK_EQ(sigismember(a, signo), sigismember(b, signo));
}

TEST(mask_restored, "weir_run gives the caller's signal mask back")
{
    sigset_t before, after;
    hold(SIGALRM);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    CHECK_EQ(weir_run(NULL, do_nothing, NULL), 0);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    masks_equal(&before, &after);
    {
        WEIR_TRY;
        CHECK_ERRNO(ASK(SIGUSR1, SIGTERM), EAGAIN);
    }
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    masks_equal(&before, &after);
}

static int compare_dispositions(void *arg)
{
    const struct sigaction *before = arg;
    WEIR_TRY;
    CHECK_ERRNO(ASK(SIGUSR1, SIGTERM, SIGINT), EAGAIN);
    for (int signo = 1; signo < 32; signo++) {
        struct sigaction now;
        if (signo == SIGSEGV || signo == SIGBUS) /* the report of stack overflows has them */
            continue;
        CHECK_EQ(sigaction(signo, NULL, &now), 0);
        CHECK(now.sa_handler == before[signo].sa_handler);
    }
    return 0;
}

TEST(dispositions, "weir changes the disposition of no signal")
{
    static struct sigaction before[32];
    for (int signo = 1; signo < 32; signo++)
        CHECK_EQ(sigaction(signo, NULL, &before[signo]), 0);
    CHECK_EQ(weir_run(NULL, compare_dispositions, before), 0);
}

static int wait_to_be_killed(void *arg)
{
    int signo = *(int *)arg;
    WEIR_TRY;
    CHECK_ERRNO(ASK(SIGHUP), EAGAIN); /* asking for another one changes nothing */
    weir_deadline_restore(WEIR_NEVER);
    tell(signo);
    weir_sleep(10 * WEIR_SEC);
    return 0;
}

static void skip_under_tsan(void)
{
#if defined(__SANITIZE_THREAD__)
    SKIP("ThreadSanitizer starts no threads after a fork");
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    SKIP("ThreadSanitizer starts no threads after a fork");
#endif
#endif
}

static int in_child(int (*fn)(void *), void *arg)
{
    int status;
    skip_under_tsan();
    pid_t child = fork();
    if (child == 0)
        _exit(weir_run(NULL, fn, arg) ? 99 : 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

TEST(kills, "a signal nobody asks for has its default effect")
{
    int fatal[] = { SIGTERM, SIGINT, SIGUSR1, SIGALRM };
    for (int i = 0; i < 4; i++) {
        int status = in_child(wait_to_be_killed, &fatal[i]);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), fatal[i]);
    }
}

static int send_itself_child(void *arg)
{
    tell(SIGCHLD); /* ignored by default */
    tell(SIGCONT);
    tell(SIGWINCH);
    return do_nothing(arg);
}

TEST(ignored, "a signal that is ignored by default stays without effect")
{
    CHECK_EQ(in_child(send_itself_child, NULL), 0);
}

/* ---- the program's own handlers ---- */

static sem_t handled;
static atomic_int handler_tid, handled_count, handled_value;

static void handler(int signo, siginfo_t *info, void *context)
{
    (void)context;
    atomic_store(&handler_tid, gettid());
    atomic_fetch_add(&handled_count, 1);
    atomic_store(&handled_value, signo == SIGRTMIN ? info->si_value.sival_int : (int)info->si_pid);
    sem_post(&handled);
}

static void handle(int signo)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };
    CHECK_EQ(sem_init(&handled, 0, 0), 0);
    CHECK_EQ(sigaction(signo, &action, NULL), 0);
}

static void await_handler(void)
{
    while (sem_trywait(&handled))
        weir_sleep(50 * WEIR_US);
}

static int tid_of_worker(void *arg)
{
    CHECK(gettid() != atomic_load(&handler_tid));
    return do_nothing(arg);
}

static int handler_elsewhere(void *arg)
{
    tell(SIGUSR1);
    await_handler();
    CHECK_EQ(atomic_load(&handled_value), getpid());
    weir_group *g = weir_group_open(NULL);
    for (int i = 1; i <= 4; i++)
        CHECK_OK(weir_go_copy(g, tid_of_worker, NULL, 0, &(weir_fiber_opts){ .worker = i }));
    finish(g);
    CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 1234 }), 0);
    await_handler();
    CHECK_EQ(atomic_load(&handled_value), 1234);
    CHECK_EQ(atomic_load(&handled_count), 2);
    return do_nothing(arg);
}

TEST(handlers, "the program's handlers run with all their particulars, but never on a worker")
{
    handle(SIGUSR1);
    handle(SIGRTMIN);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 4 }, handler_elsewhere, NULL), 0);
}

/* ---- the end of the runtime ---- */

static int leave_signals_behind(void *arg)
{
    claim(SIGUSR1);
    tell(SIGUSR1);
    CHECK_EQ(ASK(SIGUSR1), SIGUSR1);
    tell(SIGUSR1); /* kept, but nobody comes */
    CHECK_EQ(atomic_load(&handled_count), 0);
    return do_nothing(arg);
}

TEST(kept, "a signal kept for nobody is delivered when the runtime ends")
{
    handle(SIGUSR1);
    hold(SIGUSR1);
    sigset_t pending, set;
    CHECK_EQ(weir_run(NULL, leave_signals_behind, NULL), 0);
    CHECK_EQ(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR1));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    CHECK_EQ(atomic_load(&handled_count), 1);
}

static int raise_and_wait(void *arg)
{
    CHECK_EQ(raise(SIGUSR1), 0);
    tell(SIGRTMIN); /* has been through the steward when its handler ran */
    await_handler();
    CHECK_EQ(atomic_load(&handled_count), 1);
    return do_nothing(arg);
}

TEST(raised, "a signal that a fiber raises waits in its thread, and is delivered when the run ends")
{
    handle(SIGUSR1);
    handle(SIGRTMIN);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, raise_and_wait, NULL), 0);
    CHECK_EQ(atomic_load(&handled_count), 2);
    CHECK_EQ(atomic_load(&handler_tid), gettid());
}

static int ask_first(void *arg)
{
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, ask_once, &answers[0]));
    CHECK_OK(weir_yield());
    tell(SIGUSR1);
    finish(g);
    tell(SIGUSR1);
    return do_nothing(arg);
}

TEST(kept_unblocked, "what was kept meets the handler that is there when the runtime ends")
{
    handle(SIGUSR1);
    CHECK_EQ(weir_run(NULL, ask_first, NULL), 0);
    CHECK_EQ(atomic_load(&answers[0]), SIGUSR1);
    CHECK_EQ(atomic_load(&handled_count), 1);
}

static int send_blocked(void *arg)
{
    tell(SIGUSR2);
    return do_nothing(arg);
}

TEST(blocked, "a signal the caller of weir_run blocks is left alone unless asked for")
{
    sigset_t pending;
    hold(SIGUSR2);
    CHECK_EQ(weir_run(NULL, send_blocked, NULL), 0);
    CHECK_EQ(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR2));
}

static int write_to_nobody(void *arg)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    close(ends[0]);
    CHECK_ERRNO((int)write(ends[1], "x", 1), EPIPE);
    close(ends[1]);
    return do_nothing(arg);
}

TEST(sigpipe, "a fiber's write to a pipe nobody reads fails, and kills neither then nor later")
{
    CHECK_EQ(in_child(write_to_nobody, NULL), 0);
}

TEST_TABLE(signals)
{
    add_places(EVERYWHERE, "a task that asks for a signal gets it", asker_gets_it);
    add_places(ONE_WORKER, "a signal goes to all who wait for it, and to nobody else",
               all_askers_get_it);
    add_places(EVERYWHERE, "no signal is lost between two calls of weir_signal",
               none_is_lost_between_two_calls);
    add_places(EVERYWHERE, "deadline and cancellation end the wait for a signal",
               asking_can_be_ended);
    add_places(EVERYWHERE, "signals nobody can wait for are refused", nonsense_is_refused);
}
