/* test.h -- the words a test is written in.
 *
 * A test is a promise in plain words, and the words are what a failure prints:
 *
 *     TEST(read_sees_eof, "a read on a connection the peer closed returns 0")
 *     {
 *         CHECK_EQ(weir_read(c, buf, sizeof buf), 0);
 *     }
 *
 * Each test runs in a process of its own, so the first failed check simply ends that process, from
 * whatever fiber, thread or child it happens in. Tests register themselves before main. A suite
 * whose promises are rows of a table registers them with test_register from a TEST_TABLE block.
 */
#ifndef WEIR_TEST_H
#define WEIR_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Defines and registers one test. The command line selects by the name and by the words. */
#define TEST(name, promise)                                                                        \
    static void test_body_##name(const void *test_arg);                                            \
    __attribute__((constructor)) static void test_add_##name(void)                                 \
    {                                                                                              \
        test_add(#name, promise, test_body_##name, NULL);                                          \
    }                                                                                              \
    static void test_body_##name(__attribute__((unused)) const void *test_arg)

/* A block that runs before main, to register the rows of a table. */
#define TEST_TABLE(name) __attribute__((constructor)) static void test_table_##name(void)

/* Registers a test at run time under the words of its promise. The words are copied; `arg` is
 * borrowed until the program ends. */
void test_register(const char *promise, void (*fn)(const void *arg), const void *arg);
void test_add(const char *name, const char *promise, void (*fn)(const void *arg), const void *arg);

/* Gives the running test another time limit than the usual one, in seconds on an ordinary build. */
void test_limit(int seconds);

/* How much slower than an ordinary build this one may be: 1, or more under a sanitizer or valgrind.
 * A test that has a time of its own to keep multiplies it by this. */
int test_slowness(void);

/* Ends the test as failed. */
__attribute__((format(printf, 3, 4), noreturn)) void test_fail(const char *file, int line,
                                                               const char *format, ...);

/* Ends the test as skipped, for a reason that is true of this machine. */
__attribute__((noreturn)) void test_skip(const char *reason);

void test_equal(const char *file, int line, const char *what, intmax_t got, intmax_t want);
void test_string(const char *file, int line, const char *what, const char *got, const char *want);
void test_bytes(const char *file, int line, const char *what, const void *got, const void *want,
                size_t len);
void test_errno(const char *file, int line, const char *what, bool failed, int want);

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SKIP(reason) test_skip(reason)

#define CHECK(claim) ((claim) ? (void)0 : test_fail(__FILE__, __LINE__, "not so: %s", #claim))

/* Both sides are integers or pointers; the first is what happened, the second what should. */
#define CHECK_EQ(got, want)                                                                        \
    test_equal(__FILE__, __LINE__, #got " == " #want, (intmax_t)(got), (intmax_t)(want))

#define CHECK_STR(got, want) test_string(__FILE__, __LINE__, #got, got, want)
#define CHECK_MEM(got, want, len) test_bytes(__FILE__, __LINE__, #got, got, want, len)

/* The call must fail the public way: -1, or NULL for the second form, and this errno. */
#define CHECK_ERRNO(call, code) test_errno(__FILE__, __LINE__, #call, (call) == -1, code)
#define CHECK_NULL_ERRNO(call, code) test_errno(__FILE__, __LINE__, #call, (call) == NULL, code)

/* The call must not fail. Its value is the value of the macro. */
#define CHECK_OK(call)                                                                             \
    __extension__({                                                                                \
        __auto_type test_value_ = (call);                                                          \
        if (test_value_ < 0) {                                                                     \
            test_failed_call(__FILE__, __LINE__, #call, (intmax_t)test_value_);                    \
        }                                                                                          \
        test_value_;                                                                               \
    })
__attribute__((noreturn)) void test_failed_call(const char *file, int line, const char *what,
                                                intmax_t value);

#endif
