/* picture.c -- pictures on a terminal, in Unicode or ASCII, never wider than the screen. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "show.h"

enum { INDENT = 12, BAR_MAX = 40, BAR_MIN = 6, TIME_WIDTH = 13, STATE_WIDTH = 12, NAME_WIDTH = 10,
        PLOT_ROWS = 14, PLOT_COLUMNS = 64, CELLS_MAX = 16,
       LADDER_MAX = 52 };

struct canvas {
    const struct screen *screen;
    const struct lab *lab;
    const struct picture *picture;
    const struct item *items;
    int count;
};

static const char *glyph(const struct canvas *c, const char *unicode, const char *ascii)
{
    return c->screen->has_unicode ? unicode : ascii;
}

static void repeat(const char *words, int count)
{
    while (count-- > 0)
        fputs(words, stdout);
}

/* As much of the words as has room in so many columns, and blanks for what is left of them. */
static void print_cut(const char *words, int columns)
{
    int len = text_fit(words, columns);
    printf("%.*s", len, words);
    for (int rest = columns - text_width_of(words, len); rest > 0; rest--)
        putchar(' ');
}

/* The same without the blanks. */
static void print_short(const char *words, int columns)
{
    printf("%.*s", text_fit(words, columns), words);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static int widest_label(const struct canvas *c)
{
    int widest = 0;
    for (int i = 0; i < c->count; i++) {
        int width = text_width(c->items[i].label);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static double greatest(const struct canvas *c, bool of_y)
{
    double most = 0;
    for (int i = 0; i < c->count; i++) {
        double value = of_y ? c->items[i].y : c->items[i].x;
        most = value > most ? value : most;
    }
    return most;
}

/* ---- one dimension ---- */

/* What stands behind a bar. */
static const char *bar_value(const struct canvas *c, const struct item *item, char *buf,
                             size_t size)
{
    char full[40] = "";
    if (item->y > 0)
        snprintf(full, sizeof full, " of %.10g", item->y);
    snprintf(buf, size, "%.10g%s%s%s", item->x, full, c->picture->left[0] ? " " : "",
             c->picture->left);
    return buf;
}

static void draw_bars(const struct canvas *c)
{
    char value[120];
    int tail = 0, all = c->screen->width - INDENT - 2;
    int column = smaller(widest_label(c), all / 2);
    double most = greatest(c, false);
    for (int i = 0; i < c->count; i++)
        tail = larger(tail, text_width(bar_value(c, &c->items[i], value, sizeof value)));
    tail = smaller(tail, all - column - BAR_MIN);
    int room = smaller(all - column - tail, BAR_MAX);
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        double full = item->y > 0 ? item->y : most;
        double share = full > 0 ? item->x / full : 0;
        int filled = smaller(larger((int)(share * room + 0.5), 0), room);
        printf("%*s", INDENT, "");
        print_cut(item->label, column);
        putchar(' ');
        repeat(glyph(c, "█", "#"), filled);
        if (item->y > 0)
            repeat(glyph(c, "░", "."), room - filled);
        fputs(filled > 0 || item->y > 0 ? " " : "", stdout);
        print_short(bar_value(c, item, value, sizeof value), tail);
        putchar('\n');
    }
}

static void print_time(double ms)
{
    if (ms >= 1000)
        printf("%8.2f s   ", ms / 1e3);
    else
        printf("%8.2f ms  ", ms);
}

static void draw_timeline(const struct canvas *c)
{
    char line[128];
    int room = c->screen->width - INDENT - 2;
    double last = greatest(c, false);
    room = room > (int)sizeof line - 1 ? (int)sizeof line - 1 : room;
    memset(line, '-', (size_t)room);
    for (int i = 0; i < c->count && last > 0; i++)
        line[(int)(c->items[i].x / last * (room - 1))] = 'o';
    printf("%*s", INDENT, "");
    for (int i = 0; i < room; i++)
        fputs(line[i] == 'o' ? glyph(c, "●", "o") : glyph(c, "─", "-"), stdout);
    putchar('\n');
    for (int i = 0; i < c->count; i++) {
        printf("%*s", INDENT, "");
        print_time(c->items[i].x);
        print_short(c->items[i].label, c->screen->width - INDENT - TIME_WIDTH);
        putchar('\n');
    }
}

/* ---- bytes ---- */

static void draw_row_of_boxes(const struct canvas *c, const char *name, int row)
{
    const char *wall = glyph(c, "│", "|");
    int used = INDENT + NAME_WIDTH + 1;
    printf("%*s", INDENT, "");
    print_cut(name, NAME_WIDTH);
    fputs(wall, stdout);
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        if (item->y != row)
            continue;
        used += text_width(item->label) + 1;
        if (used > c->screen->width - 4) {
            fputs("...", stdout);
            break;
        }
        printf("%s%s", item->label, wall);
    }
    putchar('\n');
}

static void draw_boxes(const struct canvas *c)
{
    draw_row_of_boxes(c, c->picture->left, 0);
    draw_row_of_boxes(c, c->picture->right, 1);
}

static void draw_strip(const struct canvas *c)
{
    const char *wall = glyph(c, "│", "|");
    int shown = 0, used = INDENT + 1;
    printf("%*s%s", INDENT, "", wall);
    for (; shown < c->count; shown++) {
        used += text_width(c->items[shown].label) + 1;
        if (used > c->screen->width - 8)
            break;
        printf("%s%s", c->items[shown].label, wall);
    }
    printf("%s\n%*s ", shown < c->count ? "..." : "", INDENT, "");
    for (int i = 0; i < shown; i++) {
        int width = text_width(c->items[i].label);
        repeat(c->items[i].y != 0 ? glyph(c, "▲", "^") : " ", width);
        putchar(' ');
    }
    printf("%s\n", greatest(c, true) > 0 ? "urgent" : "");
}

/* ---- two ends ---- */

static void draw_arrow(const struct canvas *c, const struct item *item, int room)
{
    bool to_left = item->y != 0;
    const char *line = glyph(c, "─", "-");
    int words = smaller(text_width(item->label), room - 5);
    fputs(to_left ? glyph(c, "◀", "<") : line, stdout);
    fputs(line, stdout);
    putchar(' ');
    print_cut(item->label, words);
    putchar(' ');
    repeat(line, room - words - 5);
    fputs(to_left ? line : glyph(c, "▶", ">"), stdout);
}

/* A narrow screen has no room for a margin. */
static void draw_ladder(const struct canvas *c)
{
    int fixed = TIME_WIDTH + 2 * (STATE_WIDTH + 1), spare = c->screen->width - fixed;
    int indent = spare > LADDER_MAX + INDENT ? INDENT : larger(spare - LADDER_MAX, 2);
    int room = smaller(spare - indent, LADDER_MAX);
    printf("%*s", indent + TIME_WIDTH, "");
    print_cut(c->picture->left, STATE_WIDTH + 1 + room);
    putchar(' ');
    print_short(c->picture->right, STATE_WIDTH);
    putchar('\n');
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        printf("%*s", indent, "");
        print_time(item->x);
        print_cut(item->left, STATE_WIDTH);
        putchar(' ');
        draw_arrow(c, item, room);
        fputs(item->right[0] ? " " : "", stdout);
        print_short(item->right, STATE_WIDTH);
        putchar('\n');
    }
}

