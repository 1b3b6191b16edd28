/* endpoint.c -- the words for an address: host:port, :port, *:port, /path, unix:@name.
 *
 * What is left out means this machine: ":7000" listens on the loopback address alone, and who
 * wants to be reached from elsewhere says so with a star. Schemes that this version does not
 * speak are refused by name, with those it does. Percent signs escape a byte of a path.        */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "options.h"
#include "report.h"

static const char works[] = "tcp (host:port, :port, *:port) and unix (/path, unix:@name) work";

void print_endpoints(void)
{
    puts("Endpoints: where to listen or connect.\n\n"
         "  example.org:80  192.0.2.1:80  [2001:db8::1]:80   TCP; tcp://... is the same\n"
         "  :7000  7000                 this machine only, the loopback address\n"
         "  *:7000                      listening: every address this machine has\n"
         "  127.0.0.1:0                 listening: a free port that the kernel chooses\n"
         "  /run/app.sock  ./app.sock   a Unix socket; unix:/run/app.sock is the same\n"
         "  unix:@name                  a Unix socket without a file, in the abstract namespace\n\n"
         "In a path, %25 is a percent sign, and %XX in general the byte XX.");
}

/* ---- Unix paths ---- */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at;
    char lower = c >= 'A' && c <= 'F' ? (char)(c + ('a' - 'A')) : c;
    at = lower ? strchr(digits, lower) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Undoes the percent signs in place: false when one is followed by no two hex digits, or by 00. */
static bool unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        int high = hex_digit(at[1]);
        int low = high < 0 ? -1 : hex_digit(at[2]);
        if (low < 0 || high + low == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        at += 2;
    }
    *to = '\0';
    return true;
}

static int read_unix(struct endpoint *e, const char *path)
{
    snprintf(e->where, sizeof e->where, "unix:%s", path);
    snprintf(e->shown, sizeof e->shown, "unix:%s", path);
    if (!unescape(e->where))
        return complain(STATUS_USAGE, "'%s': after %% come two hexadecimal digits; %%25 is the "
                                      "percent sign itself", path);
    return 0;
}

/* ---- TCP ---- */

static bool port_is_right(const char *port)
{
    size_t len = strlen(port);
    return len > 0 && len <= 5 && strspn(port, "0123456789") == len && atoi(port) <= 65535;
}

static int read_tcp(struct endpoint *e, const char *text, bool listening)
{
    const char *colon = strrchr(text, ':');
    if (colon && strchr(colon, ']'))
        colon = NULL; /* it is of the address in the brackets */
    bool bare = !colon && *text && strspn(text, "0123456789") == strlen(text);
    const char *port = bare ? text : colon ? colon + 1 : NULL;
    int host_len = bare || !colon ? 0 : (int)(colon - text);
    bool everywhere = host_len == 1 && *text == '*';
    if (!port)
        return complain(STATUS_USAGE, "'%s' has no port; try: %s:7000", text, text);
    if (!port_is_right(port))
        return complain(STATUS_USAGE, "'%s': a port is a number from 0 to 65535, not '%s'", text,
                        port);
    if (!listening && atoi(port) == 0)
        return complain(STATUS_USAGE, "'%s': nobody can connect to port 0", text);
    if (everywhere && !listening)
        return complain(STATUS_USAGE, "'%s': * is for listening; to connect, name a host", text);
    e->local_only = host_len == 0;
    const char *host = e->local_only ? "127.0.0.1" : text;
    host_len = e->local_only ? (int)strlen(host) : host_len;
    snprintf(e->where, sizeof e->where, "tcp://%.*s:%s", host_len, host, port);
    snprintf(e->shown, sizeof e->shown, "%s", e->where + strlen("tcp://"));
    return 0;
}

/* ---- schemes ---- */

/* Letters, digits and dashes before "://", or before ":" and something that is no port. */
static size_t scheme_len(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    bool slashes = strncmp(text + len, "://", 3) == 0;
    static const char *const known[] = { "unix",  "udp", "tls",  "fd",   "vsock",   "exec", "sh",
                                         "fifo", "file", "pty", "tty", "unix-dgram", "unix-seq" };
    for (size_t i = 0; i < sizeof known / sizeof *known && text[len] == ':'; i++)
        if (strlen(known[i]) == len && strncmp(text, known[i], len) == 0)
            return len;
    return slashes ? len : 0;
}

static int refuse_scheme(const char *text, size_t len)
{
    static const char *const schemes[] = { "tcp", "unix" };
    static const char *const others[] = { "udp", "tls", "ftp", "http", "ssl" };
    char scheme[32];
    snprintf(scheme, sizeof scheme, "%.*s", (int)len, text);
    const char *meant = nearest(scheme, schemes, 2);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(scheme, others[i]) == 0)
            meant = NULL;
    if (meant)
        return complain(STATUS_USAGE, "'%s': no scheme '%s'; did you mean '%s'?", text, scheme,
                        meant);
    return complain(STATUS_USAGE, "'%s': this version does not speak %s; %s", text, scheme, works);
}

int endpoint_read(struct endpoint *e, const char *text, bool listening)
{
    *e = (struct endpoint){ .local_only = false };
    if (strlen(text) > ENDPOINT_MAX - 16)
        return complain(STATUS_USAGE, "an endpoint of %zu bytes is too long", strlen(text));
    const char *comma = strchr(text, ',');
    if (comma)
        return complain(STATUS_USAGE, "'%s': this version takes no options after an endpoint; "
                                      "write a comma in a path as %%2C", text);
    bool path = text[0] == '/' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0;
    if (path)
        return read_unix(e, text);
    size_t len = scheme_len(text);
    if (len == 0)
        return read_tcp(e, text, listening);
    if (len == 3 && strncmp(text, "tcp://", 6) == 0)
        return read_tcp(e, text + 6, listening);
    if (len == 4 && strncmp(text, "unix:", 5) == 0)
        return read_unix(e, text + 5);
    return refuse_scheme(text, len);
}
