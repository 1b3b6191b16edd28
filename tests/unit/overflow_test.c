/* overflow_test.c -- promises of the report of an overflow, and of the crashes that are none.
 *
 * Each crash happens in a child, in a bare fiber; the test reads what the child wrote to its
 * descriptor 2 and how it died.
 */
#include "fiber/fiber.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { SIZE = 256 << 10 };

static struct fiber_context home, guest;

static struct stack_pool pool;
static void *fiber_top;

static void describe(const void *top, struct stack_owner *owner)
{
    if (top == fiber_top) {
        owner->name = "echo 127.0.0.1:7";
        owner->entry = (const void *)describe;
    }
}

static __attribute__((noinline)) int recurse(int depth)
{
    volatile char frame[500];
    frame[depth % 500] = 1;
    return depth == INT32_MAX ? 0 : recurse(depth + 1) + frame[0];
}

static void overflow_frames(__attribute__((unused)) void *arg)
{
    recurse(0);
    abort();
}

/* One frame that takes the stack pointer past the whole guard before it writes. */
static void overflow_at_once(__attribute__((unused)) void *arg)
{
    volatile char frame[SIZE];
    for (size_t i = sizeof frame; i > 0; i -= 1024)
        frame[i - 1] = 1;
    abort();
}

__attribute__((no_sanitize("undefined"))) static void touch_null(__attribute__((unused)) void *arg)
{
    *(volatile int *)arg = 1;
}

static void touch_other_guard(__attribute__((unused)) void *arg)
{
    char *other = stack_take(&pool);
    ((volatile char *)stack_low(&pool, other))[-8] = 1;
}

static void send_fault(__attribute__((unused)) void *arg)
{
    raise(SIGSEGV);
    _exit(0);
}

static void run_in_fiber(void (*fn)(void *))
{
    fiber_top = stack_take(&pool);
    fiber_context_thread(&home);
    fiber_context_init(&guest, stack_low(&pool, fiber_top), fiber_top, fn, NULL);
    fiber_switch(&home, &guest);
}

/* What a crashing child left: its wait status and what it wrote to descriptor 2. */
struct crash {
    int status;
    char text[16384];
};

static void crash(struct crash *crash, void (*prepare)(void), void (*fn)(void *))
{
    int ends[2];
    struct stack_arena *arena;
    CHECK_EQ(stack_arena_new(&arena, SIZE, 10), 0);
    stack_pool_init(&pool, arena);
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        prepare();
        CHECK_EQ(stack_overflow_install(describe), 0);
        CHECK_EQ(stack_overflow_thread_enter(), 0);
        run_in_fiber(fn);
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n = 1; n > 0 && len < sizeof crash->text - 1; len += (size_t)n)
        n = read(ends[0], crash->text + len, sizeof crash->text - 1 - len);
    crash->text[len] = '\0';
    close(ends[0]);
    CHECK_EQ(waitpid(child, &crash->status, 0), child);
    stack_arena_free(arena);
}

/* A sanitizer has handlers of its own; these promises are about the ones below them. */
static void default_action(void)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
}

static void check_report(const struct crash *got)
{
    CHECK(WIFSIGNALED(got->status) && WTERMSIG(got->status) == SIGABRT);
    static const char begin[] = "weir: stack overflow in fiber \"echo 127.0.0.1:7\" (entry ";
    CHECK(strncmp(got->text, begin, sizeof begin - 1) == 0);
    CHECK(strstr(got->text, " KiB used of ") != NULL);
    CHECK(strstr(got->text, "): raise stack_size or use weir_native\n") != NULL);
}

