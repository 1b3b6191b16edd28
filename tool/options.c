/* options.c -- the command line, read from the same table that prints the help.
 *
 * Long options take their argument after "=" or as the next word, letters may stand together and
 * take theirs at once or as the next word, and options may follow operands. A word that is not in
 * the table is answered with the one that was probably meant. Names are not abbreviated, so that a
 * new option never changes what an old script says.                                           */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "report.h"

enum { OPTIONS_MAX = 32, COLUMN = 26 };

/* ---- values ---- */

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit sizes[] = {
    { "", 1 },        { "k", 1 << 10 }, { "K", 1 << 10 }, { "KiB", 1 << 10 },
    { "m", 1 << 20 }, { "M", 1 << 20 }, { "MiB", 1 << 20 },
};

static const struct unit durations[] = {
    { "", 1000000000 },  { "us", 1000 }, { "ms", 1000000 },
    { "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 },
};

static const struct unit ones[] = { { "", 1 } };

static int64_t factor_of(const struct unit *units, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].name, name) == 0)
            return units[i].factor;
    return 0;
}

/* A decimal number and a unit; only what has a unit finer than itself may have a fraction. */
static bool read_amount(const char *text, const struct unit *units, size_t count, int64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    double number = strtod(text, &end);
    int64_t factor = hex || errno ? 0 : factor_of(units, count, end);
    double value = number * (double)factor;
    if (!factor || value > 9e18 || value != (double)(int64_t)value)
        return false;
    *out = (int64_t)value;
    return true;
}

/* Words are separated by bars. The index of `text`, or -1. */
static int64_t choice_index(const char *words, const char *text)
{
    size_t len = strlen(text);
    for (int64_t index = 0; words; index++) {
        const char *bar = strchr(words, '|');
        size_t word_len = bar ? (size_t)(bar - words) : strlen(words);
        if (len == word_len && strncmp(words, text, len) == 0)
            return index;
        words = bar ? bar + 1 : NULL;
    }
    return -1;
}

const char *option_word(const struct option *option, char *buf, int size)
{
    const char *word = option->argument;
    for (int64_t i = 0; i < *option->target; i++)
        word = strchr(word, '|') + 1;
    snprintf(buf, (size_t)size, "%.*s", (int)strcspn(word, "|"), word);
    return buf;
}

static bool read_value(const struct option *o, const char *text)
{
    int64_t value = 0;
    bool right = false;
    switch (o->kind) {
    case FLAG:
        value = 1;
        right = true;
        break;
    case NUMBER:
        right = read_amount(text, ones, 1, &value);
        break;
    case SIZE:
        right = read_amount(text, sizes, sizeof sizes / sizeof *sizes, &value);
        break;
    case DURATION:
        right = read_amount(text, durations, sizeof durations / sizeof *durations, &value);
        break;
    case CHOICE:
        value = choice_index(o->argument, text);
        right = value >= 0;
        break;
    }
    bool bounded = o->kind == NUMBER || o->kind == SIZE || o->kind == DURATION;
    if (!right || (bounded && (value < o->min || value > o->max)))
        return false;
    *o->target = value;
    return true;
}

static void format_value(const struct option *o, int64_t value, char *buf, int size)
{
    size_t n = (size_t)size;
    switch (o->kind) {
    case CHOICE:
        option_word(o, buf, size);
        return;
    case DURATION:
        if (value % 1000000000 == 0)
            snprintf(buf, n, "%llds", (long long)(value / 1000000000));
        else
            snprintf(buf, n, "%lldms", (long long)(value / 1000000));
        return;
    case SIZE:
        if (value >= 1 << 20 && value % (1 << 20) == 0)
            snprintf(buf, n, "%lldm", (long long)(value >> 20));
        else if (value >= 1 << 10 && value % (1 << 10) == 0)
            snprintf(buf, n, "%lldk", (long long)(value >> 10));
        else
            snprintf(buf, n, "%lld", (long long)value);
        return;
    case FLAG:
    case NUMBER:
        snprintf(buf, n, "%lld", (long long)value);
    }
}

