/* exp_addr_names.c -- experiments on addresses as text, on names, and on what a socket is. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- addr-7: addresses as text ---- */

static const struct {
    const char *words;
    const char *read; /* by inet_aton; "refused" */
    int by_pton;
} odd_addresses[] = {
    { "127.0.0.1", "127.0.0.1", 1 },
    { "010.0.0.1", "8.0.0.1", 0 },
    { "1.2", "1.0.0.2", 0 },
    { "0x7f.1", "127.0.0.1", 0 },
    { "2130706433", "127.0.0.1", 0 },
    { "1.2.3.4 and more", "1.2.3.4", 0 },
    { "1.2.3.256", "refused", 0 },
};

static void read_odd_addresses(struct lab *lab)
{
    picture(lab, TABLE, 0, "what they read", NULL, NULL);
    cell(lab, "text", false);
    cell(lab, "inet_aton", false);
    cell(lab, "inet_pton", true);
    for (size_t i = 0; i < sizeof odd_addresses / sizeof *odd_addresses; i++) {
        struct in_addr a, b;
        char buf[INET_ADDRSTRLEN] = "refused";
        const char *words = odd_addresses[i].words;
        if (inet_aton(words, &a))
            inet_ntop(AF_INET, &a, buf, sizeof buf);
        int by_pton = inet_pton(AF_INET, words, &b);
        observe_text(lab, text("inet_aton(\"%s\")", words), buf, odd_addresses[i].read);
        observe_number(lab, text("inet_pton(\"%s\")", words), by_pton, odd_addresses[i].by_pton);
        cell(lab, words, false);
        cell(lab, buf, false);
        cell(lab, by_pton == 1 ? "the same" : "refused", true);
    }
}

static void *print_one(void *address)
{
    return inet_ntoa(*(struct in_addr *)address);
}

static enum verdict text_addresses(struct lab *lab)
{
    struct in_addr one = { htonl(0x0a000001) }, two = { htonl(0x0a000002) }, all;
    pthread_t thread;
    void *elsewhere = NULL;

    const char *first = inet_ntoa(one), *second = inet_ntoa(two);
    observe_bool(lab, "two calls of inet_ntoa give the same buffer", first == second, true);
    observe_text(lab, "so 10.0.0.1, looked at after both, is", first, "10.0.0.2");
    errno = pthread_create(&thread, NULL, print_one, &one);
    must(lab, errno ? -1 : 0, "pthread_create");
    pthread_join(thread, &elsewhere);
    observe_bool(lab, "a call in another thread gives it", elsewhere == first, false);
    observe_text(lab, "and after that call it is still", first, "10.0.0.2");

    observe_bool(lab, "inet_addr(\"255.255.255.255\") is what it gives for an error",
                 inet_addr("255.255.255.255") == INADDR_NONE, true);
    observe_number(lab, "inet_aton of the same", inet_aton("255.255.255.255", &all), 1);
    read_odd_addresses(lab);
    return conclude(lab, REFINED, "one buffer it is, but in glibc one for each thread; inet_pton "
                                  "and inet_ntop avoid it, and read nothing but a.b.c.d");
}

static const struct experiment addr_7 = {
    .id = "addr-7",
    .name = "text-addresses",
    .question = "what do inet_ntoa, inet_aton and inet_pton make of text?",
    .source = "S3:43 S3:47 S3:49",
    .original = "不可重入函数，内部用静态变量保存结果",
    .claim = "inet_ntoa is not reentrant: it keeps its result in a static variable",
    .expectation = "two calls share a buffer, which in glibc each thread has for itself; inet_addr "
                   "cannot tell 255.255.255.255 from an error; inet_aton reads octal, hexadecimal "
                   "and fewer than four parts, all of which inet_pton refuses",
    .reference = "inet(3), inet_pton(3), RFC 6943 section 3.1.1",
    .why = "inet_aton is as old as BSD, when networks had classes and 1.2 meant host 2 of network "
           "1. A filter that compares such text with a list, beside a program that reads it so, "
           "is how 010.0.0.1 gets past. The notes name inet_addr twice, where inet_pton should "
           "stand.",
    .next = "weir lab name-lookup",
    .run = text_addresses,
};

