/* counters.h -- what the kernel counts: /proc/net/netstat and snmp, switches, processor time. */
#ifndef LAB_COUNTERS_H
#define LAB_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

/* A counter of this network namespace now, such as ("TcpExt", "ListenOverflows") or ("Udp",
 * "InCsumErrors"); -1: this kernel has no such counter. In a namespace of its own (NEEDS_NET)
 * nobody but the experiment counts there; what matters is the difference of two. */
long long counter(const char *table, const char *name);

/* How often this process has waited, and so given its processor away. */
long voluntary_switches(void);

/* Whether this process waits for something at this moment. */
bool is_asleep(int pid);

/* The processor time of this process. */
int64_t processor_ns(void);

#endif
