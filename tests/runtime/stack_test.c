/* stack_test.c -- the stacks that fibers are given, and what is copied onto them. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../../include/weir.h"
#include "capture.h"

static int deep(void *arg)
{
    char room[700 << 10];
    memset(room, *(int *)arg, sizeof room);
    return room[sizeof room / 2] == *(int *)arg ? 0 : 1;
}

static int big_stacks(void *arg)
{
    (void)arg;
    int one = 1;
    weir_group *g = weir_group_open(NULL);
    weir_fiber_opts o = { .stack_size = 1 << 20 };
    for (int i = 0; i < 10; i++)
        CHECK_OK(weir_go_copy(g, deep, &one, sizeof one, &o));
    CHECK_EQ(weir_group_wait(g), 0);
    return weir_close(g);
}

TEST(stack_sizes, "a fiber gets the larger stack it asked for")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, big_stacks, NULL), 0);
}

enum { BIG_COPY = 3 << 20 };

/* It has its whole stack beside the copy. */
static int copy_is_whole(void *arg)
{
    const unsigned char *copy = arg;
    char room[128 << 10];
    memset(room, 1, sizeof room);
    for (int i = 0; i < BIG_COPY; i++)
        if (copy[i] != (unsigned char)(i * 7))
            return 1;
    return room[sizeof room / 2] - 1;
}

static int copies_big(void *arg)
{
    unsigned char *bytes = arg;
    weir_group *g = weir_group_open(NULL);
    for (int worker = 1; worker <= 2; worker++) {
        weir_fiber_opts o = { .worker = worker };
        CHECK_OK(weir_go_copy(g, copy_is_whole, bytes, BIG_COPY, &o));
        CHECK_ERRNO(weir_go_copy(g, copy_is_whole, bytes, SIZE_MAX, &o), ENOMEM);
        CHECK_ERRNO(weir_go_copy(g, copy_is_whole, bytes, (size_t)2 << 30, &o), ENOMEM);
        o.stack_size = (size_t)2 << 30;
        CHECK_ERRNO(weir_go_copy(g, copy_is_whole, bytes, 1, &o), ENOMEM);
        o.stack_size = SIZE_MAX;
        CHECK_ERRNO(weir_go_copy(g, copy_is_whole, bytes, BIG_COPY, &o), ENOMEM);
    }
    memset(bytes, 0, BIG_COPY);
    CHECK_EQ(weir_group_wait(g), 0);
    return weir_close(g);
}

TEST(big_copies,
     "a copy larger than a stack gets a larger one, and what no stack can hold is ENOMEM")
{
    unsigned char *bytes = malloc(BIG_COPY);
    CHECK(bytes != NULL);
    for (int i = 0; i < BIG_COPY; i++)
        bytes[i] = (unsigned char)(i * 7);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, copies_big, bytes), 0);
    weir_group *g = weir_group_open(NULL);
    CHECK_ERRNO(weir_go_copy(g, copy_is_whole, bytes, SIZE_MAX, NULL), ENOMEM);
    CHECK_OK(weir_close(g));
    free(bytes);
}

/* ---- before Linux 6.13 ---- */

/* The present process finds a kernel that does not know this advice to madvise(2). */
static bool advice_forget(unsigned advice)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, advice, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { .len = sizeof code / sizeof code[0], .filter = code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static long maps_limit(void)
{
    long limit = 0;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file && fscanf(file, "%ld", &limit) != 1)
        limit = 0;
    if (file)
        fclose(file);
    return limit;
}

static int sleep_on(void *arg)
{
    return weir_sleep(WEIR_NEVER) < 0 && arg ? 0 : 1;
}

static int wait_for_notice(void *arg)
{
    char line[400];
    struct capture captured = capture_begin();
    weir_group *g = weir_group_open(NULL);
    for (long i = maps_limit() / 4 + 100; i > 0; i--)
        CHECK_OK(weir_go(g, sleep_on, arg));
    do /* the watch may have to tell of the worker, too, which reads here */
        capture_line(&captured, line, sizeof line);
    while (!strstr(line, "weir: not every stack has a guard page: vm.max_map_count is "));
    capture_end(&captured);
    return weir_close(g);
}

TEST(bare_stacks, "where guards run out, who runs the program is told, and what to raise")
{
    enum { GUARD_INSTALL = 102, LIMIT_USUAL = 65530 };
    long limit = maps_limit();
    if (limit < 1 || limit > LIMIT_USUAL)
        SKIP("it takes too many stacks to use up vm.max_map_count");
    if (!advice_forget(GUARD_INSTALL))
        SKIP("seccomp is not to be had");
    weir_config config = { .workers = 1, .stall_warn = 100 * WEIR_MS };
    CHECK_EQ(weir_run(&config, wait_for_notice, &config), 0);
}
