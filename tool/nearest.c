/* nearest.c -- the word that was probably meant.
 *
 * The distance of two words is the number of letters to insert, delete, replace or swap with a
 * neighbour. A third of the letters may be wrong, and at least one.                            */
#include <string.h>

#include "options.h"

enum { WORD_MAX = 24 };

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

/* Optimal string alignment: row i, column j compares the first i letters with the first j. */
static int distance(const char *a, int a_len, const char *b, int b_len)
{
    int row[WORD_MAX + 1][WORD_MAX + 1];
    for (int i = 0; i <= a_len; i++)
        row[i][0] = i;
    for (int j = 0; j <= b_len; j++)
        row[0][j] = j;
    for (int i = 1; i <= a_len; i++) {
        for (int j = 1; j <= b_len; j++) {
            int replace = row[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            row[i][j] = smallest(row[i - 1][j] + 1, row[i][j - 1] + 1, replace);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && row[i - 2][j - 2] + 1 < row[i][j])
                row[i][j] = row[i - 2][j - 2] + 1;
        }
    }
    return row[a_len][b_len];
}

const char *nearest(const char *word, const char *const *words, int count)
{
    const char *best = NULL;
    size_t len = strlen(word);
    if (len == 0 || len > WORD_MAX)
        return NULL;
    int best_distance = (int)len / 3 + 1;
    for (int i = 0; i < count; i++) {
        size_t other = strlen(words[i]);
        if (other > WORD_MAX)
            continue;
        bool begins = len >= 2 && strncmp(words[i], word, len) == 0;
        int d = begins ? 0 : distance(word, (int)len, words[i], (int)other);
        if (d <= best_distance && (!best || d < best_distance)) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
