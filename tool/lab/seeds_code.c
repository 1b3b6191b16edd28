/* seeds_code.c -- the programs of the notes that are wrong: what happens, and the right way beside.
 *
 * Each fault is written as in the notes, in memory that has room for it, so that what it does to
 * its neighbours can be looked at.                                                            */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

enum { MAXLINE = 4096 };

/* ---- seeds-code-1: buff[n] = '\0' ---- */

enum { UNTOUCHED = '#' };

/* A buffer as the notes have it, and its neighbours. */
struct yard {
    char memory[1 + MAXLINE + 1];
};

static char *buffer_in(struct yard *yard)
{
    memset(yard->memory, UNTOUCHED, sizeof yard->memory);
    return yard->memory + 1;
}

/* As in the notes. */
static ssize_t receive_and_end(int conn, char *buff)
{
    ssize_t n = recv(conn, buff, MAXLINE, MSG_DONTWAIT);
    buff[n] = '\0';
    return n;
}

/* Room for the end is kept, and an error is no length. */
static ssize_t receive_line(int conn, char *buff)
{
    ssize_t n = recv(conn, buff, MAXLINE - 1, MSG_DONTWAIT);
    buff[n > 0 ? n : 0] = '\0';
    return n;
}

static void receive_into_yard(struct lab *lab, bool is_right, bool is_reset)
{
    static const char message[MAXLINE] = "GET /";
    struct yard yard;
    struct tcp_pair pair = tcp_pair(lab);
    char *buff = buffer_in(&yard);
    if (is_reset) {
        reset_peer(lab, pair.client);
        pair.client = -1;
        wait_events(pair.server, POLLIN, 1000);
    } else {
        must(lab, send(pair.client, message, sizeof message, 0), "send");
        WAIT_UNTIL(1000, bytes_in(pair.server) == MAXLINE);
    }

    ssize_t n = is_right ? receive_line(pair.server, buff) : receive_and_end(pair.server, buff);

    const char *name = text("%s, %s", is_reset ? "reset" : "4096 bytes",
                            is_right ? "right" : "as in the notes");
    observe_number(lab, text("%s: recv gives", name), n,
                   is_reset ? -1 : is_right ? MAXLINE - 1 : MAXLINE);
    observe_bool(lab, text("%s: the byte before the buffer is overwritten", name),
                 buff[-1] != UNTOUCHED, is_reset && !is_right);
    observe_bool(lab, text("%s: the byte behind it is overwritten", name),
                 buff[MAXLINE] != UNTOUCHED, !is_reset && !is_right);
    CLOSE(pair.client, pair.server);
}

static enum verdict string_end(struct lab *lab)
{
    receive_into_yard(lab, false, false);
    receive_into_yard(lab, false, true);
    receive_into_yard(lab, true, false);
    receive_into_yard(lab, true, true);
    return conclude(lab, CONTRADICTED, "4096 bytes write behind the buffer and an error writes "
                                       "before it: any client can do that to the server");
}

static const struct experiment code_1 = {
    .id = "seeds-code-1",
    .name = "string-end",
    .question = "where does buff[n] = '\\0' write?",
    .source = "S0:519",
    .original = "buff[n] = '\\0';",
    .claim = "n = recv(connfd, buff, MAXLINE, 0); buff[n] = '\\0'; makes a string of what came",
    .expectation = "with n = 4096 the byte behind the buffer is overwritten, with n = -1 the one "
                   "before it; receive one byte less and look at n first, and neither is",
    .reference = "recv(2), RETURN VALUE",
    .why = "recv fills the whole buffer if it can, and then there is no room for one more byte. "
           "When the client has reset the connection it gives -1, and buff[-1] belongs to "
           "somebody else: on the stack a length or a return address. Both depend on what a "
           "stranger sends.",
    .next = "weir lab stale-tail",
    .run = string_end,
};

/* ---- seeds-code-2: data that does not end ---- */

