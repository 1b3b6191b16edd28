/* show.c -- a result for people: claim against observation, and why. */
#include <stdio.h>
#include <string.h>

#include "show.h"

enum { WHAT_MAX = 46, VALUE_MIN = 24 };

static enum colour colour_of(enum verdict verdict)
{
    static const enum colour colours[] = {
        [SKIPPED] = DIM,     [FAILED] = RED,  [CONFIRMED] = GREEN, [REFINED] = YELLOW,
        [CONTRADICTED] = YELLOW, [CHANGED] = YELLOW, [ADDED] = BLUE,
    };
    return colours[verdict];
}

void show_machine(const struct screen *screen)
{
    char value[96], line[640] = "";
    const char *name;
    for (int i = 0; machine_setting(i, &name, value, sizeof value); i++) {
        size_t at = strlen(line);
        const char *last = strrchr(name, '.');
        snprintf(line + at, sizeof line - at, "%s%s%s%s", at ? ", " : "",
                 last ? last + 1 : "", last ? " " : "", value);
    }
    print_wrapped(screen, "", 0, line);
    putchar('\n');
}

static void show_claim(const struct screen *screen, const struct experiment *e)
{
    char line[700];
    int indent = screen_indent(screen);
    const char *open = screen->has_unicode ? "“" : "\"", *close = screen->has_unicode ? "”" : "\"";
    if (!e->claim) {
        print_wrapped(screen, "  claim", indent, "none: the notes leave this out");
        return;
    }
    if (e->original && screen->has_unicode) {
        snprintf(line, sizeof line, "%s %s%s%s", e->source, open, e->original, close);
        print_wrapped(screen, "  claim", indent, line);
        print_wrapped(screen, "", indent, e->claim);
        return;
    }
    snprintf(line, sizeof line, "%s %s%s%s", e->source, open, e->claim, close);
    print_wrapped(screen, "  claim", indent, line);
}

/* The widest name of a row, within bounds: where the values begin. */
static int column_of(const struct lab *lab, int most)
{
    int column = 0;
    for (int i = 0; i < lab->row_count; i++) {
        int width = text_width(lab->rows[i].what);
        column = width > column && width <= most ? width : column;
    }
    return column;
}

static void format_row(const struct row *row, const struct spread *spread, int index, char *buf,
                       size_t size)
{
    char got[120], expected[120] = "";
    struct row least = *row, greatest = *row;
    char low[120], high[120];
    row_got(row, got, sizeof got);
    if (row->kind == ROW_RANGE)
        row_expected(row, expected, sizeof expected);
    if (row->is_expected && !row->holds)
        row_expected(row, expected, sizeof expected);
    least.value = spread->least[index];
    greatest.value = spread->greatest[index];
    bool varies = spread->runs > 1 && least.value != greatest.value;
    int at = snprintf(buf, size, "%s", got);
    if (varies)
        at += snprintf(buf + at, size - (size_t)at, "  (from %s to %s)",
                       row_got(&least, low, sizeof low), row_got(&greatest, high, sizeof high));
    if (expected[0])
        snprintf(buf + at, size - (size_t)at, "  (expected: %s)", expected);
}

static void show_rows(const struct screen *screen, const struct lab *lab,
                      const struct spread *spread)
{
    int indent = screen_indent(screen), most = screen->width - indent - VALUE_MIN;
    int column = column_of(lab, most < WHAT_MAX ? most : WHAT_MAX);
    char line[520], label[200];
    for (int i = 0; i < lab->row_count; i++) {
        const struct row *row = &lab->rows[i];
        const char *begin = i == 0 ? "  now" : "";
        bool fails = row->is_expected && !row->holds;
        int pad = column - text_width(row->what);
        format_row(row, spread, i, line, sizeof line);
        if (text_width(begin) > indent) {
            puts(begin);
            begin = "";
        }
        snprintf(label, sizeof label, "%-*s%s%*s  ", indent, begin, row->what, pad > 0 ? pad : 0,
                 "");
        fputs(fails ? colour_code(screen, RED) : "", stdout);
        if (pad >= 0) {
            print_wrapped(screen, label, indent + column + 2, line);
        } else if (text_width(label) + text_width(line) <= screen->width) {
            print_wrapped(screen, label, text_width(label), line);
        } else {
            print_wrapped(screen, begin, indent, row->what);
            print_wrapped(screen, "", indent + 2, line);
        }
        fputs(fails ? colour_code(screen, PLAIN) : "", stdout);
    }
}

