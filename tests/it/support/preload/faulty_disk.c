/*
 * A disk with faults, for a program that is started with LD_PRELOAD: what it does to files whose path begins with one of the
 * paths in FAULTY_DISK (separated by colons), while a file of that name is in the folder FAULTY_DISK_CONTROL:
 *
 *   quota   a write that would make a file longer fails with EDQUOT; one over bytes that are there already goes well
 *   hang    fsync and fdatasync wait until the file is gone
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_on(const char *fault) {
    const char *control = getenv("FAULTY_DISK_CONTROL");
    char path[4096];
    if (!control) return 0;
    snprintf(path, sizeof path, "%s/%s", control, fault);
    return access(path, F_OK) == 0;
}

static int is_ours(int fd) {
    const char *begins = getenv("FAULTY_DISK");
    char link[64], path[4096];
    struct stat file;
    if (!begins || fstat(fd, &file) || !S_ISREG(file.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    for (size_t count; *begins; begins += count + (begins[count] == ':')) {
        count = strcspn(begins, ":");
        if (strncmp(path, begins, count) == 0) return 1;
    }
    return 0;
}

/* Whether a write that ends there is over the quota. */
static int is_over(int fd, off_t end) {
    int before = errno;
    struct stat file;
    int over = is_on("quota") && is_ours(fd) && !fstat(fd, &file) && end > file.st_size;
    errno = over ? EDQUOT : before;
    return over;
}

static off_t place(int fd) {
    struct stat file;
    if ((fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &file)) return file.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

static void hang(int fd) {
    int before = errno;
    if (is_ours(fd)) while (is_on("hang")) usleep(1000);
    errno = before;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    if (is_on("quota") && is_over(fd, place(fd) + (off_t)count)) return -1;
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    off_t bytes = 0;
    for (int part = 0; part < count; part++) bytes += parts[part].iov_len;
    if (is_on("quota") && is_over(fd, place(fd) + bytes)) return -1;
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (is_over(fd, at + (off_t)count)) return -1;
    return REAL(pwrite64)(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (is_over(fd, at + (off_t)count)) return -1;
    return REAL(pwrite)(fd, bytes, count, at);
}

int posix_fallocate64(int fd, off64_t at, off64_t bytes) {
    return is_over(fd, at + bytes) ? EDQUOT : REAL(posix_fallocate64)(fd, at, bytes);
}

int posix_fallocate(int fd, off_t at, off_t bytes) {
    return is_over(fd, at + bytes) ? EDQUOT : REAL(posix_fallocate)(fd, at, bytes);
}

int fsync(int fd) {
    hang(fd);
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    hang(fd);
    return REAL(fdatasync)(fd);
}
