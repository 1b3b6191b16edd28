/* endpoint.h -- "tcp://host:port" and its kin, taken apart. */
#ifndef WEIR_ENDPOINT_H
#define WEIR_ENDPOINT_H

#include "../runtime/runtime.h"

enum {
    NAME_MAX_DNS = 253,
    ENDPOINT_SHOWN = 120, /* so much of one in a text about it: any path, any usual name */
};

enum endpoint_kind {
    ENDPOINT_NAME, /* tcp, a host to look up */
    ENDPOINT_ANY,  /* tcp, no host or "*": every interface, both families */
    ENDPOINT_ADDR, /* tcp or unix, numeric */
    ENDPOINT_FD,
};

struct endpoint {
    enum endpoint_kind kind;
    int port;
    int fd;
    weir_addr addr;
    char host[NAME_MAX_DNS + 1];
};

/* 0, or a negative errno that weir_error() explains in the name of `op` already. */
int endpoint_parse(struct endpoint *e, const char *where, const char *op);

#endif
