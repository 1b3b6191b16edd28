/* sheet.h -- what the pictures in a page are drawn on, and with. */
#ifndef LAB_SHEET_H
#define LAB_SHEET_H

#include <stdio.h>

#include "record.h"

enum { SHEET_WIDTH = 360, LINE = 14, COLUMNS = 54 };
#define LETTER 6.62 /* the width of a letter that is 11 units high, in any monospaced font */

struct sheet {
    FILE *to;
    const struct picture *picture;
    const struct item *items;
    int count;
    double y; /* what has been drawn ends here */
};

int columns_of(const char *words);

/* Text on a line of its own, in a class of the page's style, or NULL. */
void put_line(struct sheet *s, double x, double y, const char *class, const char *words);

/* Below one another from y on, at most so many columns each; the number of lines. */
int put_lines(struct sheet *s, double x, double y, int columns, const char *class,
              const char *words);

void rectangle(struct sheet *s, double x, double y, double width, double height,
               const char *class);
void stroke(struct sheet *s, double x1, double y1, double x2, double y2, const char *class);
void arrow(struct sheet *s, double x1, double y1, double x2, double y2, const char *class);

#endif
