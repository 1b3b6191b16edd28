/* addr.c -- addresses as text and as the kernel has them.
 *
 * Parsing never looks a name up, never shortens what is too long and never guesses: an IPv6 host
 * stands in brackets, a port is a decimal number from 0 to 65535.  What weir_addr_str prints of an
 * address with a name, weir_addr_parse reads back.                                            */
#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <sys/un.h>

#include "addr.h"

#define UNIX_NAME offsetof(struct sockaddr_un, sun_path)
enum { UNIX_NAME_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) };

static_assert(sizeof(struct sockaddr_un) <= sizeof((weir_addr){ 0 }.u), "every address fits");

static struct sockaddr_in *in4(weir_addr *a)
{
    return (struct sockaddr_in *)(void *)&a->u;
}

static struct sockaddr_in6 *in6(weir_addr *a)
{
    return (struct sockaddr_in6 *)(void *)&a->u;
}

/* ---- parsing ---- */

int addr_parse_port(const char *at, const char *end)
{
    int port = 0;
    if (at == end || end - at > 5)
        return -EINVAL;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return -EINVAL;
        port = 10 * port + (*at - '0');
    }
    return port <= 65535 ? port : -EINVAL;
}

/* Copies [at, end) with an end of its own: false when it does not fit. */
static bool copy_text(char *to, size_t size, const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    if (len >= size)
        return false;
    memcpy(to, at, len);
    to[len] = '\0';
    return true;
}

/* A zone is an interface's name or number. */
static int parse_zone(uint32_t *scope, const char *zone)
{
    char *end;
    *scope = if_nametoindex(zone);
    if (*scope)
        return 0;
    if (*zone < '0' || *zone > '9')
        return -ENODEV;
    unsigned long number = strtoul(zone, &end, 10);
    if (*end || number > UINT32_MAX)
        return -ENODEV;
    *scope = (uint32_t)number;
    return 0;
}

static int parse_host6(weir_addr *a, const char *at, const char *end)
{
    char text[INET6_ADDRSTRLEN + IF_NAMESIZE];
    uint32_t scope = 0;
    if (!copy_text(text, sizeof text, at, end))
        return -EINVAL;
    char *percent = strchr(text, '%');
    if (percent)
        *percent = '\0';
    struct in6_addr host;
    if (inet_pton(AF_INET6, text, &host) != 1)
        return -EINVAL;
    int error = percent ? parse_zone(&scope, percent + 1) : 0;
    if (error)
        return error;
    *in6(a) = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_addr = host, .sin6_scope_id = scope
    };
    a->len = sizeof(struct sockaddr_in6);
    return 0;
}

static int parse_host4(weir_addr *a, const char *at, const char *end)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr host;
    if (!copy_text(text, sizeof text, at, end) || inet_pton(AF_INET, text, &host) != 1)
        return -EINVAL;
    *in4(a) = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = host };
    a->len = sizeof(struct sockaddr_in);
    return 0;
}

int addr_parse_inet(weir_addr *a, const char *at, const char *end)
{
    const char *colon = memrchr(at, ':', (size_t)(end - at));
    if (!colon)
        return -EINVAL;
    int port = addr_parse_port(colon + 1, end), error;
    if (port < 0)
        return port;
    weir_addr made = { 0 };
    if (colon == at) {
        addr_wildcard(a, AF_INET6, port);
        return 0;
    }
    if (*at == '[')
        error = colon[-1] == ']' ? parse_host6(&made, at + 1, colon - 1) : -EINVAL;
    else
        error = parse_host4(&made, at, colon);
    if (error)
        return error;
    *a = made;
    addr_set_port(a, port);
    return 0;
}

/* unix(7): an abstract name begins with a zero byte and is as long as the address says; a path
 * keeps its zero byte at the end, here always, so that nobody reads past it. */
int addr_parse_unix(weir_addr *a, const char *name)
{
    size_t len = strlen(name);
    bool abstract = *name == '@';
    if (len < 1 + (size_t)abstract)
        return -EINVAL;
    if (len + !abstract > UNIX_NAME_MAX)
        return -ENAMETOOLONG;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    memcpy(un.sun_path, name, len);
    if (abstract)
        un.sun_path[0] = '\0';
    *a = (weir_addr){ .len = (socklen_t)(UNIX_NAME + len + !abstract) };
    memcpy(&a->u, &un, sizeof un);
    return 0;
}

