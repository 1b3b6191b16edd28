/* channel_stress_test.c -- one channel, fibers of four workers and four threads at once: every
 * element that was sent is received exactly once, whoever is cancelled or out of time meanwhile. */
#include <pthread.h>
#include <string.h>

#include "places.h"

enum { PARTIES = 8, EACH = 4000, TOTAL = PARTIES * EACH };

/* Of each element: what its sender was told, and how often it was received. */
static atomic_uchar sent[TOTAL], received[TOTAL];
static weir_chan *ch;
static atomic_int stormy; /* senders that are not through */

static void note(uint32_t v)
{
    CHECK(v < TOTAL);
    CHECK_EQ(atomic_fetch_add(&received[v], 1), 0);
}

static void check_all(void)
{
    for (int i = 0; i < TOTAL; i++) {
        CHECK_EQ(atomic_load(&sent[i]), 1);
        CHECK_EQ(atomic_load(&received[i]), 1);
    }
}

/* ---- plain traffic ---- */

static int send_share(void *arg)
{
    uint32_t from = (uint32_t)(uintptr_t)arg * EACH;
    for (uint32_t v = from; v < from + EACH; v++) {
        CHECK_OK(weir_chan_send(ch, &v));
        atomic_fetch_add(&sent[v], 1);
    }
    return 0;
}

static int receive_to_the_end(void *arg)
{
    uint32_t v;
    int got;
    (void)arg;
    while ((got = CHECK_OK(weir_chan_recv(ch, &v))) == 1)
        note(v);
    CHECK_EQ(got, 0);
    return 0;
}

static void *send_share_thread(void *arg)
{
    send_share(arg);
    return NULL;
}

static void *receive_thread(void *arg)
{
    receive_to_the_end(arg);
    return NULL;
}

static int join(void *thread)
{
    return pthread_join(*(pthread_t *)thread, NULL);
}

/* Half the senders and half the receivers are threads. */
static void traffic(size_t capacity)
{
    pthread_t threads[PARTIES];
    weir_group *senders = group(), *receivers = group();
    ch = weir_chan_open(sizeof(uint32_t), capacity);
    for (uintptr_t i = 0; i < PARTIES / 2; i++) {
        CHECK_EQ(pthread_create(&threads[2 * i], NULL, send_share_thread, (void *)i), 0);
        CHECK_EQ(pthread_create(&threads[2 * i + 1], NULL, receive_thread, NULL), 0);
        start(senders, send_share, (void *)(i + PARTIES / 2));
        start(receivers, receive_to_the_end, NULL);
    }
    finish(senders);
    for (int i = 0; i < PARTIES; i += 2)
        CHECK_EQ(weir_blocking(join, &threads[i]), 0);
    CHECK_OK(weir_chan_done(ch));
    finish(receivers);
    for (int i = 1; i < PARTIES; i += 2)
        CHECK_EQ(weir_blocking(join, &threads[i]), 0);
    CHECK_OK(weir_close(ch));
    check_all();
}

static void rendezvous_traffic(void)
{
    traffic(0);
}

static void buffered_traffic(void)
{
    traffic(5);
}

/* ---- storms ---- */

/* Sends on from where its predecessor was stopped; what failed was not sent. */
struct share {
    uint32_t next, end;
};

static int send_in_storm(void *arg)
{
    struct share *s = arg;
    while (s->next < s->end) {
        WEIR_DEADLINE(s->next % 7 ? WEIR_SEC : 50 * WEIR_US);
        if (weir_chan_send(ch, &s->next) == 0) {
            atomic_fetch_add(&sent[s->next++], 1);
            continue;
        }
        if (errno == ECANCELED)
            return 0;
        CHECK_EQ(errno, ETIME);
    }
    return 0;
}

/* Goes through its share in many lives. */
static int send_stubbornly(void *arg)
{
    struct share *s = arg;
    while (s->next < s->end) {
        uint32_t life = s->next;
        weir_group *g = group();
        start(g, send_in_storm, s);
        for (uint32_t i = 0; i < life % 4; i++)
            weir_yield();
        CHECK_OK(weir_group_cancel(g));
        finish(g);
        start(g = group(), send_in_storm, s);
        weir_sleep((life % 3 + 1) * 100 * WEIR_US);
        CHECK_OK(weir_group_cancel(g));
        finish(g);
    }
    atomic_fetch_sub(&stormy, 1);
    return 0;
}

static int receive_in_storm(void *arg)
{
    uint32_t v;
    int got;
    (void)arg;
    while ((got = weir_chan_recv(ch, &v)) == 1)
        note(v);
    CHECK(got == 0 || errno == ECANCELED || errno == ETIME);
    return 0;
}

static int receive_stubbornly(void *arg)
{
    while (atomic_load(&stormy)) {
        weir_group *g = group();
        start(g, receive_in_storm, arg);
        start(g, receive_in_storm, arg);
        weir_sleep(200 * WEIR_US);
        CHECK_OK(weir_group_cancel(g));
        finish(g);
        WEIR_DEADLINE(100 * WEIR_US);
        receive_in_storm(NULL);
    }
    return 0;
}

static void storm(void)
{
    struct share shares[PARTIES];
    test_limit(60);
    for (int c = 0; c < 2; c++) {
        memset(sent, 0, sizeof sent);
        memset(received, 0, sizeof received);
        weir_group *g = group();
        ch = weir_chan_open(sizeof(uint32_t), c ? 3 : 0);
        atomic_store(&stormy, PARTIES);
        for (uint32_t i = 0; i < PARTIES; i++) {
            shares[i] = (struct share){ i * EACH, (i + 1) * EACH };
            start(g, send_stubbornly, &shares[i]);
            start(g, receive_stubbornly, NULL);
        }
        finish(g);
        CHECK_OK(weir_chan_done(ch));
        receive_in_storm(NULL);
        CHECK_OK(weir_close(ch));
        check_all();
    }
}

/* ---- a channel that vanishes under its users ---- */

static atomic_bool over;

static int use_whatever_is_there(void *arg)
{
    weir_chan *_Atomic *at = arg;
    while (!atomic_load(&over)) {
        uint64_t v = 1;
        weir_chan *now = atomic_load(at);
        WEIR_DEADLINE(WEIR_MS);
        int sent_it = weir_chan_send(now, &v);
        CHECK(sent_it == 0 || errno == EBADF || errno == ETIME);
        int got = weir_chan_recv(now, &v);
        CHECK(got == 1 || errno == EBADF || errno == ETIME);
        CHECK(got != 1 || v == 1);
    }
    return 0;
}

static void channels_come_and_go(void)
{
    static weir_chan *_Atomic current;
    weir_group *g = group();
    atomic_store(&current, weir_chan_open(sizeof(uint64_t), 2));
    for (int i = 0; i < PARTIES; i++)
        start(g, use_whatever_is_there, &current);
    for (int i = 0; i < 2000; i++) {
        weir_chan *next = weir_chan_open(sizeof(uint64_t), (size_t)i % 3);
        CHECK(next != NULL);
        CHECK_OK(weir_close(atomic_exchange(&current, next)));
        weir_yield();
    }
    atomic_store(&over, true);
    finish(g);
    CHECK_OK(weir_close(atomic_load(&current)));
}

TEST_TABLE(stress)
{
    add_places(FIBERS, "fibers and threads meet at a channel without room", rendezvous_traffic);
    add_places(FIBERS, "fibers and threads share a channel with room", buffered_traffic);
    add_places(EVERYWHERE, "no element is lost or doubled while users are cancelled", storm);
    add_places(EVERYWHERE, "a channel may be closed under its users at any moment",
               channels_come_and_go);
}
