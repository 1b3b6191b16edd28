/* main.c -- the weir command: finds the subcommand, or helps to find it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "endpoint.h"
#include "report.h"

static const struct command *const commands[] = { &serve_command, &bench_command,
                                                &lab_command };

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_help(void)
{
    puts("weir - network services, measurements and experiments from the command line\n\n"
         "  weir serve echo :7000                   an echo server for this machine, until Ctrl-C\n"
         "  weir bench :7000                        its speed and latency, every byte checked\n"
         "  weir serve echo '*:7000' -m 100         for everyone, a hundred clients at a time\n"
         "  weir bench :7000 -c 8 --json            eight connections, the answer as JSON\n"
         "  weir lab backlog                        a claim about sockets, tried on this kernel\n\n"
         "commands:");
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
    puts("  help      this, or more: weir help serve, bench, lab, endpoints or exit\n"
         "  version   which version this is");
}

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int complain_word(const char *what, const char *word, const char *const *words, int count)
{
    const char *meant = nearest(word, words, count);
    return complain(STATUS_USAGE, "no %s '%s'%s%s%s (weir help lists them)", what, word,
                    meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

static int complain_extra(const char *word)
{
    return complain(STATUS_USAGE, "'%s' is one too many (weir help tells more)", word);
}

static int help(int argc, char **argv)
{
    static const char *const topics[] = { "serve", "bench", "lab", "endpoints", "exit" };
    if (argc == 0) {
        print_help();
        return STATUS_OK;
    }
    if (argc > 1)
        return complain_extra(argv[1]);
    const struct command *command = find(argv[0]);
    if (command)
        options_help(command);
    else if (strcmp(argv[0], "exit") == 0)
        print_exit_codes();
    else if (strcmp(argv[0], "endpoints") == 0)
        print_endpoints();
    else
        return complain_word("help on", argv[0], topics, sizeof topics / sizeof *topics);
    return STATUS_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
    bool wants_help = false;
    int operands = options_read(command, argv, argc, &wants_help);
    if (operands < 0)
        return STATUS_USAGE;
    if (wants_help) {
        options_help(command);
        return STATUS_OK;
    }
    return command->run(argv, operands);
}

static int dispatch(int argc, char **argv)
{
    static const char *const words[] = { "serve", "bench", "lab", "help", "version" };
    const char *word = argv[0];
    const struct command *command = find(word);
    if (command)
        return run(command, argc - 1, argv + 1);
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
        if (argc > 1)
            return complain_extra(argv[1]);
        puts("weir " WEIR_VERSION);
        return STATUS_OK;
    }
    return complain_word(word[0] == '-' ? "option" : "command", word, words,
                         sizeof words / sizeof *words);
}

/* What could not be printed was not delivered. */
static int end(int status)
{
    const char *why = fflush(stdout) ? strerror(errno) : ferror(stdout) ? "a part is lost" : NULL;
    if (!why || status != STATUS_OK)
        return status;
    return complain(STATUS_LOCAL, "cannot write to stdout: %s", why);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help();
        return end(STATUS_USAGE);
    }
    return end(dispatch(argc - 1, argv + 1));
}
