/* report.c -- messages that say what failed, where, why and what to try, and the exit codes.
 *
 * Every message is one line on stderr that begins with "weir: ". The exit code says why, in ten
 * lines that a person can learn; they hold for every subcommand.                              */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <weir.h>

#include "report.h"

static const struct {
    const char *code, *name, *when;
} exit_codes[] = {
    { "0", "ok", "all went well: every byte delivered, every conversation ended in order" },
    { "1", "no", "the answer is no: something was not as the lab expects it" },
    { "2", "usage", "the command line was wrong" },
    { "3", "resolve", "a host name was not found" },
    { "4", "connect", "refused or unreachable: nobody listens there" },
    { "5", "timeout", "something did not happen in time" },
    { "6", "broken", "a connection was reset or cut off, or other bytes came than were sent" },
    { "8", "local", "this machine said no: address in use, permission, descriptors, memory" },
    { "128+n", "signal", "ended by signal n before it was done: 130 is Ctrl-C, 143 is SIGTERM" },
};

void print_exit_codes(void)
{
    puts("Exit codes of weir:\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        printf("  %-6s %-8s %s\n", exit_codes[i].code, exit_codes[i].name, exit_codes[i].when);
    puts("\nA server that is told to stop, by SIGTERM or Ctrl-C, and ends its conversations in "
         "order\nhas done its work: 0.");
}

int complain(int status, const char *format, ...)
{
    va_list args;
    fflush(stdout);
    va_start(args, format);
    fputs("weir: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return status;
}

/* ---- errno in words ---- */

/* The C library begins a sentence where here is the middle of one. */
static const char *words_of(int code, char *buf, size_t size)
{
    const char *text = strerrordesc_np(code);
    snprintf(buf, size, "%s", text ? text : "unknown error");
    bool begins_with_word = buf[0] >= 'A' && buf[0] <= 'Z' && buf[1] >= 'a' && buf[1] <= 'z';
    if (begins_with_word)
        buf[0] = (char)(buf[0] + ('a' - 'A'));
    return buf;
}

int status_of_conn(int code)
{
    return code == ETIMEDOUT || code == ETIME ? STATUS_TIMEOUT : STATUS_BROKEN;
}

/* ---- dialling ---- */

/* Whether what is at the path of this Unix socket is something else. */
static bool is_other_file(const char *shown)
{
    struct stat s;
    return strncmp(shown, "unix:", 5) == 0 && shown[5] != '@' && stat(shown + 5, &s) == 0 &&
           !S_ISSOCK(s.st_mode);
}

struct hint {
    int code, status;
    const char *text;
};

static const struct hint dial_hints[] = {
    { ECONNREFUSED, STATUS_CONNECT, "nothing listens there" },
    { ENOENT, STATUS_CONNECT, "there is no such socket" },
    { EHOSTUNREACH, STATUS_CONNECT, "no way leads to that host; is the address right?" },
    { ENETUNREACH, STATUS_CONNECT, "no way leads to that network; is the address right?" },
    { ECONNRESET, STATUS_CONNECT, "it hung up at once" },
    { ETIME, STATUS_TIMEOUT, "it may be down or behind a firewall; --timeout waits longer" },
    { ETIMEDOUT, STATUS_TIMEOUT, "it may be down or behind a firewall" },
    { EADDRNOTAVAIL, STATUS_LOCAL, "all local ports towards it are in use; use fewer connections, "
                                   "or wait a minute" },
    { EMFILE, STATUS_LOCAL, "no descriptor is left; raise the limit: ulimit -n" },
    { EACCES, STATUS_LOCAL, "permission is missing" },
};

static const struct hint *hint_for(const struct hint *hints, size_t count, int code)
{
    static const struct hint none = { .status = STATUS_LOCAL };
    for (size_t i = 0; i < count; i++)
        if (hints[i].code == code)
            return &hints[i];
    return &none;
}

/* The library's words for what failed, without the operation it puts first. */
static const char *own_text(const weir_err *e)
{
    const char *colon = strstr(e->text, ": ");
    return colon ? colon + 2 : e->text;
}

/* "connect address: reason (x ms)" per line; of one line only the reason is news. */
static void fold_attempts(const weir_err *e, char *buf, size_t size)
{
    const char *text = own_text(e), *newline = strchr(text, '\n');
    snprintf(buf, size, "%s%s%s", newline ? " (" : "", newline ? text : "", newline ? ")" : "");
    for (char *at = buf; *at; at++)
        if (*at == '\n')
            *at = ';';
}

/* Where nobody listens on this machine, the reader can. */
static bool could_serve(const weir_err *e)
{
    char address[WEIR_ADDRSTR];
    if (e->code != ECONNREFUSED && e->code != ENOENT)
        return false;
    weir_addr_str(&e->addr, address, sizeof address);
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 ||
           strncmp(address, "unix:", 5) == 0;
}

int describe_dial(const char *shown, char *buf, size_t size)
{
    const weir_err *e = weir_error();
    char why[128], attempts[300];
    if (e->phase && strcmp(e->phase, "endpoint") == 0) {
        snprintf(buf, size, "%s", own_text(e));
        return STATUS_USAGE;
    }
    if (e->phase && strcmp(e->phase, "resolve") == 0) {
        snprintf(buf, size, "cannot find %s: %s; check the name, or use an address", shown,
                 own_text(e));
        return e->code == ETIME || e->code == ETIMEDOUT ? STATUS_TIMEOUT : STATUS_RESOLVE;
    }
    const struct hint *h =
        hint_for(dial_hints, sizeof dial_hints / sizeof *dial_hints, e->code);
    bool is_file = is_other_file(shown), could = !is_file && could_serve(e);
    const char *hint = is_file ? "that file is no socket" : h->text;
    fold_attempts(e, attempts, sizeof attempts);
    snprintf(buf, size, "cannot connect to %s: %s%s%s%s%s%s", shown,
             e->code == ETIME ? "no answer in time" : words_of(e->code, why, sizeof why), attempts,
             hint ? " - " : "", hint ? hint : "", could ? "; try: weir serve echo " : "",
             could ? shown : "");
    return h->status;
}

/* ---- listening ---- */

static const struct hint listen_hints[] = {
    { EADDRINUSE, STATUS_LOCAL, "another program listens there; stop it, or listen elsewhere: "
                                "port 0 is any that is free" },
    { EACCES, STATUS_LOCAL, "ports below 1024 and others' directories need permission; try a "
                            "port from 1024 on, or another path" },
    { EADDRNOTAVAIL, STATUS_LOCAL, "this machine does not have that address; *:PORT takes all "
                                   "it has" },
    { ENOENT, STATUS_LOCAL, "the directory is not there" },
};

int complain_listen(const char *shown)
{
    char why[128];
    const weir_err *e = weir_error();
    if (e->code == EADDRINUSE && is_other_file(shown))
        return complain(STATUS_LOCAL, "cannot listen on %s: a file that is no socket has that "
                                      "name; remove it, or listen elsewhere", shown);
    if (e->phase && strcmp(e->phase, "endpoint") == 0)
        return complain(STATUS_USAGE, "%s", own_text(e));
    if (e->phase && strcmp(e->phase, "resolve") == 0)
        return complain(STATUS_RESOLVE, "cannot find %s: %s", shown, own_text(e));
    const struct hint *h =
        hint_for(listen_hints, sizeof listen_hints / sizeof *listen_hints, e->code);
    return complain(h->status, "cannot listen on %s: %s%s%s", shown,
                    words_of(e->code, why, sizeof why), h->text ? " - " : "",
                    h->text ? h->text : "");
}

/* ---- starting ---- */

int complain_run(void)
{
    const weir_err *e = weir_error();
    const char *hint = "";
    if (e->code == EMFILE || e->code == ENFILE)
        hint = " - raise the limit: ulimit -n";
    else if (e->code != ENOMEM && strstr(e->text, "io_uring"))
        hint = " - this kernel or container does not allow io_uring; try: --backend epoll";
    return complain(STATUS_LOCAL, "%s%s", own_text(e), hint);
}
