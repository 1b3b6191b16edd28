/* overflow.c -- the report of a fiber that used up its stack.
 *
 * The guard below a stack turns an overflow into a SIGSEGV at a known place. The handler runs on a
 * stack of its own, says which fiber it was and what to do, and aborts: frames cannot be moved, so
 * there is nothing to go on with. What is most useful is written first, by means that are safe
 * wherever the fiber was; a backtrace, which could fail in a damaged process, comes last.
 *
 * A fault that is no overflow belongs to the process, not to this library. It goes to the handler
 * that was there before, or happens again under the default action, so that a crash stays one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>
#include <unistd.h>

#include "../base/base.h"
#include "stack.h"

#if !defined(AT_MINSIGSTKSZ)
#define AT_MINSIGSTKSZ 51
#endif

/* The unwinder and the symbol printer need some 10 KiB besides the kernel's frame. */
enum { SIGNAL_STACK_SIZE = 64 << 10, FRAMES_MAX = 40, FRAMES_SHOWN = 24 };

static const int fault_signals[] = {SIGSEGV, SIGBUS};

static struct {
    atomic_bool installed;
    void (*_Atomic describe)(const void *top, struct stack_owner *owner);
    struct sigaction before[ARRAY_COUNT(fault_signals)];
    bool chained[ARRAY_COUNT(fault_signals)]; /* a later handler still calls this one */
} overflow;

static __thread struct {
    void *memory;
    stack_t before;
} signal_stack;

/* ---- words, without stdio ---- */

struct text {
    size_t len;
    char bytes[400];
};

static void text_add(struct text *text, const char *words)
{
    while (*words != '\0' && text->len < sizeof text->bytes)
        text->bytes[text->len++] = *words++;
}

