/* report.c -- what the experiments saw as one page of HTML, which needs nothing but itself.
 *
 * Each experiment's part is kept in memory, since what stands above it tells how all of them ended.
 * The page is written to a file without a name, which gets one beside the file that was meant and
 * then takes its place: whoever opens that sees a whole page, the old one or the new, and a command
 * that is killed leaves nothing.                                                              */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../report.h"
#include "page.h"
#include "runner.h"

struct told {
    const struct experiment *experiment;
    enum verdict verdict;
    char *html;
};

static const enum verdict order[] = { CONFIRMED, REFINED, CONTRADICTED, CHANGED,
                                      ADDED,     SKIPPED, FAILED };
enum { VERDICTS = sizeof order / sizeof *order };

static const char *const meanings[] = {
    [CONFIRMED] = "the claim is right",
    [REFINED] = "right, under a condition that the claim leaves out",
    [CONTRADICTED] = "the claim is wrong",
    [CHANGED] = "right once, on older kernels",
    [ADDED] = "the notes say nothing about it",
    [SKIPPED] = "not tried here",
    [FAILED] = "something was not as the lab expects it",
};

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--dim:#57606a;--edge:#d0d7de;"
    "--wash:#f6f8fa;--link:#0550ae;--full:#0969da;--mark:#fff0b3;--green:#116329;--amber:#7d4e00;"
    "--red:#b3141d;--blue:#0550ae;--c3:#8250df;--c5:#bf3989}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;"
    "--dim:#9aa4af;--edge:#3d444d;--wash:#161b22;--link:#79b8ff;--full:#58a6ff;--mark:#5c4700;"
    "--green:#56d364;--amber:#e3b341;--red:#ff8d86;--blue:#79b8ff;--c3:#d2a8ff;--c5:#ff9bce}}\n"
    "body{margin:0 auto;padding:1rem;max-width:62rem;background:var(--paper);color:var(--ink);"
    "font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "a{color:var(--link)}h1,h2,h3{line-height:1.25}h2{margin-top:3rem;border-bottom:1px solid "
    "var(--edge)}h3{margin:2.5rem 0 .5rem}h3 span{color:var(--dim);font-weight:normal}\n"
    "table{border-collapse:collapse;font-size:.9rem}th,td{text-align:left;vertical-align:top;"
    "padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--edge)}th{font-weight:600}"
    "tbody th{font-weight:normal}.rows{overflow-x:auto}"
    ".rows table{width:100%;overflow-wrap:normal}.rows th:first-child{width:44%}"
    ".count{text-align:right;white-space:nowrap}\n"
    "dl{margin:.5rem 0}dt{color:var(--dim);font-size:.85rem;margin-top:.5rem}dd{margin:0}"
    "q[lang]{display:block}.dim{color:var(--dim)}.bad{color:var(--red);font-weight:600}\n"
    ".verdict{font-weight:700;font-size:.8rem;letter-spacing:.04em;border:1px solid;"
    "border-radius:.3rem;padding:.05rem .4rem;white-space:nowrap}.confirmed{color:var(--green)}"
    ".refined,.changed{color:var(--amber)}.contradicted,.failed{color:var(--red)}"
    ".added{color:var(--blue)}.skipped{color:var(--dim)}\n"
    ".toc{list-style:none;padding:0;columns:26rem;column-gap:2rem}.toc li{break-inside:avoid;"
    "margin:.3rem 0}\n"
    ".pictures{display:flex;flex-wrap:wrap;gap:0 2rem}figure{margin:1rem 0;flex:0 1 28rem}"
    "figcaption{font-size:.9rem;font-weight:600;margin-bottom:.4rem}"
    "svg{display:block;width:100%;height:auto}\n"
    "svg text{font:11px ui-monospace,Menlo,'DejaVu Sans Mono',monospace;fill:var(--ink);"
    "white-space:pre}svg .dim{fill:var(--dim)}svg .strong{font-weight:700}"
    "svg .middle{text-anchor:middle}svg .end{text-anchor:end}\n"
    ".axis,.grid,.line,.curve{fill:none;stroke:var(--dim);stroke-width:1}.grid{stroke:var(--edge)}"
    ".line{stroke:var(--ink)}.head{fill:var(--ink)}.full{fill:var(--full)}.hollow{fill:var(--wash);"
    "stroke:var(--dim)}.marked{fill:var(--mark);stroke:var(--ink);stroke-width:1.5}"
    ".curve{stroke-width:1.5}.curve:is(.c1,.c3,.c5){stroke-dasharray:6 5}"
    ".sign{fill:var(--paper);stroke-width:1.5}\n"
    ".c0{stroke:var(--blue)}.c1{stroke:var(--red)}.c2{stroke:var(--green)}.c3{stroke:var(--c3)}"
    ".c4{stroke:var(--amber)}.c5{stroke:var(--c5)}\n"
    "@media screen and (max-width:30rem){.rows table{font-size:.8rem}"
    ".rows th,.rows td{padding-right:.5rem}}\n"
    "@media print{html{font-size:9pt}body{max-width:none;padding:0}"
    "h2,h3,h3+p,dt,thead,figcaption{break-after:avoid}figure,tr,dd{break-inside:avoid}"
    "figure{flex-basis:26rem}"
    "a{color:inherit;text-decoration:none}}\n";

/* ---- an experiment ---- */

static void print_item(FILE *to, const char *term, const char *words)
{
    fprintf(to, "<dt>%s</dt><dd>", term);
    print_escaped(to, words);
    fputs("</dd>\n", to);
}

static void print_badge(FILE *to, enum verdict verdict)
{
    static const char *const classes[] = {
        [SKIPPED] = "skipped", [FAILED] = "failed",   [CONFIRMED] = "confirmed",
        [REFINED] = "refined", [CONTRADICTED] = "contradicted", [CHANGED] = "changed",
        [ADDED] = "added",
    };
    fprintf(to, "<span class=\"verdict %s\">%s</span>", classes[verdict], verdict_word(verdict));
}

static void print_claim(FILE *to, const struct experiment *e)
{
    if (!e->claim) {
        print_item(to, "claim", "none: the notes leave this out");
        return;
    }
    fputs("<dt>claim, ", to);
    print_escaped(to, e->source);
    fputs("</dt><dd>", to);
    if (e->original) {
        fputs("<q lang=\"zh\">", to);
        print_escaped(to, e->original);
        fputs("</q> ", to);
    }
    print_escaped(to, e->claim);
    fputs("</dd>\n", to);
}

static void print_row(FILE *to, const struct row *row, const struct spread *spread, int index)
{
    char buf[120];
    struct row least = *row, greatest = *row;
    least.value = spread->least[index];
    greatest.value = spread->greatest[index];
    fputs("<tr><th scope=\"row\">", to);
    print_breakable(to, row->what);
    fputs("</th><td>", to);
    print_breakable(to, row_got(row, buf, sizeof buf));
    if (spread->runs > 1 && least.value != greatest.value) {
        fputs(" <span class=\"dim\">from ", to);
        print_escaped(to, row_got(&least, buf, sizeof buf));
        fputs(" to ", to);
        print_escaped(to, row_got(&greatest, buf, sizeof buf));
        fputs("</span>", to);
    }
    fputs("</td><td>", to);
    if (row->is_expected && !row->holds)
        fputs("<span class=\"bad\">✗ not as expected:</span> ", to);
    else if (row->is_expected)
        fputs("✓ ", to);
    if (row->is_expected && row->holds && row->kind != ROW_RANGE)
        fputs("the same", to);
    else if (row->is_expected)
        print_breakable(to, row_expected(row, buf, sizeof buf));
    fputs("</td></tr>\n", to);
}

static void print_rows(FILE *to, const struct lab *lab, const struct spread *spread)
{
    if (lab->row_count == 0)
        return;
    fputs("<div class=\"rows\"><table><thead><tr><th scope=\"col\">observed</th>"
          "<th scope=\"col\">seen</th><th scope=\"col\">expected</th></tr></thead>\n<tbody>\n", to);
    for (int i = 0; i < lab->row_count; i++)
        print_row(to, &lab->rows[i], spread, i);
    fputs("</tbody></table></div>\n", to);
}

static void print_end(FILE *to, const struct lab *lab, const struct spread *spread)
{
    const struct experiment *e = lab->experiment;
    fputs("<dl><dt>verdict</dt><dd>", to);
    print_badge(to, lab->verdict);
    fputc(' ', to);
    if (lab->verdict == CHANGED && e->since) {
        fputs("since Linux ", to);
        print_escaped(to, e->since);
        fputs(": ", to);
    }
    print_escaped(to, lab->conclusion);
    if (lab->remedy[0])
        fputs("; ", to);
    print_escaped(to, lab->remedy);
    if (spread->runs > 0)
        fprintf(to, " <span class=\"dim\">(%.1f s", lab->ms / 1e3);
    if (spread->runs > 1)
        fprintf(to, ", %d of %d runs say so", spread->verdicts[lab->verdict], spread->runs);
    fputs(spread->runs > 0 ? ")</span></dd>\n" : "</dd>\n", to);
    print_item(to, "why", e->why);
    print_item(to, "next", e->next);
    fputs("</dl>\n", to);
}

static bool print_pictures(FILE *to, const struct lab *lab)
{
    bool are_whole = true;
    if (lab->picture_count == 0)
        return true;
    fputs("<div class=\"pictures\">\n", to);
    for (int i = 0; i < lab->picture_count; i++)
        are_whole = print_picture(to, lab, &lab->pictures[i]) && are_whole;
    fputs("</div>\n", to);
    return are_whole;
}

static bool print_experiment(FILE *to, const struct lab *lab, const struct spread *spread)
{
    const struct experiment *e = lab->experiment;
    fprintf(to, "<section id=\"%s\">\n<h3>%s <span>%s %s</span></h3>\n<p>", e->id, e->id, e->name,
            e->is_slow ? "(slow)" : "");
    print_escaped(to, e->question);
    fputs("</p>\n<dl>", to);
    print_claim(to, e);
    print_item(to, "expected", e->expectation);
    print_item(to, "see", e->reference);
    fputs("</dl>\n", to);
    print_rows(to, lab, spread);
    bool is_whole = print_pictures(to, lab);
    print_end(to, lab, spread);
    fputs("</section>\n", to);
    return is_whole;
}

void page_add(struct page *page, const struct lab *lab, const struct spread *spread)
{
    size_t len = 0;
    struct told told = { .experiment = lab->experiment, .verdict = lab->verdict };
    struct told *more = realloc(page->told, (size_t)(page->count + 1) * sizeof *more);
    if (more)
        page->told = more;
    FILE *to = more ? open_memstream(&told.html, &len) : NULL;
    bool is_whole = to && print_experiment(to, lab, spread);
    if (to)
        is_whole = fclose(to) == 0 && is_whole;
    if (to)
        page->told[page->count++] = told;
    page->is_cut = page->is_cut || !is_whole;
}

/* ---- what stands above them ---- */

/* A name of many words, which may be broken between them. */
static void print_setting(FILE *to, const char *name)
{
    for (; *name; name++)
        fprintf(to, *name == '.' || *name == '_' ? "%c<wbr>" : "%c", *name);
}

static void print_machine(FILE *to)
{
    char value[96], when[48];
    const char *name;
    struct tm local;
    time_t now = time(NULL);
    size_t len = strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %z", localtime_r(&now, &local));
    fputs("<h2>This machine</h2>\n<table><tbody>\n", to);
    for (int i = 0; machine_setting(i, &name, value, sizeof value); i++) {
        fputs("<tr><th scope=\"row\">", to);
        print_setting(to, name);
        fputs("</th><td>", to);
        print_escaped(to, value);
        fputs("</td></tr>\n", to);
    }
    fprintf(to, "<tr><th scope=\"row\">date</th><td>%.*s</td></tr>\n<tr><th scope=\"row\">weir</th>"
                "<td>" WEIR_VERSION "</td></tr>\n</tbody></table>\n", (int)len, when);
}

static void print_summary(FILE *to, const struct tally *tally)
{
    fputs("<h2>Verdicts</h2>\n<table><tbody>\n", to);
    for (int i = 0; i < VERDICTS; i++) {
        if (tally->verdicts[order[i]] == 0)
            continue;
        fprintf(to, "<tr><td class=\"count\">%d</td><th scope=\"row\">",
                tally->verdicts[order[i]]);
        print_badge(to, order[i]);
        fprintf(to, "</th><td>%s</td></tr>\n", meanings[order[i]]);
    }
    fprintf(to, "<tr><td class=\"count\">%d</td><th scope=\"row\">together</th>"
                "<td>in %.1f s</td></tr>\n</tbody></table>\n", tally->count, tally->ms / 1e3);
}

/* The experiments of a group below its title, as entries of the table of contents or whole. */
static void print_group(FILE *to, const struct page *page, const struct group *group, bool is_toc)
{
    bool is_first = true;
    for (int i = 0; i < page->count; i++) {
        const struct told *told = &page->told[i];
        if (!is_in_group(told->experiment, group->name))
            continue;
        if (is_first && is_toc)
            fprintf(to, "<h3><a href=\"#group-%s\">%s</a></h3>\n<ul class=\"toc\">\n", group->name,
                    group->title);
        else if (is_first)
            fprintf(to, "<h2 id=\"group-%s\">%c%s</h2>\n", group->name,
                    group->title[0] & ~('a' - 'A'), group->title + 1);
        is_first = false;
        if (!is_toc) {
            fputs(told->html, to);
            continue;
        }
        fprintf(to, "<li><a href=\"#%s\">%s</a> ", told->experiment->id, told->experiment->id);
        print_escaped(to, told->experiment->question);
        fputc(' ', to);
        print_badge(to, told->verdict);
        fputs("</li>\n", to);
    }
    if (is_toc && !is_first)
        fputs("</ul>\n", to);
}

static void print_page(FILE *to, const struct page *page, const struct tally *tally)
{
    fprintf(to, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                "<title>weir lab: sockets on this kernel</title>\n<style>\n%s</style>\n</head>\n"
                "<body>\n<h1>What is said about sockets, tried on this kernel</h1>\n", style);
    print_machine(to);
    print_summary(to, tally);
    fputs("<nav aria-label=\"experiments\">\n<h2>Experiments</h2>\n", to);
    for (int g = 0; groups[g].name; g++)
        print_group(to, page, &groups[g], true);
    fputs("</nav>\n<main>\n", to);
    for (int g = 0; groups[g].name; g++)
        print_group(to, page, &groups[g], false);
    fputs("</main>\n</body>\n</html>\n", to);
}

/* ---- the file ---- */

static int complain_file(const struct page *page, const char *reason)
{
    return complain(STATUS_LOCAL, "lab: cannot write %s: %s", page->named, reason);
}

/* An empty file without a name, in the folder of the target: if the command is killed it is gone.
 * Where the file system has none of these it has its name at once. NULL with errno. */
static FILE *temp_new(struct page *page)
{
    char *folder = strdup(page->target);
    if (!folder)
        return NULL;
    int fd = open(dirname(folder), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    free(folder);
    page->has_temp = fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR);
    if (page->has_temp)
        fd = open(page->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

/* Names it when all is written, since only what has a name can take another's: 0 or an errno. */
static int temp_link(struct page *page, int fd)
{
    char path[40];
    if (page->has_temp)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    page->has_temp = linkat(AT_FDCWD, path, AT_FDCWD, page->temp, AT_SYMLINK_FOLLOW) == 0;
    return page->has_temp ? 0 : errno;
}

int page_open(struct page *page, const char *path)
{
    struct stat what;
    *page = (struct page){ .named = path };
    /* Through a symbolic link, so that it stays one. */
    page->target = realpath(path, NULL);
    if (!page->target)
        page->target = strdup(path);
    if (!page->target || asprintf(&page->temp, "%s.%d.tmp", page->target, (int)getpid()) < 0) {
        page->temp = NULL;
        return complain_file(page, "no memory is left");
    }
    bool is_there = stat(page->target, &what) == 0;
    if (is_there && S_ISDIR(what.st_mode))
        return complain_file(page, "it is a directory");
    if (is_there && !S_ISREG(what.st_mode))
        return complain_file(page, "it is not an ordinary file");
    if (is_there && access(page->target, W_OK) != 0)
        return complain_file(page, strerror(errno));
    FILE *file = temp_new(page);
    if (!file)
        return complain_file(page, strerror(errno));
    fclose(file);
    if (page->has_temp)
        unlink(page->temp);
    return 0;
}

void page_close(struct page *page)
{
    for (int i = 0; i < page->count; i++)
        free(page->told[i].html);
    free(page->told);
    free(page->temp);
    free(page->target);
}

int page_write(struct page *page, const struct tally *tally)
{
    if (page->is_cut)
        return complain_file(page, "no memory is left");
    FILE *file = temp_new(page);
    if (!file)
        return complain_file(page, strerror(errno));
    print_page(file, page, tally);
    int error = fflush(file) != 0 ? errno : ferror(file) ? EIO : temp_link(page, fileno(file));
    if (fclose(file) != 0 && !error)
        error = errno;
    if (!error && rename(page->temp, page->target) != 0)
        error = errno;
    if (error && page->has_temp)
        unlink(page->temp);
    return error ? complain_file(page, strerror(error)) : 0;
}
