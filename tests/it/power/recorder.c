/* Records what a process does to the files below one folder, and the answers of 200 that it sends, with their bytes.
 *
 * Loaded by LD_PRELOAD. Each operation is written to the log before the real call (BEGIN) and after it (END), by one write
 * in append mode: the order of the records is the order of the operations. Changes of names are made under a lock and have
 * an END only. Whatever the model of the disk does not know is recorded as UNKNOWN and fails the test.
 *
 * RECORDER_LOG: the log. RECORDER_FOLDER: the folder, without links. RECORDER_SYNC_US: how long a sync takes at least.
 * That of much takes longer than to put the next much together, and every third stalls: what arrives meanwhile waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN = 1, WRITE, RESIZE, GROW, SYNC, RENAME, UNLINK, MKDIR, ANSWER, UNKNOWN, LINK };
enum phase { BEGIN, END };

struct header {
    uint32_t bytes; /* of what follows */
    uint8_t kind, phase;
    uint16_t unused;
    uint32_t pid, operation, file, flags;
    int64_t offset; /* of a write; a size; the result at its END */
};

#define FILES 65536
#define PARTS 64
#define MUCH_BYTES (192 << 10)
#define MUCH_US 60000
#define STALL_US 300000

static int log_fd = -1;
static char folder[PATH_MAX];
static size_t folder_len;
static useconds_t sync_us;
/* Which file a descriptor is: a number for each open; 0 where it is not below the folder. */
static _Atomic uint32_t file_of[FILES];
static _Atomic uint32_t opened, operations;
/* By inode: bytes that were written to a file since its last sync, and its syncs of much. */
#define INODES 4096
static _Atomic uint64_t unsynced[INODES];
static _Atomic uint32_t large_syncs[INODES];
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("RECORDER_LOG"), *where = getenv("RECORDER_FOLDER"), *us = getenv("RECORDER_SYNC_US");
    if (!log || !where) return;
    snprintf(folder, sizeof folder, "%s", where);
    folder_len = strlen(folder);
    sync_us = us ? (useconds_t)atoi(us) : 0;
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
}