TEST(overflow_report, "a fiber that overflows is named with entry, depth and backtrace, and aborts")
{
    static struct crash got;
    crash(&got, default_action, overflow_frames);
    check_report(&got);
    unsigned used, size;
    const char *entry = strstr(got.text, "(entry ");
    CHECK_EQ(sscanf(entry, "(entry %*[^,], %u KiB used of %u", &used, &size), 2);
    CHECK(size == 223 || size == 224);
    CHECK(used >= size - 1 && used <= size + 32);
    int lines = 0;
    for (const char *at = got.text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    CHECK(lines > 10 && lines < 60);
}

TEST(overflow_big_frame, "one frame larger than the guard is caught too")
{
    static struct crash got;
    crash(&got, default_action, overflow_at_once);
    check_report(&got);
}

static void check_plain_death(void (*fn)(void *))
{
    static struct crash got;
    crash(&got, default_action, fn);
    CHECK(WIFSIGNALED(got.status) && WTERMSIG(got.status) == SIGSEGV);
    CHECK_EQ(strstr(got.text, "weir"), NULL); /* an emulator says a word of its own */
}

TEST(null_dies, "a NULL dereference still dies of SIGSEGV, without a word")
{
    check_plain_death(touch_null);
}

TEST(stray_dies, "a wild pointer into another stack's guard is not called an overflow")
{
    check_plain_death(touch_other_guard);
}

TEST(sent_dies, "a SIGSEGV that somebody sent still kills")
{
    check_plain_death(send_fault);
}

static void *seen_address;

static void earlier_handler(__attribute__((unused)) int number, siginfo_t *info,
                            __attribute__((unused)) void *context)
{
    seen_address = info->si_addr;
    _exit(seen_address == NULL ? 42 : 43);
}

static void earlier_simple_handler(int number)
{
    _exit(number == SIGSEGV ? 44 : 45);
}

static void install_earlier(void)
{
    sigaction(SIGSEGV, &(struct sigaction){.sa_sigaction = earlier_handler, .sa_flags = SA_SIGINFO},
              NULL);
}

static void install_earlier_simple(void)
{
    signal(SIGSEGV, earlier_simple_handler);
}

static void ignore_fault(void)
{
    signal(SIGSEGV, SIG_IGN);
}

TEST(earlier_handler_called, "a handler installed before gets every fault that is no overflow")
{
    static struct crash got;
    crash(&got, install_earlier, touch_null);
    CHECK(WIFEXITED(got.status) && WEXITSTATUS(got.status) == 42);
    crash(&got, install_earlier_simple, touch_null);
    CHECK(WIFEXITED(got.status) && WEXITSTATUS(got.status) == 44);
    crash(&got, install_earlier, overflow_frames);
    check_report(&got);
}

TEST(ignored_fault, "a sent SIGSEGV that was ignored stays so, and a true fault kills all the same")
{
    static struct crash got;
    crash(&got, ignore_fault, send_fault);
    CHECK(WIFEXITED(got.status) && WEXITSTATUS(got.status) == 0);
    crash(&got, ignore_fault, touch_null);
    CHECK(WIFSIGNALED(got.status) && WTERMSIG(got.status) == SIGSEGV);
}

static void later_handler(__attribute__((unused)) int number)
{
}

TEST(overflow_remove, "removing the report restores the earlier handlers and a later one stays")
{
    struct sigaction now;
    install_earlier();
    CHECK_EQ(stack_overflow_install(describe), 0);
    CHECK_EQ(stack_overflow_install(describe), -EBUSY);
    stack_overflow_remove();
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_sigaction == earlier_handler);
    CHECK_EQ(stack_overflow_install(describe), 0);
    signal(SIGSEGV, later_handler);
    stack_overflow_remove();
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == later_handler);
    CHECK_EQ(stack_overflow_install(describe), 0);
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == later_handler);
    stack_overflow_remove();
}

TEST(signal_stack, "a thread that leaves has the signal stack it had before")
{
    stack_t before, within, after;
    CHECK_EQ(sigaltstack(NULL, &before), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(stack_overflow_thread_enter(), 0);
        CHECK_EQ(sigaltstack(NULL, &within), 0);
        CHECK(within.ss_sp != before.ss_sp && within.ss_size >= 64 << 10);
        stack_overflow_thread_leave();
        CHECK_EQ(sigaltstack(NULL, &after), 0);
        CHECK_EQ(after.ss_flags, before.ss_flags);
        CHECK(after.ss_sp == before.ss_sp || (before.ss_flags & SS_DISABLE));
    }
    stack_overflow_thread_leave();
}
