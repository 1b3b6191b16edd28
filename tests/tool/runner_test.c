/* runner_test.c -- what the lab's runner makes of experiments that misbehave. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tool/lab/runner.h"
#include "test.h"

static const struct world in_the_open = { .reason = "it was told so", .remedy = "ask it not to" };

static struct lab *run_in(const struct world *world, enum verdict (*run)(struct lab *lab),
                          unsigned needs)
{
    static struct experiment experiment;
    struct lab *lab = record_new();
    CHECK(lab);
    experiment = (struct experiment){ .id = "test-1", .needs = needs, .run = run,
                                      .seconds_max = 1 };
    experiment_run(&experiment, world, lab);
    return lab;
}

static struct lab *run_it(enum verdict (*run)(struct lab *lab), unsigned needs)
{
    return run_in(&in_the_open, run, needs);
}

static void check_end(const struct lab *lab, enum verdict verdict, const char *part)
{
    if (lab->verdict != verdict || !strstr(lab->conclusion, part))
        FAIL("%s: %s", verdict_word(lab->verdict), lab->conclusion);
}

static bool is_there(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

/* ---- what an experiment may do ---- */

static enum verdict observes(struct lab *lab)
{
    observe_number(lab, "two and two", 4, 4);
    observe_range(lab, "pi", 3.14, 3.1, 3.2, "");
    observe_text(lab, "a word", "word", "word");
    observe_bool(lab, "truth", true, true);
    observe_errno(lab, "close", close(-1), EBADF);
    observe_errno(lab, "getpid", getpid(), 0);
    note(lab, "a note", "about %d things", 2);
    note_number(lab, "a measure", 1.5, "ms");
    return conclude(lab, REFINED, "all %s", "well");
}

TEST(runner_verdict, "an experiment whose expectations hold has the verdict that it returned")
{
    char buf[120];
    struct lab *lab = run_it(observes, 0);
    check_end(lab, REFINED, "all well");
    CHECK_EQ(lab->row_count, 8);
    CHECK_STR(row_got(&lab->rows[0], buf, sizeof buf), "4");
    CHECK_STR(row_got(&lab->rows[1], buf, sizeof buf), "3.14");
    CHECK_STR(row_expected(&lab->rows[1], buf, sizeof buf), "3.1 to 3.2");
    CHECK_STR(row_got(&lab->rows[4], buf, sizeof buf), "EBADF");
    CHECK_STR(row_got(&lab->rows[5], buf, sizeof buf), "success");
    CHECK_STR(row_got(&lab->rows[6], buf, sizeof buf), "about 2 things");
    CHECK_STR(row_got(&lab->rows[7], buf, sizeof buf), "1.5 ms");
}

static int which;

/* One observation that is not as expected, among others that are. */
static enum verdict errs(struct lab *lab)
{
    observe_number(lab, "right", 1, 1);
    if (which == 0)
        observe_number(lab, "wrong", 5, 4);
    else if (which == 1)
        observe_range(lab, "wrong", 3.3, 3.1, 3.2, "ms");
    else if (which == 2)
        observe_text(lab, "wrong", "word", "words");
    else if (which == 3)
        observe_bool(lab, "wrong", false, true);
    else if (which == 4)
        observe_errno(lab, "wrong", close(-1), 0);
    else if (which == 5)
        observe_errno(lab, "wrong", 0, EBADF);
    observe_number(lab, "right", 1, 1);
    return conclude(lab, CONFIRMED, "all well");
}

TEST(runner_failed, "an observation that is not as expected fails the experiment, in words")
{
    static const char *const words[] = {
        "wrong is 5; the lab expects 4", "wrong is 3.3 ms; the lab expects 3.1 to 3.2 ms",
        "wrong is \"word\"; the lab expects \"words\"", "wrong is no; the lab expects yes",
        "wrong is EBADF; the lab expects success", "wrong is success; the lab expects EBADF",
    };
    for (which = 0; which < 6; which++)
        check_end(run_it(errs, 0), FAILED, words[which]);
}

static enum verdict sees_nothing(struct lab *lab)
{
    note(lab, "a note", "is no observation");
    return conclude(lab, CONFIRMED, "so I say");
}

