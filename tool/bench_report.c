/* bench_report.c -- what a measurement found, for people and as a line of JSON.
 *
 * Besides the figures it says what they are about: a client that had no processor time left
 * measures itself.                                                                            */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cpu.h"
#include "report.h"

/* Busier than this, it was not the server that decided how fast it went. */
#define BUSY 0.9

struct figures {
    struct histogram latency;
    uint64_t bytes;
    double seconds, per_second;
    double own_us, server_us;   /* processor time per request; server's < 0: unknown */
    double own_busy, all_busy;  /* of the client's workers; of all processors; < 0: unknown */
};

static struct figures *figures_new(const struct bench *b)
{
    struct figures *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    for (int64_t i = 0; i < b->plan.workers; i++) {
        histogram_merge(&f->latency, &b->lanes[i].latency);
        f->bytes += b->lanes[i].bytes;
    }
    double ns = (double)(b->end.at - b->begin.at);
    double own_ns = (double)(b->end.own_cpu - b->begin.own_cpu);
    double server_ns = (double)(b->end.server_cpu - b->begin.server_cpu);
    double requests = f->latency.count ? (double)f->latency.count : 1;
    bool server_known = b->begin.server_cpu >= 0 && b->end.server_cpu >= 0;
    ns = ns > 0 ? ns : 1;
    f->seconds = ns / 1e9;
    f->per_second = (double)f->latency.count / f->seconds;
    f->own_us = own_ns / 1e3 / requests;
    f->server_us = server_known ? server_ns / 1e3 / requests : -1;
    f->own_busy = own_ns / ns / (double)b->plan.workers;
    f->all_busy = server_known ? (own_ns + server_ns) / ns / cpu_count() : -1;
    return f;
}

/* ---- for people ---- */

static const char *format_time(int64_t ns, char *buf, size_t size)
{
    if (ns < 1000000)
        snprintf(buf, size, "%.1f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(buf, size, "%.2f ms", (double)ns / 1e6);
    else
        snprintf(buf, size, "%.2f s", (double)ns / 1e9);
    return buf;
}

static const char *format_bytes(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    snprintf(buf, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buf;
}

/* 1234567 as "1,234,567". */
static const char *format_count(uint64_t value, char *buf, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value), to = 0;
    for (int i = 0; i < len && to + 2 < (int)size; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[to++] = ',';
        buf[to++] = digits[i];
    }
    buf[to] = '\0';
    return buf;
}

static void print_plan(const struct bench *b, const struct figures *f)
{
    const struct plan *p = &b->plan;
    char size[32], depth[48] = "";
    format_bytes((uint64_t)p->size, size, sizeof size);
    if (p->depth > 1)
        snprintf(depth, sizeof depth, ", %" PRId64 " under way on each", p->depth);
    printf("%s: %" PRId64 " connection%s, requests of %s%s%s, %.2f s\n\n", p->to.shown,
           p->connections, p->connections == 1 ? "" : "s", size, depth,
           p->churn ? ", each on a new connection" : "", f->seconds);
}

static void print_latency(const struct histogram *h)
{
    char p50[24], p99[24], p999[24], max[24];
    printf("  latency      p50 %s, p99 %s, p99.9 %s, max %s\n",
           format_time(histogram_quantile(h, 0.5), p50, sizeof p50),
           format_time(histogram_quantile(h, 0.99), p99, sizeof p99),
           format_time(histogram_quantile(h, 0.999), p999, sizeof p999),
           format_time(h->max, max, sizeof max));
}

static void print_notes(const struct bench *b, const struct figures *f)
{
    unsigned unclosed = atomic_load(&b->unclosed);
    if (b->signal)
        printf("\nnote: ended early by a signal, so this is what there was until then.\n");
    if (f->all_busy >= BUSY)
        printf("\nnote: client and server together kept %d processor%s %.0f %% busy; the figures "
               "are about\nboth of them.\n", cpu_count(), cpu_count() == 1 ? "" : "s",
               100 * f->all_busy);
    else if (f->own_busy >= BUSY)
        printf("\nnote: the client was the bottleneck: its %" PRId64 " worker%s %.0f %% busy. The "
               "server may be\nable to do more; try: --workers %" PRId64 "\n", b->plan.workers,
               b->plan.workers == 1 ? " was" : "s were", 100 * f->own_busy, b->plan.workers + 1);
    if (unclosed)
        printf("\nnote: %u connection%s not closed by the server after the client had said its "
               "last.\n", unclosed, unclosed == 1 ? " was" : "s were");
}

static void print_report(const struct bench *b, const struct figures *f)
{
    char count[32], bytes[32], rate[32];
    uint64_t verified = atomic_load(&b->verified);
    print_plan(b, f);
    printf("  %-12s %s\n", b->plan.churn ? "connects/s" : "requests/s",
           format_count((uint64_t)(f->per_second + 0.5), rate, sizeof rate));
    print_latency(&f->latency);
    printf("  CPU/request  %.2f us client", f->own_us);
    if (f->server_us >= 0)
        printf(", %.2f us server", f->server_us);
    printf("\n  verified     %s answers, all %s as they were sent\n",
           format_count(verified, count, sizeof count),
           format_bytes(atomic_load(&b->verified_bytes), bytes, sizeof bytes));
    print_notes(b, f);
}

/* ---- for programs ---- */

static void print_json_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < ' ')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_json(const struct bench *b, const struct figures *f)
{
    const struct plan *p = &b->plan;
    const struct histogram *h = &f->latency;
    printf("{\"v\":1,\"event\":\"bench\",\"endpoint\":");
    print_json_string(p->to.shown);
    printf(",\"mode\":\"%s\",\"connections\":%" PRId64 ",\"size\":%" PRId64 ",\"depth\":%" PRId64,
           p->churn ? "churn" : "steady", p->connections, p->size, p->depth);
    printf(",\"seconds\":%.6f,\"requests\":%" PRIu64 ",\"requests_per_s\":%.1f,\"bytes\":%" PRIu64,
           f->seconds, h->count, f->per_second, f->bytes);
    printf(",\"latency_us\":{\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}",
           (double)histogram_quantile(h, 0.5) / 1e3, (double)histogram_quantile(h, 0.99) / 1e3,
           (double)histogram_quantile(h, 0.999) / 1e3, (double)h->max / 1e3);
    printf(",\"client_cpu_us\":%.3f,\"client_busy\":%.3f", f->own_us, f->own_busy);
    if (f->server_us >= 0)
        printf(",\"server_cpu_us\":%.3f", f->server_us);
    printf(",\"client_bound\":%s", f->own_busy >= BUSY ? "true" : "false");
    printf(",\"verified\":%" PRIu64 ",\"verified_bytes\":%" PRIu64, atomic_load(&b->verified),
           atomic_load(&b->verified_bytes));
    printf(",\"unclosed\":%u,\"signal\":%d}\n", atomic_load(&b->unclosed), b->signal);
}

void bench_report(const struct bench *b)
{
    struct figures *f = figures_new(b);
    if (!f) {
        complain(STATUS_LOCAL, "out of memory");
        return;
    }
    if (b->plan.json)
        print_json(b, f);
    else
        print_report(b, f);
    free(f);
}

void bench_report_failure(const struct bench *b)
{
    if (b->plan.json) {
        printf("{\"v\":1,\"event\":\"error\",\"code\":%d,\"text\":", b->status);
        print_json_string(b->failure);
        puts("}");
    }
    complain(b->status, "%s", b->failure);
}