/* What puts(buf) would print after each of two messages. */
static void receive_twice(struct lab *lab)
{
    char buf[MAXLINE] = "";
    struct tcp_pair pair = tcp_pair(lab);
    send_text(lab, pair.client, "hello, world");
    wait_events(pair.server, POLLIN, 1000);
    must(lab, recv(pair.server, buf, MAXLINE, 0), "recv");
    send_text(lab, pair.client, "bye");
    wait_events(pair.server, POLLIN, 1000);
    int n = must(lab, recv(pair.server, buf, MAXLINE, 0), "recv");
    observe_text(lab, "\"hello, world\", then \"bye\" came: puts prints", buf, "byelo, world");
    observe_text(lab, "printf(\"%.*s\") with n prints", text("%.*s", n, buf), "bye");
    CLOSE(pair.client, pair.server);
}

/* 32 bytes into a buffer of 32: nothing is left of the zeros it was filled with. */
static void fill_to_the_brim(struct lab *lab)
{
    char memory[64] = "................................SECRET";
    struct tcp_pair pair = tcp_pair(lab);
    memset(memory, 0, 32);
    send_text(lab, pair.client, "0123456789abcdef0123456789abcdef");
    WAIT_UNTIL(1000, bytes_in(pair.server) == 32);
    int n = must(lab, recv(pair.server, memory, 32, 0), "recv");
    observe_text(lab, "32 bytes came into recvBuf[32]; printed as a string", memory,
                 "0123456789abcdef0123456789abcdefSECRET");
    observe_text(lab, "printed with n", text("%.*s", n, memory),
                 "0123456789abcdef0123456789abcdef");
    CLOSE(pair.client, pair.server);
}

static enum verdict stale_tail(struct lab *lab)
{
    receive_twice(lab);
    fill_to_the_brim(lab);
    return conclude(lab, CONTRADICTED, "received bytes are no string: what is printed goes on with "
                                       "an earlier message, or with other memory");
}

static const struct experiment code_2 = {
    .id = "seeds-code-2",
    .name = "stale-tail",
    .question = "what does puts(buf) print after recv?",
    .source = "S0:632 S2:1096",
    .original = "puts(buf);",
    .claim = "puts(buf) prints what recv has just received; a buffer of zeros ends it",
    .expectation = "the tail of an earlier, longer message is printed, too; and a full buffer has "
                   "no zero left, so what lies behind it is printed",
    .reference = "recv(2), puts(3)",
    .why = "recv writes n bytes and no zero behind them. The length is in n, and nothing but n "
           "says where the message ends. A server that answers with such a string sends one "
           "client what another has written.",
    .next = "weir lab string-end",
    .run = stale_tail,
};

/* ---- seeds-code-3: errors that are not looked at ---- */

/* As in the notes: the loop ends before the error is looked at. How often it was noticed. */
static int echo_as_in_notes(int conn)
{
    char buf[MAXLINE];
    int noticed = 0;
    ssize_t n;
    while ((n = recv(conn, buf, MAXLINE, 0)) > 0) {
        if (send(conn, buf, (size_t)n, MSG_NOSIGNAL) < 0)
            break;
        if (n < 0)
            noticed++;
    }
    return noticed;
}

static int echo_rightly(int conn)
{
    char buf[MAXLINE];
    ssize_t n;
    while ((n = recv(conn, buf, MAXLINE, 0)) > 0)
        if (send(conn, buf, (size_t)n, MSG_NOSIGNAL) < 0)
            break;
    return n < 0;
}

/* The client of the notes asks twice; the server resets instead of its second answer. */
static void ask_twice(struct lab *lab)
{
    char recvline[MAXLINE] = "";
    const char *printed = "";
    struct tcp_pair pair = tcp_pair(lab);
    send_text(lab, pair.server, "first answer");
    wait_events(pair.client, POLLIN, 1000);
    must(lab, recv(pair.client, recvline, MAXLINE, 0), "recv");
    reset_peer(lab, pair.server);
    wait_events(pair.client, POLLIN, 1000);

    ssize_t n = recv(pair.client, recvline, MAXLINE, 0);
    if (n != 0) /* as in the notes: 0 is the only bad end they know */
        printed = recvline;
    observe_errno(lab, "client: recv after the server's reset", n, ECONNRESET);
    observe_text(lab, "client of the notes, which asks for == 0, prints", printed,
                 "first answer");
    observe_text(lab, "client that asks for > 0 prints", n > 0 ? recvline : "", "");
    CLOSE(pair.client);
}