TEST(runner_nothing, "an experiment that observes nothing fails, whatever it says")
{
    check_end(run_it(sees_nothing, 0), FAILED, "nothing that could fail");
}

static enum verdict sees_much(struct lab *lab)
{
    for (int i = 0; i <= ROWS_MAX; i++)
        observe_number(lab, "again", 1, 1);
    return conclude(lab, CONFIRMED, "all well");
}

static enum verdict draws_much(struct lab *lab)
{
    observe_number(lab, "once", 1, 1);
    picture(lab, BARS, 0, "many", NULL, NULL);
    for (int i = 0; i <= ITEMS_MAX; i++)
        bar(lab, "again", i, 0);
    for (int i = 0; i <= PICTURES_MAX; i++)
        picture(lab, BARS, 0, "more", NULL, NULL);
    return conclude(lab, CONFIRMED, "all well");
}

TEST(runner_full, "an experiment that records more than there is room for fails and harms nothing")
{
    struct lab *lab = run_it(sees_much, 0);
    check_end(lab, FAILED, "more than there is room for");
    CHECK_EQ(lab->row_count, ROWS_MAX);
    lab = run_it(draws_much, 0);
    check_end(lab, FAILED, "more than there is room for");
    CHECK_EQ(lab->item_count, ITEMS_MAX);
    CHECK_EQ(lab->picture_count, PICTURES_MAX);
}

static enum verdict skips(struct lab *lab)
{
    return skip(lab, "buy one", "there is no %s here", "card");
}

static enum verdict is_never_run(struct lab *lab)
{
    return conclude(lab, CONFIRMED, "it ran");
}

TEST(runner_skipped, "an experiment that cannot be tried is skipped with a reason and a remedy")
{
    struct lab *lab = run_it(skips, 0);
    check_end(lab, SKIPPED, "there is no card here");
    CHECK_STR(lab->remedy, "buy one");
    lab = run_it(is_never_run, NEEDS_NET);
    check_end(lab, SKIPPED, "it needs a network namespace of its own; it was told so");
    CHECK_STR(lab->remedy, "ask it not to");
}

/* In a process with one thread: in a user namespace that may have none below it. The verdict that
 * an experiment has there which needs one; -1: user namespaces are refused. */
static int run_too_late(void)
{
    struct world private = { .is_private = true };
    if (unshare(CLONE_NEWUSER) != 0)
        return -1;
    int fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
    bool is_set = fd >= 0 && write(fd, "0", 1) == 1;
    struct lab *lab = run_in(&private, is_never_run, NEEDS_NET);
    bool is_told = strstr(lab->conclusion, "user.max_user_namespaces is 0 here") && lab->remedy[0];
    return is_set && is_told ? (int)lab->verdict : FAILED;
}

TEST(runner_late, "an experiment whose network is refused, though it was to be had, is skipped")
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_too_late());
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    if (WEXITSTATUS(status) == 255)
        SKIP("user namespaces are refused here");
    CHECK_EQ(WEXITSTATUS(status), SKIPPED);
}

/* ---- how an experiment may end ---- */

static enum verdict needs_what_fails(struct lab *lab)
{
    observe_number(lab, "before", 1, 1);
    must(lab, open("/nowhere/at/all", O_RDONLY | O_CLOEXEC), "open");
    return CONFIRMED;
}

static enum verdict is_killed(struct lab *lab)
{
    observe_number(lab, "before", 1, 1);
    raise(SIGKILL);
    return CONFIRMED;
}

static enum verdict exits(struct lab *lab)
{
    observe_number(lab, "before", 1, 1);
    _exit(3);
}

static enum verdict hangs(struct lab *lab)
{
    observe_number(lab, "before", 1, 1);
    for (;;)
        pause();
    return CONFIRMED;
}

TEST(runner_refused, "what is refused in a network of its own is not blamed on the namespace")
{
    struct lab *lab = record_new();
    struct world private = { .is_private = true };
    CHECK(lab && (geteuid() != 0 || setresuid(65534, 65534, 65534) == 0));
    lab->is_own_net = true;
    CHECK(!world_has(lab, &private, NEEDS_NET | NEEDS_CAPTURE));
    check_end(lab, SKIPPED, "to see packets (CAP_NET_RAW); this kernel refuses");
    CHECK(lab->remedy[0]);
}

