/* value.c -- what the data of a picture says, the same on a terminal and in a page. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "value.h"

const char *number_text(double value, char *buf, size_t size)
{
    const char *unit = value >= 1e9 ? "G" : value >= 1e6 ? "M" : value >= 1e3 ? "k" : "";
    double by = value >= 1e9 ? 1e9 : value >= 1e6 ? 1e6 : value >= 1e3 ? 1e3 : 1;
    snprintf(buf, size, "%.3g%s", value / by, unit);
    return buf;
}

/* What was counted is told to the last digit; what was measured, to the third. */
static const char *exact_text(double value, char *buf, size_t size)
{
    bool is_whole = value == floor(value) || fabs(value) >= 100;
    snprintf(buf, size, is_whole ? "%.0f" : "%.3g", value);
    return buf;
}

const char *bar_text(const struct picture *picture, const struct item *item, char *buf,
                     size_t size)
{
    char value[40], full[40];
    exact_text(item->x, value, sizeof value);
    exact_text(item->y, full, sizeof full);
    snprintf(buf, size, "%s%s%s%s%s", value, item->y > 0 ? " of " : "", item->y > 0 ? full : "",
             picture->left[0] ? " " : "", picture->left);
    return buf;
}

bool state_was_seen(const struct item *items, int count, const char *state, bool is_begin)
{
    bool is_close = strcmp(state, "CLOSE") == 0;
    int first = is_close && !is_begin ? 1 : 0, end = is_close && is_begin && count > 1 ? 1 : count;
    for (int i = first; i < end; i++)
        if (strcmp(items[i].label, state) == 0)
            return true;
    return false;
}
