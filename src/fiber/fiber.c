/* fiber.c -- new contexts, and the switch as the sanitizers and valgrind must see it.
 *
 * In an ordinary build only the first few lines matter: a new context is two words at the top of
 * its stack and three in the structure. The rest is compiled when somebody watches.
 *
 * AddressSanitizer keeps per stack its bounds, the redzones in its shadow and, when it looks for
 * use after return, a fake stack on which locals lie. A stack's former fiber left redzones behind,
 * so they are wiped when the stack gets a new one.
 *
 * ThreadSanitizer has a context of its own for each fiber, with a shadow call stack. Making one
 * takes about 100 us, hence each thread keeps those of ended fibers. A fiber ends in the depth of
 * its calls, and the frames it never returned from stay on the shadow stack, so a context is
 * used for a few hundred fibers and then destroyed.
 */
#include "fiber.h"

#include <pthread.h>

#if FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if FIBER_VALGRIND
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>
#endif

static void context_prepare(struct fiber_context *c, void *high, void (*entry)(void *), void *arg)
{
    struct {
        void (*entry)(void *);
        void *arg;
    } *first = high;
    must((uintptr_t)high % 16 == 0);
    first--;
    first->entry = entry;
    first->arg = arg;
    c->sp = first;
    c->frame = NULL;
    c->next = (void *)context_start;
}

#if !FIBER_WATCHED

void fiber_context_init(struct fiber_context *c, __attribute__((unused)) void *low, void *high,
                        void (*entry)(void *), void *arg)
{
    context_prepare(c, high, entry, arg);
}

void fiber_context_thread(struct fiber_context *c)
{
    *c = (struct fiber_context){0};
}

#else

/* These functions run while the sanitizer's idea of the stack and the processor's differ. */
#define UNCHECKED __attribute__((no_sanitize("address"), noinline))

/* ---- AddressSanitizer ---- */

#if FIBER_ASAN

static void asan_init(struct fiber_context *c, void *low, size_t size)
{
    c->low = low;
    c->size = size;
    c->fake_stack = NULL;
    ASAN_UNPOISON_MEMORY_REGION(low, size);
}

static void asan_thread(struct fiber_context *c)
{
    pthread_attr_t attributes;
    void *low;
    must(pthread_getattr_np(pthread_self(), &attributes) == 0);
    must(pthread_attr_getstack(&attributes, &low, &c->size) == 0);
    pthread_attr_destroy(&attributes);
    c->low = low;
    c->fake_stack = NULL;
}

/* `fake_stack` is where to keep the one being left; NULL when it is left for ever. */
#define asan_leave(fake_stack, low, size) __sanitizer_start_switch_fiber(fake_stack, low, size)
#define asan_enter(c) __sanitizer_finish_switch_fiber((c)->fake_stack, NULL, NULL)

#else

#define asan_init(c, low, size) ((void)(low), (void)(size))
#define asan_thread(c) ((void)0)
#define asan_leave(fake_stack, low, size) ((void)0)
#define asan_enter(c) ((void)(c))

#endif

/* ---- ThreadSanitizer ---- */

#if FIBER_TSAN

enum { TSAN_KEPT_MAX = 256, TSAN_USES_MAX = 500 };

static __thread struct {
    unsigned count;
    struct {
        void *tsan;
        unsigned uses;
    } kept[TSAN_KEPT_MAX];
} tsan_pool;

static void tsan_init(struct fiber_context *c)
{
    if (tsan_pool.count == 0) {
        c->tsan = __tsan_create_fiber(0);
        c->tsan_uses = 1;
        return;
    }
    tsan_pool.count--;
    c->tsan = tsan_pool.kept[tsan_pool.count].tsan;
    c->tsan_uses = tsan_pool.kept[tsan_pool.count].uses + 1;
}

static void tsan_thread(struct fiber_context *c)
{
    c->tsan = __tsan_get_current_fiber();
    c->tsan_uses = 0;
}

