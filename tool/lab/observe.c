/* observe.c -- recording what an experiment sees, and judging it.
 *
 * This file is built a second time with LAB_SABOTAGE, for the tests: there every observation is
 * turned into one that cannot be right before it is judged, so that each experiment that observes
 * anything at all has to end as FAILED.                                                       */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "record.h"

#ifdef LAB_SABOTAGE
enum { SABOTAGED = 1 };
#else
enum { SABOTAGED = 0 };
#endif

enum { DESCRIPTORS_COMMON = 1024 };

/* ---- rows ---- */

static struct row *row_new(struct lab *lab, enum row_kind kind, const char *what)
{
    static struct row spare;
    if (lab->row_count == ROWS_MAX) {
        lab->is_full = true;
        return &spare;
    }
    struct row *row = &lab->rows[lab->row_count++];
    *row = (struct row){ .kind = kind, .is_expected = kind != ROW_NOTE && kind != ROW_MEASURE };
    snprintf(row->what, sizeof row->what, "%s", what);
    return row;
}

void observe_number(struct lab *lab, const char *what, long long got, long long expected)
{
    struct row *row = row_new(lab, ROW_NUMBER, what);
    row->value = (double)(SABOTAGED ? expected + 1 : got);
    row->low = row->high = (double)expected;
    row->holds = row->value == row->low;
}

void observe_range(struct lab *lab, const char *what, double got, double low, double high,
                   const char *unit)
{
    struct row *row = row_new(lab, ROW_RANGE, what);
    row->value = !SABOTAGED ? got : isfinite(low) ? low - 1 : high + 1;
    row->low = low;
    row->high = high;
    row->holds = row->value >= low && row->value <= high;
    snprintf(row->unit, sizeof row->unit, "%s", unit);
}

void observe_bool(struct lab *lab, const char *what, bool got, bool expected)
{
    struct row *row = row_new(lab, ROW_BOOL, what);
    row->value = SABOTAGED ? !expected : got;
    row->low = row->high = expected;
    row->holds = row->value == row->low;
}

/* Bytes as a reader can see them: what is not printable is written as in C. */
static void print_bytes(char *to, size_t size, const char *from)
{
    size_t at = 0;
    for (; *from && at + 5 < size; from++) {
        unsigned char byte = (unsigned char)*from;
        bool plain = byte >= ' ' && byte < 0x7f;
        int len = snprintf(to + at, size - at, plain ? "%c" : "\\x%02x", byte);
        at += (size_t)len;
    }
    to[at] = '\0';
}

void observe_text(struct lab *lab, const char *what, const char *got, const char *expected)
{
    struct row *row = row_new(lab, ROW_TEXT, what);
    print_bytes(row->got, sizeof row->got, SABOTAGED ? "sabotage" : got);
    print_bytes(row->expected, sizeof row->expected, expected);
    row->holds = !SABOTAGED && strcmp(got, expected) == 0;
}

static const char *errno_word(int code)
{
    const char *name = code ? strerrorname_np(code) : "success";
    return name ? name : "an unknown errno";
}

void observe_errno(struct lab *lab, const char *what, long long result, int expected)
{
    int got = result < 0 ? errno : 0;
    if (SABOTAGED)
        got = expected ? 0 : EXFULL;
    struct row *row = row_new(lab, ROW_ERRNO, what);
    snprintf(row->got, sizeof row->got, "%s", errno_word(got));
    snprintf(row->expected, sizeof row->expected, "%s", errno_word(expected));
    row->value = got;
    row->low = row->high = expected;
    row->holds = got == expected;
}

void note_number(struct lab *lab, const char *what, double value, const char *unit)
{
    struct row *row = row_new(lab, ROW_MEASURE, what);
    row->value = value;
    snprintf(row->unit, sizeof row->unit, "%s", unit);
}

void note(struct lab *lab, const char *what, const char *format, ...)
{
    struct row *row = row_new(lab, ROW_NOTE, what);
    va_list args;
    va_start(args, format);
    vsnprintf(row->got, sizeof row->got, format, args);
    va_end(args);
}

/* ---- the end ---- */

enum verdict conclude(struct lab *lab, enum verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(lab->conclusion, sizeof lab->conclusion, format, args);
    va_end(args);
    return verdict;
}

enum verdict skip(struct lab *lab, const char *remedy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(lab->conclusion, sizeof lab->conclusion, format, args);
    va_end(args);
    snprintf(lab->remedy, sizeof lab->remedy, "%s", remedy ? remedy : "");
    return SKIPPED;
}

/* No experiment needs as many as are common; where fewer are allowed, that is no fault of it. */
static bool lacks_descriptors(int error)
{
    struct rlimit limit;
    return error == EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           limit.rlim_cur < DESCRIPTORS_COMMON;
}

int must(struct lab *lab, long long result, const char *what)
{
    if (result >= 0)
        return (int)result;
    if (lacks_descriptors(errno))
        lab->verdict = skip(lab, text("raise the limit: ulimit -n %d", DESCRIPTORS_COMMON),
                            "it needs more descriptors than a process may have here");
    else
        lab->verdict = conclude(lab, FAILED, "the experiment could not go on: %s: %s", what,
                                errno_word(errno));
    lab->is_over = true;
    _exit(1);
}

