/* json.c -- results for programs: one object a line, as docs/lab.schema.json describes them. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "show.h"

/* Commas are put before each value but the first of its object or array. */
static bool wants_comma;

static void comma(void)
{
    if (wants_comma)
        putchar(',');
    wants_comma = true;
}

static void print_string(const char *words)
{
    putchar('"');
    for (; *words; words++) {
        unsigned char byte = (unsigned char)*words;
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte < ' ')
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

static void key(const char *name)
{
    comma();
    print_string(name);
    putchar(':');
}

static void open_with(char bracket)
{
    putchar(bracket);
    wants_comma = false;
}

static void close_with(char bracket)
{
    putchar(bracket);
    wants_comma = true;
}

static void string(const char *name, const char *value)
{
    key(name);
    if (value)
        print_string(value);
    else
        fputs("null", stdout);
}

/* JSON has no infinity: null. */
static void number(const char *name, double value)
{
    key(name);
    if (!isfinite(value))
        fputs("null", stdout);
    else if (fabs(value) < 1e15 && value == floor(value))
        printf("%.0f", value);
    else
        printf("%.6g", value);
}

static void boolean(const char *name, bool value)
{
    key(name);
    fputs(value ? "true" : "false", stdout);
}

/* A verdict's word in small letters. */
static const char *small_word(enum verdict verdict)
{
    static char word[16];
    snprintf(word, sizeof word, "%s", verdict_word(verdict));
    for (char *at = word; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return word;
}

static void begin(const char *event)
{
    open_with('{');
    number("v", 1);
    string("event", event);
}

static void end(void)
{
    close_with('}');
    putchar('\n');
    wants_comma = false;
}

/* Words that blanks separate, as an array of strings, or of numbers. */
static void words_array(const char *name, const char *words, bool are_numbers)
{
    key(name);
    open_with('[');
    while (words && *words) {
        char word[16];
        size_t len = strcspn(words, " ");
        snprintf(word, sizeof word, "%.*s", (int)len, words);
        comma();
        if (are_numbers)
            fputs(word, stdout);
        else
            print_string(word);
        words += len + strspn(words + len, " ");
    }
    close_with(']');
}

/* ---- rows ---- */

static void value(const char *name, const struct row *row, double number_of_it)
{
    if (row->kind == ROW_BOOL)
        boolean(name, number_of_it != 0);
    else
        number(name, number_of_it);
}

static void row_value(const struct row *row)
{
    static const char *const kinds[] = {
        [ROW_NUMBER] = "number", [ROW_RANGE] = "range", [ROW_BOOL] = "bool", [ROW_TEXT] = "text",
        [ROW_ERRNO] = "errno",   [ROW_NOTE] = "note",   [ROW_MEASURE] = "measure",
    };
    bool is_text = row->kind == ROW_TEXT || row->kind == ROW_ERRNO || row->kind == ROW_NOTE;
    string("kind", kinds[row->kind]);
    if (is_text)
        string("got", row->got);
    else
        value("got", row, row->value);
    if (row->unit[0])
        string("unit", row->unit);
    if (!row->is_expected)
        return;
    if (is_text) {
        string("expected", row->expected);
    } else if (row->kind == ROW_RANGE) {
        number("low", row->low);
        number("high", row->high);
    } else {
        value("expected", row, row->low);
    }
    boolean("holds", row->holds);
}

static void rows(const struct lab *lab, const struct spread *spread)
{
    key("observed");
    open_with('[');
    for (int i = 0; i < lab->row_count; i++) {
        const struct row *row = &lab->rows[i];
        bool is_number = row->kind == ROW_NUMBER || row->kind == ROW_RANGE ||
                         row->kind == ROW_MEASURE;
        comma();
        open_with('{');
        string("what", row->what);
        row_value(row);
        if (is_number && spread->runs > 1) {
            number("least", spread->least[i]);
            number("middle", spread->middle[i]);
            number("greatest", spread->greatest[i]);
        }
        close_with('}');
    }
    close_with(']');
}

/* ---- pictures ---- */

static void items(const struct lab *lab, const struct picture *picture)
{
    key("items");
    open_with('[');
    for (int i = picture->first; i < picture->first + picture->count; i++) {
        const struct item *item = &lab->items[i];
        comma();
        open_with('{');
        number("x", item->x);
        number("y", item->y);
        string("label", item->label);
        if (item->left[0] || item->right[0]) {
            string("left", item->left);
            string("right", item->right);
        }
        close_with('}');
    }
    close_with(']');
}

static void pictures(const struct lab *lab)
{
    static const char *const kinds[] = {
        [BARS] = "bars",   [TIMELINE] = "timeline", [LADDER] = "ladder", [BOXES] = "boxes",
        [STRIP] = "strip", [PLOT] = "plot",         [STATES] = "states", [TABLE] = "table",
        [TANKS] = "tanks",
    };
    key("pictures");
    open_with('[');
    for (int i = 0; i < lab->picture_count; i++) {
        const struct picture *p = &lab->pictures[i];
        comma();
        open_with('{');
        string("kind", kinds[p->kind]);
        string("title", p->title);
        string("left", p->left);
        string("right", p->right);
        boolean("log", p->flags & PICTURE_LOG);
        items(lab, p);
        close_with('}');
    }
    close_with(']');
}

/* ---- objects ---- */

void json_machine(void)
{
    char value[96];
    const char *name;
    begin("machine");
    for (int i = 0; machine_setting(i, &name, value, sizeof value); i++)
        string(name, value);
    end();
}

static void verdicts(const int *counts)
{
    open_with('{');
    for (enum verdict v = SKIPPED; v <= ADDED; v++)
        number(small_word(v), counts[v]);
    close_with('}');
}

/* What an experiment is, before it has run. */
static void entry(const struct experiment *e)
{
    string("id", e->id);
    string("name", e->name);
    string("question", e->question);
    words_array("source", e->source, false);
    words_array("claims", e->claims, true);
    string("claim", e->claim);
    string("original", e->original);
    string("expect", e->expectation);
    string("reference", e->reference);
    string("since", e->since);
    string("why", e->why);
    string("next", e->next);
    boolean("slow", e->is_slow);
}

void json_entry(const struct experiment *experiment)
{
    begin("entry");
    entry(experiment);
    end();
}

void json_result(const struct lab *lab, const struct spread *spread)
{
    begin("experiment");
    entry(lab->experiment);
    rows(lab, spread);
    pictures(lab);
    string("verdict", small_word(lab->verdict));
    string("conclusion", lab->conclusion);
    if (lab->remedy[0])
        string("remedy", lab->remedy);
    boolean("own_network", lab->is_own_net);
    number("ms", lab->ms);
    number("runs", spread->runs);
    key("verdicts");
    verdicts(spread->verdicts);
    end();
}

void json_tally(const struct tally *tally)
{
    begin("summary");
    number("experiments", tally->count);
    key("verdicts");
    verdicts(tally->verdicts);
    number("ms", tally->ms);
    end();
}
