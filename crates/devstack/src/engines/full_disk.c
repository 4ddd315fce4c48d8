/* The disk of a process under test: full while the file that DISK_FULL_FILE names exists. Writes that would make a regular
 * file longer then fail as on a full disk. The process's output (descriptors 1 and 2) is not affected. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_full(void) {
    int before = errno;
    const char *path = getenv("DISK_FULL_FILE");
    int full = path && access(path, F_OK) == 0;
    errno = before;
    return full;
}

/* Whether `length` bytes at `offset` do not fit. A negative offset stands for the position of the descriptor. */
static int refuses(int file, off_t offset, size_t length) {
    struct stat status;
    if (file <= 2 || !is_full() || fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return 0;
    if (offset < 0)
        offset = (fcntl(file, F_GETFL) & O_APPEND) ? status.st_size : lseek(file, 0, SEEK_CUR);
    return offset + (off_t)length > status.st_size;
}

static size_t total(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += parts[i].iov_len;
    return length;
}

static long no_space(void) {
    errno = ENOSPC;
    return -1;
}

ssize_t write(int file, const void *data, size_t length) {
    return refuses(file, -1, length) ? no_space() : syscall(SYS_write, file, data, length);
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) {
    return refuses(file, offset, length) ? no_space() : syscall(SYS_pwrite64, file, data, length, offset);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset) {
    return pwrite64(file, data, length, offset);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return refuses(file, -1, total(parts, count)) ? no_space() : syscall(SYS_writev, file, parts, count);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
    return refuses(file, offset, total(parts, count)) ? no_space() : syscall(SYS_pwritev, file, parts, count, offset, 0);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(file, parts, count, offset);
}

int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    return refuses(file, offset, length) ? no_space() : syscall(SYS_fallocate, file, mode, offset, length);
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
