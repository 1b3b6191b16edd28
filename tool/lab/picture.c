/* picture.c -- pictures on a terminal, in Unicode or ASCII, never wider than the screen.
 *
 * Nothing is told by a colour alone, and what does not fit side by side is drawn below one another.
 * Pictures of two dimensions are in diagram.c.                                                  */
#include <stdio.h>
#include <string.h>

#include "canvas.h"
#include "value.h"

enum { BAR_MAX = 40, BAR_MIN = 6, TIME_WIDTH = 13, STATE_WIDTH = 12, NAME_WIDTH = 10,
       LADDER_MAX = 52, ARROW_ENDS = 5, URGENT_WIDTH = 7 };

const char *glyph(const struct canvas *c, const char *unicode, const char *ascii)
{
    return c->screen->has_unicode ? unicode : ascii;
}

void repeat(const char *words, int count)
{
    while (count-- > 0)
        fputs(words, stdout);
}

void begin_line(const struct canvas *c)
{
    printf("%*s", c->indent, "");
}

void print_cut(const char *words, int columns)
{
    int len = text_fit(words, columns);
    printf("%.*s", len, words);
    for (int rest = columns - text_width_of(words, len); rest > 0; rest--)
        putchar(' ');
}

void print_short(const char *words, int columns)
{
    printf("%.*s", text_fit(words, columns), words);
}

int smaller(int a, int b)
{
    return a < b ? a : b;
}

int larger(int a, int b)
{
    return a > b ? a : b;
}

double greatest(const struct canvas *c, bool of_y)
{
    double most = 0;
    for (int i = 0; i < c->count; i++) {
        double value = of_y ? c->items[i].y : c->items[i].x;
        most = value > most ? value : most;
    }
    return most;
}

static int widest_label(const struct canvas *c)
{
    int widest = 0;
    for (int i = 0; i < c->count; i++)
        widest = larger(widest, text_width(c->items[i].label));
    return widest;
}

/* ---- one dimension ---- */

/* Marks for as much of the room as the share is, one for the least of them, and dots for the rest
 * of what could be full. */
static void draw_bar(const struct canvas *c, double share, int room, bool is_vessel)
{
    int filled = smaller(larger((int)(share * room + 0.5), share > 0), room);
    fputs(colour_code(c->screen, BLUE), stdout);
    repeat(glyph(c, "█", "#"), filled);
    fputs(colour_code(c->screen, PLAIN), stdout);
    if (is_vessel)
        repeat(glyph(c, "░", "."), room - filled);
    fputs(filled > 0 || is_vessel ? " " : "", stdout);
}

/* Label, bar and value in a line; or, where that leaves no bar, the label above the others. */
static void draw_bars(const struct canvas *c)
{
    char value[120];
    int tail = 0, column = widest_label(c) + 1;
    double most = greatest(c, false);
    for (int i = 0; i < c->count; i++)
        tail = larger(tail, text_width(bar_text(c->picture, &c->items[i], value, sizeof value)));
    bool is_beside = column + BAR_MIN + 1 + tail <= c->room;
    int room = smaller(c->room - (is_beside ? column : 0) - tail - 1, BAR_MAX);
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        double full = item->y > 0 ? item->y : most;
        if (!is_beside)
            print_wrapped(c->screen, "", c->indent, item->label);
        begin_line(c);
        if (is_beside)
            print_cut(item->label, column);
        draw_bar(c, full > 0 ? item->x / full : 0, room, item->y > 0);
        puts(bar_text(c->picture, item, value, sizeof value));
    }
}

static const char *time_text(double ms, char *buf, size_t size)
{
    snprintf(buf, size, ms >= 1000 ? "%8.2f s   " : "%8.2f ms  ", ms >= 1000 ? ms / 1e3 : ms);
    return buf;
}

