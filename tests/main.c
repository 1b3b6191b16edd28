/* main.c -- the runner of a test program.
 *
 * Every test runs in a child that leads its own process group, reads /dev/null, writes into a file
 * kept in memory, and has a time limit. The child tells its verdict through one shared page, so a
 * check may fail in any thread, fiber or grandchild of it; what it wrote is shown only when it
 * failed. A test also fails by ending early, by a signal, by leaving a descriptor open or a process
 * behind. A sanitizer's report at exit fails it too, because a passing child ends by exit().
 *
 * The last line counts: "N passed, N failed, N skipped".
 */
#include "test.h"

#include <pthread.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 20, OWN_FDS_MAX = 1024 };

enum outcome { UNDECIDED, PASSED, SKIPPED, FAILED };

struct test {
    struct test *next;
    char *name;
    char *promise;
    void (*fn)(const void *arg);
    const void *arg;
};

/* The page a test and the runner share. The first verdict stands. */
struct verdict {
    atomic_int outcome;
    atomic_int limit;
    char text[1024];
};

static struct test *tests;
static struct test **tests_end = &tests;
static struct verdict *verdict;
static bool no_fork;
static volatile sig_atomic_t running_group;
static int count[FAILED + 1];

/* ---- registering ------------------------------------------------------------------------- */

void test_add(const char *name, const char *promise, void (*fn)(const void *arg), const void *arg)
{
    struct test *test = calloc(1, sizeof *test);
    if (!test || !(test->name = strdup(name)) || !(test->promise = strdup(promise))) {
        abort();
    }
    test->fn = fn;
    test->arg = arg;
    *tests_end = test;
    tests_end = &test->next;
}

void test_register(const char *promise, void (*fn)(const void *arg), const void *arg)
{
    test_add("", promise, fn, arg);
}

/* ---- time -------------------------------------------------------------------------------- */

int test_slowness(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 5;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return 5;
#endif
#endif
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload") ? 20 : 1;
}

void test_limit(int seconds)
{
    atomic_store(&verdict->limit, seconds * test_slowness());
}

