/* svg.c -- pictures as SVG inside a page of HTML.
 *
 * A picture is as wide as a phone, 360 units, and the page scales it up a little where there is
 * room. Its colours are the page's, and nothing is told by a colour alone. It has no name space and
 * no links: nothing refers outside.                                                             */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grid.h"
#include "page.h"
#include "sheet.h"
#include "value.h"

enum { WIDTH = SHEET_WIDTH, TANK_WIDTH = 170 };

static double greatest(const struct sheet *s, bool of_y)
{
    double most = 0;
    for (int i = 0; i < s->count; i++)
        most = fmax(most, of_y ? s->items[i].y : s->items[i].x);
    return most;
}

/* ---- one dimension ---- */

static void draw_bars(struct sheet *s)
{
    double most = greatest(s, false);
    char value[120];
    for (int i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        double full = item->y > 0 ? item->y : most;
        double share = full > 0 ? fmin(fmax(item->x / full, 0), 1) : 0;
        bar_text(s->picture, item, value, sizeof value);
        int room = COLUMNS - columns_of(value) - 2, lines = 0;
        lines = put_lines(s, 0, s->y, room > 12 ? room : COLUMNS, NULL, item->label);
        if (room <= 12)
            lines += 1;
        lines = lines > 0 ? lines : 1;
        put_line(s, WIDTH, s->y + (room > 12 ? 0 : (lines - 1) * LINE) + 11, "end strong", value);
        s->y += lines * LINE + 2;
        if (item->y > 0)
            rectangle(s, 0.5, s->y, WIDTH - 1, 9, "hollow");
        rectangle(s, 0.5, s->y, share * (WIDTH - 1), 9, "full");
        s->y += 16;
    }
}

static const char *time_text(double ms, char *buf, size_t size)
{
    snprintf(buf, size, ms >= 1000 ? "%.2f s" : "%.2f ms", ms >= 1000 ? ms / 1e3 : ms);
    return buf;
}

static void draw_timeline(struct sheet *s)
{
    double last = greatest(s, false);
    char when[32];
    stroke(s, 6, 10, WIDTH - 6, 10, "axis");
    for (int i = 0; i < s->count; i++)
        fprintf(s->to, "<circle cx=\"%.1f\" cy=\"10\" r=\"4\" class=\"full\"/>\n",
                6 + (last > 0 ? s->items[i].x / last : 0) * (WIDTH - 12));
    s->y = 20;
    put_line(s, 0, s->y + 11, "dim", "0");
    put_line(s, WIDTH, s->y + 11, "end dim", time_text(last, when, sizeof when));
    s->y += LINE + 6;
    for (int i = 0; i < s->count; i++) {
        put_line(s, 10 * LETTER, s->y + 11, "end dim", time_text(s->items[i].x, when, sizeof when));
        int lines = put_lines(s, 12 * LETTER, s->y, COLUMNS - 12, NULL, s->items[i].label);
        s->y += (lines > 0 ? lines : 1) * LINE + 2;
    }
}

/* How much two vessels hold, moment by moment; a full one is as wide as the most that it held. */
static void draw_tanks(struct sheet *s)
{
    const double most[] = { greatest(s, false), greatest(s, true) };
    char value[40];
    put_line(s, 0, s->y + 11, "strong", s->picture->left);
    put_line(s, WIDTH - TANK_WIDTH, s->y + 11, "strong", s->picture->right);
    s->y += LINE + 4;
    for (int i = 0; i < s->count; i++) {
        const double held[] = { s->items[i].x, s->items[i].y };
        int lines = put_lines(s, 0, s->y, 17, "dim", s->items[i].label);
        double y = s->y + (lines > 0 ? lines : 1) * LINE;
        for (int tank = 0; tank < 2; tank++) {
            double x = tank * (WIDTH - TANK_WIDTH), share = most[tank] > 0 ? held[tank] / most[tank]
                                                                           : 0;
            put_line(s, x + TANK_WIDTH - 2, y - 3, "end",
                     number_text(held[tank], value, sizeof value));
            rectangle(s, x + 0.5, y + 2, TANK_WIDTH - 1, 12, "hollow");
            rectangle(s, x + 0.5, y + 2, share * (TANK_WIDTH - 1), 12, "full");
        }
        s->y = y + 22;
    }
}

/* ---- bytes ---- */

