/* watch.c -- the watch for workers that do not switch.
 *
 * A fiber that computes for long, or blocks its thread in foreign code, stops every fiber of its
 * worker.  The steward looks at each worker's count of switches at intervals: unchanged for
 * stall_warn, while the worker was not seen waiting for the kernel, is a stall.  It is reported
 * once, while it lasts: what one wants to know is where the thread is now.  So are, once, stacks
 * that had to go without a guard.
 *
 * The stalled worker cannot be asked.  Its task is read through /proc/self/mem, which answers
 * with an error where a pointer would fault, and what was read counts only if the worker has
 * still not switched afterwards.                                                             */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../observe/symbol.h"
#include "../observe/trace.h"
#include "watch.h"

enum {
    REST_TICKS = 40, /* looks at sleeping workers before the watch ends */
    NAME_MAX_LEN = 40,
};
#define REPORTS_APART (1 * WEIR_SEC)
#define INTERVAL_MIN (1 * WEIR_MS)

struct watched {
    uint64_t switches;
    weir_time since;
    bool asleep;
    bool reported;
};

static struct {
    struct runtime *runtime;
    struct watched *workers;
    int sleepy_ticks;
    weir_time last_report;
} watch;

int watch_open(struct runtime *r)
{
    struct watched *workers = calloc((size_t)r->worker_count, sizeof *workers);
    if (!workers)
        return -ENOMEM;
    for (int i = 0; i < r->worker_count; i++)
        workers[i].since = weir_now();
    watch.runtime = r;
    watch.workers = workers;
    watch.sleepy_ticks = 0;
    watch.last_report = 0;
    return 0;
}

void watch_close(void)
{
    free(watch.workers);
    watch.workers = NULL;
}

int64_t watch_interval(void)
{
    int64_t half = watch.runtime->config.stall_warn / 2;
    return half > INTERVAL_MIN ? half : INTERVAL_MIN;
}

/* ---- reading a thread that does not answer ---- */

static bool peek(int memory, const void *at, void *to, size_t len)
{
    return pread(memory, to, len, (off_t)(uintptr_t)at) == (ssize_t)len;
}

static void describe_fiber(const struct worker *w, char *buf, size_t size)
{
    struct task *at = NULL, task;
    char name[NAME_MAX_LEN + 1] = "", entry[128];
    snprintf(buf, size, "it");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (memory < 0)
        return;
    bool known = peek(memory, &w->current, &at, sizeof at) && at &&
                 peek(memory, at, &task, sizeof task);
    if (known && task.name && !peek(memory, task.name, name, NAME_MAX_LEN))
        name[0] = '\0'; /* it lies too near the end of its page */
    close(memory);
    if (!known)
        return;
    symbol_describe((const void *)(uintptr_t)task.fn, entry, sizeof entry);
    snprintf(buf, size, name[0] ? "fiber \"%s\" (%s)" : "fiber %s%s", name, entry);
}

