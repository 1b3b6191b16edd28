/* endpoint.h -- an address as a user writes it, made into one that the library takes. */
#ifndef TOOL_ENDPOINT_H
#define TOOL_ENDPOINT_H

#include <stdbool.h>

enum { ENDPOINT_MAX = 512 };

struct endpoint {
    char where[ENDPOINT_MAX]; /* for weir_listen and weir_dial */
    char shown[ENDPOINT_MAX]; /* for messages: as short as it can be typed */
    bool local_only;          /* no host was given, so it is this machine's */
};

/* Understands `text` for listening or for dialling: 0, or an exit status after a complaint. */
int endpoint_read(struct endpoint *e, const char *text, bool listening);

void print_endpoints(void);

#endif
