/* error.h -- the words in which errors are told, for texts that say more than fail() does. */
#ifndef WEIR_ERROR_H
#define WEIR_ERROR_H

#include <stddef.h>
#include <stdint.h>

enum { ERROR_WORDS = 96, ERROR_TIME = 40 }; /* room enough */

/* What an errno means, beginning in lower case: "connection refused".  Any thread. */
char *error_words(int code, char *buf, size_t size);

/* " (0.1 ms)", " (12.3 s)", or nothing when it took no time worth telling. */
char *error_time(int64_t ns, char *buf, size_t size);

#endif
