/* options.h -- one table per command, from which arguments are read and help is printed. */
#ifndef TOOL_OPTIONS_H
#define TOOL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum kind {
    FLAG,     /* no argument; *target becomes 1 */
    NUMBER,   /* min to max */
    SIZE,     /* bytes: 64, 16k, 1m */
    DURATION, /* to nanoseconds: 5, 0.5, 500ms, 2m */
    CHOICE,   /* one of the words in `argument`, which bars separate; *target is its index */
};

/* What *target holds before the command line is read is the default that the help names. */
struct option {
    const char *name;
    char letter;          /* 0: none */
    enum kind kind;
    const char *argument; /* as the help shows it */
    const char *help;
    int64_t *target;
    int64_t min, max;     /* of NUMBER, SIZE and DURATION */
};

struct command {
    const char *name;
    const char *summary;         /* in the list of commands */
    const char *usage;           /* what follows the name */
    const char *const *examples; /* pairs of a command line and what it does, then NULL */
    const char *notes;           /* after the options; or NULL */
    const struct option *options; /* the last has no name */
    int (*run)(char **operands, int count);
};

/* Reads options wherever they stand, up to "--", and moves the operands to the front of argv,
 * which is argc long. Their number, or -1 when it has complained. *help: somebody asked for it. */
int options_read(const struct command *command, char **argv, int argc, bool *help);

void options_help(const struct command *command);

/* The word of a CHOICE that its target means now; borrows from the table. */
const char *option_word(const struct option *option, char *buf, int size);

/* The one of `count` words that `word` was probably meant to be; NULL: nothing comes near. */
const char *nearest(const char *word, const char *const *words, int count);

#endif
