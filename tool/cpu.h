/* cpu.h -- processor time that processes have used. */
#ifndef TOOL_CPU_H
#define TOOL_CPU_H

#include <stdint.h>
#include <sys/types.h>

/* Nanoseconds used by this process so far. */
int64_t cpu_own(void);

/* The same of another process, all its threads and its children; -1 when there is none such. */
int64_t cpu_family(pid_t pid);

int cpu_count(void);

#endif