/* ---- addr-8: names of hosts and services ---- */

/* For how many of TCP and UDP /etc/services has the service, and its port. */
static int count_in_services(const char *service, int *port)
{
    char line[256], word[64], protocol[16];
    int number = 0, count = 0;
    FILE *file = fopen("/etc/services", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %d/%15s", word, &number, protocol) != 3 ||
            strcmp(word, service) != 0 ||
            (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0))
            continue;
        *port = number;
        count++;
    }
    if (file)
        fclose(file);
    return count;
}

/* The first IPv4 address that /etc/hosts gives it; whether there is one. */
static bool address_in_hosts(const char *host, struct in_addr *out)
{
    char line[512], *rest = NULL;
    bool found = false;
    FILE *file = fopen("/etc/hosts", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *word = strtok_r(line, " \t\n", &rest);
        bool is_ipv4 = word && inet_pton(AF_INET, word, out) == 1;
        while (is_ipv4 && !found && (word = strtok_r(NULL, " \t\n", &rest)))
            found = strcmp(word, host) == 0;
    }
    if (file)
        fclose(file);
    return found;
}

static const char *eai_word(int code)
{
    static const struct {
        int code;
        const char *word;
    } words[] = {
        { 0, "success" },
        { EAI_NONAME, "EAI_NONAME" },
        { EAI_SERVICE, "EAI_SERVICE" },
        { EAI_ADDRFAMILY, "EAI_ADDRFAMILY" },
        { EAI_FAMILY, "EAI_FAMILY" },
        { EAI_SOCKTYPE, "EAI_SOCKTYPE" },
        { EAI_BADFLAGS, "EAI_BADFLAGS" },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].code == code)
            return words[i].word;
    return gai_strerror(code);
}

static const struct {
    const char *host, *service;
    struct addrinfo hints;
    const char *how, *ends;
} lookups[] = {
    { "127.0.0.1", "80", { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV },
      "127.0.0.1 and 80, both to be numbers", "success" },
    { "0x7f.1", "80", { .ai_flags = AI_NUMERICHOST },
      "0x7f.1, a number to inet_aton", "success" },
    { "localhost", "80", { .ai_flags = AI_NUMERICHOST },
      "localhost, to be a number", "EAI_NONAME" },
    { "127.0.0.1", "http", { .ai_flags = AI_NUMERICSERV }, "http, to be a number", "EAI_NONAME" },
    { "127.0.0.1", "no-such-service", { .ai_socktype = SOCK_STREAM },
      "a service that is not there", "EAI_SERVICE" },
    { "::1", "80", { .ai_flags = AI_NUMERICHOST, .ai_family = AF_INET },
      "::1, as IPv4", "EAI_ADDRFAMILY" },
    { "127.0.0.1", "80", { .ai_family = AF_UNIX }, "the family AF_UNIX", "EAI_FAMILY" },
    { "127.0.0.1", "80", { .ai_socktype = 77 }, "a type that is not there", "EAI_SOCKTYPE" },
    { "127.0.0.1", "80", { .ai_flags = 1 << 30 }, "a flag that is not there", "EAI_BADFLAGS" },
    { NULL, NULL, { 0 }, "neither host nor service", "EAI_NONAME" },
};

static void try_lookups(struct lab *lab)
{
    for (size_t i = 0; i < sizeof lookups / sizeof *lookups; i++) {
        struct addrinfo *found = NULL;
        int code = getaddrinfo(lookups[i].host, lookups[i].service, &lookups[i].hints, &found);
        observe_text(lab, lookups[i].how, eai_word(code), lookups[i].ends);
        if (code == 0)
            freeaddrinfo(found);
    }
}

