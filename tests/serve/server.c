/* server.c -- a server in a process of its own, and clients made of plain sockets. */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/syscall.h>
#include "server.h"

enum { PATIENCE_SECONDS = 10, PIECE = 4096 };

/* ---- the server's process ---- */

static struct {
    const struct plan *plan;
    int tell;
} child;

static void tell_port(weir_listener *l)
{
    weir_addr a;
    struct sockaddr_in in;
    CHECK_OK(weir_local(l, &a));
    memcpy(&in, &a.u, sizeof in);
    int port = ntohs(in.sin_port);
    CHECK_EQ(write(child.tell, &port, sizeof port), sizeof port);
    close(child.tell);
}

static int serve(void *arg)
{
    const struct plan *p = child.plan;
    (void)arg;
    weir_listener *l = weir_listen("tcp://127.0.0.1:0", p->listen);
    CHECK(l != NULL);
    tell_port(l);
    return p->serve ? p->serve(l) : weir_serve(l, p->handler, p->arg, &p->opts);
}

static _Noreturn void child_main(const struct plan *p, int tell)
{
    weir_config config = p->config;
    struct rlimit limit = { (rlim_t)p->nofile, (rlim_t)p->nofile };
    child.plan = p;
    child.tell = tell;
    if (p->nofile)
        CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    if (p->before)
        p->before();
    if (!config.workers)
        config.workers = 2;
    int result = p->plain ? serve(NULL) : weir_run(&config, serve, NULL);
    exit(result != 0);
}

/* Asked without making a ring: the end of one interrupts the next call of the thread that had it,
 * and this one's calls are the client's. */
static bool ring_is_denied(void)
{
    return syscall(SYS_io_uring_setup, 0, NULL) == -1 && (errno == EPERM || errno == ENOSYS);
}

void server_start(struct server *s, const struct plan *p)
{
    int said[2];
    if (p->config.backend == WEIR_IO_URING && ring_is_denied())
        SKIP("io_uring is denied here");
    CHECK_OK(pipe(said));
    s->pid = CHECK_OK(fork());
    if (s->pid == 0) {
        close(said[0]);
        child_main(p, said[1]);
    }
    close(said[1]);
    CHECK_EQ(read(said[0], &s->port, sizeof s->port), sizeof s->port);
    close(said[0]);
}

int server_join(struct server *s)
{
    int status;
    CHECK_EQ(waitpid(s->pid, &status, 0), s->pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int server_stop(struct server *s, int signo)
{
    CHECK_OK(kill(s->pid, signo));
    return server_join(s);
}

void orphans_adopt(void)
{
    CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
}

void orphans_join(void)
{
    while (wait(NULL) > 0) {
    }
    CHECK_EQ(errno, ECHILD);
}

/* ---- clients ---- */

int client_try(int port)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct timeval patience = { .tv_sec = PATIENCE_SECONDS * test_slowness() };
    int fd = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience));
    int result;
    do
        result = connect(fd, (struct sockaddr *)&in, sizeof in);
    while (result < 0 && errno == EINTR);
    if (result == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int client_open(int port)
{
    return CHECK_OK(client_try(port));
}

void server_await_refusal(const struct server *s)
{
    for (;;) {
        int fd = client_try(s->port);
        if (fd < 0 && errno == ECONNREFUSED)
            return;
        if (fd >= 0)
            close(fd);
        else
            CHECK_EQ(errno, ECONNRESET); /* the listener was closed during the handshake */
        sched_yield();
    }
}

void client_say(int fd, const void *bytes, size_t len)
{
    CHECK_EQ(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

void client_hear(int fd, const void *bytes, size_t len)
{
    char got[PIECE];
    CHECK(len <= sizeof got);
    CHECK_EQ(recv(fd, got, len, MSG_WAITALL), len);
    CHECK_MEM(got, bytes, len);
}

void client_echo(int fd, unsigned seed, size_t len)
{
    unsigned char said[PIECE];
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < PIECE ? len - done : PIECE;
        for (size_t i = 0; i < piece; i++)
            said[i] = (unsigned char)((seed + done + i) * 2654435761U >> 11);
        client_say(fd, said, piece);
        client_hear(fd, said, piece);
        done += piece;
    }
}

int client_end(int fd)
{
    char rest[PIECE];
    ssize_t n;
    while ((n = recv(fd, rest, sizeof rest, 0)) > 0 || (n < 0 && errno == EINTR)) {
    }
    int error = n < 0 ? errno : 0;
    close(fd);
    return error;
}

void client_finish(int fd)
{
    CHECK_OK(shutdown(fd, SHUT_WR));
    CHECK_EQ(client_end(fd), 0);
}

/* ---- handlers ---- */

int echo(weir_conn *c, void *arg)
{
    char buf[1024];
    ssize_t n;
    (void)arg;
    while (weir_idle(c) > 0 && (n = weir_read(c, buf, sizeof buf)) > 0)
        if (weir_write(c, buf, (size_t)n) != n)
            return -1;
    return WEIR_DONE;
}

int echo_parked(weir_conn *c, void *arg)
{
    char buf[1024];
    ssize_t n = weir_read(c, buf, sizeof buf);
    (void)arg;
    if (n <= 0)
        return n < 0 ? -1 : WEIR_DONE;
    return weir_write(c, buf, (size_t)n) == n ? WEIR_PARK : -1;
}

/* ---- looking at processes ---- */

void *shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

int children_of(pid_t pid, pid_t *children, int max)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *f = fopen(path, "re");
    CHECK(f != NULL);
    while (count < max && fscanf(f, "%d", &children[count]) == 1)
        count++;
    fclose(f);
    return count;
}

int count_fds(pid_t pid)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    CHECK(d != NULL);
    for (struct dirent *entry; (entry = readdir(d));)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;
    CHECK_OK(clock_gettime(clock, &t));
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t cpu_ns(pid_t pid)
{
    clockid_t clock;
    CHECK_EQ(clock_getcpuclockid(pid, &clock), 0);
    return read_clock(clock);
}
