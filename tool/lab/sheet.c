/* sheet.c -- text and lines in SVG.
 *
 * Letters are all of one width, so that text can be broken, and be known to fit, without asking the
 * font.                                                                                          */
#include <math.h>
#include <string.h>

#include "page.h"
#include "sheet.h"

enum { WORD_MAX = 16 };

/* ---- text ---- */

/* The bytes of the character there, and its code; 0: it is none that a page may contain. */
static int character(const char *words, unsigned *code)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *at = (const unsigned char *)words;
    int many = *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    int len = *at < 0x80 ? 1 : *at < 0xc0 || *at >= 0xf8 ? 0 : many;
    if (len == 0)
        return 0;
    *code = len == 1 ? *at : *at & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    bool is_control = *code < ' ' || (*code >= 0x7f && *code < 0xa0);
    bool is_none = (*code >= 0xd800 && *code < 0xe000) || (*code & 0xfffe) == 0xfffe;
    return is_control || is_none || *code < least[len] || *code > 0x10ffff ? 0 : len;
}

static void print_some(FILE *to, const char *words, int bytes)
{
    while (bytes > 0) {
        unsigned code = 0;
        int len = character(words, &code);
        const char *named = code == '&' ? "&amp;" : code == '<' ? "&lt;" : code == '>' ? "&gt;"
                            : code == '"' ? "&quot;" : NULL;
        if (len == 0)
            fputs("\xef\xbf\xbd", to);
        else if (named)
            fputs(named, to);
        else
            fwrite(words, 1, (size_t)len, to);
        words += len ? len : 1;
        bytes -= len ? len : 1;
    }
}

void print_escaped(FILE *to, const char *words)
{
    print_some(to, words, (int)strlen(words));
}

/* How many bytes have room in so many columns. */
static int fit(const char *words, int columns)
{
    int at = 0;
    while (words[at]) {
        unsigned code = 0;
        int len = character(words + at, &code);
        columns -= code >= 0x2e80 ? 2 : 1;
        if (columns < 0)
            break;
        at += len ? len : 1;
    }
    return at;
}

void print_breakable(FILE *to, const char *words)
{
    while (*words) {
        int word = (int)strcspn(words, " "), bytes = fit(words, WORD_MAX);
        bool is_long = word > bytes;
        bytes = is_long ? bytes : word + (int)strspn(words + word, " ");
        print_some(to, words, bytes);
        fputs(is_long ? "<wbr>" : "", to);
        words += bytes;
    }
}

int columns_of(const char *words)
{
    int columns = 0;
    for (const char *at = words; *at;) {
        unsigned code = 0;
        int len = character(at, &code);
        columns += code >= 0x2e80 ? 2 : 1;
        at += len ? len : 1;
    }
    return columns;
}

/* The bytes of the next line: up to the last blank that has room. */
static int line_fit(const char *words, int columns)
{
    int room = fit(words, columns > 0 ? columns : 1), at = room;
    if (!words[room])
        return room;
    while (at > 0 && words[at] != ' ')
        at--;
    return at > 0 ? at : room > 0 ? room : 1;
}

static void put(struct sheet *s, double x, double y, const char *class, const char *words,
                int bytes)
{
    fprintf(s->to, "<text x=\"%.1f\" y=\"%.1f\"%s%s%s>", x, y, class ? " class=\"" : "",
            class ? class : "", class ? "\"" : "");
    print_some(s->to, words, bytes);
    fputs("</text>\n", s->to);
}

void put_line(struct sheet *s, double x, double y, const char *class, const char *words)
{
    if (*words)
        put(s, x, y, class, words, (int)strlen(words));
}

int put_lines(struct sheet *s, double x, double y, int columns, const char *class,
              const char *words)
{
    int lines = 0;
    while (*words) {
        int bytes = line_fit(words, columns);
        put(s, x, y + lines++ * LINE + 11, class, words, bytes);
        words += bytes;
        words += strspn(words, " ");
    }
    return lines;
}

void rectangle(struct sheet *s, double x, double y, double width, double height,
               const char *class)
{
    fprintf(s->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"/>\n",
            x, y, width, height, class);
}

void stroke(struct sheet *s, double x1, double y1, double x2, double y2, const char *class)
{
    fprintf(s->to, "<path d=\"M%.1f %.1fL%.1f %.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

void arrow(struct sheet *s, double x1, double y1, double x2, double y2, const char *class)
{
    double len = hypot(x2 - x1, y2 - y1), dx = (x2 - x1) / len, dy = (y2 - y1) / len;
    stroke(s, x1, y1, x2 - 6 * dx, y2 - 6 * dy, class);
    fprintf(s->to, "<path d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fZ\" class=\"%s head\"/>\n", x2, y2,
            x2 - 8 * dx - 3.5 * dy, y2 - 8 * dy + 3.5 * dx, x2 - 8 * dx + 3.5 * dy,
            y2 - 8 * dy - 3.5 * dx, class);
}
