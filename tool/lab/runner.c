/* runner.c -- one experiment, run to its end and cleaned up after.
 *
 * Three processes: the command; a keeper; and the experiment, in a world of its own. The keeper
 * outlives both of the others: it adopts what the experiment leaves behind, ends it and removes
 * its files, whether the experiment returned, crashed or hung, or the command was killed, which
 * the keeper learns from the end of a pipe that only the command holds open.                  */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

enum { SECONDS_MAX = 10, SWEEPS_MAX = 100 };

#ifdef __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || HAS(address_sanitizer)
#include <sanitizer/lsan_interface.h>
enum { SLOWNESS = 5 };
static bool leaks_memory(void)
{
    return __lsan_do_recoverable_leak_check() != 0;
}
#else
#if defined(__SANITIZE_THREAD__) || HAS(thread_sanitizer)
enum { SLOWNESS = 10 };
#else
enum { SLOWNESS = 1 };
#endif
static bool leaks_memory(void)
{
    return false;
}
#endif

struct lab *record_new(void)
{
    void *memory = mmap(NULL, sizeof(struct lab), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* ---- the experiment ---- */

static int count_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

/* What it returned holds only if what it saw was expected, and if it cleaned up. */
static enum verdict judge(struct lab *lab, enum verdict verdict, int leaked)
{
    if (verdict == SKIPPED)
        return SKIPPED;
    const char *failure = record_failure(lab);
    if (failure)
        return conclude(lab, FAILED, "%s", failure);
    if (leaked)
        return conclude(lab, FAILED, "it left %d descriptors open", leaked);
    if (leaks_memory())
        return conclude(lab, FAILED, "it left memory allocated");
    return verdict;
}

static _Noreturn void be_experiment(struct lab *lab, const struct world *world, pid_t keeper)
{
    struct world here = *world;
    if (world->is_private)
        world_enter(&here); /* which may have become impossible since it was tried */
    lab->is_own_net = here.is_private;
    /* With the keeper, should somebody kill that, too; entering a namespace would unset it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper)
        _exit(1);
    if (world_has(lab, &here, lab->experiment->needs)) {
        int before = count_descriptors();
        int64_t begin = clock_ns();
        enum verdict verdict = lab->experiment->run(lab);
        lab->ms = ms_since(begin);
        lab->verdict = judge(lab, verdict, count_descriptors() - before);
    }
    lab->is_over = true;
    _exit(0);
}

/* ---- the keeper ---- */

static void wake(int signal_number)
{
    (void)signal_number;
}

/* Ends all that is left, and counts it. The experiment's process, dead or alive, is still there
 * to be awaited, so that the number of its group belongs to nobody else. */
static int sweep(pid_t group, int *status)
{
    int count = 0;
    kill(-group, SIGKILL);
    waitpid(group, status, 0);
    for (int i = 0; i < SWEEPS_MAX; i++) {
        char line[32] = "", path[64];
        /* Orphans are the keeper's children, whatever group they are in. */
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        FILE *children = fopen(path, "re");
        while (children && fscanf(children, "%31s", line) == 1)
            kill(atoi(line), SIGKILL);
        if (children)
            fclose(children);
        if (waitpid(-1, NULL, 0) < 0)
            break;
        count++;
    }
    return count;
}

static void remove_dir(const char *dir)
{
    char path[330];
    DIR *entries = dir[0] ? opendir(dir) : NULL;
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        unlink(path);
    }
    closedir(entries);
    rmdir(dir);
}

enum ending { ENDED, OUT_OF_TIME, COMMAND_GONE };

/* Until the experiment ends, its time is up, or the command is gone. */
static enum ending await_experiment(pid_t pid, int life, int seconds)
{
    int64_t end = clock_ns() + seconds * 1000000000LL;
    sigset_t none;
    sigemptyset(&none);
    for (;;) {
        struct pollfd watched = { .fd = life, .events = POLLIN };
        int64_t left = end - clock_ns();
        siginfo_t info = { .si_pid = 0 };
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
        if (info.si_pid == pid)
            return ENDED;
        if (left <= 0)
            return OUT_OF_TIME;
        struct timespec wait = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
        if (ppoll(&watched, 1, &wait, &none) > 0)
            return COMMAND_GONE;
    }
}

static void conclude_end(struct lab *lab, enum ending ending, int status, int seconds, int left)
{
    if (ending == OUT_OF_TIME)
        lab->verdict = conclude(lab, FAILED, "it was not done after %d s", seconds);
    else if (WIFSIGNALED(status))
        lab->verdict = conclude(lab, FAILED, "it was ended by signal %d, %s", WTERMSIG(status),
                                strsignal(WTERMSIG(status)));
    else if (!lab->is_over)
        lab->verdict = conclude(lab, FAILED, "its process ended with status %d",
                                WEXITSTATUS(status));
    else if (left > 0 && lab->verdict != FAILED) /* a sanitizer's report leaves its helper, too */
        lab->verdict = conclude(lab, FAILED, "it left %d processes behind", left);
}

static _Noreturn void be_keeper(struct lab *lab, const struct world *world, int life)
{
    struct sigaction on_child = { .sa_handler = wake }, unhandled = { .sa_handler = SIG_DFL };
    int limit = lab->experiment->seconds_max ? lab->experiment->seconds_max : SECONDS_MAX;
    int seconds = limit * SLOWNESS, status = 0;
    sigset_t child, before;
    /* A group of its own: what a terminal sends ends the command, and the keeper cleans up. */
    setpgid(0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    sigaction(SIGCHLD, &on_child, NULL);
    pid_t keeper = getpid(), pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        close(life);
        sigaction(SIGCHLD, &unhandled, NULL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        be_experiment(lab, world, keeper);
    }
    if (pid < 0) {
        lab->verdict = conclude(lab, FAILED, "there is no process left for it");
        _exit(1);
    }
    setpgid(pid, pid);
    enum ending ending = await_experiment(pid, life, seconds);
    int left = sweep(pid, &status);
    conclude_end(lab, ending, status, seconds, left);
    remove_dir(lab->dir);
    _exit(0);
}

/* ---- the command ---- */

void experiment_run(const struct experiment *experiment, const struct world *world,
                    struct lab *lab)
{
    int life[2], status = 0;
    *lab = (struct lab){ .experiment = experiment, .verdict = FAILED };
    if (pipe2(life, O_CLOEXEC) != 0) {
        conclude(lab, FAILED, "there is no descriptor left for it");
        return;
    }
    fflush(NULL);
    pid_t keeper = fork();
    if (keeper == 0) {
        close(life[1]);
        be_keeper(lab, world, life[0]);
    }
    close(life[0]);
    if (keeper < 0)
        conclude(lab, FAILED, "there is no process left for it");
    while (keeper > 0 && waitpid(keeper, &status, 0) < 0 && errno == EINTR)
        continue;
    close(life[1]);
    if (WIFSIGNALED(status)) { /* somebody was after it: the experiment has ended with it */
        lab->verdict = conclude(lab, FAILED, "its keeper was ended by signal %d, %s",
                                WTERMSIG(status), strsignal(WTERMSIG(status)));
        remove_dir(lab->dir);
    }
}