static int usual_limit(void)
{
    const char *text = getenv("TEST_TIMEOUT");
    int seconds = text ? atoi(text) : LIMIT_SECONDS;
    return (seconds > 0 ? seconds : LIMIT_SECONDS) * test_slowness();
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- verdicts, as the test gives them ---------------------------------------------------- */

/* Returns true to the one caller whose verdict counts. */
static bool decide(enum outcome outcome)
{
    int undecided = UNDECIDED;
    return atomic_compare_exchange_strong(&verdict->outcome, &undecided, (int)outcome);
}

/* _exit and not exit: the caller may be a fiber or a thread, with others amid other things. */
static _Noreturn void end_test(int status)
{
    if (no_fork) {
        fprintf(stderr, "%s\n", verdict->text);
        if (status != 0) {
            abort();
        }
    }
    fflush(NULL);
    _exit(status);
}

void test_fail(const char *file, int line, const char *format, ...)
{
    if (decide(FAILED)) {
        int len = 0;
        if (line > 0) {
            const char *base = strrchr(file, '/');
            file = base ? base + 1 : file;
            len = snprintf(verdict->text, sizeof verdict->text, "%s:%d: ", file, line);
        }
        va_list args;
        va_start(args, format);
        vsnprintf(verdict->text + len, sizeof verdict->text - (size_t)len, format, args);
        va_end(args);
    }
    end_test(1);
}

void test_skip(const char *reason)
{
    if (decide(SKIPPED)) {
        snprintf(verdict->text, sizeof verdict->text, "%s", reason);
    }
    end_test(0);
}

/* A number as a person reads it: results inside the library are often negative errno values. */
static const char *number(intmax_t value, char *buf, size_t size)
{
    const char *name = value < 0 && value > -200 ? strerrorname_np((int)-value) : NULL;
    if (name) {
        snprintf(buf, size, "%jd (-%s)", value, name);
    } else {
        snprintf(buf, size, "%jd", value);
    }
    return buf;
}

void test_equal(const char *file, int line, const char *what, intmax_t got, intmax_t want)
{
    char got_text[48];
    char want_text[48];
    if (got != want) {
        test_fail(file, line, "%s: got %s, want %s", what, number(got, got_text, sizeof got_text),
                  number(want, want_text, sizeof want_text));
    }
}

void test_string(const char *file, int line, const char *what, const char *got, const char *want)
{
    if (!got || !want) {
        if (got != want) {
            test_fail(file, line, "%s: got %s, want %s", what, got ? got : "NULL",
                      want ? want : "NULL");
        }
    } else if (strcmp(got, want) != 0) {
        test_fail(file, line, "%s: got \"%s\", want \"%s\"", what, got, want);
    }
}

void test_bytes(const char *file, int line, const char *what, const void *got, const void *want,
                size_t len)
{
    const uint8_t *g = got;
    const uint8_t *w = want;
    for (size_t i = 0; i < len; i++) {
        if (g[i] != w[i]) {
            test_fail(file, line, "%s: byte %zu of %zu is 0x%02x, want 0x%02x", what, i, len, g[i],
                      w[i]);
        }
    }
}

void test_errno(const char *file, int line, const char *what, bool failed, int want)
{
    int got = errno;
    if (!failed) {
        test_fail(file, line, "%s: succeeded, want %s", what, strerrorname_np(want));
    }
    if (got != want) {
        const char *name = strerrorname_np(got);
        test_fail(file, line, "%s: errno %d (%s), want %s", what, got, name ? name : "?",
                  strerrorname_np(want));
    }
}

void test_failed_call(const char *file, int line, const char *what, intmax_t value)
{
    int error = errno;
    char text[48];
    test_fail(file, line, "%s: %s, errno %d (%s)", what, number(value, text, sizeof text), error,
              strerror(error));
}

/* ---- the child --------------------------------------------------------------------------- */

/* Marks in `open_fds` the descriptors below OWN_FDS_MAX that are open. Looking at each number
 * rather than into /proc needs no descriptor itself. */
static void census(bool *open_fds)
{
    for (int fd = 0; fd < OWN_FDS_MAX; fd++) {
        open_fds[fd] = fcntl(fd, F_GETFD) >= 0;
    }
}

static void check_census(const bool *before)
{
    static bool after[OWN_FDS_MAX];
    census(after);
    for (int fd = 0; fd < OWN_FDS_MAX; fd++) {
        if (after[fd] && !before[fd]) {
            char link[32];
            char target[128] = "";
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            if (readlink(link, target, sizeof target - 1) < 0) {
                target[0] = '\0';
            }
            test_fail("", 0, "descriptor %d (%s) was left open", fd, target);
        }
        if (before[fd] && !after[fd]) {
            test_fail("", 0, "descriptor %d was closed, but it was not the test's own", fd);
        }
    }
}

static sigset_t body_mask;

static void *call_body(void *arg)
{
    const struct test *test = arg;
    pthread_sigmask(SIG_SETMASK, &body_mask, NULL);
    test->fn(test->arg);
    return NULL;
}

/* In a thread of its own, so that what the library keeps for a thread until it ends is in the
 * census too. The waiting thread blocks all signals: they are the test's. */
static void run_body(const struct test *test)
{
    static bool before[OWN_FDS_MAX];
    pthread_t thread;
    sigset_t all;
    census(before);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (pthread_create(&thread, NULL, call_body, (void *)(uintptr_t)test) ||
        pthread_join(thread, NULL))
        test_fail(__FILE__, __LINE__, "no thread for the test");
    check_census(before);
    decide(PASSED);
}

static _Noreturn void run_child(const struct test *test, int output)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (input < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) {
        _exit(127);
    }
    close(input);
    close(output);
    run_body(test);
    exit(0);
}

/* ---- the runner -------------------------------------------------------------------------- */

static void interrupted(int signo)
{
    if (running_group > 0) {
        kill(-(pid_t)running_group, SIGKILL);
    }
    signal(signo, SIG_DFL);
    raise(signo);
}

/* Waits for the child's end or its time limit, which the child may change as it runs. */
static bool ended_in_time(pid_t child)
{
    int pidfd = pidfd_open(child, 0);
    int64_t start = now_ms();
    bool ended = false;
    if (pidfd < 0) {
        return true;
    }
    for (;;) {
        int64_t left = start + (int64_t)atomic_load(&verdict->limit) * 1000 - now_ms();
        if (left <= 0) {
            break;
        }
        struct pollfd entry = {.fd = pidfd, .events = POLLIN};
        ended = poll(&entry, 1, left < 1000 ? (int)left : 1000) == 1;
        if (ended) {
            break;
        }
    }
    close(pidfd);
    return ended;
}

/* Ends what the test left running. The runner is the subreaper, so orphans are its to wait for. */
static bool left_processes(pid_t group)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-group, &status, WNOHANG)) > 0) {
    }
    bool left = pid == 0;
    kill(-group, SIGKILL);
    while (waitpid(-group, &status, 0) > 0) {
    }
    return left;
}

__attribute__((format(printf, 1, 2))) static void blame(const char *format, ...)
{
    if (atomic_load(&verdict->outcome) == FAILED) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, args);
    va_end(args);
    atomic_store(&verdict->outcome, FAILED);
}

