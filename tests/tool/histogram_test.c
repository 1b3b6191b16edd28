/* histogram_test.c -- the histogram behind the latencies that bench reports. */
#include <stdlib.h>

#include "../../tool/histogram.h"
#include "test.h"

static struct histogram h;

static uint64_t random_state = 88172645463325252;

/* xorshift64: any spread over many powers of two will do. */
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* True values of every size, from the exact ones below 128 to minutes. */
static void fill(int64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned bits = (unsigned)(random_next() % 40) + 1;
        values[i] = (int64_t)(random_next() & ((UINT64_C(1) << bits) - 1));
        histogram_add(&h, values[i]);
    }
    qsort(values, count, sizeof *values, compare);
}

TEST(quantiles_are_near, "every quantile is within one percent of the true one")
{
    enum { COUNT = 100000 };
    static int64_t values[COUNT];
    fill(values, COUNT);
    for (int permille = 1; permille <= 1000; permille++) {
        int64_t truth = values[(size_t)permille * COUNT / 1000 - 1];
        int64_t got = histogram_quantile(&h, permille / 1000.0);
        if (llabs(got - truth) * 100 > truth)
            FAIL("quantile 0.%03d is %lld, not %lld", permille, (long long)got, (long long)truth);
    }
    CHECK_EQ(h.count, COUNT);
    CHECK_EQ(h.max, values[COUNT - 1]);
}

TEST(small_values_are_exact, "durations below 128 ns are kept exactly")
{
    for (int64_t ns = 0; ns < 128; ns++) {
        h = (struct histogram){ 0 };
        histogram_add(&h, ns);
        CHECK_EQ(histogram_quantile(&h, 0.5), ns);
        CHECK_EQ(histogram_quantile(&h, 1), ns);
    }
}

TEST(each_value_alone, "a single duration of any size is told within half a percent")
{
    for (int64_t ns = 1; ns < INT64_C(1) << 41; ns += ns / 50 + 1) {
        h = (struct histogram){ 0 };
        histogram_add(&h, ns);
        histogram_add(&h, INT64_C(1) << 41);
        int64_t got = histogram_quantile(&h, 0.5);
        if (llabs(got - ns) * 200 > ns)
            FAIL("%lld ns are told as %lld", (long long)ns, (long long)got);
    }
}

TEST(extremes_are_counted, "what is negative or longer than the longest is counted at the end")
{
    histogram_add(&h, -5);
    CHECK_EQ(histogram_quantile(&h, 1), 0);
    histogram_add(&h, INT64_MAX);
    CHECK_EQ(h.count, 2);
    CHECK_EQ(h.max, INT64_MAX);
    CHECK(histogram_quantile(&h, 1) >= INT64_C(1) << 41);
}

TEST(empty_has_no_quantile, "an empty histogram has quantiles of 0")
{
    CHECK_EQ(histogram_quantile(&h, 0.5), 0);
}

TEST(merging_adds, "merging two histograms is counting both in one")
{
    static struct histogram one, both;
    for (int i = 0; i < 1000; i++) {
        int64_t ns = (int64_t)(random_next() >> 30);
        histogram_add(i % 3 ? &one : &h, ns);
        histogram_add(&both, ns);
    }
    histogram_merge(&h, &one);
    CHECK_MEM(&h, &both, sizeof h);
}
