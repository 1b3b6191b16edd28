/* promise.h -- promises that are kept by each of several backends, with system calls watched.
 *
 * They are driven as the rows of the conformance table are, without its faults.               */
#ifndef WEIR_PROMISE_H
#define WEIR_PROMISE_H

#include "conformance.h"

/* Ended by NULL. */
extern const struct io_backend *const all_backends[]; /* those that wait for readiness */
extern const struct io_backend *const knowing[];      /* ... and keep what they know */
extern const struct io_backend *const level_triggered[];
extern const struct io_backend *const unlimited[]; /* in the number of descriptors */
extern const struct io_backend *const only_epoll[];
extern const struct io_backend *const only_select[];

/* Registers a test for each of the backends. */
void promise_each(const struct io_backend *const *backends, const char *words,
                  void (*keep)(struct bench *b));

#define PROMISE(name, backends, words)                                                             \
    static void keep_##name(struct bench *b);                                                      \
    TEST_TABLE(name)                                                                               \
    {                                                                                              \
        promise_each(backends, words, keep_##name);                                                \
    }                                                                                              \
    static void keep_##name(struct bench *b)

/* From spy_on on, the system calls of op_try are counted, and can be tampered with. */
struct spy {
    int calls;
    int32_t fake;   /* if not 0, the answer to the next call */
    size_t shorten; /* if not 0, the longest transfer */
};
extern struct spy spy;
void spy_on(void);

/* How often a wait ends within 20 ms in which nothing happens. */
int rounds_of_nothing(struct bench *b);

#endif