/* Asks for 127.0.0.1 without naming a type of socket: how many types are answered. */
static int count_types(struct lab *lab, const char *service)
{
    static const char *const types[] = { "any", "SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW" };
    struct addrinfo *all = NULL, hints = { .ai_flags = AI_NUMERICHOST };
    int code = getaddrinfo("127.0.0.1", service, &hints, &all), count = 0;
    observe_text(lab, text("any type for %s", service), eai_word(code), "success");
    for (struct addrinfo *a = all; a; a = a->ai_next) {
        bool is_known = a->ai_socktype >= 0 && a->ai_socktype <= SOCK_RAW;
        note(lab, text("an answer for %s", service), "%s, ai_protocol %d",
             is_known ? types[a->ai_socktype] : "another type", a->ai_protocol);
        count++;
    }
    freeaddrinfo(all);
    return count;
}

/* Whether getaddrinfo finds this address and port for a stream; NULL: the wildcard. */
static bool finds(const char *host, const char *service, struct in_addr wanted, int port)
{
    struct addrinfo *all = NULL;
    struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_family = AF_INET,
                              .ai_socktype = SOCK_STREAM };
    bool found = false;
    if (getaddrinfo(host, service, &hints, &all) != 0)
        return false;
    for (struct addrinfo *a = all; a && !found; a = a->ai_next) {
        const struct sockaddr_in *at = (const struct sockaddr_in *)a->ai_addr;
        found = at->sin_addr.s_addr == wanted.s_addr && ntohs(at->sin_port) == port;
    }
    freeaddrinfo(all);
    return found;
}

static enum verdict name_lookup(struct lab *lab)
{
    struct in_addr at = { htonl(INADDR_LOOPBACK) }, any = { htonl(INADDR_ANY) };
    int port = 80, protocols = count_in_services("http", &port);
    bool has_host = address_in_hosts("localhost", &at);
    const char *host = has_host ? "localhost" : "127.0.0.1";
    const char *service = protocols ? "http" : "80";

    note(lab, "localhost in /etc/hosts", "%s", has_host ? inet_ntoa(at) : "not there");
    note(lab, "http in /etc/services", protocols ? "port %d" : "not there", port);
    observe_bool(lab, text("%s and %s have the files' address and port", host, service),
                 finds(host, service, at, port), true);
    observe_bool(lab, "no host and AI_PASSIVE: INADDR_ANY", finds(NULL, "80", any, 80), true);
    observe_number(lab, "types of socket for port 80", count_types(lab, "80"), 3);
    if (protocols)
        observe_number(lab, "types of socket for http, of which /etc/services has as many",
                       count_types(lab, "http"), protocols);
    try_lookups(lab);

    const struct hostent *first = gethostbyname("127.0.0.1"), *second = gethostbyname("127.0.0.2");
    observe_bool(lab, "two calls of gethostbyname give the same structure", first == second, true);
    return conclude(lab, REFINED, "it does; which files and servers are asked, and in what order, "
                                  "nsswitch.conf says, and the older calls share one buffer");
}

static const struct experiment addr_8 = {
    .id = "addr-8",
    .name = "name-lookup",
    .question = "where do getaddrinfo's answers come from?",
    .source = "S3:238 S3:262 S3:277 S3:296",
    .original = "该函数既能通过主机名获得IP地址，也能通过服务器获得端口号",
    .claim = "getaddrinfo gets addresses from a host's name, and ports from a service's; "
             "gethostbyname looks into /etc/hosts and then asks DNS, getservbyname reads "
             "/etc/services",
    .expectation = "localhost and http are what the two files say; a port by number is told for "
                   "streams, datagrams and raw sockets, a service for those that have it; an "
                   "error is a code of its own, not an errno",
    .reference = "getaddrinfo(3), nsswitch.conf(5), gai.conf(5), RFC 6724",
    .why = "nsswitch.conf(5) names the sources in their order: files, dns, or others in between. "
           "Answers come sorted by RFC 6724, the best first; try them in turn. ai_protocol is set "
           "in them, not 0 as the notes have it, and without a type in the hints each address "
           "comes several times. gethostbyname looks up IPv4 alone and keeps its answer in "
           "static memory.",
    .next = "weir lab text-addresses",
    .run = name_lookup,
};

/* ---- addr-9: the two ends ---- */

