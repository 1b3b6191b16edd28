/* world.c -- the private world of an experiment: namespaces, sysctls, files, processes, time.
 *
 * An ordinary user becomes root of a user namespace of its own, and as such may have a network
 * namespace. Some systems refuse that, and AppArmor may grant the namespace and then no right in
 * it, so it is tried out once, to the end, by a process that does nothing else.              */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

/* ---- namespaces ---- */

static int write_file(const char *path, const char *words)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = write(fd, words, strlen(words)) < 0 ? errno : 0;
    close(fd);
    return error;
}

static int map_to_root(unsigned uid, unsigned gid)
{
    char line[40];
    int error = write_file("/proc/self/setgroups", "deny");
    if (error)
        return error;
    snprintf(line, sizeof line, "0 %u 1", uid);
    error = write_file("/proc/self/uid_map", line);
    if (error)
        return error;
    snprintf(line, sizeof line, "0 %u 1", gid);
    return write_file("/proc/self/gid_map", line);
}

static int loopback_up(void)
{
    struct ifreq request = { .ifr_name = "lo" };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    request.ifr_flags = IFF_UP;
    int error = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? errno : 0;
    close(fd);
    return error;
}

/* 0 or errno. */
static int enter(void)
{
    unsigned uid = geteuid(), gid = getegid();
    if (uid == 0 && unshare(CLONE_NEWNET) == 0)
        return loopback_up();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return errno;
    int error = map_to_root(uid, gid);
    return error ? error : loopback_up();
}

/* ---- why not ---- */

long long sysctl_number(const char *name)
{
    char path[160], line[64] = "";
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t len = read(fd, line, sizeof line - 1);
    close(fd);
    return len > 0 ? atoll(line) : -1;
}

static bool is_filtered(void)
{
    char line[80];
    bool found = false;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && !found && fgets(line, sizeof line, status))
        found = strncmp(line, "Seccomp:\t2", 10) == 0;
    if (status)
        fclose(status);
    return found;
}

struct obstacle {
    const char *sysctl;
    long long value;
    const char *reason, *remedy;
};

static const struct obstacle obstacles[] = {
    { "user/max_user_namespaces", 0, "user.max_user_namespaces is 0 here",
      "try sudo, or sudo sysctl user.max_user_namespaces=1000" },
    { "user/max_net_namespaces", 0, "user.max_net_namespaces is 0 here",
      "sudo sysctl user.max_net_namespaces=1000" },
    { "kernel/unprivileged_userns_clone", 0, "kernel.unprivileged_userns_clone is 0 here",
      "try sudo" },
    { "kernel/apparmor_restrict_unprivileged_userns", 1,
      "AppArmor lets no ordinary program have them", "try sudo" },
};

static void explain(struct world *world, int error)
{
    const char *name = strerrorname_np(error);
    for (size_t i = 0; i < sizeof obstacles / sizeof *obstacles; i++) {
        const struct obstacle *o = &obstacles[i];
        if (sysctl_number(o->sysctl) != o->value)
            continue;
        snprintf(world->reason, sizeof world->reason, "%s", o->reason);
        snprintf(world->remedy, sizeof world->remedy, "%s", o->remedy);
        return;
    }
    bool filtered = is_filtered();
    snprintf(world->reason, sizeof world->reason, "%s (%s)",
             filtered ? "a seccomp filter refuses it, as in containers" : "the kernel refuses it",
             name ? name : "?");
    snprintf(world->remedy, sizeof world->remedy, "%s",
             filtered ? "run it outside of the container" : "try sudo");
}

void world_enter(struct world *world)
{
    int error = enter();
    *world = (struct world){ .is_private = error == 0 };
    if (error)
        explain(world, error);
}

void world_probe(struct world *world)
{
    int status = 0;
    *world = (struct world){ 0 };
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(enter());
    int error = EAGAIN;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        error = WEXITSTATUS(status);
    world->is_private = error == 0;
    if (error)
        explain(world, error);
}

/* ---- needs ---- */

static bool can_capture(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool can_filter(void)
{
    struct sock_filter accept_all = BPF_STMT(BPF_RET | BPF_K, 0xffff);
    struct sock_fprog program = { .len = 1, .filter = &accept_all };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can = fd >= 0 &&
               setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
    if (fd >= 0)
        close(fd);
    return can;
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

bool world_has(struct lab *lab, const struct world *world, unsigned needs)
{
    const char *lacks = NULL;
    if ((needs & NEEDS_NET) && !lab->is_own_net)
        lacks = "a network namespace of its own";
    else if ((needs & NEEDS_CAPTURE) && !can_capture())
        lacks = "to see packets (CAP_NET_RAW)";
    else if ((needs & NEEDS_FILTER) && !can_filter())
        lacks = "to drop packets with a filter on a TCP socket (CAP_NET_ADMIN)";
    if (lacks) {
        bool is_own = lab->is_own_net; /* then it was not the namespace that was refused */
        lab->verdict = skip(lab, is_own ? "try it on another kernel" : world->remedy,
                            "it needs %s; %s", lacks,
                            is_own ? "this kernel refuses that even to root" : world->reason);
        return false;
    }
    if ((needs & NEEDS_IPV6) && !has_ipv6()) {
        lab->verdict = skip(lab, "", "this kernel has no IPv6 on its loopback");
        return false;
    }
    return true;
}

/* ---- for experiments ---- */

bool kernel_since(int major, int minor)
{
    struct utsname name;
    int has_major = 0, has_minor = 0;
    if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &has_major, &has_minor) != 2)
        return false;
    return has_major > major || (has_major == major && has_minor >= minor);
}

void sysctl_set(struct lab *lab, const char *name, const char *value)
{
    char path[160];
    if (!lab->is_own_net) {
        errno = EPERM;
        must(lab, -1, "a sysctl is for a namespace of one's own");
    }
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    errno = write_file(path, value);
    must(lab, errno ? -1 : 0, path);
}

/* The name stands in the record before the directory does, so whatever happens it is removed. */
const char *lab_path(struct lab *lab, const char *name)
{
    static char path[160];
    if (!lab->dir[0]) {
        const char *parent = getenv("TMPDIR");
        if (!parent || strlen(parent) > 30)
            parent = "/tmp";
        snprintf(lab->dir, sizeof lab->dir, "%s/weir-lab-%d", parent, (int)getpid());
        must(lab, mkdir(lab->dir, 0700), lab->dir);
    }
    snprintf(path, sizeof path, "%s/%s", lab->dir, name);
    return path;
}

int spawn(struct lab *lab, int (*act)(void *arg), void *arg)
{
    pid_t parent = getpid();
    pid_t pid = must(lab, fork(), "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    _exit(act(arg));
}

int reap(struct lab *lab, int pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        must(lab, errno == EINTR ? 0 : -1, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

double ms_since(int64_t begin_ns)
{
    return (double)(clock_ns() - begin_ns) / 1e6;
}

void pause_ms(double milliseconds)
{
    int64_t ns = (int64_t)(milliseconds * 1e6);
    struct timespec left = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}
