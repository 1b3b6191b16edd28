/* diagram.c -- pictures of two dimensions on a terminal: curves, the states of TCP, tables. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "canvas.h"
#include "grid.h"
#include "value.h"

enum { PLOT_ROWS = 15, PLOT_COLUMNS = 64, NUMBER_WIDTH = 7 };

/* ---- curves ---- */

struct scale {
    double least, most;
    bool is_log;
};

static struct scale scale_of(const struct canvas *c, bool of_y)
{
    struct scale scale = { .least = INFINITY, .is_log = c->picture->flags & PICTURE_LOG };
    for (int i = 0; i < c->count; i++) {
        double value = of_y ? c->items[i].y : c->items[i].x;
        value = scale.is_log && value <= 0 ? 1e-9 : value;
        scale.least = fmin(scale.least, value);
        scale.most = fmax(scale.most, value);
    }
    return scale;
}

static double share_of(const struct scale *scale, double value)
{
    double least = scale->least, most = scale->most;
    if (scale->is_log) {
        value = log10(fmax(value, least));
        least = log10(least);
        most = log10(most);
    }
    return most > least ? (value - least) / (most - least) : 0;
}

/* The value at a share of the way from the least to the most. */
static double value_at(const struct scale *scale, double share)
{
    if (scale->is_log)
        return scale->least * pow(scale->most / scale->least, share);
    return scale->least + share * (scale->most - scale->least);
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

/* Each curve has a mark of its own, beside its colour. */
static void print_mark(const struct canvas *c, int curve)
{
    static const char marks[] = "*o+x#@%=";
    static const enum colour colours[] = { BLUE, RED, GREEN, YELLOW };
    fputs(colour_code(c->screen, colours[curve % 4]), stdout);
    putchar(marks[curve % 8]);
    fputs(colour_code(c->screen, PLAIN), stdout);
}

static void draw_x_axis(const struct canvas *c, const struct scale *x, int columns)
{
    char least[40], most[40];
    number_text(x->least, least, sizeof least);
    number_text(x->most, most, sizeof most);
    int between = columns - text_width(least) - text_width(most);
    bool is_between = text_width(c->picture->left) + 2 <= between;
    int spare = is_between ? between - text_width(c->picture->left) : between;
    begin_line(c);
    printf("%*s%s", NUMBER_WIDTH + 1, "", glyph(c, "└", "+"));
    repeat(glyph(c, "─", "-"), columns);
    putchar('\n');
    begin_line(c);
    printf("%*s%s%*s%s%*s%s\n", NUMBER_WIDTH + 2, "", least, spare / 2, "",
           is_between ? c->picture->left : "", spare - spare / 2, "", most);
    if (!is_between) {
        begin_line(c);
        printf("%*s", NUMBER_WIDTH + 2, "");
        print_short(c->picture->left, columns);
        putchar('\n');
    }
}

static void draw_legend(const struct canvas *c, int columns)
{
    for (int i = 0, shown = -1; i < c->count; i++) {
        if (curve_of(c, i) <= shown)
            continue;
        shown = curve_of(c, i);
        begin_line(c);
        printf("%*s", NUMBER_WIDTH + 2, "");
        print_mark(c, shown);
        putchar(' ');
        print_short(c->items[i].label, columns - 2);
        putchar('\n');
    }
}

void draw_plot(const struct canvas *c)
{
    char number[40];
    signed char grid[PLOT_ROWS][PLOT_COLUMNS]; /* the number of the curve, or -1 */
    struct scale x = scale_of(c, false), y = scale_of(c, true);
    int columns = smaller(c->room - NUMBER_WIDTH - 2, PLOT_COLUMNS);
    memset(grid, -1, sizeof grid);
    for (int i = 0; i < c->count; i++) {
        int row = (int)((1 - share_of(&y, c->items[i].y)) * (PLOT_ROWS - 1) + 0.5);
        int column = (int)(share_of(&x, c->items[i].x) * (columns - 1) + 0.5);
        grid[row][column] = (signed char)curve_of(c, i);
    }
    begin_line(c);
    print_short(c->picture->right, c->room);
    putchar('\n');
    for (int row = 0; row < PLOT_ROWS; row++) {
        bool is_told = row % (PLOT_ROWS / 2) == 0;
        double value = value_at(&y, 1 - row / (PLOT_ROWS - 1.0));
        begin_line(c);
        printf("%*s %s", NUMBER_WIDTH, is_told ? number_text(value, number, sizeof number) : "",
               glyph(c, "│", "|"));
        for (int column = 0, at = 0; column < columns; column++) {
            if (grid[row][column] < 0)
                continue;
            printf("%*s", column - at, "");
            print_mark(c, grid[row][column]);
            at = column + 1;
        }
        putchar('\n');
    }
    draw_x_axis(c, &x, columns);
    draw_legend(c, columns);
}

/* ---- the states of a connection ---- */

/* The usual ways, from the top to the bottom. A connection ends where it began, in CLOSE. */
static const char *const chart[] = {
    "                @ CLOSE",
    "         /---------^---------\\",
    "     @ LISTEN           @ SYN_SENT",
    "         |                   |",
    "    @ SYN_RECV               |",
    "         `---------v---------'",
    "             @ ESTABLISHED",
    "         /---------^---------\\",
    "    @ FIN_WAIT1         @ CLOSE_WAIT",
    "    /----^-----\\             |",
    "@ FIN_WAIT2 @ CLOSING   @ LAST_ACK",
    "    `----v-----'             |",
    "    @ TIME_WAIT              |",
    "         `---------v---------'",
    "                @ CLOSE",
};

/* The lines of the chart: a character of it, in Unicode and in ASCII. */
static const struct line {
    char sign;
    const char *unicode, *ascii;
} chart_lines[] = {
    { '-', "─", "-" }, { '|', "│", "|" },  { '/', "┌", "+" }, { '\\', "┐", "+" },
    { '`', "└", "+" }, { '\'', "┘", "+" }, { '^', "┴", "+" }, { 'v', "┬", "+" },
};

static void print_line(const struct canvas *c, char sign)
{
    for (size_t i = 0; i < sizeof chart_lines / sizeof *chart_lines; i++)
        if (chart_lines[i].sign == sign)
            fputs(glyph(c, chart_lines[i].unicode, chart_lines[i].ascii), stdout);
    if (sign == ' ')
        putchar(sign);
}

/* The state that the chart has at `at`, marked if it was seen; how many bytes it is. */
static int print_state(const struct canvas *c, const char *at, bool is_begin)
{
    char name[16];
    int len = (int)strcspn(at + 2, " ");
    snprintf(name, sizeof name, "%.*s", len, at + 2);
    bool seen = state_was_seen(c->items, c->count, name, is_begin);
    printf("%s%s %s%s", colour_code(c->screen, seen ? BOLD : DIM),
           seen ? glyph(c, "●", "*") : glyph(c, "○", "."), name, colour_code(c->screen, PLAIN));
    return len + 2;
}

void draw_states(const struct canvas *c)
{
    for (size_t row = 0; row < sizeof chart / sizeof *chart; row++) {
        begin_line(c);
        for (const char *at = chart[row]; *at;) {
            if (*at == '@')
                at += print_state(c, at, row == 0);
            else
                print_line(c, *at++);
        }
        putchar('\n');
    }
    begin_line(c);
    printf("%s seen  %s not seen\n", glyph(c, "●", "*"), glyph(c, "○", "."));
}

/* ---- tables ---- */

/* One row of a part: as many lines as its longest cell needs. */
static void draw_row(const struct canvas *c, const char *const *cells, const int *widths, int count)
{
    const char *rest[CELLS_MAX];
    bool is_more = true;
    memcpy(rest, cells, (size_t)count * sizeof *rest);
    while (is_more) {
        int blanks = c->indent;
        is_more = false;
        for (int i = 0; i < count; i++) {
            int len = text_line(rest[i], widths[i]);
            if (len > 0) {
                printf("%*s%.*s", blanks, "", len, rest[i]);
                blanks = 0;
            }
            blanks += widths[i] + CELL_GAP - text_width_of(rest[i], len);
            rest[i] += len;
            rest[i] += strspn(rest[i], " ");
            is_more = is_more || *rest[i];
        }
        putchar('\n');
    }
}

void draw_table(const struct canvas *c)
{
    struct grid grid;
    const char *cells[CELLS_MAX];
    int widths[CELLS_MAX] = { 0 }, first = 1;
    grid_measure(&grid, c->items, c->count);
    do {
        int columns = grid_part(&grid, first, c->room, widths);
        fputs(first > 1 ? "\n" : "", stdout);
        for (int at = 0, next; at < c->count; at = next) {
            next = grid_row(c->items, c->count, at, first, columns, cells);
            draw_row(c, cells, widths, columns + 1);
        }
        first += columns;
    } while (first < grid.columns);
}
