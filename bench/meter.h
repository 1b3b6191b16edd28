/* meter.h -- what a run of load is measured with: a latency histogram and the server's own
   counters. The meter reads the server's CPU clock at the very edges of the measured window, so
   that start-up, warm-up and closing are not in the figures. */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    METER_SUB_BITS = 6, /* 64 steps to each power of two: an error below 1.6 % */
    METER_BUCKETS = (65 - METER_SUB_BITS) << METER_SUB_BITS,
};

struct usage {
    int64_t wall_ns;
    int64_t server_cpu_ns; /* user + system of every thread, living or gone */
    int64_t load_cpu_ns;
    int64_t switches_voluntary; /* of the server's living threads */
    int64_t switches_forced;
};

struct meter {
    pid_t server; /* 0: no server counters */
    bool running;
    uint64_t requests;
    struct usage first;
    struct usage last;
    uint64_t bucket[METER_BUCKETS];
};

int64_t clock_ns(void);
void meter_start(struct meter *meter);
void meter_finish(struct meter *meter);
void meter_record(struct meter *meter, int64_t latency_ns);

/* Prints the one machine-readable line: words of the form name=value. */
void meter_print(const struct meter *meter);

#endif
