/* value.h -- what the data of a picture says, for whatever draws it. */
#ifndef LAB_VALUE_H
#define LAB_VALUE_H

#include <stddef.h>

#include "record.h"

/* As short as an axis needs it: 10k for 10,000. */
const char *number_text(double value, char *buf, size_t size);

/* What stands behind a bar: its value, what a full one would be, and the unit. */
const char *bar_text(const struct picture *picture, const struct item *item, char *buf,
                     size_t size);

/* A connection begins and ends in CLOSE: whether it was seen there first, or afterwards. Of any
 * other state, whether it was seen at all. */
bool state_was_seen(const struct item *items, int count, const char *state, bool is_begin);

#endif
