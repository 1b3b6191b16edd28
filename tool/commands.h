/* commands.h -- the commands there are. */
#ifndef TOOL_COMMANDS_H
#define TOOL_COMMANDS_H

#include "options.h"

extern const struct command bench_command;
extern const struct command lab_command;
extern const struct command serve_command;

#endif
