/* page.h -- results as one page of HTML, with nothing outside it. */
#ifndef LAB_PAGE_H
#define LAB_PAGE_H

#include <stdio.h>

#include "show.h"

struct told; /* an experiment's part of the page */

struct page {
    const char *named;   /* the file, as the user wrote it */
    char *target, *temp; /* the file itself; and a name beside it */
    bool has_temp;       /* there is a file of that name, and it is this page's */
    struct told *told;
    int count;
    bool is_cut;         /* a part had no memory */
};

/* Sees to it that the file can be written, before anything takes time: 0, or an exit status after
 * a complaint. */
int page_open(struct page *page, const char *path);
void page_close(struct page *page);

void page_add(struct page *page, const struct lab *lab, const struct spread *spread);

/* All that was added, to the file: whole, or not at all. 0, or an exit status. */
int page_write(struct page *page, const struct tally *tally);

/* ---- sheet.c, svg.c ---- */

/* Text in which no character means anything to HTML or XML. */
void print_escaped(FILE *to, const char *words);

/* The same, and a long word may be broken. */
void print_breakable(FILE *to, const char *words);

/* False without memory. */
bool print_picture(FILE *to, const struct lab *lab, const struct picture *picture);

#endif
