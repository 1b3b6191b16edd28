/* bench.c -- weir bench: drives an echo server and says how fast it answers.
 *
 * A fiber per connection keeps --depth requests under way. First all of them connect, then they
 * warm up, then what they do is counted, and at the end what is still under way is answered and
 * checked. Every step has a limit in time. Whatever goes wrong first ends the run, and decides the
 * exit code.                                                                                   */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"
#include "commands.h"
#include "cpu.h"
#include "report.h"

enum { DESCRIPTORS_SPARE = 80 }; /* the library's reserve, standard streams, the runtime's own */
#define REQUESTS_TIME (60 * WEIR_SEC)

static struct bench bench = {
    .plan = { .connections = 50,
              .size = 64,
              .depth = 1,
              .duration = 0,
              .warmup = 500 * WEIR_MS,
              .timeout = 5 * WEIR_SEC },
};

static const struct option options[] = {
    { "connections", 'c', NUMBER, "N", "connections at one time",
      &bench.plan.connections, 1, 1 << 20 },
    { "size", 'l', SIZE, "BYTES", "of each request", &bench.plan.size, 1, 16 << 20 },
    { "depth", 0, NUMBER, "N", "requests under way on each connection",
      &bench.plan.depth, 1, 1 << 16 },
    { "duration", 't', DURATION, "TIME", "how long to measure: 5s if not told otherwise",
      &bench.plan.duration, WEIR_MS, 86400 * WEIR_SEC },
    { "requests", 0, NUMBER, "N", "measure so many, in 60s or --duration at most",
      &bench.plan.requests, 1, INT64_C(1) << 40 },
    { "warmup", 0, DURATION, "TIME", "before measuring", &bench.plan.warmup, 0, 3600 * WEIR_SEC },
    { "churn", 0, FLAG, NULL, "connect anew for each request", &bench.plan.churn, 0, 0 },
    { "timeout", 'w', DURATION, "TIME", "the longest wait for one answer or connection",
      &bench.plan.timeout, WEIR_MS, 3600 * WEIR_SEC },
    { "server-pid", 0, NUMBER, "PID", "the server's, to measure its processor time as well",
      &bench.plan.server_pid, 1, 1 << 22 },
    { "workers", 0, NUMBER, "N", "threads that drive it: half the processors if not told otherwise",
      &bench.plan.workers, 1, 256 },
    { "backend", 0, CHOICE, "auto|io_uring|epoll|poll|select", "how the client waits",
      &bench.plan.backend, 0, 0 },
    { "json", 'j', FLAG, NULL, "one line of JSON", &bench.plan.json, 0, 0 },
    { .name = NULL },
};

static const char *const examples[] = {
    "weir bench :7000", "fifty connections for five seconds",
    "weir bench :7000 -c 1", "one connection: the shortest latency",
    "weir bench :7000 -c 500 --depth 16", "as much as it can take",
    "weir bench :7000 --size 16k --requests 10000", "so many larger ones",
    "weir bench /tmp/s --churn --server-pid 4242", "connections per second, and the server's cost",
    NULL,
};

static const char notes[] =
    "Each connection sends its next request when an answer has come, so a server that pauses is\n"
    "asked less meanwhile. Latency runs from the request to the last byte of its answer; with\n"
    "--churn from before connecting.\n";

/* ---- for the clients ---- */

int bench_fail(struct bench *b, int status, const char *format, ...)
{
    va_list args;
    WEIR_SHIELD(WEIR_SEC);
    weir_lock(&b->lock);
    if (!b->status) {
        va_start(args, format);
        vsnprintf(b->failure, sizeof b->failure, format, args);
        va_end(args);
        b->status = status;
    }
    weir_unlock(&b->lock);
    bench_stop(b);
    return status;
}

void bench_stop(struct bench *b)
{
    atomic_store(&b->phase, OVER);
    WEIR_SHIELD(WEIR_SEC);
    weir_lock(&b->lock);
    weir_cond_signal(&b->changed);
    weir_unlock(&b->lock);
}