static int echo_after_reset(struct lab *lab, int (*echo)(int conn))
{
    struct tcp_pair pair = tcp_pair(lab);
    reset_peer(lab, pair.client);
    wait_events(pair.server, POLLIN, 1000);
    int noticed = echo(pair.server);
    CLOSE(pair.server);
    return noticed;
}

static enum verdict unseen_error(struct lab *lab)
{
    observe_number(lab, "server of the notes, reset: errors it noticed",
                   echo_after_reset(lab, echo_as_in_notes), 0);
    observe_number(lab, "looking behind the loop: errors noticed",
                   echo_after_reset(lab, echo_rightly), 1);
    ask_twice(lab);
    return conclude(lab, CONTRADICTED, "neither sees a reset: the server's test is where n is "
                                       "always positive, and the client takes -1 for an answer "
                                       "and prints the one before");
}

static const struct experiment code_3 = {
    .id = "seeds-code-3",
    .name = "unseen-error",
    .question = "do the server and the client of the notes notice a reset?",
    .source = "S0:634 S0:693",
    .original = "if (recv(sockfd, recvline, MAXLINE,0) == 0){",
    .claim = "the server tests n < 0 within while (n > 0), the client only whether recv gives 0",
    .expectation = "the server never reports an error; the client prints the previous answer again",
    .reference = "recv(2), RETURN VALUE",
    .why = "recv has three ends: a length, 0 at the end of the stream, -1 for an error. A test "
           "for one of them leaves the others to the code that follows. Within while (n > 0) "
           "the branch n < 0 can never be reached; a compiler may remove it.",
    .next = "weir lab string-end",
    .run = unseen_error,
};

/* ---- seeds-code-4: failing with success ---- */

struct attempt {
    uint16_t port;
    int status; /* to end with if it fails */
};

static int connect_or_exit(void *arg)
{
    const struct attempt *attempt = arg;
    struct sockaddr_in to = address("127.0.0.1", attempt->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        _exit(attempt->status);
    return 0;
}

static enum verdict exit_zero(struct lab *lab)
{
    struct attempt notes = { .port = unused_port(lab), .status = 0 };
    struct attempt right = { .port = notes.port, .status = EXIT_FAILURE };
    observe_number(lab, "nobody listens; exit(0), as in the notes: the shell sees",
                   reap(lab, spawn(lab, connect_or_exit, &notes)), 0);
    observe_number(lab, "exit(EXIT_FAILURE): the shell sees",
                   reap(lab, spawn(lab, connect_or_exit, &right)), EXIT_FAILURE);
    return conclude(lab, CONTRADICTED, "exit(0) says success: whoever started the client goes on "
                                       "as if it had sent its message");
}

static const struct experiment code_4 = {
    .id = "seeds-code-4",
    .name = "exit-zero",
    .question = "what does the shell learn when the client cannot connect?",
    .source = "S0:494 S0:566",
    .original = "exit(0);",
    .claim = "after an error the programs print a message and call exit(0)",
    .expectation = "the status is that of success; it has to be another one",
    .reference = "exit(3), EXIT_FAILURE",
    .why = "A program tells the one that started it by its exit status whether it did what it "
           "was for; `client && next` and every supervisor ask for nothing else. The message "
           "belongs on stderr, too: printf puts it among the data. (Another program of the notes, "
           "S0:201, does not compile: it declares sockfd and tests socket_fd.)",
    .next = "weir lab unseen-error",
    .run = exit_zero,
};

/* ---- seeds-code-5: sending without waiting ---- */

enum { TRIES = 20000, LONG_MESSAGE = 1 << 20, SMALL_BUFFER = 64 << 10 };

static const char long_message[LONG_MESSAGE];

/* Reads all there is; ends with 0 if it was one whole message. */
static int read_message(void *arg)
{
    static char buf[64 << 10];
    long long sum = 0;
    ssize_t n;
    while ((n = recv(*(const int *)arg, buf, sizeof buf, 0)) > 0)
        sum += n;
    return sum != LONG_MESSAGE;
}

/* As in the notes: again at once, whenever there is no room. How often for nothing. */
static int spin_on_send(int fd)
{
    int failed = 0;
    for (int i = 0; i < TRIES; i++) {
        if (send(fd, "helloworld", 10, MSG_NOSIGNAL) == -1 && errno == EWOULDBLOCK) {
            failed++;
            continue;
        }
    }
    return failed;
}

/* What was not taken is sent later, when poll says that there is room. */
static int send_whole(int fd, const char *data, size_t len)
{
    int waits = 0;
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return -1;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        waits += len > 0;
        if (len > 0 && !wait_events(fd, POLLOUT, 5000))
            return -1;
    }
    return waits;
}

