/* screen.c -- the width, colours and characters of the output, and text that fits it. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "screen.h"

enum { WIDTH_MIN = 40, WIDTH_MAX = 120, WIDTH_ELSEWHERE = 100, WIDTH_NARROW = 60,
       INDENT = 12, INDENT_NARROW = 4, ROOM_MIN = 20 };

static int width_of_terminal(void)
{
    struct winsize size = { 0 };
    const char *columns = getenv("COLUMNS");
    int width = WIDTH_ELSEWHERE;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col;
    else if (columns && atoi(columns) > 0)
        width = atoi(columns);
    return width < WIDTH_MIN ? WIDTH_MIN : width > WIDTH_MAX ? WIDTH_MAX : width;
}

struct screen screen_look(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool refuses = (no_color && *no_color) || (term && strcmp(term, "dumb") == 0);
    setlocale(LC_CTYPE, "");
    return (struct screen){
        .width = width_of_terminal(),
        .has_colour = isatty(STDOUT_FILENO) && !refuses,
        .has_unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
    };
}

int screen_indent(const struct screen *screen)
{
    return screen->width < WIDTH_NARROW ? INDENT_NARROW : INDENT;
}

const char *colour_code(const struct screen *screen, enum colour colour)
{
    static const char *const codes[] = {
        [PLAIN] = "\033[0m",   [BOLD] = "\033[1m", [DIM] = "\033[2m",   [GREEN] = "\033[32m",
        [YELLOW] = "\033[33m", [RED] = "\033[31m", [BLUE] = "\033[36m",
    };
    return screen->has_colour ? codes[colour] : "";
}

/* One character: its bytes, and its columns in *width. A byte that is none counts as one, and what
 * switches to a colour takes no column. */
static int character(const char *at, int *width)
{
    wchar_t wide;
    mbstate_t state = { 0 };
    if (at[0] == '\033' && at[1] == '[') {
        *width = 0;
        size_t end = strcspn(at, "m");
        return (int)(at[end] ? end + 1 : end);
    }
    size_t len = mbrtowc(&wide, at, MB_CUR_MAX, &state);
    if (len == 0 || len > MB_CUR_MAX) {
        *width = 1;
        return 1;
    }
    int columns = wcwidth(wide);
    *width = columns < 0 ? 1 : columns;
    return (int)len;
}

int text_width_of(const char *text, int len)
{
    int total = 0, width;
    for (int at = 0; at < len; total += width)
        at += character(text + at, &width);
    return total;
}

int text_width(const char *text)
{
    return text_width_of(text, (int)strlen(text));
}

int text_fit(const char *text, int columns)
{
    int at = 0, width;
    while (text[at]) {
        int len = character(text + at, &width);
        columns -= width;
        if (columns < 0)
            break;
        at += len;
    }
    return at;
}

int text_line(const char *text, int room)
{
    int columns = 0, fits = 0, at = 0;
    while (text[at]) {
        int width, len = character(text + at, &width);
        if (text[at] == ' ')
            fits = at;
        if (columns + width > room)
            return fits ? fits : at ? at : len;
        columns += width;
        at += len;
        if (width > 1)
            fits = at;
    }
    return at;
}

static const char *after_line(const char *text, int len)
{
    text += len;
    return text + strspn(text, " ");
}

/* Beside a label that takes most of the screen stands only the beginning of the text, if a word of
 * it has room; beside one that is too wide for its column, nothing. */
void print_wrapped(const struct screen *screen, const char *label, int indent, const char *text)
{
    int used = text_width(label), word = text_width_of(text, (int)strcspn(text, " "));
    int room = screen->width - indent, hang = room < ROOM_MIN ? INDENT_NARROW : indent;
    printf("%s%*s", label, used < indent ? indent - used : 0, "");
    if (used > indent || (hang < indent && word > room)) {
        printf("\n%*s", hang, "");
        room = screen->width - hang;
    }
    for (;;) {
        int len = text_line(text, room);
        printf("%.*s\n", len, text);
        text = after_line(text, len);
        if (!*text)
            return;
        printf("%*s", hang, "");
        room = screen->width - hang;
    }
}