/* ---- the course of it ---- */

static struct mark mark_now(const struct bench *b)
{
    struct mark m = { .at = weir_now(), .own_cpu = cpu_own(), .server_cpu = -1 };
    if (b->plan.server_pid)
        m.server_cpu = cpu_family((pid_t)b->plan.server_pid);
    return m;
}

static bool all_connected(const struct bench *b)
{
    return b->connected == b->plan.connections;
}

static bool all_gone(const struct bench *b)
{
    return b->clients == 0;
}

static bool never(const struct bench *b)
{
    (void)b;
    return false;
}

/* Until `done`, or the measurement is over for another reason, or `ns` have passed: then false.
 * What ends the clients cannot be waited for longer than that either. */
static bool wait_until(struct bench *b, bool (*done)(const struct bench *), bool even_if_over,
                       int64_t ns)
{
    int error = 0;
    WEIR_DEADLINE(ns);
    weir_lock(&b->lock);
    while (!done(b) && !error && (even_if_over || atomic_load(&b->phase) != OVER))
        error = weir_cond_wait(&b->changed, &b->lock);
    weir_unlock(&b->lock);
    return !error;
}

static void measure(struct bench *b)
{
    const struct plan *p = &b->plan;
    int64_t limit = p->duration ? p->duration : p->requests ? REQUESTS_TIME : 5 * WEIR_SEC;
    if (!wait_until(b, all_connected, false, p->timeout + WEIR_SEC))
        bench_fail(b, STATUS_TIMEOUT,
                   "only %" PRId64 " of %" PRId64 " connections could be made to %s within %.3g s",
                   b->connected, p->connections, p->to.shown,
                   (double)(p->timeout + WEIR_SEC) / WEIR_SEC);
    wait_until(b, never, false, p->warmup);
    if (atomic_load(&b->phase) == OVER)
        return;
    b->begin = mark_now(b);
    atomic_store(&b->phase, MEASURING);
    bool stopped = wait_until(b, never, false, limit);
    b->end = mark_now(b);
    atomic_store(&b->phase, OVER);
    b->out_of_time = p->requests && !stopped;
}

/* ---- signals ---- */

static int watch(void *arg)
{
    static const int signals[] = { SIGINT, SIGTERM };
    struct bench *b = arg;
    int signal = weir_signal(signals, 2);
    if (signal <= 0)
        return 0;
    weir_lock(&b->lock);
    b->signal = signal;
    weir_unlock(&b->lock);
    bench_stop(b);
    if (weir_signal(signals, 2) > 0)
        weir_group_cancel(b->group); /* a second one does not wait for answers */
    return 0;
}

/* ---- all of it ---- */

static int start_clients(struct bench *b)
{
    for (int64_t i = 0; i < b->plan.connections; i++) {
        struct client c = { .bench = b, .number = i };
        weir_fiber_opts o = { .worker = (int)(i % b->plan.workers) + 1, .name = "client" };
        weir_lock(&b->lock);
        b->clients++;
        weir_unlock(&b->lock);
        if (weir_go_copy(b->group, client_run, &c, sizeof c, &o)) {
            weir_lock(&b->lock);
            b->clients--;
            weir_unlock(&b->lock);
            return bench_fail(b, STATUS_LOCAL, "cannot start connection %" PRId64 ": %s", i,
                              weir_error()->text);
        }
    }
    return 0;
}

static int drive(void *arg)
{
    struct bench *b = arg;
    weir_group *watchers = weir_group_open(NULL);
    b->group = weir_group_open(&(weir_group_opts){ .fail_fast = true });
    if (!watchers || !b->group || weir_go(watchers, watch, b))
        return complain(STATUS_LOCAL, "cannot start: %s", weir_error()->text);
    if (!start_clients(b))
        measure(b);
    if (!wait_until(b, all_gone, true, 2 * b->plan.timeout + WEIR_SEC))
        bench_fail(b, STATUS_TIMEOUT, "%s keeps %" PRId64 " connections waiting for the rest of "
                   "their answers", b->plan.to.shown, b->clients);
    weir_close(b->group);
    weir_close(watchers);
    return 0;
}