static struct tcp_pair narrow_pair(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    set_option(lab, pair.client, SOL_SOCKET, SO_SNDBUF, SMALL_BUFFER);
    set_nonblocking(lab, pair.client);
    return pair;
}

static enum verdict spin_send(struct lab *lab)
{
    struct tcp_pair pair = narrow_pair(lab);
    ssize_t n = send(pair.client, long_message, LONG_MESSAGE, MSG_NOSIGNAL);
    observe_range(lab, "one send of 1048576 bytes, counted as sent, took", (double)n, 1,
                  LONG_MESSAGE - 1, "bytes");
    fill_buffers(lab, pair.client, 1000);
    int64_t used = processor_ns();
    observe_range(lab, "the buffer is full; of 20000 more sends so many fail",
                  spin_on_send(pair.client), TRIES / 2, TRIES, "sends");
    note_number(lab, "for which it used the processor", (double)(processor_ns() - used) / 1e6,
                "ms");
    CLOSE(pair.client, pair.server);

    pair = narrow_pair(lab);
    int child = spawn(lab, read_message, &pair.server);
    int waits = send_whole(pair.client, long_message, LONG_MESSAGE);
    observe_range(lab, "sending the rest when poll says so: waits", waits, 1, TRIES, "waits");
    must(lab, shutdown(pair.client, SHUT_WR), "shutdown");
    observe_bool(lab, "and all 1048576 bytes arrive", reap(lab, child) == 0, true);
    CLOSE(pair.client, pair.server);
    return conclude(lab, CONTRADICTED, "a send that took a part counts as whole and the rest is "
                                       "never sent; when there is no room the loop spins");
}

static const struct experiment code_5 = {
    .id = "seeds-code-5",
    .name = "spin-send",
    .question = "does the non-blocking client of the notes send what it counts?",
    .source = "S2:568 S2:575",
    .original = "int ret = send(clientfd, SEND_DATA, strlen(SEND_DATA), 0);",
    .claim = "on EWOULDBLOCK try again at once; any other positive result is a message sent",
    .expectation = "a send takes what there is room for, which may be a part; without room each "
                   "try fails, thousands of times; with poll and the rest sent later all arrives",
    .reference = "send(2), poll(2)",
    .why = "A non-blocking send stores as much as fits and says how much that was. To wait is "
           "the work of poll, which sleeps until there is room: a fiber of weir does that in "
           "weir_write. A loop that tries again at once keeps a processor busy for as long as "
           "the peer is slow.",
    .next = "weir lab stream",
    .run = spin_send,
};

/* ---- seeds-code-6: one Read, one message ---- */

static void send_prefixed(struct lab *lab, int conn, const char *message, size_t len)
{
    char answer[MAXLINE];
    int size = snprintf(answer, sizeof answer, "server-%.*s", (int)len, message);
    must(lab, send(conn, answer, (size_t)size, MSG_NOSIGNAL), "send");
}

