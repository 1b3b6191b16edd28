/* deny.c -- a launcher that takes system calls away.
 *
 * usage: deny-uring PROGRAM [ARG...]
 *        deny-namespaces PROGRAM [ARG...]
 * Runs a program under a seccomp filter in which the calls of DENIED, which the build sets, fail
 * with EPERM, as container runtimes have it. What worked with the ring must work without it, and
 * the lab must run what it can without namespaces, and say what it cannot.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(verdict) BPF_STMT(BPF_RET | BPF_K, verdict)

static const unsigned denied[] = {DENIED};
enum { COUNT = sizeof denied / sizeof denied[0], HEAD = 3 };

/* Three instructions look at the architecture, one at each call, and two answer: yes, no. */
static int deny(void)
{
    struct sock_filter code[HEAD + COUNT + 2] = {
        LOAD(arch), IF_EQUAL(ARCHITECTURE, 0, COUNT + 1), LOAD(nr)
    };
    for (int i = 0; i < COUNT; i++) {
        code[HEAD + i] = (struct sock_filter)IF_EQUAL(denied[i], (unsigned char)(COUNT - i), 0);
    }
    code[HEAD + COUNT] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    code[HEAD + COUNT + 1] = (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s PROGRAM [ARG...]\n", argv[0]);
        return 2;
    }
    if (deny() != 0) {
        perror("deny: seccomp");
        return 2;
    }
    for (int i = 0; i < COUNT; i++) {
        if (syscall((long)denied[i], 0, 0, 0, 0, 0, 0) != -1 || errno != EPERM) {
            fprintf(stderr, "deny: system call %u still answers\n", denied[i]);
            return 2;
        }
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 2;
}
