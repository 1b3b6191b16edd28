/* msg.h -- the bytes of a message, for those who send them. */
#ifndef WEIR_MSG_H
#define WEIR_MSG_H

#include "../runtime/runtime.h"

struct weir_msg {
    atomic_uint refs;
    size_t len;
    char bytes[];
};

#endif
