/* dump.c -- weir_dump: what every fiber is, where it lives, and what it waits for.
 *
 * A worker's fibers are its own business, so each worker is asked by mail and writes its part
 * into a buffer of its own, between two fibers.  The caller waits for the answers, but not for
 * long: a worker that does not answer is stalled, and that is then the news.  A part whose worker
 * answers too late is freed by that worker.                                                  */
#include <inttypes.h>
#include <string.h>

#include "../observe/symbol.h"
#include "group.h"
#include "watch.h"

#define PATIENCE (250 * WEIR_MS)
enum { GUARD_SHIELD = 3 }; /* as WEIR_SHIELD says it */

struct part {
    struct mail mail;
    struct dump *dump;
    const struct worker *worker;
    int tid, number;
    char *text;        /* NULL: no memory for it */
    size_t len;
    bool answered;     /* under the dump's lock */
    struct list link;  /* in dump->parts */
};

struct dump {
    struct spin lock;
    int references;      /* the caller, and mail under way */
    int awaited;         /* answers still to come */
    struct list caller;  /* its waiter */
    struct list parts;   /* the caller's */
};

/* ---- what a worker writes ---- */

/* "1.2 s", "30 ms" */
static void print_age(FILE *f, int64_t ns)
{
    if (ns >= WEIR_SEC)
        fprintf(f, "%" PRId64 ".%" PRId64 " s", ns / WEIR_SEC, ns / (WEIR_SEC / 10) % 10);
    else
        fprintf(f, "%" PRId64 " ms", ns > 0 ? ns / WEIR_MS : 0);
}

static void print_wait(FILE *f, const struct task *t, weir_time now)
{
    const struct op *op = t->waiting_op;
    if (op)
        fprintf(f, "waits for %s on descriptor %d", op_name((enum op_kind)op->kind), op->fd);
    else
        fprintf(f, "waits for %s", t->waiting_for);
    fprintf(f, ", ");
    print_age(f, now - t->waiting_since);
}

static void print_task(FILE *f, const struct task *t)
{
    const struct worker *w = t->worker;
    char entry[160];
    symbol_describe((const void *)(uintptr_t)t->fn, entry, sizeof entry);
    if (t->name)
        fprintf(f, "  \"%s\" (%s): ", t->name, entry);
    else
        fprintf(f, "  %s: ", entry);
    if (t == w->current)
        fputs("runs", f);
    else if (t->queued)
        fputs("is ready", f);
    else if (t->waiting_op || t->waiting_for)
        print_wait(f, t, w->now);
    else
        fputs("waits", f);
    if (t->group && t->group->name)
        fprintf(f, "; group %" PRIuPTR, (uintptr_t)t->group->name & UINT32_MAX);
    bool cancelled = atomic_load_explicit(&t->stops, memory_order_relaxed) & STOP_CANCEL;
    fputs(cancelled ? "; cancelled\n" : "\n", f);
}

static void print_worker(FILE *f, const struct worker *w, int number)
{
    unsigned ready = 0;
    for (const struct task *t = w->ready_head; t; t = t->next_ready)
        ready++;
    fprintf(f, "worker %d: %s, thread %d, %u fibers, %u ready\n", number, w->backend->name, w->tid,
            w->task_count, ready);
    for (const struct list *link = w->tasks.next; link != &w->tasks; link = link->next)
        print_task(f, container_of(link, struct task, peers));
}

static void part_write(struct part *p)
{
    FILE *f = open_memstream(&p->text, &p->len);
    if (!f)
        return;
    print_worker(f, p->worker, p->number);
    fclose(f);
}

/* ---- asking ---- */

static void dump_leave(struct dump *d)
{
    spin_lock(&d->lock);
    bool last = --d->references == 0;
    spin_unlock(&d->lock);
    if (!last)
        return;
    struct list *link;
    while ((link = list_pop(&d->parts))) {
        struct part *p = container_of(link, struct part, link);
        free(p->text);
        free(p);
    }
    free(d);
}

/* On the worker that was asked. */
static void part_delivered(struct mail *m)
{
    struct part *p = container_of(m, struct part, mail);
    struct dump *d = p->dump;
    part_write(p);
    spin_lock(&d->lock);
    p->answered = true;
    struct list *caller = --d->awaited == 0 ? list_pop(&d->caller) : NULL;
    spin_unlock(&d->lock);
    if (caller)
        waiter_wake(container_of(caller, struct waiter, link), 0);
    dump_leave(d);
}

/* For every worker of the runtime: the caller's own writes at once, the others get mail. */
static void ask(struct worker *w, void *arg)
{
    struct dump *d = arg;
    struct part *p = w->runtime ? calloc(1, sizeof *p) : NULL;
    if (!p)
        return;
    p->mail.deliver = part_delivered;
    p->dump = d;
    p->worker = w;
    p->tid = w->tid;
    p->number = (int)(w - w->runtime->workers) + 1;
    list_push(&d->parts, &p->link);
    if (w == worker_here) {
        part_write(p);
        p->answered = true;
        return;
    }
    spin_lock(&d->lock);
    d->references++;
    d->awaited++;
    spin_unlock(&d->lock);
    worker_mail(w, &p->mail);
}

static void await_answers(struct dump *d)
{
    struct waiter w;
    waiter_init(&w, "a dump", NULL);
    spin_lock(&d->lock);
    if (d->awaited == 0) {
        spin_unlock(&d->lock);
        return;
    }
    list_push(&d->caller, &w.link);
    spin_unlock(&d->lock);
    struct weir_guard_ shield = weir_guard_push_(GUARD_SHIELD, PATIENCE);
    waiter_await(&w, &d->lock, 0);
    weir_guard_pop_(&shield);
}

static void print_part(FILE *f, struct dump *d, const struct part *p)
{
    char text[400];
    spin_lock(&d->lock);
    bool answered = p->answered;
    spin_unlock(&d->lock);
    if (answered && p->text) {
        fwrite(p->text, 1, p->len, f);
    } else if (answered) {
        fprintf(f, "worker %d: no memory to tell more\n", p->number);
    } else {
        stall_describe(p->worker, p->tid, text, sizeof text);
        fprintf(f, "worker %d: does not answer: %s\n", p->number, text);
    }
}

void weir_dump(FILE *f)
{
    struct dump *d = worker_self() ? calloc(1, sizeof *d) : NULL;
    if (!d) {
        fputs("weir: no memory for a dump\n", f);
        return;
    }
    d->references = 1;
    list_init(&d->caller);
    list_init(&d->parts);
    workers_visit(ask, d);
    if (list_is_empty(&d->parts))
        fputs("weir: no runtime runs in this process\n", f);
    await_answers(d);
    for (struct list *link = d->parts.next; link != &d->parts; link = link->next)
        print_part(f, d, container_of(link, struct part, link));
    dump_leave(d);
}
