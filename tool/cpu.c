/* cpu.c -- processor time, also that of a server with its children.
 *
 * The clock of a process, clock_getcpuclockid(3), counts nanoseconds where /proc counts ticks. The
 * children of a forking server are found in /proc; those that have ended are in the times the
 * kernel adds up for their parent, proc(5).                                                    */
#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu.h"

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) ? -1 : t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t cpu_own(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int64_t read_process(pid_t pid)
{
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) ? -1 : read_clock(clock);
}

/* What children used that ended and were waited for: fields 16 and 17 of stat, where the name in
 * brackets is the second and may hold anything. */
static int64_t read_ended(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[len] = '\0';
    const char *name_end = strrchr(text, ')');
    bool read = name_end && sscanf(name_end + 1,
                                   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu",
                                   &user, &system) == 2;
    long ticks = sysconf(_SC_CLK_TCK);
    return read ? (int64_t)(user + system) * (INT64_C(1000000000) / ticks) : 0;
}

static int64_t read_children_of(const char *path)
{
    int64_t sum = 0;
    int child;
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &child) == 1) {
        int64_t used = read_process(child);
        sum += used > 0 ? used : 0;
    }
    if (f)
        fclose(f);
    return sum;
}

/* Each thread has children of its own. */
static int64_t read_living(pid_t pid)
{
    char path[320];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    const struct dirent *task;
    while (tasks && (task = readdir(tasks))) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, task->d_name);
        sum += read_children_of(path);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

int64_t cpu_family(pid_t pid)
{
    int64_t own = read_process(pid);
    return own < 0 ? -1 : own + read_ended(pid) + read_living(pid);
}

int cpu_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}
