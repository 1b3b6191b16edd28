/* net_test.c -- the modes a test of net/ runs in, and what its bodies share. */
#include "net_test.h"

#include "io/fault.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

struct mode {
    const char *name;
    bool runtime;
    weir_backend backend;
};

static const struct mode modes[] = {
    { "in a plain thread", false, WEIR_AUTO },
    { "on epoll", true, WEIR_EPOLL },
    { "on io_uring", true, WEIR_IO_URING },
};

struct row {
    const struct mode *mode;
    void (*body)(void);
    bool troubled;
};

static bool runs_in_runtime;

bool in_runtime(void)
{
    return runs_in_runtime;
}

static int run_body(void *arg)
{
    const struct row *row = arg;
    row->body();
    return 0;
}

static void run_in_mode(const struct row *row)
{
    runs_in_runtime = row->mode->runtime;
    if (!row->mode->runtime) {
        row->body();
        return;
    }
    weir_config config = { .workers = 2, .backend = row->mode->backend };
    int result = weir_run(&config, run_body, (void *)(uintptr_t)row);
    if (result < 0 && row->mode->backend == WEIR_IO_URING && errno != EBUSY)
        SKIP("io_uring is not usable here");
    CHECK_EQ(result, 0);
}

static void run_row(const void *arg)
{
    const struct row *row = arg;
    static const struct fault_calls trouble = {
        .seed = 1, .interrupt = 100000, .abort = 300000, .retract = 200000, .trickle = 200000
    };
    uint64_t before = fault_beneath_count();
    if (row->troubled)
        fault_beneath(&trouble);
    run_in_mode(row);
    fault_beneath(NULL);
    CHECK(!row->troubled || fault_beneath_count() > before);
}

static void register_row(const char *name, const char *promise, struct row row)
{
    char text[256];
    struct row *kept = malloc(sizeof *kept);
    if (!kept)
        abort();
    *kept = row;
    snprintf(text, sizeof text, "%s, %s%s", promise, row.mode->name,
             row.troubled ? " in trouble" : "");
    test_add(name, text, run_row, kept);
}

void net_register(const char *name, const char *promise, void (*body)(void), bool troubled)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        register_row(name, promise, (struct row){ &modes[i], body, false });
        if (troubled)
            register_row(name, promise, (struct row){ &modes[i], body, true });
    }
}

/* ---- connections ---- */

weir_listener *listen_local(char *where, const weir_opts *o)
{
    weir_addr a;
    char text[WEIR_ADDRSTR];
    weir_listener *l = weir_listen("tcp://127.0.0.1:0", o);
    if (!l)
        FAIL("listen: %s", weir_error()->text);
    CHECK_OK(weir_local(l, &a));
    snprintf(where, ENDPOINT, "tcp://%s", weir_addr_str(&a, text, sizeof text));
    return l;
}

void tcp_pair_with(weir_conn *c[2], const weir_opts *listen, const weir_opts *dial)
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, listen);
    c[1] = weir_dial(where, dial);
    if (!c[1])
        FAIL("dial: %s", weir_error()->text);
    c[0] = weir_accept(l, NULL);
    if (!c[0])
        FAIL("accept: %s", weir_error()->text);
    CHECK_OK(weir_close(l));
}

void tcp_pair(weir_conn *c[2])
{
    tcp_pair_with(c, NULL, NULL);
}

int raw_connect(const char *where)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    in.sin_port = htons((uint16_t)atoi(strrchr(where, ':') + 1));
    int fd = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_OK(connect(fd, (struct sockaddr *)&in, sizeof in));
    return fd;
}

weir_conn *raw_pair(int *fd)
{
    char where[ENDPOINT];
    weir_listener *l = listen_local(where, NULL);
    *fd = raw_connect(where);
    weir_conn *c = weir_accept(l, NULL);
    CHECK(c != NULL);
    CHECK_OK(weir_close(l));
    return c;
}

void raw_reset(int fd)
{
    struct linger linger = { .l_onoff = 1 };
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    CHECK_OK(close(fd));
}

/* ---- bytes ---- */

void pattern_fill(void *buf, size_t n, size_t offset)
{
    unsigned char *bytes = buf;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)((offset + i) * 167 >> 3);
}

bool pattern_is(const void *buf, size_t n, size_t offset)
{
    const unsigned char *bytes = buf;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != (unsigned char)((offset + i) * 167 >> 3))
            return false;
    return true;
}

void await_bytes(weir_conn *c, int bytes)
{
    int there = 0;
    while (there < bytes) {
        CHECK_OK(ioctl(weir_fileno(c), FIONREAD, &there));
        if (there < bytes)
            CHECK_OK(weir_sleep(WEIR_MS / 10));
    }
}

/* A delayed acknowledgement, 40 ms late, makes room again, hence the wait until nothing moves; and
 * the answer to a probe of the closed window lets the kernel enlarge a buffer whose size nobody has
 * set. */
size_t fill_socket(weir_conn *c)
{
    static const char zeros[64 << 10];
    size_t sum = 0;
    int fd = weir_fileno(c), before, after, size;
    socklen_t len = sizeof size;
    CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len));
    size /= 2; /* the kernel doubles it */
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, len));
    WEIR_TRY;
    for (bool is_full = false;;) {
        ssize_t n = weir_write(c, zeros, sizeof zeros);
        if (n < 0 && is_full)
            return sum;
        sum += n < 0 ? 0 : (size_t)n;
        struct pollfd entry = { .fd = fd, .events = POLLOUT };
        CHECK_OK(ioctl(fd, SIOCOUTQ, &before));
        is_full = n < 0 && poll(&entry, 1, 60) == 0 && !ioctl(fd, SIOCOUTQ, &after) &&
                  after == before;
    }
}

/* ---- tasks ---- */

void start(weir_group *g, int (*fn)(void *), void *arg)
{
    CHECK_OK(weir_go(g, fn, arg));
}

void start_elsewhere(weir_group *g, int (*fn)(void *), void *arg)
{
    weir_fiber_opts o = { .worker = in_runtime() ? 2 : 0 };
    CHECK_OK(weir_go_copy(g, fn, arg, 0, &o));
}

void finish_group(weir_group *g)
{
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_OK(weir_close(g));
}

void await_flag(const _Atomic int *flag, int value)
{
    while (atomic_load(flag) != value)
        CHECK_OK(weir_sleep(WEIR_MS / 10));
}

/* Whether weir_dump says so of a fiber. */
static bool fiber_waits(const char *what)
{
    char *text = NULL, waits[64];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    CHECK(f != NULL);
    weir_dump(f);
    fclose(f);
    snprintf(waits, sizeof waits, "waits for %s", what);
    bool found = strstr(text, waits) != NULL;
    free(text);
    return found;
}

/* Whether a thread beside this one and the first is in poll or ppoll, by what proc(5) says of its
 * system call. */
static bool thread_waits(void)
{
    DIR *tasks = opendir("/proc/self/task");
    bool found = false;
    CHECK(tasks != NULL);
    for (struct dirent *entry; (entry = readdir(tasks)) && !found;) {
        char path[300];
        long call = -1;
        int tid = atoi(entry->d_name);
        if (tid <= 0 || tid == gettid() || tid == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%ld", &call) == 1)
            found = call == SYS_ppoll || call == SYS_poll;
        if (f)
            fclose(f);
    }
    closedir(tasks);
    return found;
}

void await_waiting(const char *what)
{
    while (in_runtime() ? !fiber_waits(what) : !thread_waits())
        CHECK_OK(weir_sleep(WEIR_MS / 5));
}
