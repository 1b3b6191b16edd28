/* random_test.c -- the generator of numbers: the published ones, and nothing out of bounds. */
#include "base/random.h"
#include "test.h"

TEST(random_reference, "the generator gives the numbers its authors published")
{
    /* xoshiro256** from the state 1, 2, 3, 4. */
    static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240, 1216172134540287360};
    struct random r = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        CHECK(random_next(&r) == want[i]);
}

TEST(random_seeding, "a seed becomes the state that splitmix64 makes of it")
{
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
                                    9817491932198370423u, 4593380528125082431u};
    struct random r;
    random_seed(&r, 1234567);
    for (int i = 0; i < 4; i++)
        CHECK(r.state[i] == want[i]);
    random_seed(&r, 0);
    CHECK(r.state[0] != 0 && r.state[0] != r.state[1]);
}

/* 3/4 of the range: taking a plain remainder would give the lower third twice as often. */
TEST(random_even, "numbers below a bound are below it, and evenly so")
{
    const uint64_t bound = (uint64_t)3 << 62;
    struct random r;
    int thirds[3] = {0};
    random_seed(&r, 1);
    for (int i = 0; i < 30000; i++) {
        uint64_t n = random_below(&r, bound);
        CHECK(n < bound);
        thirds[n >> 62]++;
        CHECK(random_below(&r, 1) == 0);
        CHECK(random_below(&r, 7) < 7);
    }
    for (int i = 0; i < 3; i++)
        CHECK(thirds[i] > 9500 && thirds[i] < 10500);
}

TEST(random_chances, "a chance comes as often as it says")
{
    struct random r;
    int count = 0;
    random_seed(&r, 2);
    for (int i = 0; i < 100000; i++) {
        CHECK(!random_chance(&r, 0));
        CHECK(random_chance(&r, 1000000));
        count += random_chance(&r, 250000);
    }
    CHECK(count > 24000 && count < 26000);
}