/* A blank line before each picture and behind the last. */
static void show_pictures(const struct screen *screen, const struct lab *lab, bool explains)
{
    bool is_any = false;
    for (int i = 0; i < lab->picture_count; i++) {
        if (!explains && lab->pictures[i].flags & PICTURE_DETAIL)
            continue;
        putchar('\n');
        show_picture(screen, lab, &lab->pictures[i]);
        is_any = true;
    }
    fputs(is_any ? "\n" : "", stdout);
}

static void show_verdict(const struct screen *screen, const struct lab *lab)
{
    char label[96], line[560];
    const char *word = verdict_word(lab->verdict);
    const struct experiment *e = lab->experiment;
    bool names_kernel = lab->verdict == CHANGED && e->since;
    snprintf(line, sizeof line, "%s%s%s%s%s%s", names_kernel ? "since Linux " : "",
             names_kernel ? e->since : "", names_kernel ? ": " : "", lab->conclusion,
             lab->remedy[0] ? "; " : "", lab->remedy);
    snprintf(label, sizeof label, "  verdict   %s%s%s  ",
             colour_code(screen, colour_of(lab->verdict)), word, colour_code(screen, PLAIN));
    print_wrapped(screen, label, text_width(label), line);
}

void show_result(const struct screen *screen, const struct lab *lab, const struct spread *spread,
                 bool explains)
{
    const struct experiment *e = lab->experiment;
    char times[40] = "", title[96];
    int indent = screen_indent(screen);
    snprintf(title, sizeof title, "%s%s %s%s - ", colour_code(screen, BOLD), e->id, e->name,
             colour_code(screen, PLAIN));
    print_wrapped(screen, title, text_width(title), e->question);
    show_claim(screen, e);
    if (explains || lab->verdict == FAILED) {
        print_wrapped(screen, "  expect", indent, e->expectation);
        print_wrapped(screen, "  see", indent, e->reference);
    }
    show_rows(screen, lab, spread);
    show_pictures(screen, lab, explains);
    show_verdict(screen, lab);
    if (lab->verdict != SKIPPED) {
        print_wrapped(screen, "  why", indent, e->why);
        if (spread->runs > 1)
            snprintf(times, sizeof times, ", %d of %d runs say so",
                     spread->verdicts[lab->verdict], spread->runs);
        print_wrapped(screen, "  next", indent,
                      text("%s  (%.1f s%s)", e->next, lab->ms / 1e3, times));
    }
    putchar('\n');
}

void show_tally(const struct screen *screen, const struct tally *tally)
{
    char line[240] = "", label[80];
    static const enum verdict order[] = { CONFIRMED, REFINED, CONTRADICTED, CHANGED, ADDED,
                                          SKIPPED, FAILED };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        size_t at = strlen(line);
        if (tally->verdicts[order[i]])
            snprintf(line + at, sizeof line - at, "%s%d %s", at ? ", " : "",
                     tally->verdicts[order[i]], verdict_word(order[i]));
    }
    size_t end = strlen(line);
    snprintf(line + end, sizeof line - end, " (%.1f s)", tally->ms / 1e3);
    snprintf(label, sizeof label, "%s%d experiment%s:%s ", colour_code(screen, BOLD), tally->count,
             tally->count == 1 ? "" : "s", colour_code(screen, PLAIN));
    print_wrapped(screen, label, text_width(label), line);
}
