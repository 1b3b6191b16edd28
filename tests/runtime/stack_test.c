/* stack_test.c -- the stacks that fibers are given, and what is copied onto them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/weir.h"
#include "../test.h"

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