static int64_t requests_measured(const struct bench *b)
{
    int64_t count = 0;
    for (int64_t i = 0; i < b->plan.workers; i++)
        count += (int64_t)b->lanes[i].latency.count;
    return count;
}

static int conclude(struct bench *b)
{
    if (!b->status && b->signal && requests_measured(b) == 0)
        bench_fail(b, STATUS_SIGNAL + b->signal, "ended by a signal before anything was measured");
    if (!b->status && requests_measured(b) == 0)
        bench_fail(b, STATUS_TIMEOUT, "%s answered no request while it was measured",
                   b->plan.to.shown);
    if (!b->status && b->out_of_time)
        bench_fail(b, STATUS_TIMEOUT, "only %" PRId64 " of %" PRId64 " requests were answered in "
                   "time; --duration gives more", requests_measured(b), b->plan.requests);
    if (b->status) {
        bench_report_failure(b);
        return b->status;
    }
    bench_report(b);
    return b->signal ? STATUS_SIGNAL + b->signal : STATUS_OK;
}

/* ---- before it begins ---- */

static int check_descriptors(const struct plan *p)
{
    char fewer[40] = "";
    struct rlimit limit;
    rlim_t need = (rlim_t)p->connections + DESCRIPTORS_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= need)
        return 0;
    if (limit.rlim_cur > DESCRIPTORS_SPARE)
        snprintf(fewer, sizeof fewer, ", or try: -c %llu",
                 (unsigned long long)(limit.rlim_cur - DESCRIPTORS_SPARE));
    return complain(STATUS_LOCAL, "%" PRId64 " connections need %llu descriptors, and this process "
                    "may have %llu; raise the limit (ulimit -n)%s", p->connections,
                    (unsigned long long)need, (unsigned long long)limit.rlim_cur, fewer);
}

static int check_plan(struct plan *p, char **operands, int count)
{
    if (count == 0)
        return complain(STATUS_USAGE, "bench: where is the server? try: weir bench :7000");
    if (count > 1)
        return complain(STATUS_USAGE, "bench: one endpoint at a time; '%s' is one too many",
                        operands[1]);
    if (p->churn && p->depth > 1)
        return complain(STATUS_USAGE, "bench: --churn sends one request per connection, so --depth "
                                      "has no meaning with it");
    if (p->server_pid && cpu_family((pid_t)p->server_pid) < 0)
        return complain(STATUS_USAGE, "bench: --server-pid %" PRId64 ": there is no such process",
                        p->server_pid);
    if (p->connections * p->depth > 1 << 24)
        return complain(STATUS_USAGE, "bench: --connections times --depth is at most %d", 1 << 24);
    int status = endpoint_read(&p->to, operands[0], false);
    if (!p->workers)
        p->workers = (cpu_count() + 1) / 2;
    if (p->workers > p->connections)
        p->workers = p->connections;
    return status ? status : check_descriptors(p);
}

static int run(char **operands, int count)
{
    struct bench *b = &bench;
    int status = check_plan(&b->plan, operands, count);
    if (status)
        return status;
    b->lanes = aligned_alloc(_Alignof(struct lane), (size_t)b->plan.workers * sizeof *b->lanes);
    if (!b->lanes)
        return complain(STATUS_LOCAL, "out of memory");
    memset(b->lanes, 0, (size_t)b->plan.workers * sizeof *b->lanes);
    stream_prepare();
    weir_config config = { .workers = (int)b->plan.workers,
                           .backend = (weir_backend)b->plan.backend };
    status = weir_run(&config, drive, b);
    if (status < 0)
        status = complain_run();
    else if (!status)
        status = conclude(b);
    free(b->lanes);
    return status;
}

const struct command bench_command = {
    .name = "bench",
    .summary = "the speed and latency of an echo server",
    .usage = "ENDPOINT [options]",
    .examples = examples,
    .notes = notes,
    .options = options,
    .run = run,
};