/* Boxes from the left to the right, as many in a line as have room. Those of other rows are left
 * out; a mark below tells the urgent ones of a strip. */
static void draw_pieces(struct sheet *s, int row, bool is_strip)
{
    double x = 0.5;
    bool has_mark = is_strip && greatest(s, true) > 0;
    int height = has_mark ? 40 : 26;
    for (int i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        double width = columns_of(item->label) * LETTER + 8;
        bool is_urgent = is_strip && item->y != 0;
        if (!is_strip && item->y != row)
            continue;
        if (x > 1 && x + width > WIDTH) {
            x = 0.5;
            s->y += height;
        }
        rectangle(s, x, s->y + 0.5, width, 20, is_urgent ? "marked" : "hollow");
        put_line(s, x + width / 2, s->y + 14, "middle", item->label);
        if (is_urgent)
            put_line(s, x + width / 2, s->y + 33, "middle strong", "▲");
        x += width + (is_strip ? 0 : 4);
    }
    s->y += height;
    if (has_mark) {
        put_line(s, 0, s->y + 11, "dim", "▲ urgent");
        s->y += LINE;
    }
}

static void draw_boxes(struct sheet *s)
{
    for (int row = 0; row < 2; row++) {
        put_line(s, 0, s->y + 11, "dim", row == 0 ? s->picture->left : s->picture->right);
        s->y += LINE + 2;
        draw_pieces(s, row, false);
        s->y += 4;
    }
}

static void draw_strip(struct sheet *s)
{
    draw_pieces(s, 0, true);
}

/* ---- two ends ---- */

/* Each segment has its words above its arrow, which runs between the states of both ends. */
static void draw_ladder(struct sheet *s)
{
    const double left = 80, right = WIDTH - 80;
    char when[32];
    put_line(s, left, s->y + 11, "middle strong", s->picture->left);
    put_line(s, right, s->y + 11, "middle strong", s->picture->right);
    double top = s->y = LINE + 6;
    for (int i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        bool to_left = item->y != 0;
        int lines = put_lines(s, left + 4, s->y, (int)((right - left - 4) / LETTER), NULL,
                              item->label);
        put_line(s, left - 6, s->y + 11, "end dim", time_text(item->x, when, sizeof when));
        s->y += (lines > 0 ? lines : 1) * LINE + 9;
        put_line(s, left - 6, s->y + 4, "end", item->left);
        put_line(s, right + 6, s->y + 4, NULL, item->right);
        arrow(s, to_left ? right : left, s->y, to_left ? left : right, s->y, "line");
        s->y += 8;
    }
    stroke(s, left, top, left, s->y, "axis");
    stroke(s, right, top, right, s->y, "axis");
}

/* ---- two dimensions ---- */

struct scale {
    double least, most, from, to; /* values; and where they are drawn */
    bool is_log;
};

static double scaled(const struct scale *scale, double value)
{
    double least = scale->least, most = scale->most;
    if (scale->is_log) {
        value = log10(fmax(value, least));
        least = log10(least);
        most = log10(most);
    }
    return scale->from + (value - least) / (most - least) * (scale->to - scale->from);
}

/* From whole decades to whole decades, or from zero to a round number. */
static struct scale scale_of(const struct sheet *s, bool of_y, double from, double to)
{
    struct scale scale = { .least = INFINITY, .most = 0, .from = from, .to = to,
                           .is_log = s->picture->flags & PICTURE_LOG };
    for (int i = 0; i < s->count; i++) {
        double value = of_y ? s->items[i].y : s->items[i].x;
        scale.most = fmax(scale.most, value);
        if (value > 0)
            scale.least = fmin(scale.least, value);
    }
    if (scale.most <= 0)
        scale.most = scale.least = 1;
    if (scale.is_log) {
        scale.least = pow(10, floor(log10(scale.least)));
        scale.most = pow(10, ceil(log10(scale.most)));
        scale.most = scale.most > scale.least ? scale.most : scale.least * 10;
    } else {
        double step = pow(10, floor(log10(scale.most)));
        scale.least = 0;
        scale.most = ceil(scale.most / step) * step;
    }
    return scale;
}

