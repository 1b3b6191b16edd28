/* run.c -- weir_run: workers, the first fiber, and their end.
 *
 * The calling thread becomes worker 1; the others are threads that end with the run.  The first
 * fiber and all it starts live in the root group; the run is over when that group is empty.   */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/resource.h>

#include "group.h"
#include "lane.h"
#include "steward.h"

struct runtime *_Atomic runtime_now;
static atomic_flag running = ATOMIC_FLAG_INIT;

enum {
    STACKS_MAX = 1 << 20,
    WORKERS_LIMIT = 256,
    FDS_RESERVED = 64,
    BLOCKING_THREADS = 64,
};
#define STACK_SIZE_DEFAULT (256 << 10)
#define STALL_WARN_DEFAULT (50 * WEIR_MS)

/* ---- configuration ---- */

static int usable_cpus(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return count < WORKERS_LIMIT ? count : WORKERS_LIMIT;
}

int runtime_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT32_MAX)
        return INT32_MAX;
    int fds = (int)limit.rlim_cur;
    return fds > 2 * FDS_RESERVED ? fds - FDS_RESERVED : fds / 2;
}

static int config_check(const weir_config *c)
{
    if (c->workers < 0 || c->workers > WORKERS_LIMIT)
        return fail_text(-EINVAL, "run", "configure", "workers is %d: from 0 (one per CPU) to %d",
                         c->workers, WORKERS_LIMIT);
    if (c->backend > WEIR_SELECT)
        return fail_text(-EINVAL, "run", "configure", "backend %d is not one of weir_backend",
                         (int)c->backend);
    if (c->stack_size && (c->stack_size < STACK_SIZE_MIN || c->stack_size > STACK_SIZE_MAX))
        return fail_text(-EINVAL, "run", "configure", "stack_size is %zu: from %d to %d bytes",
                         c->stack_size, STACK_SIZE_MIN, STACK_SIZE_MAX);
    if (c->max_fds < 0 || c->blocking_threads < 0)
        return fail_text(-EINVAL, "run", "configure",
                         "max_fds and blocking_threads cannot be negative");
    return 0;
}

static weir_config config_complete(const weir_config *given)
{
    weir_config c = given ? *given : (weir_config){ 0 };
    if (!c.workers)
        c.workers = usable_cpus();
    if (!c.stack_size)
        c.stack_size = STACK_SIZE_DEFAULT;
    if (!c.max_fds)
        c.max_fds = runtime_fd_limit();
    if (!c.blocking_threads)
        c.blocking_threads = BLOCKING_THREADS;
    if (!c.stall_warn)
        c.stall_warn = STALL_WARN_DEFAULT;
    return c;
}

static const struct io_backend *backend_choose(weir_backend choice, const char *wish)
{
    static const char *const names[] = {
        [WEIR_IO_URING] = "io_uring",
        [WEIR_EPOLL] = "epoll",
        [WEIR_POLL] = "poll",
        [WEIR_SELECT] = "select",
    };
    if (choice != WEIR_AUTO)
        return io_backend_find(names[choice]);
    if (!wish || !*wish || strcmp(wish, "auto") == 0)
        return io_backend_auto();
    const struct io_backend *backend = io_backend_find(wish);
    return backend != &io_blocking ? backend : NULL; /* it has no fibers to serve */
}

struct stack_arena *runtime_arena(struct runtime *r, int class)
{
    struct stack_arena *arena = atomic_load_explicit(&r->arenas[class], memory_order_acquire);
    if (arena)
        return arena;
    size_t size = r->config.stack_size << (class * STACK_CLASS_SHIFT);
    size_t count = STACKS_MAX >> (class * STACK_CLASS_SHIFT);
    if (stack_arena_new(&arena, size, count))
        return NULL;
    struct stack_arena *other = NULL;
    if (atomic_compare_exchange_strong(&r->arenas[class], &other, arena))
        return arena;
    stack_arena_free(arena);
    return other;
}

/* ---- overflow reports ---- */

static void describe_owner(const void *top, struct stack_owner *owner)
{
    const struct task *t = task_at_top(top);
    owner->name = t->name;
    owner->entry = (const void *)(uintptr_t)t->fn;
}

/* ---- a worker's life ---- */

struct start {
    struct worker *worker;
    const struct io_backend *backend;
    int error;
    sem_t opened;
};

static int worker_begin(struct worker *w, const struct io_backend *backend)
{
    int error = stack_overflow_thread_enter();
    if (error)
        return error;
    error = worker_open(w, backend);
    if (error) {
        stack_overflow_thread_leave();
        return error;
    }
    fiber_context_thread(&w->loop);
    worker_here = w;
    return 0;
}

static void worker_finish(struct worker *w)
{
    worker_close(w);
    fiber_context_destroy(&w->loop);
    stack_overflow_thread_leave();
    worker_here = NULL;
}

