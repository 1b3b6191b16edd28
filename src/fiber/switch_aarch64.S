/* switch_aarch64.S -- the first instructions of a fiber, and a call on another stack.
 *
 * The switch itself is inline, in switch.h. The call frame information here matters as much as the
 * code: a backtrace taken in a fiber ends in context_start, and one taken in a function called on
 * another stack goes on through context_call to the fiber that called.
 */

    .text

/* Entered by a jump, with the entry function and its argument at the stack pointer. The return
 * address is declared undefined, which is how an unwinder knows the outermost frame. The entry is
 * jumped to, with a return address that only unwinders use: the processor would remember a call
 * that never returns, and guess wrong at each return of whoever runs after this fiber. */
    .globl context_start
    .hidden context_start
    .type context_start, %function
    .p2align 4
context_start:
    .cfi_startproc
    .cfi_undefined x30
    .cfi_undefined x29
    hint #36 /* bti j */
    ldp x16, x0, [sp]
    mov x29, xzr
    adr x30, 1f
    br x16
    nop
1:
    brk #1
    .cfi_endproc
    .size context_start, . - context_start

/* int context_call(void *sp, int (*fn)(void *), void *arg). Marked as a signal frame, because a
 * debugger believes of no other kind that the outer frame may lie at a lower address. */
    .globl context_call
    .hidden context_call
    .type context_call, %function
    .p2align 4
context_call:
    .cfi_startproc
    .cfi_signal_frame
    hint #34 /* bti c */
    stp x29, x30, [sp, #-16]!
    .cfi_def_cfa_offset 16
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    mov x29, sp
    .cfi_def_cfa_register x29
    and x9, x0, #-16
    mov sp, x9
    mov x0, x2
    blr x1
    mov sp, x29
    .cfi_def_cfa_register sp
    ldp x29, x30, [sp], #16
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size context_call, . - context_call

#if defined(__ARM_FEATURE_BTI_DEFAULT)
    .section .note.gnu.property, "a"
    .p2align 3
    .long 4, 16, 5
    .asciz "GNU"
    .long 0xc0000000, 4, 1, 0 /* branches land well; guarded control stacks do not work */
#endif

    .section .note.GNU-stack, "", %progbits