static void draw_ticks(struct sheet *s, const struct scale *x, const struct scale *y, bool of_y)
{
    const struct scale *scale = of_y ? y : x;
    char words[32];
    double step = (scale->most - scale->least) / 4;
    int count = scale->is_log ? (int)lround(log10(scale->most / scale->least)) : 4;
    for (int i = 0; i <= count; i++) {
        double value = scale->is_log ? scale->least * pow(10, i) : scale->least + step * i;
        double at = scaled(scale, value);
        number_text(value, words, sizeof words);
        if (of_y) {
            stroke(s, x->from, at, x->to, at, "grid");
            put_line(s, x->from - 4, at + 4, "end dim", words);
        } else {
            stroke(s, at, y->from, at, y->to, "grid");
            put_line(s, at, y->from + 14, i == count ? "end dim" : "middle dim", words);
        }
    }
}

/* Each curve has its own sign beside its colour, and every other one is dashed, so that one which
 * lies below another can be seen. */
static void draw_sign(struct sheet *s, int curve, double x, double y)
{
    static const char *const signs[] = {
        "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z", "M-3.5 -3.5h7v7h-7Z", "M0 -4.5L4.5 3.5h-9Z",
        "M-4 -4L4 4M-4 4L4 -4",                "M0 -5L5 0L0 5L-5 0Z", "M-5 0h10M0 -5v10",
    };
    fprintf(s->to, "<path transform=\"translate(%.1f %.1f)\" d=\"%s\" class=\"sign c%d\"/>\n", x, y,
            signs[curve % 6], curve % 6);
}

static bool is_first_of_curve(const struct sheet *s, int index)
{
    for (int i = 0; i < index; i++)
        if (strcmp(s->items[i].label, s->items[index].label) == 0)
            return false;
    return true;
}

static void draw_curve(struct sheet *s, int first, int curve, const struct scale *x,
                       const struct scale *y)
{
    char sep = 'M';
    int points = 0, drawn = 0;
    fprintf(s->to, "<path class=\"curve c%d\" d=\"", curve % 6);
    for (int i = first; i < s->count; i++) {
        if (strcmp(s->items[i].label, s->items[first].label) != 0)
            continue;
        fprintf(s->to, "%c%.1f %.1f", sep, scaled(x, s->items[i].x), scaled(y, s->items[i].y));
        sep = 'L';
        points++;
    }
    fputs("\"/>\n", s->to);
    /* So many points that their signs would touch get only some of them. */
    int every = points / 12 + 1;
    for (int i = first; i < s->count; i++)
        if (strcmp(s->items[i].label, s->items[first].label) == 0 && drawn++ % every == 0)
            draw_sign(s, curve, scaled(x, s->items[i].x), scaled(y, s->items[i].y));
}

static void draw_plot(struct sheet *s)
{
    struct scale x = scale_of(s, false, 52, WIDTH - 8), y = scale_of(s, true, 210, LINE + 14);
    put_line(s, 0, 11, "dim", s->picture->right);
    draw_ticks(s, &x, &y, true);
    draw_ticks(s, &x, &y, false);
    stroke(s, x.from, y.from, x.to, y.from, "axis");
    stroke(s, x.from, y.from, x.from, y.to, "axis");
    put_line(s, WIDTH, y.from + 14 + LINE, "end dim", s->picture->left);
    s->y = y.from + 14 + LINE + 8;
    for (int i = 0, curve = 0; i < s->count; i++) {
        if (!is_first_of_curve(s, i))
            continue;
        draw_curve(s, i, curve, &x, &y);
        draw_sign(s, curve, 58, s->y + 7);
        s->y += put_lines(s, 70, s->y, COLUMNS - 11, NULL, s->items[i].label) * LINE;
        curve++;
    }
}

/* ---- words ---- */

struct state {
    const char *name;
    int x, y; /* the middle of its box */
};

static const struct state states[] = {
    { "CLOSE", 180, 12 },       { "LISTEN", 60, 58 },        { "SYN_SENT", 300, 58 },
    { "SYN_RECV", 60, 104 },    { "ESTABLISHED", 180, 150 }, { "FIN_WAIT1", 60, 196 },
    { "CLOSE_WAIT", 300, 196 }, { "FIN_WAIT2", 60, 242 },    { "CLOSING", 180, 242 },
    { "LAST_ACK", 300, 242 },   { "TIME_WAIT", 120, 288 },   { "CLOSE", 180, 334 },
};

