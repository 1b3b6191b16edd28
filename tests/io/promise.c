/* promise.c -- registering a promise per backend, and the spy between a backend and the kernel. */
#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "promise.h"

const struct io_backend *const all_backends[] = {&io_epoll, &io_poll, &io_select, &io_blocking,
                                                 NULL};
const struct io_backend *const knowing[] = {&io_epoll, &io_poll, &io_select, NULL};
const struct io_backend *const level_triggered[] = {&io_poll, &io_select, &io_blocking, NULL};
const struct io_backend *const unlimited[] = {&io_epoll, &io_poll, &io_blocking, NULL};
const struct io_backend *const only_epoll[] = {&io_epoll, NULL};
const struct io_backend *const only_select[] = {&io_select, NULL};

struct promise {
    const struct io_backend *backend;
    void (*keep)(struct bench *b);
};

static void run(const void *arg)
{
    static const struct mix plain;
    const struct promise *promise = arg;
    struct bench b;
    bench_open(&b, promise->backend, &plain);
    promise->keep(&b);
    bench_close(&b);
}

void promise_each(const struct io_backend *const *backends, const char *words,
                  void (*keep)(struct bench *b))
{
    for (; *backends; backends++) {
        char text[256];
        struct promise *promise = malloc(sizeof *promise); /* lives as long as the program */
        if (!promise)
            abort();
        *promise = (struct promise){*backends, keep};
        snprintf(text, sizeof text, "%s: %s", (*backends)->name, words);
        test_register(text, run, promise);
    }
}

struct spy spy;

static int32_t interpose(struct op *op)
{
    int32_t instead = spy.fake;
    spy.calls++;
    spy.fake = 0;
    if (spy.shorten && (op->kind == OP_RECV || op->kind == OP_SEND) && op->recv.len > spy.shorten)
        op->recv.len = spy.shorten;
    /* Which the kernel may leave behind. */
    if (instead && op->kind == OP_ACCEPT && op->accept.len)
        *op->accept.len = 0;
    return instead;
}

void spy_on(void)
{
    op_interpose = interpose;
    spy = (struct spy){0};
}

int rounds_of_nothing(struct bench *b)
{
    int rounds = 0;
    weir_time until = time_add(clock_monotonic(), 20000000);
    for (; clock_monotonic() < until; rounds++)
        turn_until(b, until);
    return rounds;
}
