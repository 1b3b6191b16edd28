/* addr_test.c -- addresses as text. */
#include "net_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

TEST(addr_round_trip, "an address that was parsed prints as it was written")
{
    static const char *const texts[] = {
        "1.2.3.4:80",    "0.0.0.0:0",          "255.255.255.255:65535",
        "[::1]:80",      "[::]:0",             "[2001:db8::1]:443",
        "[fe80::1%lo]:80", "unix:/tmp/x",      "unix:@abstract",
        "unix:relative", "unix:/with space",   "[::ffff:1.2.3.4]:80",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        weir_addr a;
        char buf[WEIR_ADDRSTR];
        if (weir_addr_parse(&a, texts[i]))
            FAIL("%s: %s", texts[i], weir_error()->text);
        CHECK_STR(weir_addr_str(&a, buf, sizeof buf), texts[i]);
    }
}

TEST(addr_forms, "a port alone is every interface, a path is a Unix socket")
{
    weir_addr a;
    char buf[WEIR_ADDRSTR];
    CHECK_OK(weir_addr_parse(&a, ":80"));
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "[::]:80");
    CHECK_OK(weir_addr_parse(&a, "/run/x"));
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "unix:/run/x");
    CHECK_OK(weir_addr_parse(&a, "[fe80::1%1]:80"));
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "[fe80::1%lo]:80");
    CHECK_OK(weir_addr_parse(&a, "[fe80::1%4000000000]:1"));
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "[fe80::1%4000000000]:1");
    CHECK_OK(weir_addr_parse(&a, "1.2.3.4:00080"));
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "1.2.3.4:80");
}

TEST(addr_refused, "what is no address is refused, never guessed at or cut short")
{
    static const struct {
        const char *text;
        int error;
    } rows[] = {
        { "", EINVAL },
        { ":", EINVAL },
        { "1.2.3.4", EINVAL },
        { "1.2.3.4:", EINVAL },
        { "1.2.3.4:-1", EINVAL },
        { "1.2.3.4:+1", EINVAL },
        { "1.2.3.4: 1", EINVAL },
        { "1.2.3.4:1 ", EINVAL },
        { "1.2.3.4:65536", EINVAL },
        { "1.2.3.4:99999999999999999999", EINVAL },
        { "1.2.3.4:http", EINVAL },
        { "1.2.3.4:0x50", EINVAL },
        { "1.2.3:80", EINVAL },
        { "1.2.3.4.5:80", EINVAL },
        { "1.2.3.256:80", EINVAL },
        { "01.2.3.4:80", EINVAL },
        { "127.1:80", EINVAL },
        { "2130706433:80", EINVAL },
        { "localhost:80", EINVAL },
        { "::1:80", EINVAL },
        { "[::1]", EINVAL },
        { "[::1]80", EINVAL },
        { "[::1:80", EINVAL },
        { "::1]:80", EINVAL },
        { "[]:80", EINVAL },
        { "[1.2.3.4]:80", EINVAL },
        { "[::1]]:80", EINVAL },
        { "[[::1]:80", EINVAL },
        { "[fe80::1%]:80", ENODEV },
        { "[fe80::1%no-such-device]:80", ENODEV },
        { "[fe80::1%99999999999]:80", ENODEV },
        { "tcp://1.2.3.4:80", EINVAL },
        { "unix:", EINVAL },
        { "unix:@", EINVAL },
        { "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24:25:26:27:28", EINVAL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_addr a, before;
        memset(&a, 0x5a, sizeof a);
        before = a;
        if (weir_addr_parse(&a, rows[i].text) != -1 || errno != rows[i].error)
            FAIL("\"%s\": not refused with %s", rows[i].text, strerrorname_np(rows[i].error));
        CHECK_MEM(&a, &before, sizeof a);
    }
}

TEST(addr_unix_length,
     "a Unix path has up to 107 bytes, an abstract name too, and 108 are too many")
{
    for (int abstract = 0; abstract < 2; abstract++) {
        weir_addr a;
        char text[200] = "unix:", buf[WEIR_ADDRSTR];
        memset(text + 5, 'x', 150);
        text[5] = abstract ? '@' : '/';
        text[5 + 107 + abstract] = '\0';
        CHECK_OK(weir_addr_parse(&a, text));
        CHECK_EQ(a.len, offsetof(struct sockaddr_un, sun_path) + 108);
        CHECK_STR(weir_addr_str(&a, buf, sizeof buf), text);
        text[5 + 107 + abstract] = 'x';
        text[5 + 108 + abstract] = '\0';
        CHECK_ERRNO(weir_addr_parse(&a, text), ENAMETOOLONG);
    }
}

TEST(addr_print, "any address prints, within the room given, and disturbs no terminal")
{
    weir_addr a = { 0 };
    char buf[WEIR_ADDRSTR], small[8];
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "(no address)");
    a.len = sizeof(struct sockaddr);
    a.u.sa.sa_family = AF_NETLINK;
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "(family 16)");
    a.len = sizeof(sa_family_t);
    a.u.sa.sa_family = AF_UNIX;
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "unix:");
    memset(a.u.b + sizeof(sa_family_t) + 1, 'x', sizeof a.u.b - sizeof(sa_family_t) - 1);
    a.len = 9999; /* no more than there is room for is looked at */
    CHECK_EQ(strlen(weir_addr_str(&a, buf, sizeof buf)),
             strlen("unix:@") + sizeof a.u.b - sizeof(sa_family_t) - 1);
    CHECK_OK(weir_addr_parse(&a, "unix:/a\n\x1b[2J"));
    CHECK_STR(weir_addr_str(&a, buf, sizeof buf), "unix:/a??[2J");
    CHECK_OK(weir_addr_parse(&a, "255.255.255.255:65535"));
    CHECK_STR(weir_addr_str(&a, small, sizeof small), "255.255");
    CHECK_OK(weir_addr_parse(&a, "unix:/long/path"));
    CHECK_STR(weir_addr_str(&a, small, sizeof small), "unix:/l");
    CHECK_STR(weir_addr_str(&a, small, 1), "");
    small[0] = '!';
    CHECK(weir_addr_str(&a, small, 0) == small && small[0] == '!');
}