static void *worker_main(void *arg)
{
    struct start *s = arg;
    struct worker *w = s->worker;
    signals_block_in_worker(NULL);
    int error = worker_begin(w, s->backend);
    s->error = error;
    sem_post(&s->opened);
    if (error)
        return NULL;
    worker_loop(w);
    worker_finish(w);
    return NULL;
}

static void ending_delivered(struct mail *m)
{
    struct worker *w = container_of(m, struct worker, ending_mail);
    atomic_store_explicit(&w->ending, true, memory_order_release);
}

static void worker_tell_to_end(struct worker *w)
{
    w->ending_mail.deliver = ending_delivered;
    worker_mail(w, &w->ending_mail);
}

/* ---- the run ---- */

static int other_workers_start(struct runtime *r, const struct io_backend *backend, int *started)
{
    int error = 0;
    for (*started = 1; *started < r->config.workers; ++*started) {
        struct worker *w = &r->workers[*started];
        struct start s = { .worker = w, .backend = backend };
        sem_init(&s.opened, 0, 0);
        error = -pthread_create(&w->thread, NULL, worker_main, &s);
        while (!error && sem_wait(&s.opened)) {
        }
        sem_destroy(&s.opened);
        if (error)
            break;
        if ((error = s.error)) {
            pthread_join(w->thread, NULL);
            break;
        }
    }
    return error;
}

static void other_workers_stop(struct runtime *r, int started)
{
    for (int i = 1; i < started; i++)
        worker_tell_to_end(&r->workers[i]);
    for (int i = 1; i < started; i++)
        pthread_join(r->workers[i].thread, NULL);
}

struct first {
    int (*fn)(void *);
    void *arg;
    struct runtime *runtime;
    int result;
};

/* The first fiber is not a member of the root group: it waits for the members. */
static int first_fiber(void *arg)
{
    struct first *f = *(struct first **)arg;
    struct task *t = task_self();
    t->group = f->runtime->root;
    t->fn = f->fn; /* for reports: what the program asked to run */
    f->result = f->fn(f->arg);
    t->group = NULL;
    int others;
    group_join(f->runtime->root, NULL, AWAIT_ALWAYS, &others);
    return 0;
}

static int run_on(struct runtime *r, const struct io_backend *backend, struct first *f)
{
    struct worker *first = &r->workers[0];
    int started = 1;
    int error = worker_begin(first, backend);
    if (error)
        return error;
    error = group_new(&r->root, NULL, first, NULL);
    if (!error)
        error = other_workers_start(r, backend, &started);
    r->worker_count = started;
    if (!error)
        error = steward_start(r);
    if (!error) {
        atomic_store_explicit(&runtime_now, r, memory_order_release);
        if (fiber_new(first, first_fiber, &f, sizeof f, 0)) {
            atomic_store_explicit(&first->ending, true, memory_order_release);
            worker_loop(first);
        } else {
            error = -ENOMEM;
        }
        atomic_store_explicit(&runtime_now, NULL, memory_order_release);
        steward_stop(r);
    }
    lanes_stop();
    other_workers_stop(r, started);
    if (r->root)
        group_free(r->root);
    worker_finish(first);
    return error;
}

static int run_with(struct runtime *r, const struct io_backend *backend, struct first *f)
{
    sigset_t mask;
    r->workers = calloc((size_t)r->config.workers, sizeof *r->workers);
    if (!r->workers || !runtime_arena(r, 0)) {
        free(r->workers);
        return -ENOMEM;
    }
    for (int i = 0; i < r->config.workers; i++)
        r->workers[i].runtime = r;
    stack_overflow_install(describe_owner);
    signals_block_in_worker(&mask);
    struct worker *outer = worker_here;
    int error = run_on(r, backend, f);
    worker_here = outer;
    signals_restore(&mask);
    stack_overflow_remove();
    for (int class = 0; class < STACK_CLASSES; class++)
        stack_arena_free(r->arenas[class]);
    free(r->workers);
    return error;
}

int weir_run(const weir_config *cfg, int (*fn)(void *), void *arg)
{
    static const weir_config all_zero;
    if (config_check(cfg ? cfg : &all_zero))
        return -1;
    const char *wish = getenv("WEIR_BACKEND");
    const struct io_backend *backend = backend_choose(cfg ? cfg->backend : WEIR_AUTO, wish);
    if (!backend)
        return fail_text(-EINVAL, "run", "configure",
                         "WEIR_BACKEND=%s: no such backend; it can be io_uring, epoll, poll, "
                         "select or auto", wish);
    if (atomic_flag_test_and_set(&running))
        return fail_text(-EBUSY, "run", "start",
                         "a runtime is running in this process already; there is one at a time");
    struct runtime r = { .config = config_complete(cfg) };
    bias_prepare();
    struct first f = { .fn = fn, .arg = arg, .runtime = &r };
    int error = run_with(&r, backend, &f);
    atomic_flag_clear(&running);
    if (error)
        return fail_text(error, "run", "start", "cannot start %d workers on %s: %s",
                         r.config.workers, backend->name, strerrordesc_np(-error));
    return f.result;
}