static const char *system_call_name(long number)
{
    static const struct { long number; const char *name; } known[] = {
        { SYS_read, "read" },           { SYS_write, "write" },
        { SYS_ppoll, "ppoll" },         { SYS_futex, "futex: a lock or condition" },
        { SYS_fsync, "fsync" },         { SYS_clock_nanosleep, "clock_nanosleep" },
        { SYS_openat, "openat" },       { SYS_nanosleep, "nanosleep" },
        { SYS_wait4, "wait4" },         { SYS_flock, "flock" },
        { SYS_recvfrom, "recvfrom" },   { SYS_sendto, "sendto" },
        { SYS_connect, "connect" },     { SYS_accept4, "accept4" },
        { SYS_recvmsg, "recvmsg" },     { SYS_sendmsg, "sendmsg" },
        { SYS_fdatasync, "fdatasync" }, { SYS_pread64, "pread" },
        { SYS_pwrite64, "pwrite" },     { SYS_waitid, "waitid" },
#ifdef SYS_poll
        { SYS_poll, "poll" },           { SYS_select, "select" },
#endif
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (known[i].number == number)
            return known[i].name;
    return NULL;
}

/* One line of /proc/self/task/TID/what, without its end; "" when it cannot be read. */
static void read_proc(int tid, const char *what, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = '\0';
}

/* proc(5): "syscall" says "running", or number and arguments, or -1 when blocked otherwise; the
 * state letter of "stat" follows the command name in parentheses, which may contain anything. */
static void describe_thread(int tid, char *buf, size_t size)
{
    char call[128], stat[512];
    read_proc(tid, "syscall", call, sizeof call);
    read_proc(tid, "stat", stat, sizeof stat);
    const char *end = strrchr(stat, ')');
    char state = end && end[1] ? end[2] : '?';
    char *rest;
    long number = strtol(call, &rest, 10);
    const char *name = system_call_name(number);
    if (strncmp(call, "running", 7) == 0)
        snprintf(buf, size, "is running");
    else if (rest == call || number < 0)
        snprintf(buf, size, "is in state %c", state);
    else
        snprintf(buf, size, "is in system call %ld%s%s%s", number, name ? " (" : "",
                 name ? name : "", name ? ")" : "");
}

void stall_describe(const struct worker *w, int tid, char *buf, size_t size)
{
    char fiber[256], thread[128];
    describe_fiber(w, fiber, sizeof fiber);
    describe_thread(tid, thread, sizeof thread);
    snprintf(buf, size, "%s %s", fiber, thread);
}

/* ---- watching ---- */

/* A number that any switch of the worker changes: its turns, and what is left of the present one.
 * The latter is an ordinary variable of the worker's; a value that is being changed will do. */
__attribute__((no_sanitize("thread"))) static uint64_t switches_of(struct worker *w)
{
    uint64_t turns = atomic_load_explicit(&w->turns, memory_order_acquire);
    return turns << 16 | (uint16_t)*(volatile int *)&w->budget;
}

static const void *entry_of(const struct worker *w)
{
    struct task *at = NULL;
    int (*fn)(void *) = NULL;
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (memory < 0)
        return NULL;
    if (!peek(memory, &w->current, &at, sizeof at) || !at || !peek(memory, &at->fn, &fn, sizeof fn))
        fn = NULL;
    close(memory);
    return (const void *)(uintptr_t)fn;
}

static void report(struct worker *w, struct watched *seen, weir_time now)
{
    char text[400], line[512];
    int64_t stalled = now - seen->since;
    if (trace_is_on()) {
        trace("stall", entry_of(w), stalled);
        return;
    }
    if (watch.last_report && now - watch.last_report < REPORTS_APART)
        return;
    stall_describe(w, w->tid, text, sizeof text);
    if (switches_of(w) != seen->switches)
        return;
    watch.last_report = now;
    int len = snprintf(line, sizeof line,
                       "weir: worker %d has not switched for %" PRId64 " ms: %s\n",
                       (int)(w - watch.runtime->workers) + 1, stalled / WEIR_MS, text);
    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        return; /* there is nobody else to tell */
}

/* True when the worker did something since the last look, or does so now. */
static bool look_at(struct worker *w, struct watched *seen, weir_time now)
{
    uint64_t switches = switches_of(w);
    bool asleep = atomic_load(&w->asleep);
    bool moved = switches != seen->switches;
    if (moved || asleep || seen->asleep) {
        *seen = (struct watched){ .switches = switches, .since = now, .asleep = asleep };
    } else if (!seen->reported && now - seen->since >= watch.runtime->config.stall_warn) {
        seen->reported = true;
        report(w, seen, now);
    }
    return moved || !asleep;
}

/* Before Linux 6.13 a guard costs two mappings, and there may not be enough for all stacks. */
static void report_bare_stacks(void)
{
    char line[300];
    if (trace_is_on()) /* a program that takes the reports itself has a standard error of its own */
        return;
    for (int class = 0; class < STACK_CLASSES; class++) {
        struct stack_arena *arena =
            atomic_load_explicit(&watch.runtime->arenas[class], memory_order_acquire);
        const char *notice = arena ? stack_arena_notice(arena) : NULL;
        int len = notice ? snprintf(line, sizeof line, "weir: %s\n", notice) : 0;
        if (notice && write(STDERR_FILENO, line, (size_t)len) < 0)
            return; /* there is nobody else to tell */
    }
}

bool watch_tick(void)
{
    weir_time now = weir_now();
    bool busy = false;
    report_bare_stacks();
    for (int i = 0; i < watch.runtime->worker_count; i++)
        busy |= look_at(&watch.runtime->workers[i], &watch.workers[i], now);
    watch.sleepy_ticks = busy ? 0 : watch.sleepy_ticks + 1;
    return watch.sleepy_ticks < REST_TICKS;
}

bool watch_all_asleep(void)
{
    for (int i = 0; i < watch.runtime->worker_count; i++)
        if (!atomic_load(&watch.runtime->workers[i].asleep))
            return false;
    return true;
}