/* ---- two dimensions ---- */

static double scaled(double value, double least, double most, bool is_log)
{
    if (is_log) {
        value = log10(value > 0 ? value : 1e-9);
        least = log10(least > 0 ? least : 1e-9);
        most = log10(most > 0 ? most : 1e-9);
    }
    return most > least ? (value - least) / (most - least) : 0;
}

/* The curves in the order of their first points; the number of this item's. */
static int curve_of(const struct canvas *c, int index)
{
    int curve = 0;
    for (int i = 0; i < index; i++) {
        bool is_new = true;
        for (int j = 0; j < i && is_new; j++)
            is_new = strcmp(c->items[j].label, c->items[i].label) != 0;
        if (strcmp(c->items[i].label, c->items[index].label) == 0)
            return curve;
        curve += is_new;
    }
    return curve;
}

static void draw_plot(const struct canvas *c)
{
    static const char marks[] = "*o+x#@%=";
    char grid[PLOT_ROWS][PLOT_COLUMNS];
    bool is_log = c->picture->flags & PICTURE_LOG;
    int columns = c->screen->width - INDENT - 14;
    double x_max = greatest(c, false), y_max = greatest(c, true), x_min = x_max, y_min = y_max;
    columns = columns > PLOT_COLUMNS ? PLOT_COLUMNS : columns;
    memset(grid, ' ', sizeof grid);
    for (int i = 0; i < c->count; i++) {
        x_min = c->items[i].x < x_min ? c->items[i].x : x_min;
        y_min = c->items[i].y < y_min ? c->items[i].y : y_min;
    }
    for (int i = 0; i < c->count; i++) {
        double x = scaled(c->items[i].x, x_min, x_max, is_log);
        double y = scaled(c->items[i].y, y_min, y_max, is_log);
        int row = PLOT_ROWS - 1 - (int)(y * (PLOT_ROWS - 1) + 0.5);
        grid[row][(int)(x * (columns - 1) + 0.5)] = marks[(size_t)curve_of(c, i) % 8];
    }
    for (int row = 0; row < PLOT_ROWS; row++) {
        bool is_end = row == 0 || row == PLOT_ROWS - 1;
        printf("%*s", INDENT, "");
        if (is_end)
            printf("%10.4g", row == 0 ? y_max : y_min);
        else
            print_cut(row == PLOT_ROWS / 2 ? c->picture->right : "", NAME_WIDTH);
        printf(" %s%.*s\n", glyph(c, "│", "|"), columns, grid[row]);
    }
    printf("%*s%11s%s", INDENT, "", "", glyph(c, "└", "+"));
    repeat(glyph(c, "─", "-"), columns);
    printf("\n%*s%12s%-10.4g ", INDENT, "", "", x_min);
    print_cut(c->picture->left, columns - 22);
    printf(" %.4g\n", x_max);
    for (int i = 0, shown = -1; i < c->count; i++) {
        if (curve_of(c, i) <= shown)
            continue;
        shown = curve_of(c, i);
        printf("%*s%12s%c ", INDENT, "", "", marks[shown % 8]);
        print_short(c->items[i].label, columns - 2);
        putchar('\n');
    }
}

