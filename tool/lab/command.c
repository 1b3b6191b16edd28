/* command.c -- weir lab: which experiments are meant, and running them one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../commands.h"
#include "../report.h"
#include "page.h"
#include "runner.h"

enum { EXPERIMENTS_MAX = 256, WORDS_MAX = 600, ID_COLUMN = 8, QUESTION_COLUMN = 34 };

static int64_t wants_slow, explains, wants_json, repeats = 1;

/* ---- which ---- */

struct chosen {
    const struct experiment *list[EXPERIMENTS_MAX];
    bool is_named[EXPERIMENTS_MAX]; /* by itself, not as one of a group: then slow ones run too */
    int count;
};

static void choose(struct chosen *chosen, const struct experiment *experiment, bool is_named)
{
    for (int i = 0; i < chosen->count; i++) {
        if (chosen->list[i] == experiment) {
            chosen->is_named[i] = chosen->is_named[i] || is_named;
            return;
        }
    }
    if (chosen->count == EXPERIMENTS_MAX)
        return;
    chosen->is_named[chosen->count] = is_named;
    chosen->list[chosen->count++] = experiment;
}

/* How many experiments a word means. */
static int choose_word(struct chosen *chosen, const char *word)
{
    int found = 0;
    const struct experiment *e;
    for (int i = 0; (e = experiment_at(i)); i++) {
        bool is_named = strcmp(e->id, word) == 0 || strcmp(e->name, word) == 0;
        if (!is_named && strcmp(word, "all") != 0 && !is_in_group(e, word))
            continue;
        choose(chosen, e, is_named);
        found++;
    }
    return found;
}

