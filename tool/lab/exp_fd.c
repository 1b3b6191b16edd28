/* exp_fd.c -- experiments on descriptors: who holds them, and how many there may be. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* Long enough for what would come at once, since here nothing is to come. */
enum { SILENCE_MS = 50 };

/* ---- fd-1: a server that forks ---- */

enum { FORKED_CLIENTS = 3 };

/* The child of the notes' server: it answers until the client is done, then closes and ends. */
static int echo_until_end(void *arg)
{
    int conn = *(const int *)arg;
    char buf[64];
    ssize_t len;
    while ((len = recv(conn, buf, sizeof buf, 0)) > 0)
        if (send(conn, buf, (size_t)len, MSG_NOSIGNAL) != len)
            return 1;
    close(conn);
    return 0;
}

/* One client, served by a child until the client has said that it is done. The parent's
 * descriptor is given back: as in the notes, the parent has not closed it. */
static int serve_with_child(struct lab *lab, int listener, int *client)
{
    char buf[16];
    must(lab, tcp_connect(lab, local_address(lab, listener), client), "connect");
    int conn = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    int child = spawn(lab, echo_until_end, &conn);
    send_text(lab, *client, "hello");
    recv_text(lab, *client, buf, sizeof buf);
    must(lab, shutdown(*client, SHUT_WR), "shutdown");
    reap(lab, child);
    return conn;
}

static enum verdict fork_server(struct lab *lab)
{
    char byte;
    int clients[FORKED_CLIENTS], conns[FORKED_CLIENTS], still_open = 0;
    int listener = tcp_listen(lab, FORKED_CLIENTS);

    for (int i = 0; i < FORKED_CLIENTS; i++)
        conns[i] = serve_with_child(lab, listener, &clients[i]);

    for (int i = 0; i < FORKED_CLIENTS; i++)
        still_open += fcntl(conns[i], F_GETFD) >= 0;
    observe_number(lab, "three children have ended; the parent's open connections", still_open,
                   FORKED_CLIENTS);
    observe_text(lab, "poll of a client that awaits the end",
                 poll_words(wait_events(clients[0], POLLIN, SILENCE_MS)), "none");
    WAIT_UNTIL(1000, tcp_state(clients[0]) == TCP_FIN_WAIT2);
    observe_text(lab, "the client is", tcp_state_name(tcp_state(clients[0])), "FIN_WAIT2");
    observe_text(lab, "the server is", tcp_state_name(tcp_state(conns[0])), "CLOSE_WAIT");

    CLOSE(conns[0]);
    observe_text(lab, "once the parent closes, too, poll says",
                 poll_words(wait_events(clients[0], POLLIN, 1000) & POLLIN), "IN");
    observe_number(lab, "and recv", recv(clients[0], &byte, 1, MSG_DONTWAIT), 0);
    close_all(conns + 1, FORKED_CLIENTS - 1);
    close_all(clients, FORKED_CLIENTS);
    CLOSE(listener);
    return conclude(lab, CONFIRMED, "both have to close it. The program in the same notes "
                                    "(S0:623) does not: no client of it ever sees the end, and "
                                    "each costs the parent a descriptor");
}

static const struct experiment fd_1 = {
    .id = "fd-1",
    .name = "fork-server",
    .question = "what if the parent of a forking server keeps the connection open?",
    .source = "S3:182 S0:628",
    .original = "必须在父进程和子进程中都对该socket执行close调用才能将连接关闭",
    .claim = "after fork both the parent and the child have to close the socket to close the "
             "connection; the program in the notes closes it in the child only",
    .expectation = "the child has closed and ended, yet no FIN is sent: FIN_WAIT2 and CLOSE_WAIT "
                   "until the parent closes its descriptor, too",
    .reference = "fork(2), close(2), __fput() in Linux",
    .why = "A descriptor is a number in one process; what it names is an open file that counts "
           "the descriptors of all processes. fork gives the child one more of each. The "
           "connection is closed when the last of them is, so a parent that only accepts and "
           "forks has to close what it accepted, at once.",
    .next = "weir lab cloexec",
    .run = fork_server,
};

/* ---- fd-2: SOCK_CLOEXEC ---- */

/* Whether the descriptor is there in a child that goes on with the same program. */
static int is_open_after_fork(void *arg)
{
    return fcntl(*(const int *)arg, F_GETFD) >= 0;
}

/* The same in a child that becomes another program: the shell looks at its own descriptors. */
static int is_open_after_exec(void *arg)
{
    const char *ask = "if test -e /proc/self/fd/$0; then exit 1; else exit 0; fi";
    execl("/bin/sh", "sh", "-c", ask, text("%d", *(const int *)arg), NULL);
    return 127;
}

