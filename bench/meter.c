/* meter.c -- a latency histogram and the server's own counters. CPU time comes from the server's
   process CPU clock (clock_getcpuclockid(3)): nanoseconds from the scheduler, up to date even for a
   thread that is running now, and with the time of threads that have ended. On loopback the
   receiving side of TCP runs in the sender's context, so this clock holds the softirq work that the
   server's own sends cause, and none that the load's sends cause. */
#include "meter.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t process_cpu_ns(pid_t pid)
{
    clockid_t id;
    struct timespec used;

    if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &used) != 0) {
        fprintf(stderr, "load: no CPU clock of process %d\n", (int)pid);
        exit(1);
    }
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static void thread_switches(const char *path, struct usage *usage)
{
    char line[256];
    int64_t count;
    FILE *file = fopen(path, "re");

    if (!file)
        return; /* the thread has ended since the folder was read */
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "voluntary_ctxt_switches: %" SCNd64, &count) == 1)
            usage->switches_voluntary += count;
        if (sscanf(line, "nonvoluntary_ctxt_switches: %" SCNd64, &count) == 1)
            usage->switches_forced += count;
    }
    fclose(file);
}

static void process_switches(pid_t pid, struct usage *usage)
{
    char path[320];
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    folder = opendir(path);
    if (!folder)
        return;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, entry->d_name);
        thread_switches(path, usage);
    }
    closedir(folder);
}

static struct usage usage_read(pid_t server)
{
    struct usage usage = {0};
    struct timespec own;

    if (server) {
        process_switches(server, &usage);
        usage.server_cpu_ns = process_cpu_ns(server);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    usage.load_cpu_ns = (int64_t)own.tv_sec * 1000000000 + own.tv_nsec;
    usage.wall_ns = clock_ns();
    return usage;
}

void meter_start(struct meter *meter)
{
    meter->running = true;
    meter->requests = 0;
    memset(meter->bucket, 0, sizeof meter->bucket);
    meter->first = usage_read(meter->server);
}

void meter_finish(struct meter *meter)
{
    meter->last = usage_read(meter->server);
    meter->running = false;
}

/* Log-linear: the position of the highest bit, then the METER_SUB_BITS below it. */
static unsigned bucket_of(uint64_t value)
{
    unsigned high;

    if (value < (1U << METER_SUB_BITS))
        return (unsigned)value;
    high = 63 - (unsigned)__builtin_clzll(value) - METER_SUB_BITS;
    return (high << METER_SUB_BITS) + (unsigned)(value >> high);
}

static double bucket_middle_us(unsigned index)
{
    unsigned high = index >> METER_SUB_BITS;
    uint64_t low;

    if (high <= 1)
        return index / 1e3;
    low = (uint64_t)((index & ((1U << METER_SUB_BITS) - 1)) + (1U << METER_SUB_BITS)) << (high - 1);
    return ((double)low + (double)(1ULL << (high - 1)) / 2) / 1e3;
}

void meter_record(struct meter *meter, int64_t latency_ns)
{
    if (!meter->running)
        return;
    meter->requests++;
    meter->bucket[bucket_of((uint64_t)latency_ns)]++;
}

static double percentile_us(const struct meter *meter, double share)
{
    uint64_t rank = (uint64_t)((double)meter->requests * share);
    uint64_t seen = 0;

    for (unsigned index = 0; index < METER_BUCKETS; index++) {
        seen += meter->bucket[index];
        if (seen > rank)
            return bucket_middle_us(index);
    }
    return 0;
}

void meter_print(const struct meter *meter)
{
    const struct usage *first = &meter->first;
    const struct usage *last = &meter->last;
    double seconds = (double)(last->wall_ns - first->wall_ns) / 1e9;
    double millions = (double)meter->requests / 1e6;

    if (meter->requests == 0) {
        fprintf(stderr, "load: no request was answered in the measured window\n");
        exit(1);
    }
    printf("requests=%" PRIu64 " seconds=%.3f rps=%.0f p50_us=%.1f p99_us=%.1f p999_us=%.1f"
           " load_cpu=%.4f",
           meter->requests, seconds, (double)meter->requests / seconds, percentile_us(meter, 0.50),
           percentile_us(meter, 0.99), percentile_us(meter, 0.999),
           (double)(last->load_cpu_ns - first->load_cpu_ns) / 1e9 / seconds);
    if (meter->server) {
        double cpu_seconds = (double)(last->server_cpu_ns - first->server_cpu_ns) / 1e9;

        printf(" server_cpu=%.4f cpu_s_per_million=%.4f voluntary=%" PRId64 " forced=%" PRId64,
               cpu_seconds / seconds, cpu_seconds / millions,
               last->switches_voluntary - first->switches_voluntary,
               last->switches_forced - first->switches_forced);
    }
    printf("\n");
}