static bool is_same(struct sockaddr_in a, struct sockaddr_in b)
{
    return a.sin_addr.s_addr == b.sin_addr.s_addr && a.sin_port == b.sin_port;
}

static int ask_peer(int fd)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &len);
}

static enum verdict both_ends(struct lab *lab)
{
    int listener = tcp_listen(lab, 1), client = tcp_socket(lab);
    struct sockaddr_in to = local_address(lab, listener), told, partly = { 0 };
    socklen_t len = sizeof told, few = 4;

    observe_number(lab, "a new socket's own port", local_port(lab, client), 0);
    observe_errno(lab, "its peer", ask_peer(client), ENOTCONN);
    observe_errno(lab, "a listener's peer", ask_peer(listener), ENOTCONN);
    int result = connect(client, (struct sockaddr *)&to, sizeof to);
    observe_number(lab, "connect returns, whatever its socket's number", result, 0);
    int server = must(lab, accept(listener, (struct sockaddr *)&told, &len), "accept");
    struct sockaddr_in own = local_address(lab, client);

    observe_range(lab, "connected: its own port", ntohs(own.sin_port), 1, 65535, "");
    observe_bool(lab, "its peer is the listener's address",
                 is_same(peer_address(lab, client), to), true);
    observe_bool(lab, "the server's peer is the client's own address",
                 is_same(peer_address(lab, server), own), true);
    observe_bool(lab, "accept has told the same", is_same(told, own), true);
    must(lab, getsockname(client, (struct sockaddr *)&partly, &few), "getsockname");
    observe_number(lab, "with room for 4 bytes, the length that is told", few, sizeof partly);
    observe_bool(lab, "and more than 4 bytes are written", partly.sin_addr.s_addr != 0, false);

    must(lab, shutdown(client, SHUT_WR), "shutdown");
    wait_events(server, POLLIN, 1000);
    observe_errno(lab, "the client has ended its stream: the server's peer", ask_peer(server), 0);
    reset_peer(lab, client);
    WAIT_UNTIL(1000, tcp_state(server) == TCP_CLOSE);
    observe_errno(lab, "the client has reset it: the server's peer", ask_peer(server), ENOTCONN);
    CLOSE(server, listener);
    return conclude(lab, REFINED, "so they do, as long as there is a connection: after a reset "
                                  "only accept's answer still knows who it was");
}

static const struct experiment addr_9 = {
    .id = "addr-9",
    .name = "both-ends",
    .question = "when do getsockname and getpeername know an address?",
    .source = "S3:206 S3:228",
    .claims = "23",
    .original = "分别的作用是获取sockfd对应的本端socket地址和远端socket地址",
    .claim = "getsockname and getpeername give the addresses of the local and the remote end; "
             "connect returns the socket that communicates",
    .expectation = "connect returns 0 and gives its own socket a local address; one end's peer "
                   "is the other's own address, until a reset: ENOTCONN from then on",
    .reference = "getpeername(2), connect(2), inet_getname() in Linux",
    .why = "A socket has an address from bind or connect on. A reset ends the connection, "
           "and with it getpeername; a FIN does not. So keep what accept tells for the log: "
           "the question may come too late. Where there is too little room the address is cut "
           "off, and its true length told.",
    .next = "weir lab same-port",
    .run = both_ends,
};

/* ---- addr-10: which sockets there are ---- */

enum { MPTCP = 262 };

