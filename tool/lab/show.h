/* show.h -- results for people and for programs. */
#ifndef LAB_SHOW_H
#define LAB_SHOW_H

#include "record.h"
#include "screen.h"

/* What several runs of one experiment had in common, and where they differed: the least, middle
 * and greatest value of each row. */
struct spread {
    int runs;
    int verdicts[ADDED + 1];
    double least[ROWS_MAX], middle[ROWS_MAX], greatest[ROWS_MAX];
};

struct tally {
    int verdicts[ADDED + 1];
    int count;
    double ms;
};

void show_machine(const struct screen *screen);
void show_result(const struct screen *screen, const struct lab *lab, const struct spread *spread,
                 bool explains);
void show_tally(const struct screen *screen, const struct tally *tally);
void show_picture(const struct screen *screen, const struct lab *lab,
                  const struct picture *picture);

void json_machine(void);
void json_entry(const struct experiment *experiment);
void json_result(const struct lab *lab, const struct spread *spread);
void json_tally(const struct tally *tally);

/* The settings of this machine that change what experiments see: name and value, one by one; 0
 * after the last. */
bool machine_setting(int index, const char **name, char *value, int size);

#endif