static int complain_word(const char *word)
{
    const char *words[WORDS_MAX] = { "all", "list", "report" };
    int count = 3;
    const struct experiment *e;
    for (int i = 0; groups[i].name; i++)
        words[count++] = groups[i].name;
    for (int i = 0; (e = experiment_at(i)) && count + 2 <= WORDS_MAX; i++) {
        words[count++] = e->name;
        words[count++] = e->id;
    }
    const char *meant = nearest(word, words, count);
    return complain(STATUS_USAGE, "lab: no experiment '%s'%s%s%s (weir lab list shows them)", word,
                    meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

/* ---- list ---- */

/* A long id takes its room from the name, so that the questions stay in their column; a narrow
 * screen has no columns. */
static void list_entry(const struct screen *screen, const struct experiment *e)
{
    char label[64];
    const char *question = text("%s%s", e->question, e->is_slow ? " (slow)" : "");
    if (screen->width < 2 * QUESTION_COLUMN) {
        print_wrapped(screen, "", 2, text("%s %s - %s", e->id, e->name, question));
        return;
    }
    int id_len = snprintf(label, sizeof label, "  %-*s ", ID_COLUMN, e->id);
    snprintf(label + id_len, sizeof label - (size_t)id_len, "%-*s ", QUESTION_COLUMN - id_len - 1,
             e->name);
    print_wrapped(screen, label, QUESTION_COLUMN, question);
}

static void list_title(const struct screen *screen, const struct group *group)
{
    const char *name = text("%s%s%s  ", colour_code(screen, BOLD), group->name,
                            colour_code(screen, PLAIN));
    print_wrapped(screen, name, text_width(name), group->title);
}

static void list_group(const struct screen *screen, const struct group *group)
{
    const struct experiment *e;
    bool is_first = true;
    for (int i = 0; (e = experiment_at(i)); i++) {
        if (!is_in_group(e, group->name))
            continue;
        if (is_first)
            list_title(screen, group);
        is_first = false;
        list_entry(screen, e);
    }
}

static int list_all(void)
{
    const struct experiment *e;
    struct screen screen = screen_look();
    for (int i = 0; wants_json && (e = experiment_at(i)); i++)
        json_entry(e);
    for (int g = 0; !wants_json && groups[g].name; g++)
        list_group(&screen, &groups[g]);
    return STATUS_OK;
}

/* ---- running ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rows of several runs belong together by their place, as long as the runs were alike. */
static void summarise(struct spread *spread, const double *values, const struct lab *lab)
{
    double column[100];
    for (int row = 0; row < lab->row_count; row++) {
        for (int i = 0; i < spread->runs; i++)
            column[i] = values[i * ROWS_MAX + row];
        qsort(column, (size_t)spread->runs, sizeof *column, compare);
        spread->least[row] = column[0];
        spread->middle[row] = column[spread->runs / 2];
        spread->greatest[row] = column[spread->runs - 1];
    }
}

static void skip_slow(const struct experiment *experiment, struct lab *lab)
{
    *lab = (struct lab){ .experiment = experiment };
    lab->verdict = skip(lab, text("weir lab %s runs it, or --slow", experiment->name),
                        "it takes more than two seconds");
}

/* Runs it as often as was asked for; the record is the last one's, or the first that failed. */
static void run_repeatedly(const struct experiment *experiment, const struct world *world,
                           struct lab *lab, struct spread *spread)
{
    static double values[100 * ROWS_MAX];
    *spread = (struct spread){ 0 };
    while (spread->runs < repeats) {
        experiment_run(experiment, world, lab);
        for (int row = 0; row < lab->row_count; row++)
            values[spread->runs * ROWS_MAX + row] = lab->rows[row].value;
        spread->runs++;
        spread->verdicts[lab->verdict]++;
        if (lab->verdict == FAILED || lab->verdict == SKIPPED)
            break;
    }
    summarise(spread, values, lab);
}

/* Only where a person sees it, and where a line can be taken back. */
static bool shows_progress(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb") != 0);
}

static void show_progress(const struct experiment *experiment, int index, int count)
{
    if (shows_progress())
        fprintf(stderr, "\r\033[K%d of %d: %s %s ...", index + 1, count, experiment->id,
                experiment->name);
}

static void clear_progress(void)
{
    if (shows_progress())
        fputs("\r\033[K", stderr);
}

/* With a page, that is where the results go, and only their summary is printed. */
static void tell_result(const struct screen *screen, struct page *page, const struct lab *lab,
                        const struct spread *spread)
{
    if (page)
        page_add(page, lab, spread);
    else if (wants_json)
        json_result(lab, spread);
    else
        show_result(screen, lab, spread, explains);
    fflush(stdout);
}

static int run_chosen(const struct chosen *chosen, struct lab *lab, struct page *page)
{
    struct screen screen = screen_look();
    struct tally tally = { .count = chosen->count };
    struct world world;
    static struct spread spread;
    int64_t begin = clock_ns();
    world_probe(&world);
    if (wants_json)
        json_machine();
    else if (chosen->count > 1 && !page)
        show_machine(&screen);
    for (int i = 0; i < chosen->count; i++) {
        const struct experiment *e = chosen->list[i];
        spread = (struct spread){ .runs = 0 };
        show_progress(e, i, chosen->count);
        if (e->is_slow && !wants_slow && !chosen->is_named[i])
            skip_slow(e, lab);
        else
            run_repeatedly(e, &world, lab, &spread);
        clear_progress();
        tally.verdicts[lab->verdict]++;
        tell_result(&screen, page, lab, &spread);
    }
    tally.ms = ms_since(begin);
    int status = page ? page_write(page, &tally) : STATUS_OK;
    if (status)
        return status;
    if (wants_json)
        json_tally(&tally);
    else if (chosen->count > 1 || page)
        show_tally(&screen, &tally);
    return tally.verdicts[FAILED] ? STATUS_NO : STATUS_OK;
}

static int run_words(char **words, int count, struct page *page)
{
    struct chosen chosen = { .count = 0 };
    for (int i = 0; i < count; i++)
        if (!choose_word(&chosen, words[i]))
            return complain_word(words[i]);
    struct lab *lab = record_new();
    if (!lab)
        return complain(STATUS_LOCAL, "lab: no memory is left");
    int status = run_chosen(&chosen, lab, page);
    munmap(lab, sizeof *lab);
    return status;
}

/* Without words, every experiment. */
static int report(char **operands, int count)
{
    char all[] = "all", *every[] = { all };
    struct page page;
    if (count < 2)
        return complain(STATUS_USAGE, "lab: a report to which file? try: weir lab report lab.html");
    if (wants_json)
        return complain(STATUS_USAGE, "lab: a report is a page of HTML; leave out --json");
    int status = page_open(&page, operands[1]);
    if (!status)
        status = run_words(count > 2 ? operands + 2 : every, count > 2 ? count - 2 : 1, &page);
    page_close(&page);
    return status;
}

static int run(char **operands, int count)
{
    if (count == 0)
        return complain(STATUS_USAGE, "lab: which experiments? weir lab list shows them; try: weir "
                                      "lab backlog");
    if (strcmp(operands[0], "list") == 0)
        return count == 1 ? list_all() : complain(STATUS_USAGE, "lab: '%s' is one too many",
                                                  operands[1]);
    if (strcmp(operands[0], "report") == 0)
        return report(operands, count);
    return run_words(operands, count, NULL);
}

/* ---- the command line ---- */

static const struct option options[] = {
    { "slow", 0, FLAG, NULL, "run those too that take more than two seconds", &wants_slow, 0, 0 },
    { "explain", 0, FLAG, NULL, "what is expected and where it is written, packets and pictures",
      &explains, 0, 0 },
    { "repeat", 0, NUMBER, "N", "run each so often and show the spread", &repeats, 1, 100 },
    { "json", 'j', FLAG, NULL, "one object a line", &wants_json, 0, 0 },
    { 0 },
};

static const char *const examples[] = {
    "weir lab list", "the experiments, group by group",
    "weir lab backlog", "one of them, by its name",
    "weir lab q-1 io --explain", "by id, and a whole group, with all there is to say",
    "weir lab all --repeat 5", "every one that is quick, five times",
    "weir lab all --slow --json", "every one, for a program to read",
    "weir lab report lab.html", "every one that is quick, as a page with pictures",
    NULL,
};

const struct command lab_command = {
    .name = "lab",
    .summary = "what textbooks say about sockets, tried on this kernel",
    .usage = "list | all | NAME... | report FILE [NAME...] [options]",
    .examples = examples,
    .options = options,
    .run = run,
    .notes = "NAME is an experiment's name or id, or a group of them; a report without one has all "
             "that are quick.\nEach runs in a network of its own where the system allows it, as an "
             "ordinary user too, and leaves\nnothing behind. The exit code is 1 when something was "
             "not as the lab expects it.\n",
};