static const struct {
    const char *words;
    int family, type, protocol;
    int ends; /* an errno; -1: it depends */
    int gets; /* SO_PROTOCOL, where it succeeds */
} kinds[] = {
    { "INET STREAM 0", AF_INET, SOCK_STREAM, 0, 0, IPPROTO_TCP },
    { "INET STREAM TCP", AF_INET, SOCK_STREAM, IPPROTO_TCP, 0, IPPROTO_TCP },
    { "INET STREAM UDP", AF_INET, SOCK_STREAM, IPPROTO_UDP, EPROTONOSUPPORT, 0 },
    { "INET DGRAM 0", AF_INET, SOCK_DGRAM, 0, 0, IPPROTO_UDP },
    { "INET DGRAM UDP", AF_INET, SOCK_DGRAM, IPPROTO_UDP, 0, IPPROTO_UDP },
    { "INET DGRAM TCP", AF_INET, SOCK_DGRAM, IPPROTO_TCP, EPROTONOSUPPORT, 0 },
    { "INET STREAM 999", AF_INET, SOCK_STREAM, 999, EINVAL, 0 },
    { "INET type 77", AF_INET, 77, 0, EINVAL, 0 },
    { "family 200", 200, SOCK_STREAM, 0, EAFNOSUPPORT, 0 },
    { "UNIX STREAM 0", AF_UNIX, SOCK_STREAM, 0, 0, 0 },
    { "UNIX DGRAM 0", AF_UNIX, SOCK_DGRAM, 0, 0, 0 },
    { "UNIX SEQPACKET 0", AF_UNIX, SOCK_SEQPACKET, 0, 0, 0 },
    { "UNIX STREAM TCP", AF_UNIX, SOCK_STREAM, IPPROTO_TCP, EPROTONOSUPPORT, 0 },
    { "ROUTE RAW 0", AF_ROUTE, SOCK_RAW, 0, 0, 0 },
    { "INET SEQPACKET 0", AF_INET, SOCK_SEQPACKET, 0, -1, 0 },
    { "INET STREAM MPTCP", AF_INET, SOCK_STREAM, MPTCP, -1, 0 },
    { "INET STREAM SCTP", AF_INET, SOCK_STREAM, IPPROTO_SCTP, -1, 0 },
    { "INET RAW TCP", AF_INET, SOCK_RAW, IPPROTO_TCP, -1, 0 },
    { "INET PACKET 0", AF_INET, SOCK_PACKET, 0, -1, 0 },
};

static enum verdict socket_kinds(struct lab *lab)
{
    picture(lab, TABLE, PICTURE_DETAIL, "socket(family, type, protocol)", NULL, NULL);
    cell(lab, "asked for", false);
    cell(lab, "answer", true);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int fd = socket(kinds[i].family, kinds[i].type | SOCK_CLOEXEC, kinds[i].protocol);
        int error = fd < 0 ? errno : 0;
        const char *answer = error ? strerrorname_np(error) : "a socket";
        cell(lab, kinds[i].words, false);
        cell(lab, answer ? answer : "?", true);
        errno = error;
        if (kinds[i].ends < 0)
            note(lab, kinds[i].words, "%s", answer ? answer : "?");
        else
            observe_errno(lab, kinds[i].words, fd, kinds[i].ends);
        if (fd >= 0 && kinds[i].ends == 0 && kinds[i].family == AF_INET)
            observe_number(lab, text("%s: its protocol", kinds[i].words),
                           get_option(lab, fd, SOL_SOCKET, SO_PROTOCOL), kinds[i].gets);
        CLOSE(fd);
    }
    return conclude(lab, CONFIRMED, "0 is TCP for a stream and UDP for datagrams; what does not "
                                    "go together is EPROTONOSUPPORT");
}

static const struct experiment addr_10 = {
    .id = "addr-10",
    .name = "socket-kinds",
    .question = "which families, types and protocols go together?",
    .source = "S0:178 S0:187 S0:188 S4:25",
    .original = "SOCK_STREAM不可以跟IPPROTO_UDP组合",
    .claim = "type and protocol cannot be combined at will: not SOCK_STREAM and IPPROTO_UDP; "
             "protocol 0 is the type's default",
    .expectation = "a type with another's protocol is EPROTONOSUPPORT, 0 becomes 6 for streams "
                   "and 17 for datagrams; MPTCP, SCTP, SEQPACKET and raw sockets are as the "
                   "kernel's configuration and one's rights have it",
    .reference = "socket(2), protocols(5), inet_create() in Linux",
    .why = "Each family keeps a list of the protocols of each type; inet_create() takes the one "
           "that is asked for, or for 0 the first. EAFNOSUPPORT, ESOCKTNOSUPPORT and "
           "EPROTONOSUPPORT tell which of the three is missing. AF_ROUTE is another name of "
           "AF_NETLINK here.",
    .next = "weir lab socket-file",
    .run = socket_kinds,
};

