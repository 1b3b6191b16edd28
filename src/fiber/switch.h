/* switch.h -- the instructions that change stacks, for each processor.
 *
 * The switch is an inline statement, not a function. It stores three words, loads three and jumps;
 * every other register is declared lost, so the compiler saves those that hold something it needs,
 * and no others. A function could not be as quick: its `ret` would go back to another caller than
 * its `call` came from, and the processor, which predicts returns from the calls it has seen, would
 * guess wrong at that return or, were it replaced by a jump, at every return that follows. Two
 * stacks taking turns on a Xeon at 2.6 GHz, per switch: 0.6 ns inline, 8.5 through a function that
 * returns, 2.6 through one that jumps; in a ring of sixteen fibers, each three calls deep, 5.9, 8.4
 * and 28.7 ns.
 *
 * The control words of the floating-point units (mxcsr and the x87 control word, fpcr) stay as they
 * are: to save and restore them costs another 2 ns and more. The fibers of a thread share them, as
 * all code of a thread does, so a fiber that changes the rounding mode must change it back before
 * it waits.
 *
 * Shadow stacks (x86 CET, Arm GCS) are not kept in step. The assembly files do not claim to support
 * them, and that is how the linker and the loader know to leave them off.
 */
#ifndef WEIR_SWITCH_H
#define WEIR_SWITCH_H

_Static_assert(offsetof(struct fiber_context, sp) == 0, "switch.h knows where sp is");
_Static_assert(offsetof(struct fiber_context, frame) == 8, "switch.h knows where frame is");
_Static_assert(offsetof(struct fiber_context, next) == 16, "switch.h knows where next is");

/* In switch_<processor>.S: where a new fiber begins, with its entry and argument as the two words
 * at the stack pointer; and a call of fn(arg) with the stack pointer at `sp`. */
void context_start(void);
int context_call(void *sp, int (*fn)(void *), void *arg);

#if defined(__x86_64__)

/* A function that calls none may keep variables below its stack pointer (System V ABI, 3.2.2). */
#define CONTEXT_RED_ZONE 128

#if defined(__CET__) && (__CET__ & 1)
#define CONTEXT_LANDING "endbr64\n"
#else
#define CONTEXT_LANDING
#endif

#if defined(__AVX512F__)
#define CONTEXT_LOST_AVX512                                                                        \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define CONTEXT_LOST_AVX512
#endif

static inline __attribute__((always_inline)) void context_switch(struct fiber_context *from,
                                                                 struct fiber_context *to)
{
    __asm__ volatile("leaq 1f(%%rip), %%rax\n"
                     "movq %%rsp, (%0)\n"
                     "movq %%rbp, 8(%0)\n"
                     "movq %%rax, 16(%0)\n"
                     "movq 8(%1), %%rbp\n"
                     "movq (%1), %%rsp\n"
                     "jmpq *16(%1)\n"
                     ".p2align 4\n"
                     "1:\n" CONTEXT_LANDING
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st",
                       "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc",
                       "memory" CONTEXT_LOST_AVX512);
}

#elif defined(__aarch64__)

#define CONTEXT_RED_ZONE 0 /* Linux on Arm has none (AAPCS64, 6.4.5.1) */

#if defined(__ARM_FEATURE_SVE)
#define CONTEXT_LOST_SVE                                                                           \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13",      \
        "p14", "p15"
#else
#define CONTEXT_LOST_SVE
#endif

/* hint #36 is `bti j`: a place to jump to, and nothing at all on processors that do not ask. */
static inline __attribute__((always_inline)) void context_switch(struct fiber_context *from,
                                                                 struct fiber_context *to)
{
    register struct fiber_context *old __asm__("x0") = from;
    register struct fiber_context *new __asm__("x1") = to;
    __asm__ volatile("adr x9, 1f\n"
                     "mov x10, sp\n"
                     "stp x10, x29, [x0]\n"
                     "str x9, [x0, #16]\n"
                     "ldp x10, x29, [x1]\n"
                     "ldr x9, [x1, #16]\n"
                     "mov sp, x10\n"
                     "br x9\n"
                     ".p2align 4\n"
                     "1: hint #36\n"
                     : "+r"(old), "+r"(new)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "cc", "memory" CONTEXT_LOST_SVE);
}

#else
#error "weir switches stacks on x86-64 and aarch64."
#endif

#endif
