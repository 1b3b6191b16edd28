/* handle_test.c -- names of things: staleness, sides in turn, closing under users' feet. */
#include <pthread.h>
#include <stdatomic.h>

#include "../../src/runtime/handle_slot.h"
#include "../test.h"

struct thing {
    int value;
    atomic_int evicted, destroyed;
};

static void thing_evict(void *object)
{
    atomic_fetch_add(&((struct thing *)object)->evicted, 1);
}

static int thing_destroy(void *object)
{
    atomic_fetch_add(&((struct thing *)object)->destroyed, 1);
    return 0;
}

static const struct handle_type thing_type = { HANDLE_CONN, thing_evict, thing_destroy };

TEST(handle_stale, "a closed handle is stale for every call, also when its slot is used again")
{
    struct thing one = { .value = 1 }, two = { .value = 2 };
    void *first = handle_new(&thing_type, &one), *object;
    CHECK(handle_enter(first, HANDLE_CONN) == &one);
    handle_leave(first);
    CHECK(!handle_enter(first, HANDLE_LISTENER));
    CHECK_EQ(handle_close(first), 0);
    CHECK_EQ(atomic_load(&one.destroyed), 1);
    void *second = handle_new(&thing_type, &two);
    CHECK((uint32_t)(uintptr_t)first == (uint32_t)(uintptr_t)second && first != second);
    CHECK(!handle_enter(first, HANDLE_CONN) && !handle_peek(first, HANDLE_CONN));
    CHECK_EQ(handle_lock(first, HANDLE_CONN, SIDE_READ, &object), -EBADF);
    CHECK_EQ(handle_close(first), -EBADF);
    CHECK(handle_enter(second, HANDLE_CONN) == &two);
    handle_leave(second);
    CHECK_EQ(handle_close(second), 0);
}

TEST(handle_garbage, "a handle that never was is stale, not a crash")
{
    void *object, *const garbage[] = { NULL, (void *)1, (void *)-1, (void *)0x7fff00000123,
                                       (void *)(uintptr_t)0x1000000200000001 };
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
        CHECK(!handle_enter(garbage[i], HANDLE_CONN));
        CHECK_EQ(handle_lock(garbage[i], HANDLE_CONN, SIDE_WRITE, &object), -EBADF);
        CHECK_EQ(handle_close(garbage[i]), -EBADF);
    }
}

/* ---- sides ---- */

static struct thing shared;
static void *shared_name;
static atomic_int order, waiting;

static int take_a_turn(void *arg)
{
    int number = *(int *)arg;
    void *object;
    atomic_fetch_add(&waiting, 1);
    CHECK_EQ(handle_lock(shared_name, HANDLE_CONN, SIDE_READ, &object), 0);
    CHECK_EQ(atomic_fetch_add(&order, 1), number);
    CHECK_OK(weir_yield());
    CHECK_EQ(atomic_load(&order), number + 1);
    handle_unlock(shared_name, SIDE_READ);
    return 0;
}

static int turns_in_order(void *arg)
{
    (void)arg;
    void *object;
    shared_name = handle_new(&thing_type, &shared);
    CHECK_EQ(handle_lock(shared_name, HANDLE_CONN, SIDE_READ, &object), 0);
    weir_group *g = weir_group_open(NULL);
    for (int i = 0; i < 100; i++) {
        CHECK_OK(weir_go_copy(g, take_a_turn, &i, sizeof i, NULL));
        CHECK_OK(weir_yield());
    }
    handle_unlock(shared_name, SIDE_READ);
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(atomic_load(&order), 100);
    CHECK_EQ(handle_close(shared_name), 0);
    return handle_close(g);
}

TEST(handle_fifo, "a hundred readers of one handle get their turns in the order they came")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, turns_in_order, NULL), 0);
}

TEST(handle_try, "a taken side answers EAGAIN under WEIR_TRY and ETIME at the deadline")
{
    void *object, *h = handle_new(&thing_type, &shared);
    CHECK_EQ(handle_lock(h, HANDLE_CONN, SIDE_WRITE, &object), 0);
    CHECK_EQ(handle_lock(h, HANDLE_CONN, SIDE_READ, &object), 0);
    {
        WEIR_TRY;
        CHECK_EQ(handle_lock(h, HANDLE_CONN, SIDE_READ, &object), -EAGAIN);
    }
    {
        WEIR_DEADLINE(WEIR_MS);
        CHECK_EQ(handle_lock(h, HANDLE_CONN, SIDE_WRITE, &object), -ETIME);
    }
    handle_unlock(h, SIDE_READ);
    handle_unlock(h, SIDE_WRITE);
    CHECK_EQ(handle_close(h), 0);
}