static int hold_until_told(void *arg)
{
    char byte;
    return recv(*(const int *)arg, &byte, 1, 0) < 0;
}

/* The parent closes; a forked child that has the socket with it delays the end. */
static void close_beside_child(struct lab *lab)
{
    int orders[2];
    struct tcp_pair pair = tcp_pair(lab);
    must(lab, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, orders), "socketpair");
    int child = spawn(lab, hold_until_told, &orders[1]);

    CLOSE(pair.server);
    observe_text(lab, "the parent closes it, the forked child lives: the peer's poll",
                 poll_words(wait_events(pair.client, POLLIN, SILENCE_MS)), "none");
    send_text(lab, orders[0], "x");
    reap(lab, child);
    observe_text(lab, "the child has ended: the peer's poll",
                 poll_words(wait_events(pair.client, POLLIN, 1000)), "IN");
    CLOSE(pair.client, orders[0], orders[1]);
}

static void fork_and_exec(struct lab *lab, const char *name, int flag)
{
    int fd = must(lab, socket(AF_INET, SOCK_STREAM | flag, 0), "socket");
    bool after_fork = reap(lab, spawn(lab, is_open_after_fork, &fd));
    int end = reap(lab, spawn(lab, is_open_after_exec, &fd));
    bool after_exec = end != 0;
    must(lab, end > 1 ? -1 : 0, "the shell");
    observe_bool(lab, text("%s: open after fork", name), after_fork, true);
    observe_bool(lab, text("%s: open after fork and exec", name), after_exec, !flag);
    cell(lab, name, false);
    cell(lab, after_fork ? "open" : "closed", false);
    cell(lab, after_exec ? "open" : "closed", true);
    CLOSE(fd);
}

static enum verdict cloexec(struct lab *lab)
{
    picture(lab, TABLE, 0, "a socket in a child", NULL, NULL);
    cell(lab, "socket", false);
    cell(lab, "after fork", false);
    cell(lab, "after exec", true);
    fork_and_exec(lab, "plain", 0);
    fork_and_exec(lab, "SOCK_CLOEXEC", SOCK_CLOEXEC);
    close_beside_child(lab);