/* The function that this one stands before. */
#define REAL(symbol) \
    static __typeof__(&symbol) real; \
    if (!real && !(real = (__typeof__(&symbol))dlsym(RTLD_NEXT, #symbol))) abort();

static uint32_t known(int fd) { return log_fd >= 0 && fd >= 0 && fd < FILES ? file_of[fd] : 0; }

static void put(struct header header, const struct iovec *parts, int count, size_t limit) {
    struct iovec all[PARTS + 1];
    size_t bytes = 0;
    if (log_fd < 0) return;
    if (count > PARTS) abort();
    for (int i = 0; i < count; i++) {
        all[i + 1] = parts[i];
        if (bytes + parts[i].iov_len > limit) all[i + 1].iov_len = limit - bytes;
        bytes += all[i + 1].iov_len;
    }
    header.bytes = (uint32_t)bytes;
    header.pid = (uint32_t)getpid();
    all[0] = (struct iovec){&header, sizeof header};
    int before = errno;
    if (syscall(SYS_writev, log_fd, all, count + 1) != (long)(bytes + sizeof header)) abort();
    errno = before;
}

static uint32_t begin(enum kind kind, uint32_t file, int64_t offset, const struct iovec *parts, int count, size_t limit) {
    uint32_t operation = ++operations;
    put((struct header){.kind = kind, .phase = BEGIN, .operation = operation, .file = file, .offset = offset}, parts, count,
        limit);
    return operation;
}

static void end(enum kind kind, uint32_t operation, int64_t result) {
    put((struct header){.kind = kind, .phase = END, .operation = operation, .offset = result}, 0, 0, 0);
}

static void unknown(const char *what) {
    struct iovec part = {(void *)what, strlen(what)};
    begin(UNKNOWN, 0, 0, &part, 1, part.iov_len);
}

/* A path below the folder, or the folder itself. */
static int is_inside(const char *path) {
    return log_fd >= 0 && path && !strncmp(path, folder, folder_len) && (path[folder_len] == '/' || !path[folder_len]);
}

static void name(enum kind kind, uint32_t file, uint32_t flags, const char *path, const char *other) {
    struct iovec parts[2] = {{(void *)path, strlen(path) + 1}, {(void *)other, other ? strlen(other) + 1 : 0}};
    put((struct header){.kind = kind, .phase = END, .operation = ++operations, .file = file, .flags = flags}, parts, 2,
        SIZE_MAX);
}

/* Opening and closing. */

static int note_open(int fd, const char *path, int flags) {
    if (fd >= 0 && is_inside(path)) {
        if (fd >= FILES) abort();
        file_of[fd] = ++opened;
        name(OPEN, file_of[fd], (uint32_t)flags, path, 0);
    }
    return fd;
}

#define OPENS(symbol) \
    int symbol(const char *path, int flags, ...) { \
        REAL(symbol) \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (is_inside(path) && (flags & __O_TMPFILE) == __O_TMPFILE) unknown("O_TMPFILE"); \
        pthread_mutex_lock(&names); \
        int fd = note_open(real(path, flags, mode), path, flags); \
        pthread_mutex_unlock(&names); \
        return fd; \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(symbol) \
    int symbol(int at, const char *path, int flags, ...) { \
        REAL(symbol) \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (known(at) && path[0] != '/') unknown("openat below the folder"); \
        pthread_mutex_lock(&names); \
        int fd = note_open(real(at, path, flags, mode), path, flags); \
        pthread_mutex_unlock(&names); \
        return fd; \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int fd) {
    REAL(close)
    if (!known(fd)) return real(fd);
    pthread_mutex_lock(&names);
    file_of[fd] = 0;
    int result = real(fd);
    pthread_mutex_unlock(&names);
    return result;
}

static int note_dup(int from, int to) {
    if (to >= 0 && to < FILES) file_of[to] = known(from);
    return to;
}

int dup(int fd) {
    REAL(dup)
    return note_dup(fd, real(fd));
}

int dup2(int fd, int to) {
    REAL(dup2)
    return note_dup(fd, real(fd, to));
}

int dup3(int fd, int to, int flags) {
    REAL(dup3)
    return note_dup(fd, real(fd, to, flags));
}

#define CONTROLS(symbol) \
    int symbol(int fd, int command, ...) { \
        REAL(symbol) \
        va_list rest; \
        va_start(rest, command); \
        void *argument = va_arg(rest, void *); \
        va_end(rest); \
        int result = real(fd, command, argument); \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? note_dup(fd, result) : result; \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

/* Writing. */

/* Where a write without an offset goes. */
static int64_t place(int fd) {
    struct stat stat;
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    if (flags & O_APPEND) return fstat(fd, &stat) ? -1 : stat.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

static size_t inode(int fd) {
    struct stat stat;
    return fstat(fd, &stat) ? 0 : stat.st_ino % INODES;
}

static void answer(const struct iovec *parts, int count) {
    static const char ok[] = "HTTP/1.1 200";
    if (log_fd >= 0 && count > 0 && parts[0].iov_len >= sizeof ok && !memcmp(parts[0].iov_base, ok, sizeof ok - 1))
        begin(ANSWER, 0, 0, parts, count > PARTS ? PARTS : count, 1 << 16);
}

#define RECORDED(fd, where, parts, count, call) \
    uint32_t file = known(fd); \
    if (!file) { \
        answer(parts, count); \
        return call; \
    } \
    uint32_t operation = begin(WRITE, file, where, parts, count, SIZE_MAX); \
    ssize_t result = call; \
    if (result > 0) unsynced[inode(fd)] += (uint64_t)result; \
    end(WRITE, operation, result); \
    return result;

ssize_t write(int fd, const void *data, size_t bytes) {
    REAL(write)
    struct iovec part = {(void *)data, bytes};
    RECORDED(fd, place(fd), &part, 1, real(fd, data, bytes))
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev)
    RECORDED(fd, place(fd), parts, count, real(fd, parts, count))
}

#define WRITES_AT(symbol, offset_type) \
    ssize_t symbol(int fd, const void *data, size_t bytes, offset_type offset) { \
        REAL(symbol) \
        struct iovec part = {(void *)data, bytes}; \
        RECORDED(fd, offset, &part, 1, real(fd, data, bytes, offset)) \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

#define WRITES_PARTS_AT(symbol, offset_type) \
    ssize_t symbol(int fd, const struct iovec *parts, int count, offset_type offset) { \
        REAL(symbol) \
        RECORDED(fd, offset, parts, count, real(fd, parts, count, offset)) \
    }
WRITES_PARTS_AT(pwritev, off_t)
WRITES_PARTS_AT(pwritev64, off64_t)

ssize_t send(int fd, const void *data, size_t bytes, int flags) {
    REAL(send)
    struct iovec part = {(void *)data, bytes};
    answer(&part, 1);
    return real(fd, data, bytes, flags);
}

ssize_t sendto(int fd, const void *data, size_t bytes, int flags, const struct sockaddr *to, socklen_t length) {
    REAL(sendto)
    struct iovec part = {(void *)data, bytes};
    answer(&part, 1);
    return real(fd, data, bytes, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg)
    answer(message->msg_iov, (int)message->msg_iovlen);
    return real(fd, message, flags);
}

#define RESIZES(symbol, size_type) \
    int symbol(int fd, size_type size) { \
        REAL(symbol) \
        uint32_t file = known(fd); \
        if (!file) return real(fd, size); \
        uint32_t operation = begin(RESIZE, file, size, 0, 0, 0); \
        int result = real(fd, size); \
        end(RESIZE, operation, result); \
        return result; \
    }
RESIZES(ftruncate, off_t)
RESIZES(ftruncate64, off64_t)

#define ALLOCATES(symbol, size_type) \
    int symbol(int fd, size_type offset, size_type bytes) { \
        REAL(symbol) \
        uint32_t file = known(fd); \
        if (!file) return real(fd, offset, bytes); \
        uint32_t operation = begin(GROW, file, offset + bytes, 0, 0, 0); \
        int result = real(fd, offset, bytes); \
        end(GROW, operation, -result); \
        return result; \
    }
ALLOCATES(posix_fallocate, off_t)
ALLOCATES(posix_fallocate64, off64_t)

#define PUNCHES(symbol, size_type) \
    int symbol(int fd, int mode, size_type offset, size_type bytes) { \
        REAL(symbol) \
        uint32_t file = known(fd); \
        if (!file) return real(fd, mode, offset, bytes); \
        if (mode) unknown("fallocate with a mode"); \
        uint32_t operation = begin(GROW, file, offset + bytes, 0, 0, 0); \
        int result = real(fd, mode, offset, bytes); \
        end(GROW, operation, result); \
        return result; \
    }
PUNCHES(fallocate, off_t)
PUNCHES(fallocate64, off64_t)

#define SYNCS(symbol) \
    int symbol(int fd) { \
        REAL(symbol) \
        uint32_t file = known(fd); \
        if (!file) return real(fd); \
        uint32_t operation = begin(SYNC, file, 0, 0, 0, 0); \
        int is_much = atomic_exchange(&unsynced[inode(fd)], 0) >= MUCH_BYTES; \
        int stalls = is_much && ++large_syncs[inode(fd)] % 3 == 0; \
        int result = real(fd); \
        if (sync_us) usleep(stalls ? STALL_US : is_much ? MUCH_US : sync_us); \
        end(SYNC, operation, result); \
        return result; \
    }
SYNCS(fsync)
SYNCS(fdatasync)

/* Names. */

static int note_name(enum kind kind, int result, const char *path, const char *other, int known) {
    if (!result && known) name(kind, 0, 0, path, other);
    return result;
}

#define NAMES(symbol, kind, path, other, parameters, arguments) \
    int symbol parameters { \
        REAL(symbol) \
        const char *second = other; \
        int known = is_inside(path) || is_inside(second); \
        if (known && second && (!is_inside(path) || !is_inside(second))) unknown("a name that crosses the folder's border"); \
        pthread_mutex_lock(&names); \
        int result = note_name(kind, real arguments, path, second, known); \
        pthread_mutex_unlock(&names); \
        return result; \
    }
NAMES(rename, RENAME, from, to, (const char *from, const char *to), (from, to))
NAMES(renameat, RENAME, from, to, (int at, const char *from, int in, const char *to), (at, from, in, to))
NAMES(renameat2, RENAME, from, to, (int at, const char *from, int in, const char *to, unsigned flags), (at, from, in, to, flags))
NAMES(link, LINK, from, to, (const char *from, const char *to), (from, to))
NAMES(linkat, LINK, from, to, (int at, const char *from, int in, const char *to, int flags), (at, from, in, to, flags))
NAMES(unlink, UNLINK, path, 0, (const char *path), (path))
NAMES(unlinkat, UNLINK, path, 0, (int at, const char *path, int flags), (at, path, flags))
NAMES(mkdir, MKDIR, path, 0, (const char *path, mode_t mode), (path, mode))
NAMES(mkdirat, MKDIR, path, 0, (int at, const char *path, mode_t mode), (at, path, mode))

/* Not known to the model. */

#define UNKNOWNS(symbol, type, parameters, arguments, is_ours) \
    type symbol parameters { \
        REAL(symbol) \
        if (is_ours) unknown(#symbol); \
        return real arguments; \
    }
UNKNOWNS(symlink, int, (const char *to, const char *path), (to, path), is_inside(path))
UNKNOWNS(symlinkat, int, (const char *to, int at, const char *path), (to, at, path), is_inside(path))
UNKNOWNS(truncate, int, (const char *path, off_t size), (path, size), is_inside(path))
UNKNOWNS(truncate64, int, (const char *path, off64_t size), (path, size), is_inside(path))
UNKNOWNS(rmdir, int, (const char *path), (path), is_inside(path))
UNKNOWNS(pwritev2, ssize_t, (int fd, const struct iovec *parts, int count, off_t at, int flags), (fd, parts, count, at, flags),
         known(fd))
UNKNOWNS(sendfile, ssize_t, (int to, int from, off_t *at, size_t bytes), (to, from, at, bytes), known(to))
UNKNOWNS(sendfile64, ssize_t, (int to, int from, off64_t *at, size_t bytes), (to, from, at, bytes), known(to))
UNKNOWNS(copy_file_range, ssize_t, (int from, off64_t *at, int to, off64_t *in, size_t bytes, unsigned flags),
         (from, at, to, in, bytes, flags), known(to))
UNKNOWNS(splice, ssize_t, (int from, off64_t *at, int to, off64_t *in, size_t bytes, unsigned flags),
         (from, at, to, in, bytes, flags), known(to))

static int is_index(int fd) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && !memcmp(path + length - 4, "-shm", 4);
}

/* The index of SQLite's log is mapped; a crash leaves anything in it. Not by dlsym, which may need memory itself. */
#define MAPS(symbol, offset_type) \
    void *symbol(void *at, size_t bytes, int protection, int flags, int fd, offset_type offset) { \
        if (known(fd) && (protection & PROT_WRITE) && (flags & MAP_SHARED) && !is_index(fd)) unknown("a mapped file"); \
        return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset); \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)
