/* random.c -- xoshiro256**, seeded through splitmix64.
 *
 * Both are the published algorithms of Blackman and Vigna (prng.di.unimi.it).  Splitmix spreads
 * even a seed of 0 or 1 over all four words, which xoshiro needs: its one forbidden state is
 * all zeros.                                                                                  */
#include "random.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void random_seed(struct random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->state[i] = splitmix(&seed);
}

static uint64_t rotate_left(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

uint64_t random_next(struct random *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t random_below(struct random *r, uint64_t bound)
{
    /* Numbers under (2^64 mod bound) would make the low remainders likelier, so they are drawn
     * again. */
    uint64_t unfair = -bound % bound;
    uint64_t x;
    do
        x = random_next(r);
    while (x < unfair);
    return x % bound;
}

bool random_chance(struct random *r, uint32_t part)
{
    return part && random_below(r, 1000000) < part;
}