static void text_add_number(struct text *text, uintptr_t number, unsigned base)
{
    char digits[24];
    char *at = digits + sizeof digits;
    *--at = '\0';
    do {
        *--at = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    text_add(text, at);
}

static void text_write(struct text *text)
{
    const char *at = text->bytes;
    while (text->len > 0) {
        ssize_t n = write(STDERR_FILENO, at, text->len);
        if (n <= 0 && errno != EINTR)
            break;
        at += n > 0 ? n : 0;
        text->len -= n > 0 ? (size_t)n : 0;
    }
    text->len = 0;
}

/* A function by its name or, when the dynamic linker knows none, by file and offset. */
static void text_add_function(struct text *text, const void *function)
{
    Dl_info info;
    if (function != NULL && dladdr(function, &info) != 0 && info.dli_sname != NULL) {
        text_add(text, info.dli_sname);
        return;
    }
    if (function != NULL && dladdr(function, &info) != 0 && info.dli_fname != NULL) {
        const char *slash = strrchr(info.dli_fname, '/');
        text_add(text, slash != NULL ? slash + 1 : info.dli_fname);
        text_add(text, "+0x");
        text_add_number(text, (uintptr_t)function - (uintptr_t)info.dli_fbase, 16);
        return;
    }
    text_add(text, "0x");
    text_add_number(text, (uintptr_t)function, 16);
}

/* ---- the report ---- */

static uintptr_t context_sp(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#else
    return context->uc_mcontext.sp;
#endif
}

static uintptr_t context_pc(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
    return context->uc_mcontext.pc;
#endif
}

/* From the frame at `pc` outwards: the ones before are the handler's. */
static void write_backtrace(uintptr_t pc)
{
    void *frames[FRAMES_MAX] = {0};
    int count = backtrace(frames, FRAMES_MAX);
    int first = 0;
    while (first < count && (uintptr_t)frames[first] != pc)
        first++;
    if (first == count)
        first = 0;
    int shown = count - first < FRAMES_SHOWN ? count - first : FRAMES_SHOWN;
    backtrace_symbols_fd(frames + first, shown, STDERR_FILENO);
}

_Noreturn static void report(const ucontext_t *context, const struct stack_place *place)
{
    struct stack_owner owner = {0};
    struct text text = {0};
    void (*describe)(const void *, struct stack_owner *) = atomic_load(&overflow.describe);
    describe(place->top, &owner);

    text_add(&text, "weir: stack overflow in fiber \"");
    text_add(&text, owner.name != NULL ? owner.name : "");
    text_add(&text, "\" (entry ");
    text_write(&text);
    text_add_function(&text, owner.entry); /* may wait for the dynamic linker */
    text_add(&text, ", ");
    text_add_number(&text, ((uintptr_t)place->top - context_sp(context)) / 1024, 10);
    text_add(&text, " KiB used of ");
    text_add_number(&text, (uintptr_t)(place->top - place->low) / 1024, 10);
    text_add(&text, "): raise stack_size or use weir_native\n");
    text_write(&text);

    write_backtrace(context_pc(context));
    abort();
}

/* A fault in a guard is an overflow when the stack pointer is near. Anything else that strays into
 * a guard is an ordinary wild pointer. A big frame may have put the stack pointer below. */
static bool is_overflow(const siginfo_t *info, const ucontext_t *context, struct stack_place *place)
{
    const char *at = info->si_addr;
    uintptr_t sp = context_sp(context);
    if (info->si_code <= 0 || !stack_find(at, place) || at >= place->low)
        return false;
    uintptr_t top = (uintptr_t)place->top;
    return sp < top && top - sp < 2 * (top - (uintptr_t)place->slot);
}

/* ---- the handler ---- */

static struct sigaction *handler_before(int number)
{
    return &overflow.before[number == fault_signals[0] ? 0 : 1];
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    struct sigaction *before = handler_before(number);
    bool sent = info->si_code <= 0; /* by a process, not by an instruction */
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(number, info, context);
    } else if (before->sa_handler == SIG_IGN && sent) {
        return;
    } else if (before->sa_handler == SIG_DFL || before->sa_handler == SIG_IGN) {
        /* The instruction runs again and the kernel acts; what was sent is sent again. */
        sigaction(number, before, NULL);
        if (sent)
            raise(number);
    } else {
        before->sa_handler(number);
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    struct stack_place place;
    if (atomic_load(&overflow.installed) && is_overflow(info, context, &place))
        report(context, &place);
    pass_on(number, info, context);
}

int stack_overflow_install(void (*describe)(const void *top, struct stack_owner *owner))
{
    if (atomic_load(&overflow.installed))
        return -EBUSY;
    /* The first backtrace of a process loads a library, which a signal handler must not. */
    void *frame;
    backtrace(&frame, 1);
    atomic_store(&overflow.describe, describe);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (size_t i = 0; i < ARRAY_COUNT(fault_signals); i++) {
        if (!overflow.chained[i])
            must(sigaction(fault_signals[i], &action, &overflow.before[i]) == 0);
    }
    atomic_store(&overflow.installed, true);
    return 0;
}

/* Whoever installed a handler after this one will go on calling it, so it stays and passes on. */
void stack_overflow_remove(void)
{
    if (!atomic_exchange(&overflow.installed, false))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(fault_signals); i++) {
        struct sigaction now;
        must(sigaction(fault_signals[i], NULL, &now) == 0);
        overflow.chained[i] = now.sa_sigaction != on_fault;
        if (!overflow.chained[i])
            sigaction(fault_signals[i], &overflow.before[i], NULL);
    }
}

int stack_overflow_thread_enter(void)
{
    size_t size = SIGNAL_STACK_SIZE + getauxval(AT_MINSIGSTKSZ);
    must(signal_stack.memory == NULL);
    void *memory = malloc(size);
    if (memory == NULL)
        return -ENOMEM;
    stack_t stack = {.ss_sp = memory, .ss_size = size};
    if (sigaltstack(&stack, &signal_stack.before) != 0) {
        int error = -errno;
        free(memory);
        return error;
    }
    signal_stack.memory = memory;
    /* A fault whose signal is blocked ends the process without a word. */
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_COUNT(fault_signals); i++)
        sigaddset(&set, fault_signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return 0;
}

void stack_overflow_thread_leave(void)
{
    if (signal_stack.memory == NULL)
        return;
    sigaltstack(&signal_stack.before, NULL);
    free(signal_stack.memory);
    signal_stack.memory = NULL;
}
