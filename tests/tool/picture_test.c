/* picture_test.c -- the lab's pictures fit the screen and the page, whatever is in them. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tool/lab/page.h"
#include "../../tool/lab/runner.h"
#include "../../tool/lab/sheet.h"
#include "../../tool/lab/show.h"
#include "test.h"

static char drawn[1 << 20];

/* What a picture of the record looks like on such a screen. */
static const char *draw(const struct lab *lab, int width, bool unicode)
{
    struct screen screen = { .width = width, .has_unicode = unicode };
    int file = CHECK_OK(memfd_create("picture", MFD_CLOEXEC)), before = CHECK_OK(dup(1));
    fflush(stdout);
    CHECK_OK(dup2(file, 1));
    for (int i = 0; i < lab->picture_count; i++)
        show_picture(&screen, lab, &lab->pictures[i]);
    fflush(stdout);
    CHECK_OK(dup2(before, 1));
    ssize_t len = CHECK_OK(pread(file, drawn, sizeof drawn - 1, 0));
    drawn[len] = '\0';
    close(file);
    close(before);
    return drawn;
}

static struct lab *record_of(enum picture_kind kind, unsigned flags)
{
    struct lab *lab = record_new();
    CHECK(lab);
    picture(lab, kind, flags, "a title that is long enough to be broken on a narrow screen, where "
                              "it takes two lines", "left of it", "right of it");
    return lab;
}