/* ---- addr-11: a socket as a file ---- */

/* What every descriptor can do. */
static void use_as_file(struct lab *lab, int from, int to)
{
    char buf[8] = "";
    struct stat status;
    observe_number(lab, "write gives", write(from, "hello", 5), 5);
    wait_events(to, POLLIN, 1000);
    observe_number(lab, "read gives", read(to, buf, sizeof buf - 1), 5);
    observe_text(lab, "which is", buf, "hello");
    must(lab, fstat(to, &status), "fstat");
    observe_text(lab, "fstat: the mode", text("%o", status.st_mode), text("%o", S_IFSOCK | 0777));
    note(lab, "fstat: the inode", "%llu", (unsigned long long)status.st_ino);
    int again = fcntl(to, F_DUPFD_CLOEXEC, 0);
    observe_errno(lab, "dup", again, 0);
    observe_bool(lab, "its number is the listener's, which was free again", again < from, true);
    CLOSE(again);
}

/* What needs a position, a length or a name. */
static void miss_in_file(struct lab *lab, int fd)
{
    char buf[8], target[64] = "";
    const char *link = text("/proc/self/fd/%d", fd);
    observe_errno(lab, "lseek", lseek(fd, 0, SEEK_SET), ESPIPE);
    observe_errno(lab, "pread", pread(fd, buf, sizeof buf, 0), ESPIPE);
    observe_errno(lab, "ftruncate", ftruncate(fd, 0), EINVAL);
    observe_errno(lab, "fsync", fsync(fd), EINVAL);
    must(lab, readlink(link, target, sizeof target - 1), "readlink");
    observe_bool(lab, "its name in /proc begins with socket:",
                 strncmp(target, "socket:[", 8) == 0, true);
    observe_errno(lab, "open by that name", open(link, O_RDWR | O_CLOEXEC), ENXIO);
}

static enum verdict socket_file(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    struct epoll_event event = { .events = EPOLLIN };
    use_as_file(lab, pair.client, pair.server);
    miss_in_file(lab, pair.server);

    int file = must(lab, open(lab_path(lab, "file"), O_CREAT | O_RDWR | O_CLOEXEC, 0600), "open");
    int epoll = must(lab, epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    observe_errno(lab, "epoll watches the socket",
                  epoll_ctl(epoll, EPOLL_CTL_ADD, pair.server, &event), 0);
    observe_errno(lab, "epoll watches a regular file",
                  epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event), EPERM);
    observe_errno(lab, "recv from a regular file",
                  recv(file, &(char){ 0 }, 1, MSG_DONTWAIT), ENOTSOCK);
    CLOSE(file, epoll, pair.client, pair.server);
    return conclude(lab, REFINED, "what they share is the descriptor: read, write, dup, fstat; a "
                                  "socket has no position and no name to open, and a regular "
                                  "file never makes anybody wait");
}

static const struct experiment addr_11 = {
    .id = "addr-11",
    .name = "socket-file",
    .question = "how much of a file is a socket?",
    .source = "S0:36 S0:217 S1:17 S3:97 S4:128",
    .original = "套接字描述本身和本地文件描述没有区别",
    .claim = "a socket descriptor is no different from a file descriptor; read and write serve "
             "both",
    .expectation = "read, write, dup and fstat work, its type being S_IFSOCK; lseek and pread are "
                   "ESPIPE, open is ENXIO; epoll takes the socket and refuses the file",
    .reference = "socket(7), lseek(2), epoll_ctl(2), inode(7)",
    .why = "A descriptor names an open file, and what a call does with it is up to the kind. A "
           "stream of bytes that somebody else sends has no beginning to return to, and is made "
           "by socket(2), not by open. Regular files are always ready, so epoll has nothing to "
           "tell about them.",
    .next = "weir lab socket-kinds",
    .run = socket_file,
};

const struct experiment *const addr_names_experiments[] = {
    &addr_7, &addr_8, &addr_9, &addr_10, &addr_11, NULL,
};
