/* steward.c -- the runtime's one extra thread: it takes signals and watches for stalls.
 *
 * It sleeps until there is a signal, or until the next look at the workers is due.  When all of
 * them have slept for a while it stops looking and says so in `steward_rests`; the first worker
 * that comes back from the kernel then rouses it, so an idle program has no wake-ups at all, and
 * a busy one has a few dozen a second.
 *
 *     steward: rests = true;  all still asleep? then sleep without limit
 *     worker:  asleep = 0;    rests? then rouse
 *
 * Both sides use sequentially consistent accesses, so at least one of them sees the other.     */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "signals.h"
#include "steward.h"
#include "watch.h"

atomic_bool steward_rests;

static struct {
    pthread_t thread;
    int wake_fd;
    bool watches;
    atomic_bool stopping;
} steward = { .wake_fd = -1 };

static void poke(void)
{
    uint64_t one = 1;
    while (write(steward.wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void steward_rouse(void)
{
    if (atomic_exchange(&steward_rests, false))
        poke();
}

/* Nanoseconds to sleep, -1 for no limit. */
static int64_t patience(void)
{
    if (!steward.watches)
        return -1;
    if (atomic_load_explicit(&steward_rests, memory_order_relaxed) || watch_tick())
        return atomic_load_explicit(&steward_rests, memory_order_relaxed) ? -1 : watch_interval();
    atomic_store(&steward_rests, true);
    if (watch_all_asleep())
        return -1;
    atomic_store(&steward_rests, false);
    return watch_interval();
}

static void sleep_for(int64_t ns)
{
    struct pollfd fds[] = {
        { .fd = steward.wake_fd, .events = POLLIN },
        { .fd = signals_fd(), .events = POLLIN },
    };
    struct timespec limit = { .tv_sec = ns / WEIR_SEC, .tv_nsec = ns % WEIR_SEC };
    uint64_t pokes;
    if (ppoll(fds, ARRAY_COUNT(fds), ns < 0 ? NULL : &limit, NULL) <= 0)
        return;
    if (fds[0].revents && read(steward.wake_fd, &pokes, sizeof pokes) > 0)
        signals_update();
    if (fds[1].revents)
        signals_take();
}

static void *steward_main(__attribute__((unused)) void *arg)
{
    pthread_setname_np(pthread_self(), "weir-steward");
    while (!atomic_load(&steward.stopping))
        sleep_for(patience());
    return NULL;
}

int steward_start(struct runtime *r)
{
    steward.watches = r->config.stall_warn > 0;
    atomic_store(&steward.stopping, false);
    atomic_store(&steward_rests, false);
    int error = watch_open(r);
    if (error)
        return error;
    steward.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = steward.wake_fd < 0 ? -errno : signals_open(poke);
    if (error)
        goto fail;
    error = -pthread_create(&steward.thread, NULL, steward_main, NULL);
    if (!error)
        return 0;
    signals_close();
fail:
    if (steward.wake_fd >= 0)
        close(steward.wake_fd);
    watch_close();
    return error;
}

void steward_stop(__attribute__((unused)) struct runtime *r)
{
    atomic_store(&steward.stopping, true);
    poke();
    pthread_join(steward.thread, NULL);
    signals_close();
    close(steward.wake_fd);
    steward.wake_fd = -1;
    watch_close();
}