static int complain_value(const struct command *c, const struct option *o, const char *text)
{
    static const char *const nouns[] = {
        [NUMBER] = "a whole number", [SIZE] = "bytes, such as 64, 16k or 1m,",
        [DURATION] = "a time, such as 500ms, 0.5, 5 or 2m,",
    };
    char low[32], high[32];
    const char *words[OPTIONS_MAX];
    if (o->kind != CHOICE) {
        format_value(o, o->min, low, sizeof low);
        format_value(o, o->max, high, sizeof high);
        return complain(-1, "%s: --%s takes %s from %s to %s, not '%s'", c->name, o->name,
                        nouns[o->kind], low, high, text);
    }
    char copy[128];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", o->argument);
    for (char *word = strtok(copy, "|"); word && count < OPTIONS_MAX; word = strtok(NULL, "|"))
        words[count++] = word;
    const char *meant = nearest(text, words, count);
    return complain(-1, "%s: --%s takes %s, not '%s'%s%s%s", c->name, o->name, o->argument, text,
                    meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

/* ---- reading ---- */

static const struct option help_option = { "help", 'h', FLAG, NULL, "print this", NULL, 0, 0 };

static const struct option *find_name(const struct command *c, const char *name, size_t len)
{
    for (const struct option *o = c->options; o->name; o++)
        if (strlen(o->name) == len && strncmp(o->name, name, len) == 0)
            return o;
    return len == 4 && strncmp(name, "help", 4) == 0 ? &help_option : NULL;
}

static const struct option *find_letter(const struct command *c, char letter)
{
    for (const struct option *o = c->options; o->name; o++)
        if (o->letter == letter)
            return o;
    return letter == 'h' ? &help_option : NULL;
}

static int complain_name(const struct command *c, const char *name, size_t len)
{
    char word[64];
    const char *names[OPTIONS_MAX];
    int count = 0;
    for (const struct option *o = c->options; o->name && count < OPTIONS_MAX; o++)
        names[count++] = o->name;
    snprintf(word, sizeof word, "%.*s", (int)len, name);
    const char *meant = nearest(word, names, count);
    return complain(-1, "%s: no option --%s%s%s%s (weir help %s lists them)", c->name, word,
                    meant ? "; did you mean --" : "", meant ? meant : "", meant ? "?" : "",
                    c->name);
}

struct reading {
    const struct command *command;
    char **argv;
    int argc, at;
    bool help;
};

/* Gives `o` its argument: what is attached to the word, or the next word. */
static int take(struct reading *r, const struct option *o, const char *attached)
{
    if (o == &help_option) {
        r->help = true;
        return 0;
    }
    if (o->kind == FLAG && attached)
        return complain(-1, "%s: --%s takes no argument", r->command->name, o->name);
    if (o->kind != FLAG && !attached) {
        if (r->at + 1 >= r->argc)
            return complain(-1, "%s: --%s needs an argument: --%s %s", r->command->name, o->name,
                            o->name, o->argument);
        attached = r->argv[++r->at];
    }
    return read_value(o, attached) ? 0 : complain_value(r->command, o, attached);
}

static int read_long(struct reading *r, const char *word)
{
    size_t len = strcspn(word, "=");
    const struct option *o = find_name(r->command, word, len);
    if (!o)
        return complain_name(r->command, word, len);
    return take(r, o, word[len] ? word + len + 1 : NULL);
}

static int read_letters(struct reading *r, const char *letters)
{
    for (; *letters; letters++) {
        const struct option *o = find_letter(r->command, *letters);
        if (!o)
            return complain(-1, "%s: no option -%c (weir help %s lists them)", r->command->name,
                            *letters, r->command->name);
        bool attached = o->kind != FLAG && letters[1];
        if (take(r, o, attached ? letters + 1 : NULL))
            return -1;
        if (o->kind != FLAG)
            return 0;
    }
    return 0;
}

int options_read(const struct command *command, char **argv, int argc, bool *help)
{
    struct reading r = { .command = command, .argv = argv, .argc = argc };
    int operands = 0;
    bool ended = false;
    for (; r.at < argc; r.at++) {
        char *word = argv[r.at];
        int error = 0;
        if (ended || word[0] != '-' || !word[1])
            argv[operands++] = word;
        else if (strcmp(word, "--") == 0)
            ended = true;
        else
            error = word[1] == '-' ? read_long(&r, word + 2) : read_letters(&r, word + 1);
        if (error)
            return -1;
    }
    *help = r.help;
    return operands;
}

/* ---- help ---- */

static void print_option(const struct option *o)
{
    char left[160], word[64], value[64] = "";
    bool wide = o->kind == CHOICE;
    const char *argument = wide ? "WORD" : o->argument ? o->argument : "";
    char letter[] = { '-', o->letter, ',', '\0' };
    snprintf(left, sizeof left, "%3s --%s%s%s", o->letter ? letter : "", o->name,
             *argument ? " " : "", argument);
    if (o->target && *o->target > 0 && o->kind != FLAG)
        format_value(o, *o->target, value, sizeof value);
    else if (wide)
        snprintf(value, sizeof value, "%s", option_word(o, word, sizeof word));
    printf("  %-*s %s", COLUMN, left, o->help);
    if (wide)
        printf(": %s", o->argument);
    printf(value[0] ? " (%s)\n" : "\n", value);
}

void options_help(const struct command *command)
{
    printf("weir %s - %s\n\n", command->name, command->summary);
    for (const char *const *line = command->examples; *line; line += 2)
        printf("  %-46s %s\n", line[0], line[1]);
    printf("\nusage: weir %s %s\n\noptions (in brackets: what holds without them):\n",
           command->name, command->usage);
    for (const struct option *o = command->options; o->name; o++)
        print_option(o);
    print_option(&help_option);
    if (command->notes)
        printf("\n%s", command->notes);
}