/* The usual ways from one state to the next: numbers of the table above. */
static const int ways[][2] = { { 0, 1 }, { 0, 2 }, { 1, 3 }, { 2, 4 }, { 3, 4 },   { 4, 5 },
                               { 4, 6 }, { 5, 7 }, { 5, 8 }, { 6, 9 }, { 7, 10 },  { 8, 10 },
                               { 9, 11 }, { 10, 11 } };

/* Who goes which of the ways. */
static void draw_roles(struct sheet *s)
{
    put_line(s, 44, 39, "middle dim", "server");
    put_line(s, 316, 39, "middle dim", "client");
    put_line(s, 44, 177, "middle dim", "closes first");
    put_line(s, 316, 177, "middle dim", "closes last");
}

static void draw_states(struct sheet *s)
{
    char words[96];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const struct state *from = &states[ways[i][0]], *to = &states[ways[i][1]];
        arrow(s, from->x, from->y + 11, to->x, to->y - 11, "line");
    }
    draw_roles(s);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        bool seen = state_was_seen(s->items, s->count, states[i].name, i == 0);
        snprintf(words, sizeof words, "%s%s", seen ? "● " : "", states[i].name);
        rectangle(s, states[i].x - 50, states[i].y - 11, 100, 22, seen ? "marked" : "hollow");
        put_line(s, states[i].x, states[i].y + 4, seen ? "middle strong" : "middle dim", words);
    }
    put_line(s, 0, 368, "dim", "● seen, in this order:");
    s->y = 374;
    for (int i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        snprintf(words, sizeof words, "%d. %s%s%s", i + 1, item->left, item->left[0] ? ": " : "",
                 item->label);
        s->y += put_lines(s, 0, s->y, COLUMNS, NULL, words) * LINE;
    }
}

/* One row of a part, with a line below it. */
static void draw_row(struct sheet *s, const char *const *cells, const int *widths, int count,
                     bool is_heading)
{
    double x = 0;
    int lines = 1;
    for (int i = 0; i < count; i++) {
        int used = put_lines(s, x, s->y, widths[i], is_heading ? "strong" : NULL, cells[i]);
        lines = used > lines ? used : lines;
        x += (widths[i] + CELL_GAP) * LETTER;
    }
    s->y += lines * LINE + 4;
    stroke(s, 0, s->y, WIDTH, s->y, is_heading ? "axis" : "grid");
    s->y += 3;
}

static void draw_table(struct sheet *s)
{
    struct grid grid;
    const char *cells[CELLS_MAX];
    int widths[CELLS_MAX] = { 0 }, first = 1;
    grid_measure(&grid, s->items, s->count);
    do {
        int columns = grid_part(&grid, first, COLUMNS, widths);
        s->y += first > 1 ? LINE : 0;
        for (int at = 0, next; at < s->count; at = next) {
            next = grid_row(s->items, s->count, at, first, columns, cells);
            draw_row(s, cells, widths, columns + 1, at == 0);
        }
        first += columns;
    } while (first < grid.columns);
}

bool print_picture(FILE *to, const struct lab *lab, const struct picture *picture)
{
    static void (*const draw[])(struct sheet *) = {
        [BARS] = draw_bars,   [TIMELINE] = draw_timeline, [LADDER] = draw_ladder,
        [BOXES] = draw_boxes, [STRIP] = draw_strip,       [PLOT] = draw_plot,
        [STATES] = draw_states, [TABLE] = draw_table,     [TANKS] = draw_tanks,
    };
    char *drawn = NULL;
    size_t len = 0;
    struct sheet sheet = { .to = open_memstream(&drawn, &len),
                           .picture = picture,
                           .items = lab->items + picture->first,
                           .count = picture->count };
    if (!sheet.to)
        return false;
    draw[picture->kind](&sheet);
    bool is_whole = fclose(sheet.to) == 0;
    if (is_whole) {
        fputs("<figure>", to);
        if (picture->title[0]) {
            fputs("<figcaption>", to);
            print_escaped(to, picture->title);
            fputs("</figcaption>\n", to);
        }
        fprintf(to, "<svg viewBox=\"0 0 %d %.0f\" width=\"%d\" role=\"img\" aria-label=\"", WIDTH,
                ceil(sheet.y + 4), WIDTH);
        print_escaped(to, picture->title[0] ? picture->title : lab->experiment->question);
        fprintf(to, "\">\n%s</svg></figure>\n", drawn);
    }
    free(drawn);
    return is_whole;
}
