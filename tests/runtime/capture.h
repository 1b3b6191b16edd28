/* capture.h -- what the library writes to stderr, as the test reads it. */
#ifndef WEIR_CAPTURE_H
#define WEIR_CAPTURE_H

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "../test.h"

struct capture {
    int old, input;
};

static inline struct capture capture_begin(void)
{
    int ends[2];
    struct capture c = { .old = dup(2) };
    CHECK(c.old >= 0 && pipe(ends) == 0 && dup2(ends[1], 2) == 2);
    close(ends[1]);
    c.input = ends[0];
    return c;
}

/* The next line without its end; blocks the thread until it is there. */
static inline void capture_line(const struct capture *c, char *line, size_t size)
{
    size_t len = 0;
    while (len + 1 < size && read(c->input, line + len, 1) == 1 && line[len] != '\n')
        len++;
    line[len] = '\0';
}

static inline bool capture_is_empty(const struct capture *c)
{
    struct pollfd entry = { .fd = c->input, .events = POLLIN };
    return poll(&entry, 1, 0) == 0;
}

static inline void capture_end(struct capture *c)
{
    CHECK_EQ(dup2(c->old, 2), 2);
    close(c->old);
    close(c->input);
}

#endif
