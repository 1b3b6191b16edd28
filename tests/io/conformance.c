/* conformance.c -- the table: every promise of the rows, by every backend, in every kind of
 * trouble.
 *
 * The order puts a backend's plain rows first, so that the first failure in the output is the
 * simplest one.                                                                                */
#include "conformance.h"

#include <stdio.h>

static const struct row *const chapters[] = {
    stream_rows, dgram_rows, message_rows, connect_rows, accept_rows, poll_rows,
    cancel_rows, close_rows, wait_rows,    scale_rows,   fault_rows,
};

static const struct io_backend *const backends[] = {
    &io_epoll, &io_poll, &io_select, &io_uring, &io_blocking,
};

/* Chances are in a million. */
static const struct mix mixes[] = {
    {.name = "plain"},
    {.name = "short transfers", .plan = {.seed = 1, .shorten = 500000}},
    {.name = "late answers", .plan = {.seed = 2, .delay = 400000, .delay_ms = 1}},
    {.name = "idle wakes", .plan = {.seed = 3, .spurious = 500000}},
    {.name = "errors", .plan = {.seed = 4, .fail = 300000}, .fails = true},
    {.name = "troubled calls",
     .calls =
         {.seed = 5, .interrupt = 200000, .abort = 200000, .retract = 200000, .trickle = 200000}},
    {.name = "everything",
     .plan = {.seed = 6,
              .shorten = 200000,
              .delay = 200000,
              .delay_ms = 1,
              .spurious = 200000,
              .fail = 100000},
     .calls =
         {.seed = 7, .interrupt = 100000, .abort = 100000, .retract = 100000, .trickle = 100000},
     .fails = true},
};

static const struct mix *const plain = &mixes[0];
static const struct mix *const everything = &mixes[ARRAY_COUNT(mixes) - 1];

/* One cell of the table. */
struct cell {
    const struct io_backend *backend;
    const struct mix *mix;
    const struct row *row;
};

static void run_cell(const void *arg)
{
    const struct cell *cell = arg;
    struct bench bench;
    bench_open(&bench, cell->backend, cell->mix);
    cell->row->fn(&bench);
    bench_close(&bench);
}

static bool is_wanted(const struct row *row, const struct mix *mix)
{
    if (row->flags & ROW_PLAIN)
        return mix == plain;
    if (row->flags & ROW_HEAVY)
        return mix == plain || mix == everything;
    return true;
}

/* A cell lives as long as the program: the runner borrows it. */
static void add_cell(const struct io_backend *backend, const struct mix *mix, const struct row *row)
{
    static struct cell cells[10000];
    static size_t count;
    char words[256];
    must(count < ARRAY_COUNT(cells));
    cells[count] = (struct cell){backend, mix, row};
    snprintf(words, sizeof words, "%s, %s: %s", backend->name, mix->name, row->promise);
    test_register(words, run_cell, &cells[count++]);
}

static void add_chapter(const struct io_backend *backend, const struct mix *mix,
                        const struct row *rows)
{
    for (; rows->promise; rows++)
        if (is_wanted(rows, mix))
            add_cell(backend, mix, rows);
}

static void add_mix(const struct io_backend *backend, const struct mix *mix)
{
    for (size_t i = 0; i < ARRAY_COUNT(chapters); i++)
        add_chapter(backend, mix, chapters[i]);
}

TEST_TABLE(conformance)
{
    for (size_t i = 0; i < ARRAY_COUNT(backends); i++)
        for (size_t j = 0; j < ARRAY_COUNT(mixes); j++)
            add_mix(backends[i], &mixes[j]);
}
