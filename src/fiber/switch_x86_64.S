/* switch_x86_64.S -- the first instructions of a fiber, and a call on another stack.
 *
 * The switch itself is inline, in switch.h. The call frame information here matters as much as the
 * code: a backtrace taken in a fiber ends in context_start, and one taken in a function called on
 * another stack goes on through context_call to the fiber that called.
 */

#if defined(__CET__) && (__CET__ & 1)
#define LANDING endbr64
#else
#define LANDING
#endif

    .text

/* Entered by a jump, with the entry function and its argument at the stack pointer. The return
 * address is declared undefined, which is how an unwinder knows the outermost frame. The entry is
 * jumped to, with a return address that only unwinders use: the processor would remember a call
 * that never returns, and guess wrong at each return of whoever runs after this fiber. */
    .globl context_start
    .hidden context_start
    .type context_start, @function
    .p2align 4
context_start:
    .cfi_startproc
    .cfi_undefined rip
    .cfi_undefined rbp
    LANDING
    movq (%rsp), %rax
    movq 8(%rsp), %rdi
    xorl %ebp, %ebp
    leaq 1f(%rip), %rcx
    pushq %rcx
    jmpq *%rax
    nop
1:
    ud2
    .cfi_endproc
    .size context_start, . - context_start

/* int context_call(void *sp, int (*fn)(void *), void *arg). Marked as a signal frame, because a
 * debugger believes of no other kind that the outer frame may lie at a lower address. */
    .globl context_call
    .hidden context_call
    .type context_call, @function
    .p2align 4
context_call:
    .cfi_startproc
    .cfi_signal_frame
    LANDING
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register rbp
    movq %rdi, %rsp
    andq $-16, %rsp
    movq %rdx, %rdi
    callq *%rsi
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa rsp, 8
    retq
    .cfi_endproc
    .size context_call, . - context_call

#if defined(__CET__) && (__CET__ & 1)
    .section .note.gnu.property, "a"
    .p2align 3
    .long 4, 16, 5
    .asciz "GNU"
    .long 0xc0000002, 4, 1, 0 /* indirect jumps land well; shadow stacks do not work */
#endif

    .section .note.GNU-stack, "", @progbits
