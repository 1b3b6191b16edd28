/* grid.c -- how wide the columns of a table are, and which of them stand side by side.
 *
 * The terminal and the page share it. Nothing of a table is cut: what is too wide is broken between
 * words first, and then the table is, between columns.                                          */
#include <string.h>

#include "grid.h"
#include "screen.h"

enum { WORD_MAX = 24 };

static int longest_word(const char *words)
{
    int longest = 0;
    while (*words) {
        int bytes = (int)strcspn(words, " "), width = text_width_of(words, bytes);
        longest = width > longest ? width : longest;
        words += bytes;
        words += strspn(words, " ");
    }
    return longest < WORD_MAX ? longest : WORD_MAX;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

void grid_measure(struct grid *grid, const struct item *cells, int count)
{
    *grid = (struct grid){ .columns = 0 };
    for (int i = 0, column = 0; i < count; i++) {
        const char *words = cells[i].label;
        if (column < CELLS_MAX) {
            grid->wanted[column] = larger(grid->wanted[column], text_width(words));
            grid->least[column] = larger(grid->least[column], longest_word(words));
            grid->columns = larger(grid->columns, column + 1);
        }
        column = cells[i].y != 0 ? 0 : column + 1;
    }
}

/* Takes from the widest column until all of them fit, but from none so much that a word breaks
 * while another column can give. */
static void narrow(int *widths, const int *least, int count, int room)
{
    for (;;) {
        int total = CELL_GAP * (count - 1), widest = -1, longest = 0;
        for (int i = 0; i < count; i++) {
            total += widths[i];
            if (widths[i] > least[i] && (widest < 0 || widths[i] > widths[widest]))
                widest = i;
            longest = widths[i] > widths[longest] ? i : longest;
        }
        if (total <= room || widths[longest] <= 1)
            return;
        widths[widest < 0 ? longest : widest]--;
    }
}

int grid_part(const struct grid *grid, int first, int room, int widths[CELLS_MAX])
{
    int least[CELLS_MAX] = { grid->least[0] }, used = grid->least[0], count = 0;
    widths[0] = grid->wanted[0];
    for (int i = first; i < grid->columns; i++) {
        used += CELL_GAP + grid->least[i];
        if (count > 0 && used > room)
            break;
        count++;
        least[count] = grid->least[i];
        widths[count] = grid->wanted[i];
    }
    narrow(widths, least, count + 1, room);
    return count;
}

int grid_row(const struct item *items, int count, int begin, int first, int columns,
             const char *cells[CELLS_MAX])
{
    int end = begin;
    while (end + 1 < count && items[end].y == 0)
        end++;
    for (int i = 0; i <= columns; i++) {
        int at = begin + (i == 0 ? 0 : first + i - 1);
        cells[i] = at <= end ? items[at].label : "";
    }
    return end + 1;
}