static void draw_timeline(const struct canvas *c)
{
    char line[128], label[48], when[32];
    int room = smaller(c->room - 2, (int)sizeof line - 1);
    double last = greatest(c, false);
    memset(line, '-', (size_t)room);
    for (int i = 0; i < c->count && last > 0; i++)
        line[(int)(c->items[i].x / last * (room - 1))] = 'o';
    begin_line(c);
    for (int i = 0; i < room; i++)
        fputs(line[i] == 'o' ? glyph(c, "●", "o") : glyph(c, "─", "-"), stdout);
    putchar('\n');
    for (int i = 0; i < c->count; i++) {
        snprintf(label, sizeof label, "%*s%s", c->indent, "",
                 time_text(c->items[i].x, when, sizeof when));
        print_wrapped(c->screen, label, c->indent + TIME_WIDTH, c->items[i].label);
    }
}

/* How much two vessels hold, moment by moment; a full one is as wide as the most that it held. */
static void draw_tanks(const struct canvas *c)
{
    const double most[] = { greatest(c, false), greatest(c, true) };
    char value[40];
    int number = 0, moment = smaller(widest_label(c), c->room / 3);
    for (int i = 0; i < 2 * c->count; i++) {
        double held = i % 2 ? c->items[i / 2].y : c->items[i / 2].x;
        number = larger(number, text_width(number_text(held, value, sizeof value)));
    }
    int room = smaller((c->room - moment) / 2 - number - 3, BAR_MAX / 2), each = room + 1 + number;
    begin_line(c);
    printf("%*s", moment + 2, "");
    print_cut(c->picture->left, each);
    fputs("  ", stdout);
    print_short(c->picture->right, each);
    putchar('\n');
    for (int i = 0; i < c->count; i++) {
        const double held[] = { c->items[i].x, c->items[i].y };
        begin_line(c);
        print_cut(c->items[i].label, moment);
        for (int tank = 0; tank < 2; tank++) {
            fputs("  ", stdout);
            draw_bar(c, most[tank] > 0 ? held[tank] / most[tank] : 0, room, true);
            print_cut(number_text(held[tank], value, sizeof value), tank == 0 ? number : 0);
            fputs(tank == 0 ? "" : value, stdout);
        }
        putchar('\n');
    }
}

/* ---- bytes ---- */

/* Boxes side by side, as many in a line as have room. */
static void draw_row_of_boxes(const struct canvas *c, const char *name, int row)
{
    const char *wall = glyph(c, "│", "|");
    int room = c->room - NAME_WIDTH, used = 0;
    begin_line(c);
    print_cut(name, NAME_WIDTH);
    fputs(wall, stdout);
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        int width = text_width(item->label);
        if (item->y != row)
            continue;
        if (used > 0 && used + width + 2 > room) {
            printf("\n%*s%s", c->indent + NAME_WIDTH, "", wall);
            used = 0;
        }
        print_short(item->label, room - 2);
        fputs(wall, stdout);
        used += width + 1;
    }
    putchar('\n');
}

static void draw_boxes(const struct canvas *c)
{
    draw_row_of_boxes(c, c->picture->left, 0);
    draw_row_of_boxes(c, c->picture->right, 1);
}

/* The marks below the pieces of a line, if one of them is urgent. */
static void draw_marks(const struct canvas *c, int first, int end)
{
    int blanks = c->indent + 1;
    bool is_marked = false;
    for (int i = first; i < end; i++) {
        int width = smaller(text_width(c->items[i].label), c->room - URGENT_WIDTH - 2);
        if (c->items[i].y != 0) {
            printf("%*s%s", blanks, "", colour_code(c->screen, YELLOW));
            repeat(glyph(c, "▲", "^"), width);
            fputs(colour_code(c->screen, PLAIN), stdout);
            is_marked = true;
            blanks = 1;
        } else {
            blanks += width + 1;
        }
    }
    fputs(is_marked ? " urgent\n" : "", stdout);
}

