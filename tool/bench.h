/* bench.h -- one measurement: what was asked for, how far it is, and what came out. */
#ifndef TOOL_BENCH_H
#define TOOL_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <weir.h>

#include "endpoint.h"
#include "histogram.h"

struct plan {
    struct endpoint to;
    int64_t connections, size, depth, duration, requests, warmup, timeout, server_pid;
    int64_t backend, workers, churn, json;
};

/* What the clients of one worker have counted while it was measured; nobody else writes to it. */
struct lane {
    struct histogram latency;
    uint64_t bytes;
} __attribute__((aligned(64)));

/* A moment at which the measurement begins or ends. */
struct mark {
    weir_time at;
    int64_t own_cpu, server_cpu;
};

enum phase { WARMING, MEASURING, OVER };

struct bench {
    struct plan plan;
    struct lane *lanes;
    weir_group *group;              /* of the clients */
    atomic_int phase;
    atomic_uint_fast64_t answered;  /* while measuring, when plan.requests limits it */
    atomic_uint_fast64_t verified;  /* answers from the first on, by clients that have ended */
    atomic_uint_fast64_t verified_bytes;
    atomic_uint unclosed;           /* connections that the server did not close in its turn */
    struct mark begin, end;
    bool out_of_time;               /* --requests were not done within --duration */

    weir_mutex lock;                /* for what follows */
    weir_cond changed;
    int64_t connected, clients;     /* so far; still running */
    int signal;                     /* that came, or 0 */
    int status;                     /* of the first failure, whose words are in `failure` */
    char failure[1024];
};

/* The first failure ends the run: keeps its words, which go to stderr at the end. */
__attribute__((format(printf, 3, 4))) int bench_fail(struct bench *b, int status,
                                                     const char *format, ...);
/* No further requests are sent; what is under way is still answered and checked. */
void bench_stop(struct bench *b);

/* ---- bench_client.c ---- */
struct client {
    struct bench *bench;
    int64_t number;
};

void stream_prepare(void);
/* One connection, or in churn mode one after the other: a fiber's main function. */
int client_run(void *arg);

/* ---- bench_report.c ---- */
void bench_report(const struct bench *b);
void bench_report_failure(const struct bench *b);

#endif
