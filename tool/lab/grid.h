/* grid.h -- how wide the columns of a table are, and which of them stand side by side. */
#ifndef LAB_GRID_H
#define LAB_GRID_H

#include "lab.h"

enum { CELLS_MAX = 16, CELL_GAP = 2 };

struct grid {
    int columns;
    int wanted[CELLS_MAX]; /* so wide that no cell breaks */
    int least[CELLS_MAX];  /* so wide that no word breaks, but for very long ones */
};

/* Cells beyond the last column it has room for are left out. */
void grid_measure(struct grid *grid, const struct item *cells, int count);

/* A table that is too wide is drawn in parts below one another: the first column, and beside it as
 * many of the others, from `first` on, as have room with their words whole. How many those are, at
 * least one if there is one; and how wide the columns of the part are, the first of them being
 * column 0. */
int grid_part(const struct grid *grid, int first, int room, int widths[CELLS_MAX]);

/* The cells of a part in the row that begins there: where the next one begins. */
int grid_row(const struct item *items, int count, int begin, int first, int columns,
             const char *cells[CELLS_MAX]);

#endif
