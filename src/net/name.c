/* name.c -- names to addresses, by getaddrinfo on a helper thread.
 *
 * A lookup cannot be interrupted, but the caller's deadline and cancellation can end the wait for
 * it: the lookup then goes on alone, in memory of its own, and throws its answer away.  What is
 * an address already is never looked up, and a name longer than DNS allows never leaves here.  */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/error.h"
#include "../runtime/lane.h"
#include "addr.h"
#include "endpoint.h"
#include "name.h"

struct lookup {
    struct spin lock;
    struct list waiting; /* the caller's waiter */
    int users;           /* the caller, and who looks up */
    int code, saved_errno;
    struct addrinfo *found;
    struct addrinfo hints;
    const char *service; /* in text, after the host; or NULL */
    char text[];         /* the host */
};

/* ---- the lookup ---- */

static struct lookup *lookup_new(const char *host, const char *service, int family)
{
    size_t host_len = strlen(host) + 1, service_len = service ? strlen(service) + 1 : 0;
    struct lookup *l = calloc(1, sizeof *l + host_len + service_len);
    if (!l)
        return NULL;
    memcpy(l->text, host, host_len);
    if (service)
        l->service = memcpy(l->text + host_len, service, service_len);
    l->hints = (struct addrinfo){ .ai_family = family, .ai_socktype = SOCK_STREAM };
    l->users = 2;
    list_init(&l->waiting);
    return l;
}

static void lookup_release(struct lookup *l)
{
    spin_lock(&l->lock);
    int users = --l->users;
    spin_unlock(&l->lock);
    if (users)
        return;
    if (l->found)
        freeaddrinfo(l->found);
    free(l);
}

/* Blocks its thread. */
static int lookup_ask(void *arg)
{
    struct lookup *l = arg;
    errno = 0;
    l->code = getaddrinfo(l->text, l->service, &l->hints, &l->found);
    l->saved_errno = errno;
    return 0;
}

static void lookup_done(struct lookup *l)
{
    spin_lock(&l->lock);
    struct list *link = list_pop(&l->waiting);
    if (link)
        waiter_wake(container_of(link, struct waiter, link), 0);
    spin_unlock(&l->lock);
    lookup_release(l);
}

/* ---- who looks up ---- */

static int lookup_fiber(void *arg)
{
    struct lookup *l = arg;
    int error;
    lane_call(LANE_DNS, lookup_ask, l, &error);
    if (error)
        l->code = EAI_MEMORY;
    lookup_done(l);
    return 0;
}

static void *lookup_thread(void *arg)
{
    lookup_ask(arg);
    lookup_done(arg);
    return NULL;
}

static int thread_start(struct lookup *l)
{
    pthread_t thread;
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    int error = pthread_create(&thread, NULL, lookup_thread, l);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (!error)
        pthread_detach(thread);
    return -error;
}

/* A plain thread without a deadline has nothing to do but to wait, so it asks itself. */
static int lookup_run(struct lookup *l)
{
    struct task *t = task_self();
    struct runtime *r = t->worker->runtime;
    struct waiter w;
    if (!r && t->deadline == TIME_NEVER) {
        lookup_ask(l);
        lookup_done(l);
        return 0;
    }
    waiter_init(&w, "the resolver", NULL);
    list_push(&l->waiting, &w.link);
    weir_fiber_opts o = { .name = "lookup" };
    int error = r ? group_spawn(r->root, NULL, lookup_fiber, l, 0, &o) : thread_start(l);
    if (error) {
        t->waiting_for = NULL;
        lookup_release(l);
        return error;
    }
    return waiter_await(&w, &l->lock, 0);
}

/* ---- answers ---- */

/* The nearest errno; gai_strerror says the rest. */
static int code_error(const struct lookup *l)
{
    switch (l->code) {
    case EAI_SYSTEM:
        return l->saved_errno ? -l->saved_errno : -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -ETIMEDOUT;
    case EAI_FAIL:
        return -EPROTO;
    case EAI_SERVICE:
    case EAI_BADFLAGS:
    case EAI_SOCKTYPE:
        return -EINVAL;
    case EAI_FAMILY:
    case EAI_ADDRFAMILY:
        return -EAFNOSUPPORT;
    default: /* EAI_NONAME, EAI_NODATA */
        return -ENOENT;
    }
}

