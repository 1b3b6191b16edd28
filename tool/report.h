/* report.h -- what the command says when something is wrong, and its exit code. */
#ifndef TOOL_REPORT_H
#define TOOL_REPORT_H

#include <stdint.h>

/* The exit codes; `weir help exit` prints them from the table in report.c. */
enum status {
    STATUS_OK = 0,
    STATUS_NO = 1,
    STATUS_USAGE = 2,
    STATUS_RESOLVE = 3,
    STATUS_CONNECT = 4,
    STATUS_TIMEOUT = 5,
    STATUS_BROKEN = 6,
    STATUS_LOCAL = 8,
    STATUS_SIGNAL = 128, /* and the signal's number */
};

/* One line to stderr, after "weir: ". Returns `status`, so that a caller can return it. */
__attribute__((format(printf, 2, 3))) int complain(int status, const char *format, ...);

/* The same for a call of the library that failed just now: what it said, and what to try. */
int complain_listen(const char *shown);
int complain_run(void);

/* A weir_dial that failed just now, in words that complain could print; returns the status. */
int describe_dial(const char *shown, char *buf, size_t size);

/* The status that an errno of a connection in use means. */
int status_of_conn(int code);

void print_exit_codes(void);

#endif
