/* The disk of a process under test: full while the file that DISK_FULL_FILE names exists. Every write to a regular file then
 * fails as on a full disk, and DISK_FULL_FILE grows by a byte. Writes inside a file fail too, as on a disk that stores each write
 * at a new place: engines reserve the space of their journals, so that they would notice nothing for minutes. The process's
 * output (descriptors 1 and 2) is not affected. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Whether the disk is full, and notes that a write is refused. */
static int is_full(void) {
    int before = errno;
    const char *path = getenv("DISK_FULL_FILE");
    int mark = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (mark >= 0) {
        syscall(SYS_write, mark, "x", 1);
        close(mark);
    }
    errno = before;
    return mark >= 0;
}

static int refuses(int file) {
    struct stat status;
    return file > 2 && fstat(file, &status) == 0 && S_ISREG(status.st_mode) && is_full();
}

static long no_space(void) {
    errno = ENOSPC;
    return -1;
}

ssize_t write(int file, const void *data, size_t length) {
    return refuses(file) ? no_space() : syscall(SYS_write, file, data, length);
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) {
    return refuses(file) ? no_space() : syscall(SYS_pwrite64, file, data, length, offset);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset) {
    return pwrite64(file, data, length, offset);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return refuses(file) ? no_space() : syscall(SYS_writev, file, parts, count);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
    return refuses(file) ? no_space() : syscall(SYS_pwritev, file, parts, count, offset, 0);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(file, parts, count, offset);
}

int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    return refuses(file) ? no_space() : syscall(SYS_fallocate, file, mode, offset, length);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
    return fallocate64(file, mode, offset, length);
}

/* Returns the error, as its standard demands. */
int posix_fallocate64(int file, off64_t offset, off64_t length) {
    return fallocate64(file, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate(int file, off_t offset, off_t length) {
    return posix_fallocate64(file, offset, length);
}