static void tsan_destroy(struct fiber_context *c)
{
    if (c->tsan_uses == 0)
        return;
    if (c->tsan_uses == TSAN_USES_MAX || tsan_pool.count == TSAN_KEPT_MAX) {
        __tsan_destroy_fiber(c->tsan);
        return;
    }
    tsan_pool.kept[tsan_pool.count].tsan = c->tsan;
    tsan_pool.kept[tsan_pool.count].uses = c->tsan_uses;
    tsan_pool.count++;
}

#define tsan_switch(c) __tsan_switch_to_fiber((c)->tsan, 0)

#else

#define tsan_init(c) ((void)0)
#define tsan_thread(c) ((void)0)
#define tsan_destroy(c) ((void)(c))
#define tsan_switch(c) ((void)0)

#endif

/* ---- valgrind ---- */

#if FIBER_VALGRIND
#define valgrind_init(c, low, high) ((c)->valgrind_id = VALGRIND_STACK_REGISTER(low, high))
#define valgrind_destroy(c) VALGRIND_STACK_DEREGISTER((c)->valgrind_id)
/* It does not see a switch and the push of the call right after it as two steps. */
#define valgrind_call(sp) VALGRIND_MAKE_MEM_UNDEFINED(&((char *)(sp))[-64], 64)
#else
#define valgrind_init(c, low, high) ((void)0)
#define valgrind_destroy(c) ((void)0)
#define valgrind_call(sp) ((void)0)
#endif

/* ---- the same for all of them ---- */

/* The last call is a jump where the compiler optimises, see context_start; were the entry to
 * return, that would trap. */
UNCHECKED static void context_begin(void *context)
{
    struct fiber_context *c = context;
    asan_enter(c);
    c->entry(c->arg);
}

void fiber_context_init(struct fiber_context *c, void *low, void *high, void (*entry)(void *),
                        void *arg)
{
    *c = (struct fiber_context){.entry = entry, .arg = arg};
    asan_init(c, low, (size_t)((char *)high - (char *)low));
    tsan_init(c);
    valgrind_init(c, low, high);
    context_prepare(c, high, context_begin, c);
}

void fiber_context_thread(struct fiber_context *c)
{
    *c = (struct fiber_context){0};
    asan_thread(c);
    tsan_thread(c);
}

void fiber_context_destroy(struct fiber_context *c)
{
    tsan_destroy(c);
    /* A thread's own stack was not registered by us, and number 0 is never one of ours. */
    if (c->entry != NULL)
        valgrind_destroy(c);
}

UNCHECKED void fiber_switch(struct fiber_context *from, struct fiber_context *to)
{
    asan_leave(&from->fake_stack, to->low, to->size);
    tsan_switch(to);
    context_switch(from, to);
    asan_enter(from);
}

_Noreturn UNCHECKED void fiber_switch_last(struct fiber_context *from, struct fiber_context *to)
{
    asan_leave(NULL, to->low, to->size);
    tsan_switch(to);
    context_switch(from, to);
    __builtin_trap();
}

struct call {
    struct fiber_context *on;
    int (*fn)(void *);
    void *arg;
    const void *low; /* of the stack the call came from */
    size_t size;
};

UNCHECKED static int call_begin(void *argument)
{
    struct call *call = argument;
#if FIBER_ASAN
    __sanitizer_finish_switch_fiber(call->on->fake_stack, &call->low, &call->size);
#endif
    int result = call->fn(call->arg);
    asan_leave(&call->on->fake_stack, call->low, call->size);
    return result;
}

UNCHECKED int fiber_call_on(struct fiber_context *on, int (*fn)(void *), void *arg)
{
    struct call call = {.on = on, .fn = fn, .arg = arg};
    struct fiber_context self = {0};
    tsan_thread(&self);
    asan_leave(&self.fake_stack, on->low, on->size);
    tsan_switch(on);
    char *sp = (char *)on->sp - CONTEXT_RED_ZONE;
    valgrind_call(sp);
    int result = context_call(sp, call_begin, &call);
    tsan_switch(&self);
    asan_enter(&self);
    return result;
}

#endif
