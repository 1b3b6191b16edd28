/* histogram.h -- how often each duration was seen, to half a percent. */
#ifndef TOOL_HISTOGRAM_H
#define TOOL_HISTOGRAM_H

#include <stdint.h>

/* Each power of two is divided evenly into 128, so a bucket is at most 1/128 of its values wide,
 * and its middle at most 0.4 % from any of them. 2^42 ns are 73 minutes. */
enum { HISTOGRAM_STEP_BITS = 7, HISTOGRAM_TOP_BIT = 42 };
enum { HISTOGRAM_BUCKETS = (HISTOGRAM_TOP_BIT - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS };

struct histogram {
    uint64_t count;
    int64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, int64_t ns);
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The value that `fraction` of all do not exceed; 0 of an empty one. */
int64_t histogram_quantile(const struct histogram *h, double fraction);

#endif