/* As in the notes: what one Read gives is a message. How many it answered. */
static int answer_each_read(struct lab *lab, int conn)
{
    char buf[MAXLINE];
    int answers = 0;
    ssize_t n;
    while ((n = recv(conn, buf, sizeof buf, MSG_DONTWAIT)) > 0) {
        send_prefixed(lab, conn, buf, (size_t)n);
        answers++;
    }
    return answers;
}

/* A message ends with a newline; what comes behind the last one waits for its own. */
static int answer_each_line(struct lab *lab, int conn)
{
    char buf[MAXLINE];
    size_t len = 0;
    int answers = 0;
    ssize_t n;
    while ((n = recv(conn, buf + len, sizeof buf - len, MSG_DONTWAIT)) > 0) {
        len += (size_t)n;
        for (char *end; (end = memchr(buf, '\n', len)); answers++) {
            size_t line = (size_t)(end + 1 - buf);
            send_prefixed(lab, conn, buf, line);
            len -= line;
            memmove(buf, buf + line, len);
        }
    }
    return answers;
}

/* The client writes two messages; the server looks when both are there. */
static int two_messages(struct lab *lab, int (*answer)(struct lab *lab, int conn),
                        const char *end, const char *expected)
{
    char buf[MAXLINE];
    struct tcp_pair pair = tcp_pair(lab);
    int both = 10 + 2 * (int)strlen(end);
    send_text(lab, pair.client, text("hello%s", end));
    send_text(lab, pair.client, text("world%s", end));
    WAIT_UNTIL(1000, bytes_in(pair.server) == both);
    int answers = answer(lab, pair.server);
    WAIT_UNTIL(1000, bytes_in(pair.client) == (int)strlen(expected));
    const char *name = *end ? "ended by newlines" : "as in the notes";
    observe_text(lab, text("%s: the client receives", name),
                 recv_text(lab, pair.client, buf, sizeof buf), expected);
    CLOSE(pair.client, pair.server);
    return answers;
}

static enum verdict one_read(struct lab *lab)
{
    observe_number(lab, "two messages, as in the notes: answers",
                   two_messages(lab, answer_each_read, "", "server-helloworld"), 1);
    observe_number(lab, "two messages, each ended by a newline: answers",
                   two_messages(lab, answer_each_line, "\n", "server-hello\nserver-world\n"), 2);
    return conclude(lab, CONTRADICTED, "two messages that come together are read, and answered, as "
                                       "one; a mark at the end of each tells them apart");
}

static const struct experiment code_6 = {
    .id = "seeds-code-6",
    .name = "one-read",
    .question = "is what one Read gives one message?",
    .source = "S1:184",
    .original = "n, err := reader.Read(buf[:]) // 读取数据",
    .claim = "the echo server reads once and takes what it got for the client's message",
    .expectation = "two messages that have come are one Read and one answer; ended by newlines "
                   "they are two",
    .reference = "RFC 9293 section 3.9.1; bufio.Reader in Go",
    .why = "The bufio.Reader of the program would read lines, with ReadString('\\n'), but its Read "
           "gives whatever the socket has. As long as each message is answered before the next is "
           "written nothing happens, so tests by hand pass. A message longer than the buffer is "
           "torn apart in the same way.",
    .next = "weir lab stream",
    .run = one_read,
};

/* ---- seeds-code-7: names that are not there ---- */

enum { ERRNO_MAX = 4095 };

static bool is_errno(const char *name)
{
    for (int code = 1; code <= ERRNO_MAX; code++) {
        const char *known = strerrorname_np(code);
        if (known && strcmp(known, name) == 0)
            return true;
    }
    return false;
}