TEST(runner_ends, "an experiment that gives up, crashes, exits or hangs fails and keeps its rows")
{
    static const struct {
        enum verdict (*run)(struct lab *lab);
        const char *words;
    } ends[] = {
        { needs_what_fails, "the experiment could not go on: open: ENOENT" },
        { is_killed, "it was ended by signal 9" },
        { exits, "its process ended with status 3" },
        { hangs, "it was not done after" },
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct lab *lab = run_it(ends[i].run, 0);
        check_end(lab, FAILED, ends[i].words);
        CHECK_EQ(lab->row_count, 1);
    }
}

/* ---- what an experiment may leave ---- */

static int wait_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return 0;
}

static int hide_and_wait(void *arg)
{
    setsid(); /* in a group of its own, where a signal to the experiment's does not come */
    return wait_for_ever(arg);
}

static enum verdict leaves_descriptor(struct lab *lab)
{
    observe_number(lab, "one", 1, 1);
    must(lab, dup(STDIN_FILENO), "dup");
    return conclude(lab, CONFIRMED, "all well");
}

static enum verdict leaves_processes(struct lab *lab)
{
    observe_number(lab, "one", 1, 1);
    spawn(lab, wait_for_ever, NULL);
    spawn(lab, hide_and_wait, NULL);
    return conclude(lab, CONFIRMED, "all well");
}

TEST(runner_leaves, "what an experiment leaves behind is found, told and ended")
{
    check_end(run_it(leaves_descriptor, 0), FAILED, "it left 1 descriptors open");
    check_end(run_it(leaves_processes, 0), FAILED, "it left 2 processes behind");
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

#ifdef __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS(address_sanitizer)
static enum verdict leaves_memory(struct lab *lab)
{
    static void *volatile last;
    observe_number(lab, "one", 1, 1);
    for (int i = 0; i < 2; i++)
        last = malloc(1234);
    observe_bool(lab, "memory", last != NULL, true);
    return conclude(lab, CONFIRMED, "all well");
}

TEST(runner_leaks, "an experiment that loses memory is found out")
{
    check_end(run_it(leaves_memory, 0), FAILED, "it left memory allocated");
}
#endif

static enum verdict leaves_files(struct lab *lab)
{
    for (int i = 0; i < 3; i++) {
        const char *path = lab_path(lab, text("file-%d", i));
        int fd = must(lab, open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), path);
        observe_bool(lab, "a file", fd >= 0, true);
        close(fd);
    }
    return which ? hangs(lab) : conclude(lab, CONFIRMED, "all well");
}

TEST(runner_files, "the files of an experiment are removed, even when it hung")
{
    for (which = 0; which < 2; which++) {
        struct lab *lab = run_it(leaves_files, 0);
        CHECK_EQ(lab->verdict, which ? FAILED : CONFIRMED);
        CHECK(lab->dir[0]);
        CHECK(!is_there(lab->dir));
    }
}

static enum verdict loses_keeper(struct lab *lab)
{
    lab_path(lab, "file");
    note_number(lab, "its process", getpid(), "");
    kill(getppid(), SIGKILL);
    while (pause() < 0)
        continue;
    return FAILED;
}

TEST(runner_keeper, "an experiment ends with its keeper, and nothing is left")
{
    struct lab *lab = run_it(loses_keeper, 0);
    check_end(lab, FAILED, "its keeper was ended by signal 9");
    CHECK(lab->dir[0] && !is_there(lab->dir));
    int fd = (int)syscall(SYS_pidfd_open, (int)lab->rows[0].value, 0);
    struct pollfd end = { .fd = fd, .events = POLLIN };
    CHECK(fd < 0 || poll(&end, 1, -1) == 1);
    close(fd);
}

static enum verdict reaps(struct lab *lab)
{
    int pid = spawn(lab, wait_for_ever, NULL);
    must(lab, kill(pid, SIGKILL), "kill");
    observe_number(lab, "its status", reap(lab, pid), 128 + SIGKILL);
    return conclude(lab, CONFIRMED, "all well");
}

TEST(runner_reaps, "an experiment that awaits its processes leaves none")
{
    check_end(run_it(reaps, 0), CONFIRMED, "all well");
}
