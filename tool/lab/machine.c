/* machine.c -- the settings of this machine that change what the experiments see. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "show.h"

static const char *const names[] = {
    "kernel",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.core.somaxconn",
};

static void read_setting(const char *name, char *value, int size)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    for (char *at = path + strlen("/proc/sys/"); *at; at++)
        if (*at == '.')
            *at = '/';
    value[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file && !fgets(value, size, file))
        value[0] = '\0';
    if (file)
        fclose(file);
    value[strcspn(value, "\n")] = '\0';
    for (char *at = value; *at; at++)
        if (*at == '\t')
            *at = ' ';
    if (!value[0])
        snprintf(value, (size_t)size, "unknown");
}

bool machine_setting(int index, const char **name, char *value, int size)
{
    struct utsname kernel;
    if (index >= (int)(sizeof names / sizeof *names))
        return false;
    *name = names[index];
    if (index > 0)
        read_setting(names[index], value, size);
    else if (uname(&kernel) == 0)
        snprintf(value, (size_t)size, "%s %s %s", kernel.sysname, kernel.release, kernel.machine);
    return true;
}