static enum verdict no_such_name(struct lab *lab)
{
    static const char *const names[][2] = {
        { "AADDRINUSE", "EADDRINUSE" },
        { "ETIMEOUT", "ETIMEDOUT" },
        { "ECONNREST", "ECONNRESET" },
    };
    unsigned char parsed[sizeof(struct in6_addr)];
    struct addrinfo hints = { .ai_flags = AI_CANONNAME | AI_NUMERICHOST }, *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        observe_bool(lab, text("there is an errno %s", names[i][0]), is_errno(names[i][0]), false);
        observe_bool(lab, text("there is an errno %s", names[i][1]), is_errno(names[i][1]), true);
    }
    observe_bool(lab, "inet_addr takes ::1", inet_addr("::1") != INADDR_NONE, false);
    observe_bool(lab, "inet_pton takes ::1", inet_pton(AF_INET6, "::1", parsed) == 1, true);
    observe_number(lab, "getaddrinfo", getaddrinfo("127.0.0.1", NULL, &hints, &found), 0);
    observe_text(lab, "the name is in ai_canonname; the notes have ai_addrlen twice",
                 found ? found->ai_canonname : "", "127.0.0.1");
    if (found)
        freeaddrinfo(found);
    return conclude(lab, CONTRADICTED, "they are misprints, which no compiler takes: EADDRINUSE, "
                                       "ETIMEDOUT, ECONNRESET, IPPROTO_UDP, ai_canonname; and the "
                                       "function for both families is inet_pton");
}

static const struct experiment code_7 = {
    .id = "seeds-code-7",
    .name = "no-such-name",
    .question = "which names of the notes does the system not have?",
    .source = "S3:30 S3:209 S0:373 S0:181 S3:298 S3:49",
    .original = "常见的errno是EACCES和AADDRINUSE",
    .claim = "bind fails with EACCES and AADDRINUSE, connect with ETIMEOUT, read with ECONNREST; "
             "an addrinfo has ai_addrlen twice; inet_addr is for IPv6, too",
    .expectation = "no errno has these names, but ones a letter away; inet_addr knows IPv4 alone",
    .reference = "errno(3), inet_pton(3), getaddrinfo(3)",
    .why = "Names are learned by copying, and a wrong one in prose is found by nobody until "
           "somebody searches a log for it. errno -l and strerrorname_np list those that are.",
    .next = "weir lab exit-zero",
    .run = no_such_name,
};

/* ---- seeds-code-8: children that nobody awaits ---- */

enum { CHILDREN = 3 };

static int end_at_once(void *arg)
{
    (void)arg;
    return 0;
}

/* A server that gives each client a child; how many of these are left when all have ended. */
static int count_zombies(struct lab *lab, bool reaps)
{
    siginfo_t info;
    int pids[CHILDREN], zombies = 0;
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = spawn(lab, end_at_once, NULL);
        must(lab, waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOWAIT), "waitid");
        while (reaps && waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
    for (int i = 0; i < CHILDREN; i++)
        zombies += waitpid(pids[i], NULL, WNOHANG) == pids[i];
    return zombies;
}

static enum verdict no_reaping(struct lab *lab)
{
    observe_number(lab, "three clients, as in the notes: zombies", count_zombies(lab, false),
                   CHILDREN);
    observe_number(lab, "with waitpid and WNOHANG before each accept: zombies",
                   count_zombies(lab, true), 0);
    return conclude(lab, CONTRADICTED, "each client leaves a zombie, until no process can be made");
}

static const struct experiment code_8 = {
    .id = "seeds-code-8",
    .name = "no-reaping",
    .question = "what is left of the children of the notes' server?",
    .source = "S0:628",
    .original = "if (!fork())",
    .claim = "the server forks for each client and never waits for a child",
    .expectation = "each is left as a zombie; awaited without blocking, none is",
    .reference = "waitpid(2), WNOHANG",
    .why = "A child that has ended stays in the table of processes until its parent asks for its "
           "status. The same program keeps connfd open in the parent (S0:623), so that its "
           "clients never see the end: weir lab fork-server.",
    .next = "weir lab zombies",
    .run = no_reaping,
};

const struct experiment *const seeds_code_experiments[] = {
    &code_1, &code_2, &code_3, &code_4, &code_5, &code_6, &code_7, &code_8, NULL
};