static void draw_strip(const struct canvas *c)
{
    const char *wall = glyph(c, "│", "|");
    int room = c->room - URGENT_WIDTH;
    for (int first = 0, end; first < c->count; first = end) {
        int used = 1;
        begin_line(c);
        fputs(wall, stdout);
        for (end = first; end < c->count; end++) {
            int width = text_width(c->items[end].label) + 1;
            if (end > first && used + width > room)
                break;
            print_short(c->items[end].label, room - 2);
            fputs(wall, stdout);
            used += width;
        }
        putchar('\n');
        draw_marks(c, first, end);
    }
}

/* ---- two ends ---- */

/* An arrow as wide as the room, with the words in it. */
static void draw_arrow(const struct canvas *c, bool to_left, const char *words, int room)
{
    const char *line = glyph(c, "─", "-");
    int width = text_width(words);
    fputs(to_left ? glyph(c, "◀", "<") : line, stdout);
    fputs(line, stdout);
    printf(width ? " %s " : "%s%s%s", words, line, line);
    repeat(line, room - width - ARROW_ENDS);
    fputs(to_left ? line : glyph(c, "▶", ">"), stdout);
}

/* Time, state, arrow and state in a line. A narrow screen has no room for a margin. */
static void draw_wide_ladder(const struct canvas *c, int spare)
{
    char when[32];
    int indent = spare > LADDER_MAX + c->indent ? c->indent : larger(spare - LADDER_MAX, 2);
    int room = smaller(spare - indent, LADDER_MAX);
    printf("%*s", indent + TIME_WIDTH, "");
    print_cut(c->picture->left, STATE_WIDTH + 1 + room);
    putchar(' ');
    print_short(c->picture->right, STATE_WIDTH);
    putchar('\n');
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        printf("%*s%s", indent, "", time_text(item->x, when, sizeof when));
        print_cut(item->left, STATE_WIDTH);
        putchar(' ');
        draw_arrow(c, item->y != 0, item->label, room);
        fputs(item->right[0] ? " " : "", stdout);
        print_short(item->right, STATE_WIDTH);
        putchar('\n');
    }
}

static void draw_ends(const struct canvas *c, const char *left, const char *right)
{
    begin_line(c);
    print_cut(left, c->room - text_width(right));
    puts(right);
}

/* The words above their arrow, and the states, where they are known, below it. */
static void draw_narrow_ladder(const struct canvas *c)
{
    char label[48], when[32];
    draw_ends(c, c->picture->left, c->picture->right);
    for (int i = 0; i < c->count; i++) {
        const struct item *item = &c->items[i];
        snprintf(label, sizeof label, "%*s%s", c->indent, "",
                 time_text(item->x, when, sizeof when));
        print_wrapped(c->screen, label, c->indent + TIME_WIDTH, item->label);
        begin_line(c);
        draw_arrow(c, item->y != 0, "", c->room);
        putchar('\n');
        if (item->left[0] || item->right[0])
            draw_ends(c, item->left, item->right);
    }
}

static void draw_ladder(const struct canvas *c)
{
    int spare = c->screen->width - TIME_WIDTH - 2 * (STATE_WIDTH + 1);
    if (widest_label(c) + ARROW_ENDS + 2 <= spare)
        draw_wide_ladder(c, spare);
    else
        draw_narrow_ladder(c);
}

void show_picture(const struct screen *screen, const struct lab *lab,
                  const struct picture *picture)
{
    static void (*const draw[])(const struct canvas *) = {
        [BARS] = draw_bars,   [TIMELINE] = draw_timeline, [LADDER] = draw_ladder,
        [BOXES] = draw_boxes, [STRIP] = draw_strip,       [PLOT] = draw_plot,
        [STATES] = draw_states, [TABLE] = draw_table,     [TANKS] = draw_tanks,
    };
    int indent = screen_indent(screen);
    struct canvas canvas = { .screen = screen,
                             .picture = picture,
                             .items = lab->items + picture->first,
                             .count = picture->count,
                             .indent = indent,
                             .room = screen->width - indent };
    if (picture->title[0]) {
        fputs(colour_code(screen, BOLD), stdout);
        print_wrapped(screen, "", indent, picture->title);
        fputs(colour_code(screen, PLAIN), stdout);
    }
    draw[picture->kind](&canvas);
}