const char *text(const char *format, ...)
{
    static char buffers[16][160];
    static unsigned turn;
    char *buf = buffers[turn++ % 16];
    va_list args;
    va_start(args, format);
    vsnprintf(buf, sizeof buffers[0], format, args);
    va_end(args);
    return buf;
}

/* ---- reading a record ---- */

static const char *format_number(double value, char *buf, size_t size)
{
    bool is_whole = fabs(value) < 1e15 && value == floor(value);
    snprintf(buf, size, is_whole ? "%.0f" : "%.3g", value);
    if (!is_whole && (value >= 100 || value <= -100))
        snprintf(buf, size, "%.1f", value);
    return buf;
}

const char *row_got(const struct row *row, char *buf, size_t size)
{
    char number[40];
    switch (row->kind) {
    case ROW_BOOL:
        snprintf(buf, size, "%s", row->value != 0 ? "yes" : "no");
        break;
    case ROW_TEXT:
        snprintf(buf, size, "\"%s\"", row->got);
        break;
    case ROW_ERRNO:
    case ROW_NOTE:
        snprintf(buf, size, "%s", row->got);
        break;
    case ROW_NUMBER:
    case ROW_RANGE:
    case ROW_MEASURE:
        snprintf(buf, size, "%s%s%s", format_number(row->value, number, sizeof number),
                 row->unit[0] ? " " : "", row->unit);
    }
    return buf;
}

const char *row_expected(const struct row *row, char *buf, size_t size)
{
    char low[40], high[40];
    const char *space = row->unit[0] ? " " : "";
    struct row wanted = *row;
    wanted.value = row->low;
    switch (row->kind) {
    case ROW_TEXT:
        snprintf(buf, size, "\"%s\"", row->expected);
        break;
    case ROW_ERRNO:
        snprintf(buf, size, "%s", row->expected);
        break;
    case ROW_RANGE:
        format_number(row->low, low, sizeof low);
        format_number(row->high, high, sizeof high);
        if (isinf(row->high))
            snprintf(buf, size, "at least %s%s%s", low, space, row->unit);
        else if (isinf(row->low))
            snprintf(buf, size, "at most %s%s%s", high, space, row->unit);
        else
            snprintf(buf, size, "%s to %s%s%s", low, high, space, row->unit);
        break;
    case ROW_NUMBER:
    case ROW_BOOL:
        row_got(&wanted, buf, size);
        break;
    case ROW_NOTE:
    case ROW_MEASURE:
        buf[0] = '\0';
    }
    return buf;
}

const char *record_failure(const struct lab *lab)
{
    static char why[400];
    char got[120], expected[120];
    bool expects = false;
    for (int i = 0; i < lab->row_count; i++) {
        const struct row *row = &lab->rows[i];
        expects = expects || row->is_expected;
        if (!row->is_expected || row->holds)
            continue;
        snprintf(why, sizeof why, "%s is %s; the lab expects %s", row->what,
                 row_got(row, got, sizeof got), row_expected(row, expected, sizeof expected));
        return why;
    }
    if (lab->is_full)
        return "it recorded more than there is room for";
    return expects ? NULL : "it observed nothing that could fail";
}

const char *verdict_word(enum verdict verdict)
{
    static const char *const words[] = {
        [SKIPPED] = "SKIPPED",   [FAILED] = "FAILED",
        [CONFIRMED] = "CONFIRMED", [REFINED] = "REFINED",
        [CONTRADICTED] = "CONTRADICTED", [CHANGED] = "CHANGED", [ADDED] = "ADDED",
    };
    return words[verdict];
}

/* ---- pictures ---- */

void picture(struct lab *lab, enum picture_kind kind, unsigned flags, const char *title,
             const char *left, const char *right)
{
    if (lab->picture_count == PICTURES_MAX) {
        lab->is_full = true;
        return;
    }
    struct picture *p = &lab->pictures[lab->picture_count++];
    *p = (struct picture){ .kind = kind, .flags = flags, .first = lab->item_count };
    snprintf(p->title, sizeof p->title, "%s", title ? title : "");
    snprintf(p->left, sizeof p->left, "%s", left ? left : "");
    snprintf(p->right, sizeof p->right, "%s", right ? right : "");
}

void picture_item(struct lab *lab, struct item item)
{
    if (lab->item_count == ITEMS_MAX || lab->picture_count == 0) {
        lab->is_full = true;
        return;
    }
    lab->items[lab->item_count++] = item;
    lab->pictures[lab->picture_count - 1].count++;
}

static void add(struct lab *lab, double x, double y, const char *label)
{
    struct item item = { .x = x, .y = y };
    print_bytes(item.label, sizeof item.label, label);
    picture_item(lab, item);
}

void bar(struct lab *lab, const char *label, double value, double full)
{
    add(lab, value, full, label);
}

void box(struct lab *lab, int row, const char *bytes)
{
    add(lab, 0, row, bytes);
}

void moment(struct lab *lab, double milliseconds, const char *what)
{
    add(lab, milliseconds, 0, what);
}

void point(struct lab *lab, const char *curve, double x, double y)
{
    add(lab, x, y, curve);
}

void cell(struct lab *lab, const char *words, bool ends_row)
{
    add(lab, 0, ends_row, words);
}
