/* error.c -- what failed: the record behind weir_error, and its one line of text.
 *
 * A failure stores facts - code, operation, phase, address, time - into its task's record, which
 * is allocated at the task's first failure and stays with it.  The line of text is made when
 * somebody asks for it, because most failures are expected and looked at by their code alone;
 * under WEIR_TRY an EAGAIN does not even read the clock.  A failure that must say more than its
 * facts brings its text along.                                                               */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "error.h"
#include "runtime.h"

/* What weir_error gives before anything failed, and when there is no memory to remember. */
static const weir_err nothing_failed = { .text = "nothing has failed" };
static const weir_err not_remembered = {
    .code = ENOMEM,
    .op = "weir_error",
    .text = "out of memory, so what failed before was not recorded",
};

/* ---- words ---- */

/* Where this library has a meaning of its own for a code, or the C library speaks of timers. */
static const struct {
    int code;
    const char *text;
} own_words[] = {
    { ETIME, "the deadline passed" },
    { EAGAIN, "it would have to wait" },
    { ECANCELED, "cancelled" },
    { ESHUTDOWN, "draining" },
    { EBADF, "the handle is closed" },
    { EDEADLK, "waiting is not possible inside weir_native" },
};

char *error_words(int code, char *buf, size_t size)
{
    const char *text = strerrordesc_np(code);
    for (size_t i = 0; i < ARRAY_COUNT(own_words); i++)
        if (own_words[i].code == code)
            text = own_words[i].text;
    if (!text) {
        snprintf(buf, size, "error %d", code);
        return buf;
    }
    snprintf(buf, size, "%s", text);
    bool begins_with_word = text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z';
    if (begins_with_word)
        buf[0] = (char)(buf[0] + ('a' - 'A'));
    return buf;
}

char *error_time(int64_t ns, char *buf, size_t size)
{
    int64_t tenths = ns < WEIR_SEC ? ns / (WEIR_MS / 10) : ns / (WEIR_SEC / 10);
    const char *unit = ns < WEIR_SEC ? "ms" : "s";
    buf[0] = '\0';
    if (tenths > 0)
        snprintf(buf, size, " (%" PRId64 ".%" PRId64 " %s)", tenths / 10, tenths % 10, unit);
    return buf;
}

/* "dial connect 127.0.0.1:1: connection refused (0.1 ms)" */
static void make_text(weir_err *e)
{
    char what[ERROR_WORDS], took[ERROR_TIME], address[WEIR_ADDRSTR] = "";
    bool phase = e->phase && strcmp(e->phase, e->op) != 0;
    error_words(e->code, what, sizeof what);
    error_time(e->elapsed, took, sizeof took);
    if (e->addr.len > sizeof e->addr.u.sa.sa_family) /* else a Unix socket without a name */
        weir_addr_str(&e->addr, address, sizeof address);
    snprintf(e->text, sizeof e->text, "%s%s%s%s%s: %s%s", e->op, phase ? " " : "",
             phase ? e->phase : "", address[0] ? " " : "", address, what, took);
}

/* ---- recording ---- */

/* The task's record with everything set but text, address and time; NULL: no memory. */
static weir_err *record(struct task *t, int error, const char *op, const char *phase)
{
    must(error < 0);
    if (unlikely(!t))
        return NULL;
    if (unlikely(!t->error))
        t->error = malloc(sizeof *t->error);
    if (unlikely(!t->error))
        return NULL;
    t->error->code = -error;
    t->error->op = op;
    t->error->phase = phase;
    t->error->elapsed = 0;
    t->error->addr.len = 0;
    t->error->text[0] = '\0';
    return t->error;
}

int fail(int error, const char *op, const char *phase, const weir_addr *addr, weir_time since)
{
    weir_err *e = record(task_self(), error, op, phase);
    if (likely(e)) {
        if (addr && addr->len <= sizeof addr->u)
            memcpy(&e->addr, addr, offsetof(weir_addr, u) + addr->len);
        if (since && error != -EAGAIN)
            e->elapsed = weir_now() - since;
    }
    errno = -error;
    return -1;
}

int fail_text(int error, const char *op, const char *phase, const char *fmt, ...)
{
    weir_err *e = record(task_self(), error, op, phase);
    if (likely(e)) {
        char text[sizeof e->text];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        bool names_op = strncmp(text, op, strlen(op)) == 0 && text[strlen(op)] == ' ';
        int space = (int)(sizeof e->text - 1 - (names_op ? 0 : strlen(op) + 2));
        snprintf(e->text, sizeof e->text, "%s%s%.*s", names_op ? "" : op, names_op ? "" : ": ",
                 space, text);
    }
    errno = -error;
    return -1;
}

/* ---- asking ---- */

const weir_err *weir_error(void)
{
    struct task *t = task_self();
    if (!t)
        return &not_remembered;
    if (!t->error)
        return errno == ENOMEM ? &not_remembered : &nothing_failed;
    int saved_errno = errno;
    if (!t->error->text[0])
        make_text(t->error);
    errno = saved_errno;
    return t->error;
}

void weir_perror(const char *what)
{
    int saved_errno = errno;
    bool named = what && *what;
    fprintf(stderr, "%s%s%s\n", named ? what : "", named ? ": " : "", weir_error()->text);
    errno = saved_errno;
}
