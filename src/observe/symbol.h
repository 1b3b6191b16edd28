/* symbol.h -- the name of a piece of code, for people. */
#ifndef WEIR_SYMBOL_H
#define WEIR_SYMBOL_H

#include <stddef.h>

/* "client", "client+0x1c", or "program+0x1234" (which addr2line understands) when the symbol is
 * not among those the dynamic linker knows. */
void symbol_describe(const void *address, char *buf, size_t size);

#endif
