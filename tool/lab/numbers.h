/* numbers.h -- sets of descriptors for select(2) that know no 1024. */
#ifndef LAB_NUMBERS_H
#define LAB_NUMBERS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "lab.h"

enum { WORD_BITS = (int)sizeof(unsigned long) * CHAR_BIT, NUMBERS_MAX = 16384 };

/* Laid out as an fd_set is, and longer. */
struct numbers {
    unsigned long words[NUMBERS_MAX / WORD_BITS];
};

static inline void numbers_add(struct numbers *set, int fd)
{
    set->words[fd / WORD_BITS] |= 1UL << (fd % WORD_BITS);
}

static inline bool numbers_have(const struct numbers *set, int fd)
{
    return set->words[fd / WORD_BITS] >> (fd % WORD_BITS) & 1;
}

/* Raises the limit of descriptors as far as this user may: they are below what is returned. */
static inline int numbers_room(struct lab *lab)
{
    struct rlimit limit;
    must(lab, getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    must(lab, setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    return limit.rlim_max > NUMBERS_MAX ? NUMBERS_MAX : (int)limit.rlim_max;
}

#endif