int weir_addr_parse(weir_addr *a, const char *text)
{
    int error;
    if (strncmp(text, "unix:", 5) == 0)
        error = addr_parse_unix(a, text + 5);
    else if (*text == '/')
        error = addr_parse_unix(a, text);
    else
        error = addr_parse_inet(a, text, text + strlen(text));
    if (!error)
        return 0;
    return fail_text(error, "addr", "parse",
                     "\"%.80s\" is no address; it can be 192.0.2.1:80 [2001:db8::1]:80 :80 "
                     "/path or unix:@name", text);
}

/* ---- printing ---- */

static void print_inet(weir_addr *a, char *buf, size_t n)
{
    char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE];
    if (a->u.sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &in4(a)->sin_addr, host, sizeof host);
        snprintf(buf, n, "%s:%d", host, addr_port(a));
        return;
    }
    uint32_t scope = in6(a)->sin6_scope_id;
    inet_ntop(AF_INET6, &in6(a)->sin6_addr, host, sizeof host);
    if (!scope)
        snprintf(buf, n, "[%s]:%d", host, addr_port(a));
    else if (if_indextoname(scope, zone))
        snprintf(buf, n, "[%s%%%s]:%d", host, zone, addr_port(a));
    else
        snprintf(buf, n, "[%s%%%u]:%d", host, scope, addr_port(a));
}

/* A name may hold any byte; one that would disturb a terminal or a log is shown as '?'. */
static void print_unix(const weir_addr *a, char *buf, size_t n)
{
    const char *path = (const char *)a->u.b + UNIX_NAME;
    size_t len = a->len > UNIX_NAME ? a->len - UNIX_NAME : 0, at = 0;
    bool abstract = len > 0 && path[0] == '\0';
    if (!abstract)
        len = strnlen(path, len);
    snprintf(buf, n, "unix:");
    at = strlen(buf);
    for (size_t i = 0; i < len && at + 1 < n; i++) {
        unsigned char byte = (unsigned char)path[i];
        char shown = byte >= ' ' && byte != 127 ? (char)byte : '?';
        buf[at++] = abstract && i == 0 ? '@' : shown;
    }
    buf[at] = '\0';
}

char *weir_addr_str(const weir_addr *a, char *buf, size_t n)
{
    weir_addr copy = *a;
    sa_family_t family = a->len >= sizeof family ? a->u.sa.sa_family : AF_UNSPEC;
    if (copy.len > sizeof copy.u)
        copy.len = sizeof copy.u;
    if (n == 0)
        return buf;
    if (family == AF_INET || family == AF_INET6)
        print_inet(&copy, buf, n);
    else if (family == AF_UNIX)
        print_unix(&copy, buf, n);
    else if (family == AF_UNSPEC)
        snprintf(buf, n, "(no address)");
    else
        snprintf(buf, n, "(family %d)", family);
    return buf;
}

/* ---- making and changing ---- */

void addr_wildcard(weir_addr *a, int family, int port)
{
    *a = (weir_addr){ 0 };
    a->u.sa.sa_family = (sa_family_t)family;
    a->len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    addr_set_port(a, port);
}

void addr_loopback(weir_addr *a, int family, int port)
{
    addr_wildcard(a, family, port);
    if (family == AF_INET)
        in4(a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        in6(a)->sin6_addr = in6addr_loopback;
}

int addr_port(const weir_addr *a)
{
    const struct sockaddr_in *as4 = (const void *)&a->u;
    const struct sockaddr_in6 *as6 = (const void *)&a->u;
    if (a->u.sa.sa_family == AF_INET)
        return ntohs(as4->sin_port);
    return a->u.sa.sa_family == AF_INET6 ? ntohs(as6->sin6_port) : -1;
}

void addr_set_port(weir_addr *a, int port)
{
    if (a->u.sa.sa_family == AF_INET)
        in4(a)->sin_port = htons((uint16_t)port);
    else
        in6(a)->sin6_port = htons((uint16_t)port);
}

void addr_unmap(weir_addr *a)
{
    struct sockaddr_in6 mapped = *in6(a);
    if (a->len < sizeof mapped || mapped.sin6_family != AF_INET6 ||
        !IN6_IS_ADDR_V4MAPPED(&mapped.sin6_addr))
        return;
    *a = (weir_addr){ .len = sizeof(struct sockaddr_in) };
    *in4(a) = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = mapped.sin6_port };
    memcpy(&in4(a)->sin_addr, (const char *)&mapped.sin6_addr + 12, 4);
}

bool addr_equal(const weir_addr *a, const weir_addr *b)
{
    return a->len == b->len && memcmp(&a->u, &b->u, a->len) == 0;
}
