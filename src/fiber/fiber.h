/* fiber.h -- contexts, and the switch from one to another.
 *
 * A context is what a suspended flow of control needs to go on: where its stack stands and which
 * instruction comes next. Switching suspends one and resumes another; when and why is the business
 * of the layer above. A context may be resumed only by the thread that suspended it, because
 * compilers keep the addresses of thread-local variables across the switch.
 *
 * The sanitizers and valgrind follow stacks and must hear of every switch. They hear of it here
 * and in fiber.c; the layers above need to know nothing of them. An ordinary build has neither the
 * fields nor the calls.
 *
 * This header is the door of the whole layer: stacks and the report of their overflow come with it.
 */
#ifndef WEIR_FIBER_H
#define WEIR_FIBER_H

#include <stddef.h>

#include "../base/base.h"
#include "stack.h"

#if defined(__has_feature)
#define FIBER_FEATURE(name) __has_feature(name)
#else
#define FIBER_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || FIBER_FEATURE(address_sanitizer)
#define FIBER_ASAN 1
#else
#define FIBER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || FIBER_FEATURE(thread_sanitizer)
#define FIBER_TSAN 1
#else
#define FIBER_TSAN 0
#endif

/* Asked for by the build, with -DWEIR_VALGRIND: it needs valgrind's header. */
#if defined(WEIR_VALGRIND)
#define FIBER_VALGRIND 1
#else
#define FIBER_VALGRIND 0
#endif

#define FIBER_WATCHED (FIBER_ASAN || FIBER_TSAN || FIBER_VALGRIND)

/* The first three fields are known to switch.h by their offsets. While a context runs, they tell
 * where it last stopped and mean nothing. */
struct fiber_context {
    void *sp;    /* the stack pointer */
    void *frame; /* the frame pointer */
    void *next;  /* the next instruction */
#if FIBER_WATCHED
    void (*entry)(void *);
    void *arg;
#endif
#if FIBER_ASAN
    const void *low; /* the stack's bounds */
    size_t size;
    void *fake_stack; /* where locals lie while use-after-return is looked for */
#endif
#if FIBER_TSAN
    void *tsan;         /* TSan's idea of a thread */
    unsigned tsan_uses; /* 0: the thread's own, not ours to destroy */
#endif
#if FIBER_VALGRIND
    unsigned valgrind_id;
#endif
};

#include "switch.h"

/* Prepares `c` so that the first switch to it calls entry(arg) on the stack whose usable memory is
 * [low, high), `high` a multiple of 16. `entry` never returns. Until then `high` loses 16 bytes. */
void fiber_context_init(struct fiber_context *c, void *low, void *high, void (*entry)(void *),
                        void *arg);

/* Prepares `c` to stand for the stack the calling thread was born with. */
void fiber_context_thread(struct fiber_context *c);

#if FIBER_WATCHED

void fiber_switch(struct fiber_context *from, struct fiber_context *to);
_Noreturn void fiber_switch_last(struct fiber_context *from, struct fiber_context *to);
void fiber_context_destroy(struct fiber_context *c);
int fiber_call_on(struct fiber_context *on, int (*fn)(void *), void *arg);

#else

/* Suspends the caller in `from` and resumes `to`; returns when something switches to `from`. */
static inline __attribute__((always_inline)) void fiber_switch(struct fiber_context *from,
                                                               struct fiber_context *to)
{
    context_switch(from, to);
}

/* The same when `from` ends for ever. Its stack is in use until `to` runs: whoever runs next
 * destroys the context and gives the stack back. */
_Noreturn static inline void fiber_switch_last(struct fiber_context *from, struct fiber_context *to)
{
    context_switch(from, to);
    __builtin_unreachable();
}

/* Lets go of what watches the context of a fiber that has ended, or of a thread. */
static inline void fiber_context_destroy(__attribute__((unused)) struct fiber_context *c)
{
}

/* Runs fn(arg) at the end of the suspended stack of `on` and returns its value. `on` stays
 * suspended, so `fn` must return before anything switches to it or calls on it again. */
static inline int fiber_call_on(struct fiber_context *on, int (*fn)(void *), void *arg)
{
    return context_call((char *)on->sp - CONTEXT_RED_ZONE, fn, arg);
}

#endif

#endif
