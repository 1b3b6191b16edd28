/* exp_addr.c -- experiments on socket addresses: what they name, and how they lie in memory. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "diag.h"
#include "lab.h"
#include "sock.h"

/* A socket that listens there, or -1 and errno. */
static int listen_at(struct lab *lab, const char *host, uint16_t port, bool is_shared)
{
    int fd = tcp_socket(lab);
    set_option(lab, fd, SOL_SOCKET, SO_REUSEPORT, is_shared);
    if (bind_host(fd, host, port) == 0 && listen(fd, 64) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- addr-1: one port, several owners ---- */

enum { CALLERS = 32 };

/* Accepts all that wait; how many they were. It runs in this process or in another. */
static int accept_waiting(void *listener)
{
    int accepted, count = 0;
    while ((accepted = accept4(*(int *)listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(accepted);
        count++;
    }
    return count;
}

/* Two processes listen at the same address and port: who is called? */
static void share_port(struct lab *lab)
{
    int callers[CALLERS];
    int first = must(lab, listen_at(lab, "127.0.0.1", 0, true), "listen");
    int second = listen_at(lab, "127.0.0.1", local_port(lab, first), true);
    observe_errno(lab, "both at 127.0.0.1, with SO_REUSEPORT", second, 0);
    must(lab, second, "listen");
    set_nonblocking(lab, first);
    set_nonblocking(lab, second);

    struct sockaddr_in to = local_address(lab, first);
    for (int i = 0; i < CALLERS; i++)
        must(lab, tcp_connect(lab, to, &callers[i]), "connect");
    WAIT_UNTIL(1000, diag_count(ntohs(to.sin_port), TCP_ESTABLISHED) == CALLERS);
    int here = accept_waiting(&first);
    int there = reap(lab, spawn(lab, accept_waiting, &second));

    observe_range(lab, "accepted by one process", here, 1, CALLERS - 1, "calls");
    observe_range(lab, "accepted by another process", there, 1, CALLERS - 1, "calls");
    observe_number(lab, "together", here + there, CALLERS);
    picture(lab, BARS, 0, text("%d connections to one address and port", CALLERS), NULL, NULL);
    bar(lab, "one process", here, CALLERS);
    bar(lab, "another process", there, CALLERS);
    close_all(callers, CALLERS);
    CLOSE(first, second);
}

static enum verdict same_port(struct lab *lab)
{
    int one = must(lab, listen_at(lab, "127.0.0.1", 0, false), "listen");
    struct sockaddr_in at = local_address(lab, one), other = at;
    other.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);

    int two = listen_at(lab, "127.0.0.2", ntohs(at.sin_port), false);
    observe_errno(lab, "the same port at 127.0.0.1 and 127.0.0.2", two, 0);
    observe_errno(lab, "twice at 127.0.0.1",
                  listen_at(lab, "127.0.0.1", ntohs(at.sin_port), false), EADDRINUSE);
    int client, udp = udp_socket(lab);
    observe_errno(lab, "the same port at 127.0.0.1 for UDP",
                  bind(udp, (struct sockaddr *)&at, sizeof at), 0);

    must(lab, tcp_connect(lab, other, &client), "connect");
    observe_bool(lab, "127.0.0.2 is called: its listener has a connection",
                 two >= 0 && wait_events(two, POLLIN, 1000) != 0, true);
    observe_bool(lab, "and the one at 127.0.0.1 has", wait_events(one, POLLIN, 0) != 0, false);
    CLOSE(client, udp, one, two);
    share_port(lab);
    return conclude(lab, CONTRADICTED, "a machine has many addresses, and each has its own ports, "
                                       "for TCP and UDP apart; nor does a port name a process: "
                                       "several may share it");
}

static const struct experiment addr_1 = {
    .id = "addr-1",
    .name = "same-port",
    .question = "does a machine have each port once, and a port one process?",
    .source = "S1:9 S0:31 S2:30",
    .claims = "31",
    .original = "ip 每个机器只有一个，所以通过不同的 port 数字加以区分",
    .claim = "a machine has only one IP address, so its servers are told apart by port; address, "
             "protocol and port name a process",
    .expectation = "one port serves 127.0.0.1, 127.0.0.2 and UDP at once, each with a socket of "
                   "its own; with SO_REUSEPORT two sockets of two processes share even all three, "
                   "and the kernel spreads the connections over them",
    .reference = "socket(7) SO_REUSEPORT (Linux 3.9), ip(7)",
    .why = "What must be unique is the combination of protocol, address and port, and a machine "
           "has an address for each interface and more; the loopback alone has all of 127/8. "
           "SO_REUSEPORT gives up even that: a hash of both ends chooses the socket. And after "
           "a fork one socket belongs to two processes anyway.",
    .next = "weir lab any-address",
    .run = same_port,
};

/* ---- addr-2: which address to listen at ---- */

/* lo gets one more address, from those that are for documentation (RFC 5737). */
static void add_address(struct lab *lab, const char *host)
{
    struct ifreq request = { .ifr_name = "lo:1" };
    struct sockaddr_in at = address(host, 0);
    int fd = udp_socket(lab);
    memcpy(&request.ifr_addr, &at, sizeof at);
    must(lab, ioctl(fd, SIOCSIFADDR, &request), "another address for lo");
    CLOSE(fd);
}

static const char *const hosts[] = { "127.0.0.1", "127.0.0.5", "192.0.2.7" };
enum { HOSTS = sizeof hosts / sizeof *hosts };

/* Calls all addresses of the machine at the port of one listener. */
static void call_all(struct lab *lab, const char *where)
{
    bool is_any = strcmp(where, "0.0.0.0") == 0;
    int client, listener = must(lab, listen_at(lab, where, 0, false), "listen");
    uint16_t port = local_port(lab, listener);
    cell(lab, where, false);
    for (int i = 0; i < HOSTS; i++) {
        char own[INET_ADDRSTRLEN] = "";
        bool is_heard = is_any || strcmp(where, hosts[i]) == 0;
        int result = tcp_connect(lab, address(hosts[i], port), &client);
        cell(lab, result == 0 ? "answers" : "refuses", i == HOSTS - 1);
        observe_errno(lab, text("%s listens, call %s", where, hosts[i]), result,
                      is_heard ? 0 : ECONNREFUSED);
        int accepted = result == 0 ? must(lab, accept(listener, NULL, NULL), "accept") : -1;
        if (is_any && accepted >= 0) {
            struct sockaddr_in at = local_address(lab, accepted);
            observe_text(lab, "the accepted socket's own address",
                         inet_ntop(AF_INET, &at.sin_addr, own, sizeof own), hosts[i]);
        }
        CLOSE(client, accepted);
    }
    CLOSE(listener);
}

static enum verdict any_address(struct lab *lab)
{
    add_address(lab, hosts[HOSTS - 1]);
    picture(lab, TABLE, 0, "who listens where, and who is called", NULL, NULL);
    cell(lab, "listens at", false);
    for (int i = 0; i < HOSTS; i++)
        cell(lab, hosts[i], i == HOSTS - 1);
    for (int i = 0; i < HOSTS; i++)
        call_all(lab, hosts[i]);
    call_all(lab, "0.0.0.0");
    return conclude(lab, CONFIRMED, "0.0.0.0 is every address of the machine, any other is that "
                                    "one alone; a connection knows at which it came in");
}

static const struct experiment addr_2 = {
    .id = "addr-2",
    .name = "any-address",
    .question = "who can reach a server that listens at 127.0.0.1, and who at 0.0.0.0?",
    .source = "S0:226 S2:839 S2:841",
    .original = "如果为`INADDR_ANY`则表示server会监听本机上所有的interface",
    .claim = "INADDR_ANY listens on all interfaces, 127.0.0.1 for local processes alone; choose "
             "by who is to come in",
    .expectation = "a listener answers at its own address only, and at 0.0.0.0 at all of them, "
                   "where the accepted socket has the address that was called",
    .reference = "ip(7) INADDR_ANY, RFC 1122 section 3.2.1.3",
    .why = "An incoming segment is given to the listener whose address and port are those it was "
           "sent to, else to one at 0.0.0.0 with that port, else it is answered with a reset. A "
           "packet for 127/8 that comes from outside is discarded before that. 0.0.0.0 is not "
           "an interface but a wildcard: addresses that the machine gets later count as well.",
    .next = "weir lab dual-stack",
    .needs = NEEDS_NET,
    .run = any_address,
};

/* ---- addr-3: IPv4 at an IPv6 socket ---- */

static int listen6(struct lab *lab, uint16_t port, bool is_v6only)
{
    struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    int fd = must(lab, socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    set_option(lab, fd, IPPROTO_IPV6, IPV6_V6ONLY, is_v6only);
    must(lab, bind(fd, (struct sockaddr *)&any, sizeof any), "bind to ::");
    must(lab, listen(fd, 8), "listen");
    return fd;
}

/* The caller's address as accept tells it. */
static const char *accept_peer(struct lab *lab, int listener)
{
    char words[INET6_ADDRSTRLEN];
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    int accepted = must(lab, accept(listener, (struct sockaddr *)&peer, &len), "accept");
    close(accepted);
    return text("%s", inet_ntop(AF_INET6, &peer.sin6_addr, words, sizeof words));
}

static enum verdict dual_stack(struct lab *lab)
{
    int client, listener = listen6(lab, 0, false);
    uint16_t port = local_port(lab, listener);
    struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_port = htons(port),
                                     .sin6_addr = IN6ADDR_LOOPBACK_INIT };

    observe_errno(lab, ":: listens, 127.0.0.1 is called",
                  tcp_connect(lab, address("127.0.0.1", port), &client), 0);
    observe_text(lab, "the caller is", accept_peer(lab, listener), "::ffff:127.0.0.1");
    reset_peer(lab, client);
    client = must(lab, socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    observe_errno(lab, ":: listens, ::1 is called",
                  connect(client, (struct sockaddr *)&loopback, sizeof loopback), 0);
    observe_text(lab, "the caller is", accept_peer(lab, listener), "::1");
    observe_errno(lab, "listen at 0.0.0.0 with the same port",
                  listen_at(lab, "0.0.0.0", port, false), EADDRINUSE);
    reset_peer(lab, client);
    CLOSE(listener);

    listener = listen6(lab, port, true);
    observe_errno(lab, "IPV6_V6ONLY, 127.0.0.1 is called",
                  tcp_connect(lab, address("127.0.0.1", port), &client), ECONNREFUSED);
    int beside = listen_at(lab, "0.0.0.0", port, false);
    observe_errno(lab, "IPV6_V6ONLY, listen at 0.0.0.0 with the same port", beside, 0);
    CLOSE(client, beside, listener);
    note(lab, "net.ipv6.bindv6only, what sockets begin with", "%lld",
         sysctl_number("net/ipv6/bindv6only"));
    return conclude(lab, ADDED, "one IPv6 listener serves both families; to it an IPv4 caller is "
                                "::ffff:a.b.c.d, and the port is taken for IPv4 as well");
}

static const struct experiment addr_3 = {
    .id = "addr-3",
    .name = "dual-stack",
    .question = "does a server that listens at :: hear IPv4, too?",
    .expectation = "it does unless IPV6_V6ONLY is set, and sees the callers as ::ffff:a.b.c.d; "
                   "then 0.0.0.0 with the same port is in use",
    .reference = "ipv6(7) IPV6_V6ONLY, RFC 3493 sections 3.7 and 5.3",
    .why = "An IPv6 socket bound to :: takes connections of both families, and the addresses of "
           "IPv4 have a place among those of IPv6. Whether it does at first is a setting, "
           "net.ipv6.bindv6only, and other systems differ; so a program that wants either "
           "sets the option itself, before bind. Lists of permitted addresses must know the "
           "mapped form.",
    .next = "weir lab any-address",
    .needs = NEEDS_IPV6,
    .run = dual_stack,
};

/* ---- addr-4: names of Unix sockets ---- */

struct unix_name {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_un un;
        char room[160]; /* for names that are too long */
    } u;
};

static struct unix_name unix_name(const char *path, size_t len)
{
    size_t begin = offsetof(struct sockaddr_un, sun_path);
    struct unix_name name = { .len = (socklen_t)(begin + len), .u.un.sun_family = AF_UNIX };
    memcpy(name.u.room + begin, path, len);
    return name;
}

static int unix_socket(struct lab *lab)
{
    return must(lab, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

/* Binds a socket to a name, connects to it, closes both and connects again. */
static void live_and_die(struct lab *lab, const char *kind, struct unix_name name)
{
    int server = unix_socket(lab), client = unix_socket(lab), late = unix_socket(lab);
    observe_errno(lab, text("%s: bind", kind), bind(server, &name.u.sa, name.len), 0);
    must(lab, listen(server, 1), "listen");
    observe_errno(lab, text("%s: connect", kind), connect(client, &name.u.sa, name.len), 0);
    CLOSE(server, client);
    observe_errno(lab, text("%s: connect when the server is gone", kind),
                  connect(late, &name.u.sa, name.len), ECONNREFUSED);
    CLOSE(late);
}

/* How long a name may be, and what getsockname says its address is long. */
static void measure_room(struct lab *lab)
{
    char path[109];
    memset(path, 'x', sizeof path);
    for (size_t len = 107; len <= 109; len++) {
        struct unix_name name = unix_name(path, len), told = { .len = sizeof told.u };
        int fd = unix_socket(lab);
        int result = bind(fd, &name.u.sa, name.len);
        observe_errno(lab, text("a path of %zu bytes, no NUL", len), result,
                      len <= sizeof name.u.un.sun_path ? 0 : EINVAL);
        must(lab, getsockname(fd, &told.u.sa, &told.len), "getsockname");
        if (result == 0)
            observe_number(lab, "its address by getsockname has bytes", told.len,
                           (long long)(name.len + 1));
        CLOSE(fd);
    }
}

/* The file stays when its server is gone, and stands in the way of the next one. */
static void bind_again(struct lab *lab, struct unix_name name)
{
    int fd = unix_socket(lab);
    set_option(lab, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    observe_errno(lab, "the file is left: bind, with SO_REUSEADDR",
                  bind(fd, &name.u.sa, name.len), EADDRINUSE);
    must(lab, unlink(name.u.un.sun_path), "unlink");
    observe_errno(lab, "the file is removed: bind", bind(fd, &name.u.sa, name.len), 0);
    CLOSE(fd);
}

static enum verdict unix_address(struct lab *lab)
{
    const char *unique = text("weir-lab-%d", (int)getpid());
    const char *absolute = lab_path(lab, "absolute");
    struct unix_name full = unix_name(absolute, strlen(absolute) + 1);
    struct unix_name relative = unix_name("relative", sizeof "relative");
    struct unix_name abstract = unix_name(text("%c%s", '\0', unique), strlen(unique) + 1);
    must(lab, chdir(lab_path(lab, ".")), "chdir");

    live_and_die(lab, "absolute path", full);
    live_and_die(lab, "relative path", relative);
    live_and_die(lab, "abstract name", abstract);
    live_and_die(lab, "abstract name again", abstract);
    bind_again(lab, relative);
    measure_room(lab);

    struct unix_name none = { .len = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX };
    int fd = unix_socket(lab);
    must(lab, bind(fd, &none.u.sa, none.len), "bind without a name");
    none.len = sizeof none.u;
    must(lab, getsockname(fd, &none.u.sa, &none.len), "getsockname");
    observe_text(lab, "bind without a name: the kernel makes one, abstract if it begins with",
                 none.u.un.sun_path[0] == '\0' ? "NUL" : "a letter", "NUL");
    note(lab, "this time", "%.*s", (int)(none.len - sizeof(sa_family_t) - 1),
         none.u.un.sun_path + 1);
    CLOSE(fd);
    return conclude(lab, CONTRADICTED, "relative paths and abstract names do as well; a path's "
                                       "file outlives its server, an abstract name does not");
}

static const struct experiment addr_4 = {
    .id = "addr-4",
    .name = "unix-address",
    .question = "must the address of a Unix socket be an absolute path?",
    .source = "S0:161 S0:277",
    .claims = "27",
    .original = "用一个绝对路径名作为地址",
    .claim = "AF_UNIX takes an absolute path as its address, of at most 108 bytes",
    .expectation = "a relative path, and on Linux an abstract name that begins with NUL, do too; "
                   "108 bytes fit without a NUL, and are then told as 109; 109 are EINVAL",
    .reference = "unix(7)",
    .why = "The path is looked up from the working directory as any other; daemons use absolute "
           "ones because they change directory. bind makes the file and close leaves it, so a "
           "new server finds EADDRINUSE, whatever SO_REUSEADDR says, and unlinks it first. "
           "Abstract names live in the network namespace, not in the file system, and end with "
           "the socket; no permissions guard them.",
    .next = "weir lab struct-layout",
    .run = unix_address,
};

/* ---- addr-5: the structures ---- */

static int bind_bytes(struct lab *lab, const void *bytes, socklen_t len)
{
    int fd = tcp_socket(lab);
    int result = bind(fd, bytes, len), error = errno;
    close(fd);
    errno = error;
    return result;
}

static void draw_layout(struct lab *lab)
{
    picture(lab, TABLE, 0, "struct sockaddr_in", NULL, NULL);
    cell(lab, "field", false);
    cell(lab, "from byte", false);
    cell(lab, "bytes", true);
#define FIELD(name)                                                                \
    cell(lab, #name, false);                                                       \
    cell(lab, text("%zu", offsetof(struct sockaddr_in, name)), false);             \
    cell(lab, text("%zu", sizeof((struct sockaddr_in *)NULL)->name), true)
    FIELD(sin_family);
    FIELD(sin_port);
    FIELD(sin_addr);
    FIELD(sin_zero);
#undef FIELD
}

static enum verdict struct_layout(struct lab *lab)
{
    struct sockaddr_in plain = address("127.0.0.1", 0), with_len = plain, garbage = plain;
    struct sockaddr_in unnamed = { .sin_family = AF_UNSPEC };
    struct sockaddr_storage large = { 0 };
    memcpy(&large, &plain, sizeof plain);
    memset(garbage.sin_zero, 0xa5, sizeof garbage.sin_zero);
    ((unsigned char *)&with_len)[0] = sizeof with_len;
    ((unsigned char *)&with_len)[1] = AF_INET;

    observe_number(lab, "sin_family begins at byte",
                   offsetof(struct sockaddr_in, sin_family), 0);
    observe_number(lab, "its bytes", sizeof plain.sin_family, 2);
    observe_number(lab, "bytes of sockaddr_in", sizeof(struct sockaddr_in), 16);
    observe_number(lab, "bytes of sockaddr_in6", sizeof(struct sockaddr_in6), 28);
    observe_number(lab, "bytes of sockaddr_un", sizeof(struct sockaddr_un), 110);
    observe_number(lab, "bytes of sockaddr_storage", sizeof large, 128);
    draw_layout(lab);

    observe_errno(lab, "bind", bind_bytes(lab, &plain, sizeof plain), 0);
    observe_errno(lab, "bind, 16 in the first byte and the family in the second, as in BSD",
                  bind_bytes(lab, &with_len, sizeof with_len), EAFNOSUPPORT);
    observe_errno(lab, "bind, sin_zero full of a5",
                  bind_bytes(lab, &garbage, sizeof garbage), 0);
    observe_errno(lab, "bind, one byte too few", bind_bytes(lab, &plain, sizeof plain - 1),
                  EINVAL);
    observe_errno(lab, "bind, a whole sockaddr_storage", bind_bytes(lab, &large, sizeof large), 0);
    observe_errno(lab, "bind, AF_UNSPEC and INADDR_ANY",
                  bind_bytes(lab, &unnamed, sizeof unnamed), 0);
    return conclude(lab, CONTRADICTED, "Linux has no sin_len: the family is the first thing "
                                       "there; and it does not look at sin_zero");
}

static const struct experiment addr_5 = {
    .id = "addr-5",
    .name = "struct-layout",
    .question = "does a socket address begin with its length, and must sin_zero be zero?",
    .source = "S0:113 S0:117 S0:819",
    .claims = "28",
    .original = "uint8_t sin_len;         # length of structure (16)",
    .claim = "sockaddr_in begins with sin_len and ends with sin_zero, which must always be zero",
    .expectation = "the family is at byte 0 and has two bytes; a length there makes it an unknown "
                   "family; whatever stands in sin_zero, bind succeeds",
    .reference = "sockaddr(3type), ip(7), inet_bind() in Linux",
    .why = "The lengths came with BSD 4.3 Reno; POSIX does not have them, and Linux learns the "
           "length from the argument beside the address instead: too short is EINVAL, longer is "
           "fine. sin_zero makes sockaddr_in as large as struct sockaddr and means nothing; "
           "yet set it to zero, for elsewhere it may be compared.",
    .next = "weir lab byte-order",
    .run = struct_layout,
};

/* ---- addr-6: the order of bytes ---- */

enum { TO_BIND = 3000, TO_BIND_MAX = 3071 }; /* the next, read the wrong way, is below 1024 */

/* Stores the port as the processor has it. Without a network of its own the experiment shares the
 * ports with everybody, so it takes the first that is free when it is read the wrong way. */
static struct sockaddr_in bind_carelessly(struct lab *lab, int fd)
{
    struct sockaddr_in wrong = { .sin_family = AF_INET, .sin_port = TO_BIND };
    while (bind(fd, (struct sockaddr *)&wrong, sizeof wrong) != 0)
        must(lab, errno == EADDRINUSE && wrong.sin_port++ < TO_BIND_MAX ? 0 : -1,
             "bind without htons");
    return wrong;
}

static enum verdict byte_order(struct lab *lab)
{
    int careless = tcp_socket(lab), careful = tcp_socket(lab);
    struct sockaddr_in wrong = bind_carelessly(lab, careless), right = wrong;
    const int port = wrong.sin_port;
    right.sin_port = htons(wrong.sin_port);
    const unsigned char *wrong_bytes = (const unsigned char *)&wrong.sin_port;
    const unsigned char *right_bytes = (const unsigned char *)&right.sin_port;
    bool is_little = wrong_bytes[0] != right_bytes[0];

    set_option(lab, careful, SOL_SOCKET, SO_REUSEADDR, 1);
    int result = bind(careful, (struct sockaddr *)&right, sizeof right);

    note(lab, "this machine is", "%s-endian", is_little ? "little" : "big");
    note(lab, text("%d as stored, without htons", port), "%02x %02x", wrong_bytes[0],
         wrong_bytes[1]);
    note(lab, text("%d as stored, with htons", port), "%02x %02x", right_bytes[0], right_bytes[1]);
    observe_number(lab, "port bound without htons", local_port(lab, careless),
                   is_little ? port % 256 * 256 + port / 256 : port);
    if (result == 0)
        observe_number(lab, "port bound with htons", local_port(lab, careful), port);
    CLOSE(careless, careful);
    return conclude(lab, CONFIRMED, "without htons %d = 0x%04x becomes port %d here", port, port,
                    ntohs(wrong.sin_port));
}

static const struct experiment addr_6 = {
    .id = "addr-6",
    .name = "byte-order",
    .question = "which port does a program get that forgets htons?",
    .source = "S0:247 S3:37",
    .original = "请谨记对主机字节序不要做任何假定，务必将其转化为网络字节序再赋给socket",
    .claim = "never assume anything about the byte order of the host; always convert to network "
             "order before giving an address to a socket",
    .expectation = "on a little-endian machine port 3000 = 0x0bb8 is read as 0xb80b = 47115; on a "
                   "big-endian one nothing happens, which is how such faults survive tests",
    .reference = "byteorder(3), ip(7)",
    .why = "The kernel reads sin_port as two bytes, the more significant one first. A processor "
           "of x86 stores the less significant one first, so the same two bytes mean another "
           "number, and bind succeeds with it: nothing fails but the client.",
    .next = "weir lab text-addresses",
    .run = byte_order,
};

const struct experiment *const addr_experiments[] = {
    &addr_1, &addr_2, &addr_3, &addr_4, &addr_5, &addr_6, NULL,
};
