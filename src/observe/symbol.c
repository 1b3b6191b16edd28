/* symbol.c -- the name of a piece of code, for people.
 *
 * The dynamic linker knows the exported functions only; a program linked with -rdynamic exports
 * all but the static ones.                                                                   */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "symbol.h"

void symbol_describe(const void *address, char *buf, size_t size)
{
    Dl_info info;
    if (!dladdr(address, &info)) {
        snprintf(buf, size, "%p", address);
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    const char *name = info.dli_sname ? info.dli_sname : slash ? slash + 1 : info.dli_fname;
    uintptr_t base = (uintptr_t)(info.dli_sname ? info.dli_saddr : info.dli_fbase);
    uintptr_t offset = (uintptr_t)address - base;
    if (offset)
        snprintf(buf, size, "%s+0x%jx", name, (uintmax_t)offset);
    else
        snprintf(buf, size, "%s", name);
}
