/* picture_test.c -- the lab's pictures fit the screen, whatever is in them. */
#include <stdio.h>
#include <string.h>
#include <locale.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tool/lab/runner.h"
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

static const char *const long_label = "a label as long as one in a picture can be at all, or more";

TEST(picture_fits, "every kind of picture fits the screen, in Unicode and ASCII")
{
    for (enum picture_kind kind = BARS; kind <= TANKS; kind++) {
        struct lab *lab = record_of(kind, 0);
        for (int i = 0; i < 100; i++) {
            struct item item = { .x = i * 123456.789, .y = i % 2 };
            snprintf(item.label, sizeof item.label, i % 3 ? "item %d" : "%d %.44s", i, long_label);
            snprintf(item.left, sizeof item.left, "ESTABLISHED");
            snprintf(item.right, sizeof item.right, "CLOSE_WAIT");
            picture_item(lab, item);
        }
        check_fits(lab);
    }
}

TEST(picture_empty, "a picture of nothing, of one thing and of zeros can be drawn")
{
    for (enum picture_kind kind = BARS; kind <= TANKS; kind++) {
        for (int count = 0; count < 3; count++) {
            struct lab *lab = record_of(kind, PICTURE_LOG);
            for (int i = 0; i < count; i++)
                picture_item(lab, (struct item){ .label = "zero" });
            check_fits(lab);
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
