/* Short writes: the one fault that strace cannot inject. strace can change the result of a write,
 * but the write itself would still be complete.
 *
 * After short_arm(), the nth write to a file under the directory writes only half of its data, at
 * least one byte; if persistent, all later writes do so too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char directory[4096];
static int nth, persistent, seen;

void short_arm(const char *path, int number, int for_ever)
{
    snprintf(directory, sizeof directory, "%s/", path);
    nth = number;
    persistent = for_ever;
    seen = 0;
}

static size_t shortened(int descriptor, size_t size)
{
    char link[64], path[4096];
    ssize_t length;

    if (nth == 0 || size < 2)
        return size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return size;
    path[length] = 0;
    if (strncmp(path, directory, strlen(directory)) != 0)
        return size;
    seen++;
    return seen == nth || (persistent && seen > nth) ? size / 2 : size;
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    return real(descriptor, data, shortened(descriptor, size));
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pwrite64");
    return real(descriptor, data, shortened(descriptor, size), offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    return pwrite64(descriptor, data, size, offset);
}