/* Adds to the child's own verdict what only its parent can see. */
static void judge(pid_t child, bool in_time)
{
    int status = 0;
    if (!in_time) {
        kill(-child, SIGKILL);
        kill(child, SIGKILL);
    }
    waitpid(child, &status, 0);
    bool left = left_processes(child);
    if (!in_time) {
        blame("did not end within %d s", atomic_load(&verdict->limit));
    } else if (WIFSIGNALED(status)) {
        blame("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0) {
        blame("ended with status %d", WEXITSTATUS(status));
    } else if (atomic_load(&verdict->outcome) == UNDECIDED) {
        blame("ended before the end of the test");
    } else if (left) {
        blame("left a process running");
    }
}

static void print_output(int output)
{
    char buf[4096];
    ssize_t n;
    lseek(output, 0, SEEK_SET);
    while ((n = read(output, buf, sizeof buf)) > 0) {
        fwrite(buf, 1, (size_t)n, stdout);
    }
}

static void report(const struct test *test, int output)
{
    enum outcome outcome = (enum outcome)atomic_load(&verdict->outcome);
    count[outcome]++;
    if (outcome == PASSED) {
        printf("ok - %s\n", test->promise);
    } else if (outcome == SKIPPED) {
        printf("skip - %s: %s\n", test->promise, verdict->text);
    } else {
        printf("FAIL %s: %s\n", test->promise, verdict->text);
        if (output >= 0) {
            print_output(output);
        }
    }
    fflush(stdout);
}

static void run_test(const struct test *test)
{
    atomic_store(&verdict->outcome, UNDECIDED);
    atomic_store(&verdict->limit, usual_limit());
    verdict->text[0] = '\0';
    if (no_fork) {
        run_body(test);
        report(test, -1);
        return;
    }
    int output = memfd_create("output", MFD_CLOEXEC);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run_child(test, output);
    }
    if (child < 0 || output < 0) {
        perror("cannot start a test");
        exit(1);
    }
    setpgid(child, child);
    running_group = child;
    judge(child, ended_in_time(child));
    running_group = 0;
    report(test, output);
    close(output);
}

/* ---- the command line -------------------------------------------------------------------- */

static const char usage[] =
    "[--list] [--repeat N] [--no-fork] [WORDS...]\n"
    "  WORDS       run the tests whose name or promise contains one of these\n"
    "  --list      print the tests and run none\n"
    "  --repeat N  run the selection N times\n"
    "  --no-fork   run in this process, for a debugger; the first failure aborts\n"
    "TEST_TIMEOUT in the environment replaces the limit of 20 seconds for each test.\n";

struct options {
    bool list;
    int repeat;
    char **words;
};

static struct options parse_options(char **argv)
{
    struct options o = {.repeat = 1};
    char *program = *argv++;
    for (; *argv && strncmp(*argv, "--", 2) == 0; argv++) {
        if (strcmp(*argv, "--list") == 0) {
            o.list = true;
        } else if (strcmp(*argv, "--no-fork") == 0) {
            no_fork = true;
        } else if (strcmp(*argv, "--repeat") == 0 && argv[1] && atoi(argv[1]) > 0) {
            o.repeat = atoi(*++argv);
        } else {
            bool help = strcmp(*argv, "--help") == 0;
            fprintf(help ? stdout : stderr, "usage: %s %s", program, usage);
            exit(help ? 0 : 2);
        }
    }
    o.words = argv;
    return o;
}

static bool selected(const struct test *test, char **words)
{
    for (char **word = words; *word; word++) {
        if (strstr(test->name, *word) || strstr(test->promise, *word)) {
            return true;
        }
    }
    return !*words;
}

/* Where it is allowed the tests have a network of their own, so that no other program takes a port
 * that one of them has just given up. */
static void leave_shared_network(void)
{
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int shared = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (shared >= 0 && unshare(CLONE_NEWNET) == 0) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &loopback) == 0;
        close(fd);
        if (!is_up && setns(shared, CLONE_NEWNET) != 0) {
            perror("cannot go back to the shared network");
            exit(1);
        }
    }
    close(shared);
}

static void start_runner(void)
{
    verdict =
        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (verdict == MAP_FAILED) {
        perror("cannot map the verdict");
        exit(1);
    }
    leave_shared_network();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &body_mask);
    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
    signal(SIGHUP, interrupted);
}

int main(int argc, char **argv)
{
    struct options o = parse_options(argv + (argc < 1));
    start_runner();
    for (int round = 0; round < o.repeat; round++) {
        for (struct test *test = tests; test; test = test->next) {
            if (!selected(test, o.words)) {
                continue;
            }
            if (o.list) {
                printf("%s%s%s\n", test->name, *test->name ? ": " : "", test->promise);
            } else {
                run_test(test);
            }
        }
    }
    if (o.list) {
        return 0;
    }
    printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    return count[FAILED] > 0 || count[PASSED] + count[SKIPPED] == 0;
}
