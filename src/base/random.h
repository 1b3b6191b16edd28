/* random.h -- a small seeded generator of numbers, for tests, faults and jitter.
 *
 * The same seed gives the same numbers on every machine.  It is no source of secrets.         */
#ifndef WEIR_RANDOM_H
#define WEIR_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *r, uint64_t seed);
uint64_t random_next(struct random *r);

/* Evenly in [0, bound); the bound is not 0. */
uint64_t random_below(struct random *r, uint64_t bound);

/* True in `part` of a million cases. */
bool random_chance(struct random *r, uint32_t part);

#endif