    int fd = must(lab, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
    observe_number(lab, "made with both flags, FD_CLOEXEC is", fcntl(fd, F_GETFD) & FD_CLOEXEC,
                   FD_CLOEXEC);
    observe_bool(lab, "and O_NONBLOCK is set", fcntl(fd, F_GETFL) & O_NONBLOCK, true);
    CLOSE(fd);
    return conclude(lab, CONTRADICTED, "it is closed on exec, not on fork, so it cures nothing in "
                                       "a server that only forks; and it came with Linux 2.6.27, "
                                       "not 2.6.17");
}

static const struct experiment fd_2 = {
    .id = "fd-2",
    .name = "cloexec",
    .question = "does SOCK_CLOEXEC close a socket in a forked child?",
    .source = "S3:16 S3:18 S3:182",
    .claims = "21 22",
    .original = "以及用fork调用创建子进程时在子进程中关闭该socket",
    .claim = "since Linux 2.6.17 SOCK_CLOEXEC closes the socket in a child made by fork, and so "
             "solves the trouble with shared sockets",
    .expectation = "after fork it is open; after exec it is closed. A forked child keeps the "
                   "connection open as before",
    .reference = "socket(2): since Linux 2.6.27; fcntl(2), FD_CLOEXEC; do_close_on_exec() in Linux",
    .why = "The flag belongs to the descriptor and says what becomes of it when the process turns "
           "into another program, which cannot know of it. fork copies descriptors and their "
           "flags; the child runs the same program and is to close what it does not need. Set "
           "by socket itself the flag leaves no moment in which another thread may fork and exec.",
    .next = "weir lab fork-server",
    .run = cloexec,
};

/* ---- fd-3: no descriptor left ---- */

enum { WAKEUPS = 1000 };

static struct rlimit limit_descriptors(struct lab *lab, rlim_t most)
{
    struct rlimit before, now;
    must(lab, getrlimit(RLIMIT_NOFILE, &before), "getrlimit");
    now = before;
    now.rlim_cur = most;
    must(lab, setrlimit(RLIMIT_NOFILE, &now), "setrlimit");
    return before;
}

/* The lowest number that is free: what the next descriptor would be. */
static int next_descriptor(struct lab *lab)
{
    int fd = must(lab, open("/dev/null", O_RDONLY | O_CLOEXEC), "open");
    close(fd);
    return fd;
}

/* How often a loop of wait and accept goes round although it gets nothing done. */
static int spin(int poller, int listener)
{
    struct epoll_event event;
    int rounds = 0;
    while (rounds < WAKEUPS && epoll_wait(poller, &event, 1, 0) == 1 &&
           accept4(listener, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EMFILE)
        rounds++;
    return rounds;
}

static enum verdict emfile(struct lab *lab)
{
    char byte;
    int listener = tcp_listen(lab, 4), client;
    int poller = must(lab, epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    int spare = must(lab, open("/dev/null", O_RDONLY | O_CLOEXEC), "open");
    struct epoll_event event = { .events = EPOLLIN };
    must(lab, epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
    must(lab, tcp_connect(lab, local_address(lab, listener), &client), "connect");

    struct rlimit before = limit_descriptors(lab, (rlim_t)next_descriptor(lab));
    observe_number(lab, "epoll_wait", epoll_wait(poller, &event, 1, 1000), 1);
    observe_errno(lab, "accept, with no descriptor left",
                  accept4(listener, NULL, NULL, SOCK_CLOEXEC), EMFILE);
    int64_t begin = clock_ns();
    observe_number(lab, "of 1000 more waits so many end at once, for nothing",
                   spin(poller, listener), WAKEUPS);
    note_number(lab, "which took", ms_since(begin), "ms");

    CLOSE(spare);
    int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    observe_errno(lab, "accept, after a spare descriptor was given up", conn, 0);
    CLOSE(conn);
    observe_number(lab, "the client is told: recv gives",
                   wait_events(client, POLLIN, 1000) ? recv(client, &byte, 1, 0) : -1, 0);
    observe_number(lab, "epoll_wait now", epoll_wait(poller, &event, 1, 0), 0);
    must(lab, setrlimit(RLIMIT_NOFILE, &before), "setrlimit");
    CLOSE(client, poller, listener);

    long long open_files = sysctl_number("fs/file-nr"), file_max = sysctl_number("fs/file-max");
    observe_bool(lab, "meanwhile the system is below fs.file-max", open_files < file_max, true);
    note(lab, "fs.file-max, fs.nr_open, soft limit of a process", "%lld, %lld, %lld", file_max,
         sysctl_number("fs/nr_open"), (long long)before.rlim_cur);
    return conclude(lab, REFINED, "the limit of the process, RLIMIT_NOFILE, comes first and gives "
                                  "EMFILE; what waits in the queue stays there, and a loop that "
                                  "only tries again spins");
}

static const struct experiment fd_3 = {
    .id = "fd-3",
    .name = "emfile",
    .question = "what does a server do that has no descriptor left?",
    .source = "S0:219 S2:94",
    .claims = "32",
    .original = "/proc/sys/fs/file-max设置了最大可用filehandle数",
    .claim = "/proc/sys/fs/file-max sets the greatest number of descriptors (and accept may fail "
             "with EMFILE)",
    .expectation = "EMFILE at RLIMIT_NOFILE, far below file-max; the connection stays in the "
                   "queue and epoll reports it at every wait, until a spare descriptor is given "
                   "up to accept and close it",
    .reference = "accept(2), getrlimit(2), proc_sys_fs(5)",
    .why = "A process may have RLIMIT_NOFILE descriptors (EMFILE); that limit may be raised up to "
           "fs.nr_open; only then comes fs.file-max, for the whole system (ENFILE). accept fails "
           "before it takes anything from the queue, so the listener stays readable. One spare "
           "descriptor lets a server take the connection and close it, and the client sees an end "
           "instead of silence; or it stops to watch the listener for a while.",
    .next = "weir lab backlog",
    .run = emfile,
};

/* ---- fd-4: one client at a time ---- */

enum { SERVED = 2 };

struct iterative {
    int listener;
    bool forks;
};

static int answer_once(int conn)
{
    char buf[64];
    ssize_t len = recv(conn, buf, sizeof buf, 0);
    bool is_sent = len > 0 && send(conn, buf, (size_t)len, MSG_NOSIGNAL) == len;
    close(conn);
    return !is_sent;
}

/* The server of the notes: accept, receive, answer, close, and only then the next. */
static int serve_in_turn(void *arg)
{
    const struct iterative *server = arg;
    for (int i = 0; i < SERVED; i++) {
        int conn = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (!server->forks)
            answer_once(conn);
        else if (fork() == 0)
            _exit(answer_once(conn));
        close(conn);
    }
    while (wait(NULL) > 0)
        continue;
    return 0;
}

/* What the kernel does for a client before the server knows of it. */
static void see_waiting(struct lab *lab, int quick)
{
    WAIT_UNTIL(1000, bytes_out(quick) == 0);
    observe_text(lab, "in turn: the second client is", tcp_state_name(tcp_state(quick)),
                 "ESTABLISHED");
    observe_number(lab, "in turn: bytes of its that nobody acknowledged", bytes_out(quick), 0);
}

/* The client that comes first has nothing to say yet; the next one has. */
static void ask_behind_silent(struct lab *lab, bool forks)
{
    char buf[16];
    const char *name = forks ? "forks" : "in turn";
    struct iterative server = { .listener = tcp_listen(lab, SERVED), .forks = forks };
    int silent, quick, child = spawn(lab, serve_in_turn, &server);
    struct sockaddr_in to = local_address(lab, server.listener);

    picture(lab, TIMELINE, 0, text("a server that serves %s", forks ? "each in a child" : name),
            NULL, NULL);
    must(lab, tcp_connect(lab, to, &silent), "connect");
    int64_t begin = clock_ns();
    must(lab, tcp_connect(lab, to, &quick), "connect");
    send_text(lab, quick, "quick");
    moment(lab, ms_since(begin), "the second client asks");
    if (!forks) /* or it may have been answered, and all be over, by now */
        see_waiting(lab, quick);
    int events = wait_events(quick, POLLIN, forks ? 1000 : SILENCE_MS);
    observe_text(lab, text("%s: its poll, while the first is silent", name), poll_words(events),
                 forks ? "IN" : "none");
    if (forks)
        moment(lab, ms_since(begin), "the second client is answered");
    moment(lab, ms_since(begin), "the first client asks");
    send_text(lab, silent, "silent");
    observe_text(lab, text("%s: it is answered", name), recv_text(lab, quick, buf, sizeof buf),
                 "quick");
    if (!forks)
        moment(lab, ms_since(begin), "the second client is answered");
    reap(lab, child);
    CLOSE(silent, quick, server.listener);
}

static enum verdict iterative(struct lab *lab)
{
    ask_behind_silent(lab, false);
    ask_behind_silent(lab, true);
    return conclude(lab, CONFIRMED, "a client that is silent keeps all others waiting; they cannot "
                                    "tell, for the kernel connects them and acknowledges what "
                                    "they send");
}

static const struct experiment fd_4 = {
    .id = "fd-4",
    .name = "iterative",
    .question = "how long does a client wait behind a silent one?",
    .source = "S0:582",
    .original = "只有处理完一个客户端请求才会去处理下一个客户端的请求",
    .claim = "an iterative server handles the next client only when it is done with one",
    .expectation = "the second client is connected and its data acknowledged, but it is answered "
                   "only after the first; where each is served by a child, at once",
    .reference = "accept(2), recv(2)",
    .why = "The server sits in recv for the first client and nobody calls accept. The kernel "
           "needs no accept to complete a handshake or to store data, so the second client waits "
           "in the queue with its question delivered. One process for each client, a thread, a "
           "fiber, or a loop around epoll: all of them are there to not wait for one.",
    .next = "weir lab fork-server",
    .run = iterative,
};

/* ---- fd-5: children that nobody waits for ---- */

/* The state letter of a process, as ps shows it: Z is a zombie; "none" if there is no process. */
static const char *process_state(int pid)
{
    char line[256] = "";
    FILE *file = fopen(text("/proc/%d/stat", pid), "re");
    if (!file)
        return "none";
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    fclose(file);
    const char *end = strrchr(line, ')');
    return end && end[1] ? text("%c", end[2]) : "none";
}

/* Tells who its parent is, as long as it lives. */
static int say_parent(void *arg)
{
    int parent = getppid();
    return write(*(const int *)arg, &parent, sizeof parent) != sizeof parent;
}

static void when_not_ignored(struct lab *lab, const int *ends)
{
    siginfo_t info;
    int parent = 0, child = spawn(lab, say_parent, (void *)&ends[1]);
    must(lab, waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), "waitid");
    must(lab, read(ends[0], &parent, sizeof parent), "read");
    observe_text(lab, "SIGCHLD as it is: the state of a child that ended", process_state(child),
                 "Z");
    observe_number(lab, "wait for it gives its status", reap(lab, child), 0);
    observe_text(lab, "and then its state is", process_state(child), "none");
}

static void when_ignored(struct lab *lab, const int *ends)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
    int parent = 0;
    must(lab, sigaction(SIGCHLD, &ignore, &before), "sigaction");
    int child = spawn(lab, say_parent, (void *)&ends[1]);
    observe_errno(lab, "SIGCHLD ignored: wait, which ends when the child does",
                  waitpid(child, NULL, 0), ECHILD);
    observe_text(lab, "the state of the child is", process_state(child), "none");
    must(lab, read(ends[0], &parent, sizeof parent), "read");
    observe_bool(lab, "to its end its parent was this process, not init", parent == getpid(),
                 true);
    must(lab, sigaction(SIGCHLD, &before, NULL), "sigaction");
}

static enum verdict zombies(struct lab *lab)
{
    int ends[2];
    must(lab, pipe2(ends, O_CLOEXEC), "pipe2");
    when_not_ignored(lab, ends);
    when_ignored(lab, ends);
    CLOSE(ends[0], ends[1]);
    return conclude(lab, REFINED, "there are no zombies, but init has no part in it: the kernel "
                                  "forgets the child at once, and its exit status with it");
}

static const struct experiment fd_5 = {
    .id = "fd-5",
    .name = "zombies",
    .question = "who reaps the children of a server that ignores SIGCHLD?",
    .source = "S2:70",
    .claims = "33",
    .original = "signal(SIGCHLD,SIG_IGN); 交给系统init去回收",
    .claim = "with SIGCHLD ignored, children are left to init to be reaped, and there are no "
             "zombies",
    .expectation = "no zombie; but the child never changes its parent, and waiting for it ends "
                   "with ECHILD when it is gone",
    .reference = "sigaction(2) and wait(2), notes on SIGCHLD; do_notify_parent() and exit_notify() "
                 "in Linux",
    .why = "When a process ends it stays as a zombie so that its parent can ask for its status. "
           "do_notify_parent() sees that the parent ignores SIGCHLD (or has SA_NOCLDWAIT), and "
           "the process is released without that. init adopts only those whose parent has "
           "itself ended. What is lost is the status: such a server never learns that its "
           "children crash.",
    .next = "weir lab fork-server",
    .run = zombies,
};

/* ---- fd-6: epoll and a descriptor with a double ---- */

static enum verdict epoll_dup(struct lab *lab)
{
    char byte;
    struct tcp_pair pair = tcp_pair(lab);
    int poller = must(lab, epoll_create1(EPOLL_CLOEXEC), "epoll_create1"), watched = pair.server;
    struct epoll_event event = { .events = EPOLLIN, .data.fd = watched };
    must(lab, epoll_ctl(poller, EPOLL_CTL_ADD, watched, &event), "epoll_ctl");
    int twin = must(lab, fcntl(watched, F_DUPFD_CLOEXEC, 0), "dup");

    CLOSE(watched);
    send_text(lab, pair.client, "x");
    event = (struct epoll_event){ .data.fd = -1 };
    observe_number(lab, "the watched number is closed; epoll_wait gives",
                   epoll_wait(poller, &event, 1, 1000), 1);
    observe_bool(lab, "and names the closed number", event.data.fd == watched, true);
    observe_errno(lab, "reading from it", recv(watched, &byte, 1, 0), EBADF);
    observe_errno(lab, "taking it out of the epoll",
                  epoll_ctl(poller, EPOLL_CTL_DEL, watched, NULL), EBADF);
    observe_errno(lab, "taking the twin out of the epoll",
                  epoll_ctl(poller, EPOLL_CTL_DEL, twin, NULL), ENOENT);
    observe_number(lab, "so epoll_wait gives it again", epoll_wait(poller, &event, 1, 0), 1);
    CLOSE(twin);
    observe_number(lab, "once the twin is closed it gives", epoll_wait(poller, &event, 1, 0), 0);
    CLOSE(pair.client, poller);
    return conclude(lab, ADDED, "epoll watches the open file, not the number: as long as a twin "
                                "is open it reports a number that is closed, and by then there is "
                                "no way to make it stop but to close the twin");
}

static const struct experiment fd_6 = {
    .id = "fd-6",
    .name = "epoll-dup",
    .question = "does closing a descriptor take it out of an epoll?",
    .expectation = "not while dup or fork have made a second one of it: the closed number is "
                   "reported on, and cannot be taken out",
    .reference = "epoll(7), questions and answers; eventpoll_release_file() in Linux",
    .why = "An epoll keeps pairs of a number and the open file behind it, and drops a pair when "
           "the file is released: when its last descriptor is closed. close on one of two says "
           "nothing to it. EPOLL_CTL_DEL looks up the file by its number, and that is gone; by "
           "then the number may already belong to a new connection. Take a descriptor out "
           "before closing it.",
    .next = "weir lab cloexec",
    .run = epoll_dup,
};

const struct experiment *const fd_experiments[] = { &fd_1, &fd_2, &fd_3, &fd_4, &fd_5, &fd_6,
                                                    NULL };
