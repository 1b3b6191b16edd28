/* name.h -- names to addresses, for dial.c and listener.c. */
#ifndef WEIR_NAME_H
#define WEIR_NAME_H

#include "../runtime/runtime.h"

/* Looks `host` up for stream sockets of `family` (0: any): how many of at most `max` addresses
 * were stored, or a negative errno that weir_error() explains in the name of `op`, and of the
 * endpoint `where` unless it is NULL. */
int name_resolve(const char *host, const char *service, int family, weir_addr *out, int max,
                 const char *op, const char *where);

#endif
