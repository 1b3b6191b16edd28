/* addr.h -- what the rest of net/ knows of addresses beyond weir.h. */
#ifndef WEIR_ADDR_H
#define WEIR_ADDR_H

#include <netinet/in.h>

#include "../runtime/runtime.h"

/* Reads "host:port" with a numeric host from exactly [at, end): 0, or -EINVAL. */
int addr_parse_inet(weir_addr *a, const char *at, const char *end);
/* Reads a path or "@abstract": 0, -EINVAL when empty, -ENAMETOOLONG. */
int addr_parse_unix(weir_addr *a, const char *name);
/* Reads a decimal port that fills [at, end): 0..65535, or -EINVAL. */
int addr_parse_port(const char *at, const char *end);

void addr_wildcard(weir_addr *a, int family, int port);
void addr_loopback(weir_addr *a, int family, int port);
/* The port of an internet address in host order, or -1. */
int addr_port(const weir_addr *a);
void addr_set_port(weir_addr *a, int port);
/* An IPv4 address in IPv6 clothes becomes plain IPv4: what a dual-stack socket reports is then
 * what a user compares and prints. */
void addr_unmap(weir_addr *a);
bool addr_equal(const weir_addr *a, const weir_addr *b);

#endif
