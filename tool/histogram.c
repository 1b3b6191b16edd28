/* histogram.c -- durations counted in buckets that grow with what they hold.
 *
 * The buckets are linear below 2^7 and then 128 to each power of two, so that finding one is a
 * shift and an addition, and all of them fit into 36 KiB.                                      */
#include "histogram.h"

enum { STEPS = 1 << HISTOGRAM_STEP_BITS };

static unsigned bucket_of(int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    if (value >> HISTOGRAM_TOP_BIT)
        return HISTOGRAM_BUCKETS - 1;
    if (value < STEPS)
        return (unsigned)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return ((shift + 1) << HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift) - STEPS;
}

/* The middle of a bucket. */
static int64_t value_of(unsigned bucket)
{
    unsigned octave = bucket >> HISTOGRAM_STEP_BITS;
    if (octave == 0)
        return bucket;
    unsigned shift = octave - 1;
    int64_t low = (int64_t)(STEPS + bucket % STEPS) << shift;
    return low + ((INT64_C(1) << shift) - 1) / 2;
}

void histogram_add(struct histogram *h, int64_t ns)
{
    h->count++;
    h->buckets[bucket_of(ns)]++;
    if (ns > h->max)
        h->max = ns;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    to->count += from->count;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    if (from->max > to->max)
        to->max = from->max;
}

int64_t histogram_quantile(const struct histogram *h, double fraction)
{
    double exact = fraction * (double)h->count;
    uint64_t rank = (uint64_t)exact, seen = 0;
    rank += (double)rank < exact;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank && seen > 0)
            return value_of(i) < h->max ? value_of(i) : h->max;
    }
    return 0;
}
