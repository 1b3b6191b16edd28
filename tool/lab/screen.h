/* screen.h -- what the output can show: how wide it is, whether it has colour and Unicode. */
#ifndef LAB_SCREEN_H
#define LAB_SCREEN_H

#include <stdbool.h>

struct screen {
    int width;
    bool has_colour, has_unicode;
};

/* Looks at stdout and the environment, and sets the locale for characters. */
struct screen screen_look(void);

/* Where text below a heading begins: a narrow screen has less to give away. */
int screen_indent(const struct screen *screen);

enum colour { PLAIN, BOLD, DIM, GREEN, YELLOW, RED, BLUE };

/* What switches to a colour, "" where there is none. */
const char *colour_code(const struct screen *screen, enum colour colour);

/* How many columns the text takes. */
int text_width(const char *text);

/* The same of its first bytes; and how many bytes fit into so many columns. */
int text_width_of(const char *text, int len);
int text_fit(const char *text, int columns);

/* The bytes of the next line: up to the last blank that fits, or after a wide character, which
 * stands in a script that has no blanks. */
int text_line(const char *text, int room);

/* Prints the text behind a label that is `indent` columns wide, in lines that fit. */
void print_wrapped(const struct screen *screen, const char *label, int indent, const char *text);

#endif