/* ---- words ---- */

/* The states in the order of a connection's life, those that were seen marked. */
static void draw_states(const struct canvas *c)
{
    static const char *const states[] = {
        "CLOSE",     "LISTEN",  "SYN_SENT",  "SYN_RECV",   "ESTABLISHED", "FIN_WAIT1",
        "FIN_WAIT2", "CLOSING", "TIME_WAIT", "CLOSE_WAIT", "LAST_ACK",
    };
    int used = INDENT;
    printf("%*s", INDENT, "");
    for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
        bool seen = false;
        for (int i = 0; i < c->count && !seen; i++)
            seen = strcmp(c->items[i].label, states[s]) == 0;
        used += (int)strlen(states[s]) + 4;
        if (used > c->screen->width) {
            printf("\n%*s", INDENT, "");
            used = INDENT + (int)strlen(states[s]) + 4;
        }
        printf("%s%s %s%s  ", seen ? colour_code(c->screen, BOLD) : "",
               seen ? glyph(c, "●", "*") : glyph(c, "○", "-"), states[s],
               seen ? colour_code(c->screen, PLAIN) : "");
    }
    putchar('\n');
}

/* Takes from the widest column until all of them fit. */
static void narrow(int *widths, int count, int room)
{
    for (;;) {
        int total = 0, widest = 0;
        for (int i = 0; i < count; i++) {
            total += widths[i] + 2;
            widest = widths[i] > widths[widest] ? i : widest;
        }
        if (total <= room || widths[widest] == 0)
            return;
        widths[widest]--;
    }
}

/* Columns beyond those it has room to count are left out. */
static void draw_table(const struct canvas *c)
{
    int widths[CELLS_MAX] = { 0 }, columns = 0;
    for (int i = 0, column = 0; i < c->count; i++) {
        if (column < CELLS_MAX)
            widths[column] = larger(widths[column], text_width(c->items[i].label));
        columns = larger(columns, smaller(column + 1, CELLS_MAX));
        column = c->items[i].y != 0 ? 0 : column + 1;
    }
    narrow(widths, columns, c->screen->width - INDENT);
    for (int i = 0, column = 0; i < c->count; i++) {
        bool ends = c->items[i].y != 0;
        printf("%*s", column == 0 ? INDENT : 0, "");
        if (column < CELLS_MAX)
            print_cut(c->items[i].label, widths[column]);
        fputs(ends ? "\n" : column < CELLS_MAX - 1 ? "  " : "", stdout);
        column = ends ? 0 : column + 1;
    }
}

void show_picture(const struct screen *screen, const struct lab *lab,
                  const struct picture *picture)
{
    static void (*const draw[])(const struct canvas *) = {
        [BARS] = draw_bars,   [TIMELINE] = draw_timeline, [LADDER] = draw_ladder,
        [BOXES] = draw_boxes, [STRIP] = draw_strip,       [PLOT] = draw_plot,
        [STATES] = draw_states, [TABLE] = draw_table,
    };
    struct canvas canvas = { .screen = screen,
                             .lab = lab,
                             .picture = picture,
                             .items = lab->items + picture->first,
                             .count = picture->count };
    if (picture->title[0])
        print_wrapped(screen, "", INDENT, picture->title);
    draw[picture->kind](&canvas);
}