static int collect(const struct addrinfo *found, weir_addr *out, int max)
{
    int count = 0;
    for (const struct addrinfo *at = found; at && count < max; at = at->ai_next) {
        if (at->ai_addrlen > sizeof out->u)
            continue;
        out[count] = (weir_addr){ .len = at->ai_addrlen };
        memcpy(&out[count++].u, at->ai_addr, at->ai_addrlen);
    }
    return count;
}

/* "dial tcp://a.example:80: a.example: the deadline passed (5.0 s)" */
static void tell(int error, const char *why, const char *op, const char *where, const char *host,
                 weir_time since)
{
    char took[ERROR_TIME];
    int64_t elapsed = weir_now() - since;
    struct task *t = task_self();
    error_time(elapsed, took, sizeof took);
    if (where)
        fail_text(error, op, "resolve", "%s %.*s: %.80s: %s%s", op, ENDPOINT_SHOWN, where, host,
                  why, took);
    else
        fail_text(error, op, "resolve", "%.160s: %s%s", host, why, took);
    if (t->error)
        t->error->elapsed = elapsed;
}

static int look_up(const char *host, const char *service, int family, weir_addr *out, int max,
                   const char *op, const char *where)
{
    char words[ERROR_WORDS];
    weir_time since = weir_now();
    struct lookup *l = lookup_new(host, service, family);
    int result = l ? lookup_run(l) : -ENOMEM;
    if (result) {
        tell(result, error_words(-result, words, sizeof words), op, where, host, since);
    } else if (l->code) {
        result = code_error(l);
        tell(result, gai_strerror(l->code), op, where, host, since);
    } else {
        result = collect(l->found, out, max);
    }
    if (l)
        lookup_release(l);
    return result;
}

/* ---- the interface ---- */

/* The address that `host` spells out, with the port that `service` spells out: 1, else 0. */
static int take_numeric(const char *host, const char *service, weir_addr *out)
{
    char text[WEIR_ADDRSTR];
    if (!service)
        service = "0";
    if (addr_parse_port(service, service + strlen(service)) < 0)
        return 0;
    int len = snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
    if (len < 0 || (size_t)len >= sizeof text || host[0] == '[')
        return 0;
    return addr_parse_inet(out, text, text + len) == 0;
}

/* getaddrinfo(3) reads a number as strtoul(3) does, and takes 65616 for port 80, nothing for 0. */
static bool is_impossible_port(const char *service)
{
    char *end;
    (void)strtoul(service, &end, 10);
    return !*service || (end != service && !*end && addr_parse_port(service, end) < 0);
}

int name_resolve(const char *host, const char *service, int family, weir_addr *out, int max,
                 const char *op, const char *where)
{
    size_t len = host ? strlen(host) : 0;
    const char *why = NULL;
    int error = -EINVAL;
    if (!len)
        why = "no host name";
    else if (max < 1)
        why = "no room for an address";
    else if (service && is_impossible_port(service))
        why = "a port is a number from 0 to 65535";
    else if (len > NAME_MAX_DNS + (host[len - 1] == '.'))
        error = -ENAMETOOLONG, why = "a host name has at most 253 bytes";
    if (why) {
        fail_text(error, op, "resolve", "%s", why);
        return error;
    }
    if (take_numeric(host, service, out) && (!family || out->u.sa.sa_family == family))
        return 1;
    return look_up(host, service, family, out, max, op, where);
}

int weir_resolve(const char *host, const char *service, weir_addr *out, int max)
{
    if (!task_self())
        return fail(-ENOMEM, "resolve", "resolve", NULL, 0);
    int count = name_resolve(host, service, AF_UNSPEC, out, max, "resolve", NULL);
    return count < 0 ? -1 : count;
}
