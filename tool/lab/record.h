/* record.h -- what an experiment leaves behind: its rows, its pictures and its verdict.
 *
 * It lies in memory that the experiment's process shares with the one that prints, so what was
 * observed before a crash or a time-out is not lost.                                           */
#ifndef LAB_RECORD_H
#define LAB_RECORD_H

#include "lab.h"

enum { ROWS_MAX = 96, PICTURES_MAX = 8, ITEMS_MAX = 1024 };

enum row_kind { ROW_NUMBER, ROW_RANGE, ROW_BOOL, ROW_TEXT, ROW_ERRNO, ROW_NOTE, ROW_MEASURE };

struct row {
    enum row_kind kind;
    char what[80];
    double value, low, high; /* of ROW_NUMBER: low is what is expected; of ROW_BOOL: 0 and 1 */
    char unit[12];
    char got[96], expected[96]; /* of ROW_TEXT, ROW_ERRNO and ROW_NOTE */
    bool is_expected;           /* the lab expects something, and: */
    bool holds;
};

struct picture {
    enum picture_kind kind;
    unsigned flags;
    char title[80], left[24], right[24];
    int first, count; /* of the record's items */
};

struct lab {
    const struct experiment *experiment;
    bool is_own_net;  /* runs in a network namespace of its own */
    bool is_over;     /* the function has returned, or given up in must() */
    bool is_full;     /* more was recorded than there is room for */
    enum verdict verdict;
    char conclusion[320];
    char remedy[160]; /* of SKIPPED */
    char dir[64];     /* removed afterwards; "" for none */
    double ms;
    int row_count, picture_count, item_count;
    struct row rows[ROWS_MAX];
    struct picture pictures[PICTURES_MAX];
    struct item items[ITEMS_MAX];
};

/* Why the first expectation that does not hold fails, in words; NULL: all hold. */
const char *record_failure(const struct lab *lab);

/* What was seen in this row, as text. */
const char *row_got(const struct row *row, char *buf, size_t size);
const char *row_expected(const struct row *row, char *buf, size_t size);

const char *verdict_word(enum verdict verdict);

#endif
