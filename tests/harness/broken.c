/* broken.c -- tests that fail in every way a test can, for the harness to notice.
 *
 * check.sh runs them and compares what is printed with expected.txt, so a harness that lets one of
 * them pass fails itself.
 */
#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(passes, "a kept promise is ok")
{
    CHECK(sizeof(int) == 4);
    CHECK_EQ(1, 1);
    CHECK_STR("a", "a");
    CHECK_MEM("abc", "abd", 2);
    CHECK_ERRNO(close(-1), EBADF);
    int fd = CHECK_OK(dup(0));
    close(fd);
}

TEST(skips, "a skip says its reason")
{
    SKIP("the reason");
}

TEST(number, "unequal errno values are named")
{
    CHECK_EQ(-EAGAIN, -EBADF);
}

TEST(claim, "a claim that is not so is printed")
{
    CHECK(1 > 2);
}

TEST(string, "unequal strings are shown")
{
    CHECK_STR("got", "want");
}

TEST(string_null, "a missing string is not equal to one")
{
    CHECK_STR(NULL, "want");
}

TEST(bytes, "the first unequal byte is found")
{
    CHECK_MEM("abc", "abd", 3);
}

TEST(other_errno, "another errno than the one wanted is a failure")
{
    CHECK_ERRNO(close(-1), EINVAL);
}

TEST(no_errno, "success where failure is wanted is a failure")
{
    CHECK_ERRNO(0, EINVAL);
}

TEST(failed_call, "a call that must not fail shows its errno")
{
    (void)CHECK_OK(close(-1));
}

TEST(leaks, "a descriptor left open is found")
{
    CHECK(dup(0) > 0);
}

TEST(closes, "closing a descriptor of another is found")
{
    close(0);
}

TEST(crashes, "a crash names its signal")
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

TEST(exits, "an early exit is not a pass")
{
    exit(0);
}

TEST(exits_badly, "an exit status is a failure")
{
    _exit(3);
}

TEST(hangs, "a test that does not end is ended")
{
    test_limit(1);
    for (;;) {
        pause();
    }
}

TEST(orphan, "a process left behind is found and ended")
{
    if (fork() == 0) {
        for (;;) {
            pause();
        }
    }
}

TEST(grandchild, "a check may fail in a child of the test")
{
    pid_t child = CHECK_OK(fork());
    if (child == 0) {
        FAIL("in the child");
    }
    waitpid(child, NULL, 0);
}

TEST(noisy, "what a failed test wrote is shown")
{
    printf("written to stdout\n");
    fprintf(stderr, "written to stderr\n");
    fflush(stdout);
    FAIL("on purpose");
}

static const int rows[] = {2, 3};

static void check_row(const void *row)
{
    CHECK_EQ(*(const int *)row, 2);
}

TEST_TABLE(rows)
{
    test_register("a row of a table that is 2", check_row, &rows[0]);
    test_register("a row of a table that is 3", check_row, &rows[1]);
}