static void check_fits(const struct lab *lab)
{
    static const int widths[] = { 40, 60, 80, 100, 120 };
    setlocale(LC_CTYPE, "C.UTF-8");
    for (int i = 0; i < 10; i++) {
        bool unicode = i % 2;
        char *rest = NULL;
        draw(lab, widths[i / 2], unicode);
        for (char *at = drawn; *at && !unicode; at++)
            CHECK((unsigned char)*at < 0x80);
        for (char *line = strtok_r(drawn, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            if (text_width(line) > widths[i / 2])
                FAIL("on %d columns: \"%s\"", widths[i / 2], line);
    }
}

/* The same for a page. */
static const char *draw_svg(const struct lab *lab)
{
    size_t len = 0;
    char *svg = NULL;
    FILE *to = open_memstream(&svg, &len);
    CHECK(to);
    for (int i = 0; i < lab->picture_count; i++)
        CHECK(print_picture(to, lab, &lab->pictures[i]));
    CHECK_OK(fclose(to));
    CHECK(len < sizeof drawn);
    memcpy(drawn, svg, len + 1);
    free(svg);
    return drawn;
}

/* Where a text begins and ends, given where it stands and the classes that say how. */
static void check_text(double x, double y, const char *tag, const char *words, double height)
{
    double width = columns_of(words) * LETTER;
    double left = strstr(tag, "\"end") ? x - width : strstr(tag, "\"middle") ? x - width / 2 : x;
    if (left < -0.5 || left + width > SHEET_WIDTH + 0.5 || y < 9 || y > height - 2)
        FAIL("from %g to %g, at %g of %g: \"%s\"", left, left + width, y, height, words);
}

static int check_svg_fits(const struct lab *lab)
{
    double height = 0, width = 0, x, y;
    int count = 0;
    char tag[128], words[256];
    const char *at = draw_svg(lab);
    CHECK(sscanf(strstr(at, "viewBox="), "viewBox=\"0 0 %lf %lf", &width, &height) == 2);
    CHECK(width == SHEET_WIDTH);
    for (at = strstr(at, "<text "); at; at = strstr(at + 1, "<text "), count++) {
        CHECK(sscanf(at, "<text x=\"%lf\" y=\"%lf%127[^>]>%255[^<]", &x, &y, tag, words) == 4);
        check_text(x, y, tag, words, height);
    }
    return count;
}

static const char *const long_label = "a label as long as one in a picture can be at all, or more";

/* A hundred items, some of them as long as they can be. */
static struct lab *crowded(enum picture_kind kind, unsigned flags)
{
    struct lab *lab = record_of(kind, flags);
    for (int i = 0; i < 100; i++) {
        struct item item = { .x = i * 123456.789, .y = i % 2 };
        snprintf(item.label, sizeof item.label, i % 3 ? "item %d" : "%d %.44s", i, long_label);
        snprintf(item.left, sizeof item.left, "ESTABLISHED");
        snprintf(item.right, sizeof item.right, "CLOSE_WAIT");
        picture_item(lab, item);
    }
    return lab;
}

TEST(picture_fits, "every kind of picture fits the screen, in Unicode and ASCII")
{
    for (enum picture_kind kind = BARS; kind <= TANKS; kind++)
        check_fits(crowded(kind, 0));
}

TEST(picture_svg_fits, "in a page, no text of any kind of picture is beyond its edges")
{
    for (enum picture_kind kind = BARS; kind <= TANKS; kind++)
        for (unsigned flags = 0; flags <= PICTURE_LOG; flags += PICTURE_LOG)
            CHECK(check_svg_fits(crowded(kind, flags)) > 10);
}

/* How often one text is in another. */
static int count_of(const char *all, const char *part)
{
    int count = 0;
    for (const char *at = strstr(all, part); at; at = strstr(at + 1, part))
        count++;
    return count;
}

/* A table of six columns, whose last cells are told apart. */
static struct lab *wide_table(void)
{
    struct lab *lab = record_of(TABLE, 0);
    for (int row = 0; row < 3; row++)
        for (int column = 0; column < 6; column++)
            cell(lab, column == 0 ? text("row-%d", row) : text("cell-%d-%d", row, column),
                 column == 5);
    return lab;
}

TEST(picture_whole, "a table too wide for the screen is drawn in parts, and none of it is cut")
{
    for (int width = 40; width <= 80; width += 20) {
        const char *all = draw(wide_table(), width, false);
        for (int i = 0; i < 15; i++)
            CHECK_EQ(count_of(all, text("cell-%d-%d", i / 5, i % 5 + 1)), 1);
        CHECK_EQ(count_of(all, "row-1"), width < 80 ? 2 : 1);
    }
    CHECK_EQ(count_of(draw_svg(wide_table()), "row-1"), 2);
}

TEST(picture_narrow_ladder, "a ladder without room has the whole words above their arrow")
{
    struct lab *lab = record_of(LADDER, 0);
    picture_item(lab, (struct item){ .label = "PSH ACK 1-5 ack 1 win 64", .left = "ESTABLISHED" });
    const char *words = strstr(draw(lab, 50, false), "PSH ACK 1-5 ack 1 win 64\n");
    CHECK(words && strstr(words, "-->\n") && strstr(words, "\n    ESTABLISHED"));
}

TEST(picture_states, "states that were seen are marked, and CLOSE where it was reached")
{
    struct lab *lab = record_of(STATES, 0);
    picture_item(lab, (struct item){ .label = "ESTABLISHED" });
    picture_item(lab, (struct item){ .label = "CLOSE" });
    const char *chart = draw(lab, 40, false), *seen = strstr(chart, "* CLOSE\n");
    CHECK(strstr(chart, "* ESTABLISHED") && strstr(chart, ". LISTEN"));
    CHECK(seen && seen > strstr(chart, ". TIME_WAIT") && strstr(chart, ". CLOSE\n"));
    CHECK_EQ(count_of(draw_svg(lab), ">● "), 3); /* the two boxes, and the legend */
}

TEST(picture_states_begin, "a connection that was seen in CLOSE first is marked there, not below")
{
    struct lab *lab = record_of(STATES, 0);
    picture_item(lab, (struct item){ .label = "CLOSE" });
    picture_item(lab, (struct item){ .label = "SYN_SENT" });
    const char *chart = draw(lab, 40, false), *below = strstr(chart, "TIME_WAIT");
    CHECK(strstr(chart, "* CLOSE\n") && strstr(chart, "* CLOSE\n") < below);
    CHECK(strstr(below, ". CLOSE\n"));
}

TEST(picture_tanks, "a vessel is as full as what it holds, compared with the most it held")
{
    struct lab *lab = record_of(TANKS, 0);
    picture_item(lab, (struct item){ .label = "early", .x = 50, .y = 0 });
    picture_item(lab, (struct item){ .label = "late", .x = 100, .y = 4000 });
    const char *tanks = draw(lab, 100, false);
    CHECK(strstr(tanks, "early  ##########.......... 50   .................... 0\n"));
    CHECK(strstr(tanks, "late   #################### 100  #################### 4k\n"));
}

TEST(picture_empty, "a picture of nothing, of one thing and of zeros can be drawn")
{
    for (enum picture_kind kind = BARS; kind <= TANKS; kind++) {
        for (int count = 0; count < 3; count++) {
            struct lab *lab = record_of(kind, PICTURE_LOG);
            for (int i = 0; i < count; i++)
                picture_item(lab, (struct item){ .label = "zero" });
            check_fits(lab);
            check_svg_fits(lab);
        }
    }
}

TEST(picture_bars, "bars are as long as their values, and a full one as long as there is room")
{
    struct lab *lab = record_of(BARS, 0);
    lab->pictures[0].title[0] = '\0';
    bar(lab, "all", 40, 0);
    bar(lab, "half", 20, 0);
    bar(lab, "none", 0, 0);
    bar(lab, "part", 10, 20);
    const char *text_of_it = draw(lab, 120, false);
    CHECK(strstr(text_of_it, "all  ######################################## 40"));
    CHECK(strstr(text_of_it, "half #################### 20"));
    CHECK(strstr(text_of_it, "none 0"));
    CHECK(strstr(text_of_it, "part ####################.................... 10 of 20"));
}

TEST(picture_strip, "an urgent byte has its mark below it")
{
    struct lab *lab = record_of(STRIP, 0);
    lab->pictures[0].title[0] = '\0';
    picture_item(lab, (struct item){ .label = "123ab" });
    picture_item(lab, (struct item){ .label = "c", .y = 1 });
    CHECK_STR(draw(lab, 80, false), "            |123ab|c|\n                   ^ urgent\n");
}

TEST(picture_ladder, "an arrow points to the one who receives")
{
    struct lab *lab = record_of(LADDER, 0);
    picture_item(lab, (struct item){ .label = "SYN" });
    picture_item(lab, (struct item){ .label = "SYN ACK", .y = 1 });
    const char *ladder = draw(lab, 80, false);
    const char *there = strstr(ladder, "-- SYN -"), *back = strstr(ladder, "<- SYN ACK -");
    CHECK(there && back && there < back);
    CHECK_EQ(strcspn(there, "\n"), strcspn(back, "\n"));
    CHECK(memchr(there, '>', (size_t)(back - there)));
}

TEST(picture_bytes, "bytes that cannot be printed are shown as numbers")
{
    struct lab *lab = record_of(BOXES, 0);
    box(lab, 0, "a\n\x80");
    CHECK(strstr(draw(lab, 80, false), "|a\\x0a\\x80|"));
}
