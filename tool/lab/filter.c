/* filter.c -- socket filters in classic BPF.
 *
 * The kernel runs a TCP socket's filter over a segment that begins with the TCP header: byte 12 has
 * the length of the header, byte 13 the flags. A filter that returns 0 drops it.              */
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include "filter.h"
#include "lab.h"

enum { OFFSET_LENGTH = 12, OFFSET_FLAGS = 13, KEEP = 0x7fffffff };

static void attach(struct lab *lab, int fd, struct sock_filter *code, unsigned short len)
{
    struct sock_fprog program = { .len = len, .filter = code };
    must(lab, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
         "SO_ATTACH_FILTER");
}

void drop_all(struct lab *lab, int fd)
{
    struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
    attach(lab, fd, code, sizeof code / sizeof *code);
}

void drop_flags(struct lab *lab, int fd, unsigned mask, unsigned value)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, OFFSET_FLAGS),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, KEEP),
    };
    attach(lab, fd, code, sizeof code / sizeof *code);
}

void drop_data(struct lab *lab, int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, OFFSET_LENGTH),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
        BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2), /* in words of four bytes */
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_X, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, KEEP),
    };
    attach(lab, fd, code, sizeof code / sizeof *code);
}

void drop_nothing(struct lab *lab, int fd)
{
    int unused = 0;
    must(lab, setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused),
         "SO_DETACH_FILTER");
}

unsigned drop_count(int fd)
{
    unsigned numbers[SK_MEMINFO_VARS] = { 0 };
    socklen_t len = sizeof numbers;
    int error = getsockopt(fd, SOL_SOCKET, SO_MEMINFO, numbers, &len);
    return error ? 0 : numbers[SK_MEMINFO_DROPS];
}
