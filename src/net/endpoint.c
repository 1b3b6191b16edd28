/* endpoint.c -- what "where" means in weir_listen and weir_dial.
 *
 * tcp://host:port, tcp://:port and tcp with the host "*" (every interface), unix:/path,
 * unix:@abstract and fd:number.  Anything else is refused with the list of what would have
 * worked.                                                                                      */
#include <string.h>

#include "addr.h"
#include "endpoint.h"

static int refuse(int error, const char *op, const char *where, const char *why)
{
    fail_text(error, op, "endpoint", "\"%.100s\": %s", where, why);
    return error;
}

static int parse_unix(struct endpoint *e, const char *name, const char *where, const char *op)
{
    e->kind = ENDPOINT_ADDR;
    int error = addr_parse_unix(&e->addr, name);
    if (error == -ENAMETOOLONG)
        return refuse(error, op, where, "a Unix socket's path has at most 107 bytes");
    return error ? refuse(error, op, where, "names no path; unix:/path or unix:@name") : 0;
}

static int parse_fd(struct endpoint *e, const char *number, const char *where, const char *op)
{
    char *end;
    errno = 0;
    unsigned long fd = strtoul(number, &end, 10);
    if (*number < '0' || *number > '9' || *end || errno || fd > INT32_MAX)
        return refuse(-EINVAL, op, where, "after fd: comes the number of a descriptor");
    e->kind = ENDPOINT_FD;
    e->fd = (int)fd;
    return 0;
}

/* A last label made of digits would be an address to some resolvers ("127.1", "0177.0.0.1") and
 * a name to others; it is neither here. */
static bool looks_numeric(const char *host)
{
    size_t len = strlen(host);
    if (len && host[len - 1] == '.')
        len--;
    size_t start = len;
    while (start > 0 && host[start - 1] != '.')
        start--;
    size_t digits = strspn(host + start, "0123456789");
    bool hex = strncasecmp(host + start, "0x", 2) == 0;
    return len > start && (start + digits == len || hex);
}

static int parse_host(struct endpoint *e, const char *at, const char *colon, const char *where,
                      const char *op)
{
    size_t len = (size_t)(colon - at);
    if (len == 0 || (len == 1 && *at == '*')) {
        e->kind = ENDPOINT_ANY;
        return 0;
    }
    if (*at == '[' || memchr(at, ':', len))
        return refuse(-EINVAL, op, where, "no IPv6 address in brackets before the port");
    if (len > NAME_MAX_DNS)
        return refuse(-ENAMETOOLONG, op, where, "a host name has at most 253 bytes");
    e->kind = ENDPOINT_NAME;
    memcpy(e->host, at, len);
    e->host[len] = '\0';
    if (looks_numeric(e->host))
        return refuse(-EINVAL, op, where, "neither an IPv4 address nor a host name");
    return 0;
}

static int parse_tcp(struct endpoint *e, const char *at, const char *where, const char *op)
{
    const char *end = at + strlen(at), *colon = strrchr(at, ':');
    if (!colon || end[-1] == ']')
        return refuse(-EINVAL, op, where, "no port; tcp://host:port");
    e->port = addr_parse_port(colon + 1, end);
    if (e->port < 0)
        return refuse(-EINVAL, op, where, "a port is a number from 0 to 65535");
    if (colon > at) {
        int error = addr_parse_inet(&e->addr, at, end);
        e->kind = ENDPOINT_ADDR;
        if (error == -ENODEV)
            return refuse(error, op, where, "no network interface has the name after %");
        if (!error)
            return 0;
    }
    return parse_host(e, at, colon, where, op);
}

int endpoint_parse(struct endpoint *e, const char *where, const char *op)
{
    memset(e, 0, sizeof *e);
    if (!where)
        return refuse(-EINVAL, op, "(null)", "no endpoint");
    if (strncmp(where, "tcp://", 6) == 0)
        return parse_tcp(e, where + 6, where, op);
    if (strncmp(where, "unix:", 5) == 0)
        return parse_unix(e, where + 5, where, op);
    if (strncmp(where, "fd:", 3) == 0)
        return parse_fd(e, where + 3, where, op);
    if (!strchr(where, ':'))
        return refuse(-EINVAL, op, where, "no scheme; tcp://host:port, unix:/path or fd:number");
    return refuse(-EPROTONOSUPPORT, op, where,
                  "not a scheme of this version; tcp://host:port, tcp://:port, unix:/path, "
                  "unix:@name and fd:number are");
}