/* ---- closing ---- */

static void *waits_for_side(void *arg)
{
    void *object;
    atomic_fetch_add(&waiting, 1);
    CHECK_EQ(handle_lock(arg, HANDLE_CONN, SIDE_READ, &object), -EBADF);
    return NULL;
}

static void *waits_inside(void *arg)
{
    void *object;
    CHECK_EQ(handle_lock(arg, HANDLE_CONN, SIDE_READ, &object), 0);
    atomic_fetch_add(&waiting, 1);
    CHECK_EQ(await_time(TIME_NEVER), -EBADF);
    CHECK(handle_is_closed(arg));
    CHECK_EQ(atomic_load(&shared.destroyed), 0);
    handle_unlock(arg, SIDE_READ);
    return NULL;
}

TEST(handle_evicts, "closing ends the waits of other threads inside and in line, then destroys")
{
    pthread_t inside, in_line[4];
    void *h = handle_new(&thing_type, &shared);
    CHECK_EQ(pthread_create(&inside, NULL, waits_inside, h), 0);
    while (atomic_load(&waiting) < 1)
        sched_yield();
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&in_line[i], NULL, waits_for_side, h), 0);
    while (atomic_load(&waiting) < 5)
        sched_yield();
    CHECK_EQ(handle_close(h), 0);
    CHECK_EQ(atomic_load(&shared.evicted), 1);
    CHECK_EQ(atomic_load(&shared.destroyed), 1);
    CHECK_EQ(pthread_join(inside, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(in_line[i], NULL), 0);
}

/* ---- a storm ---- */

enum { STORM = 20000 };
static _Atomic(void *) current;
static struct thing storm_things[2];

static void *enters_and_leaves(void *arg)
{
    (void)arg;
    while (!atomic_load(&order)) {
        void *h = atomic_load(&current), *object;
        if (handle_lock(h, HANDLE_CONN, SIDE_WRITE, &object) == 0) {
            CHECK_EQ(((struct thing *)object)->value, 77);
            handle_unlock(h, SIDE_WRITE);
        }
        if ((object = handle_enter(h, HANDLE_CONN))) {
            CHECK_EQ(((struct thing *)object)->value, 77);
            handle_leave(h);
        }
    }
    return NULL;
}

static int opens_and_closes(void *arg)
{
    (void)arg;
    for (int i = 0; i < STORM; i++) {
        struct thing *t = &storm_things[i % 2];
        void *object, *h = handle_new(&thing_type, t);
        t->value = 77;
        atomic_store(&current, h);
        for (int turn = 0; turn < i % 16; turn++) {
            WEIR_TRY;
            if (handle_lock(h, HANDLE_CONN, SIDE_WRITE, &object) == 0)
                handle_unlock(h, SIDE_WRITE);
        }
        CHECK_EQ(handle_close(h), 0);
        t->value = 0;
    }
    atomic_store(&order, 1);
    return 0;
}

TEST(handle_owned_storm,
     "threads that come to a handle which its worker owns take turns with it exactly")
{
    pthread_t users[3];
    atomic_store(&current, NULL);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&users[i], NULL, enters_and_leaves, NULL), 0);
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, opens_and_closes, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(users[i], NULL), 0);
    int destroyed = atomic_load(&storm_things[0].destroyed);
    CHECK_EQ(destroyed + atomic_load(&storm_things[1].destroyed), STORM);
}

TEST(handle_storm,
     "opening and closing under three threads of users never lets one see a dead object")
{
    pthread_t users[3];
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&users[i], NULL, enters_and_leaves, NULL), 0);
    for (int i = 0; i < STORM; i++) {
        struct thing *t = &storm_things[i % 2];
        t->value = 77;
        void *h = handle_new(&thing_type, t);
        atomic_store(&current, h);
        CHECK_EQ(handle_close(h), 0);
        t->value = 0;
    }
    atomic_store(&order, 1);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(users[i], NULL), 0);
    int destroyed = atomic_load(&storm_things[0].destroyed);
    CHECK_EQ(destroyed + atomic_load(&storm_things[1].destroyed), STORM);
}
