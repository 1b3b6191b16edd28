/* canvas.h -- what the pictures on a terminal are drawn on, and with. */
#ifndef LAB_CANVAS_H
#define LAB_CANVAS_H

#include "show.h"

struct canvas {
    const struct screen *screen;
    const struct picture *picture;
    const struct item *items;
    int count;
    int indent, room; /* columns before the picture, and for it */
};

const char *glyph(const struct canvas *c, const char *unicode, const char *ascii);
void repeat(const char *words, int count);
void begin_line(const struct canvas *c);

/* The words, or as much of them as has room in so many columns, and blanks for what is left. */
void print_cut(const char *words, int columns);
/* The same without the blanks. */
void print_short(const char *words, int columns);

int smaller(int a, int b);
int larger(int a, int b);

/* The greatest x, or y, of all items; not below 0. */
double greatest(const struct canvas *c, bool of_y);

/* ---- diagram.c ---- */

void draw_plot(const struct canvas *c);
void draw_states(const struct canvas *c);
void draw_table(const struct canvas *c);

#endif
