/* counters.c -- reading the tables of /proc/net: a line of names, then a line of numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "counters.h"

enum { LINE_MAX_BYTES = 16384 };

/* The number that stands where the name stands in the line before. */
static long long pick(char *names, char *numbers, const char *name)
{
    char *name_place = NULL, *number_place = NULL;
    char *word = strtok_r(names, " \n", &name_place);
    char *number = strtok_r(numbers, " \n", &number_place);
    while (word && number) {
        if (strcmp(word, name) == 0)
            return atoll(number);
        word = strtok_r(NULL, " \n", &name_place);
        number = strtok_r(NULL, " \n", &number_place);
    }
    return -1;
}

static long long find(const char *path, const char *table, const char *name)
{
    static char names[LINE_MAX_BYTES], numbers[LINE_MAX_BYTES];
    long long value = -1;
    size_t len = strlen(table);
    FILE *file = fopen(path, "re");
    while (file && value < 0 && fgets(names, sizeof names, file) &&
           fgets(numbers, sizeof numbers, file))
        if (strncmp(names, table, len) == 0 && names[len] == ':')
            value = pick(names, numbers, name);
    if (file)
        fclose(file);
    return value;
}

long long counter(const char *table, const char *name)
{
    long long value = find("/proc/thread-self/net/netstat", table, name);
    return value >= 0 ? value : find("/proc/thread-self/net/snmp", table, name);
}

long voluntary_switches(void)
{
    struct rusage usage = { 0 };
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

bool is_asleep(int pid)
{
    char path[40], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    /* PID (NAME) STATE: the name of an experiment's process has no bracket in it. */
    bool is_read = file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    if (file)
        fclose(file);
    return is_read && state == 'S';
}

int64_t processor_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000000000 + used.tv_nsec;
}
