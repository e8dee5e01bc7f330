/* Interrupts a process at its n-th file operation below one folder. Loaded with LD_PRELOAD, see shim.py.

   Counted: open for writing, write, fsync, rename, link, mkdir, rmdir, unlink, truncate. All processes that share the
   state file count together. Environment (read by torture_arm, and when a new program starts):
     TORTURE_PREFIX  only paths that start with this folder count
     TORTURE_MODE    count, kill (this process), power (all processes), fail (the operation)
     TORTURE_AT      the number of the operation, from 1
     TORTURE_ERRNO   of mode fail; a full disk (ENOSPC) stays full, any other error occurs once
     TORTURE_STATE   file with the counter     TORTURE_LOG  a line per operation     TORTURE_BACKUP  hard links of
                     files that a rename or an unlink removes (mode power only)                                      */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, COUNT, KILL, POWER, FAIL };
#define TORN (-1) /* write half of the bytes, then die */

static struct { _Atomic long count; _Atomic int dead; } *state;
static int mode, failure, log_file = -1, backup = -1;
static long at;
static char prefix[PATH_MAX];

void torture_arm(void) {
    const char *name = getenv("TORTURE_MODE"), *path;
    mode = OFF;
    if (!name) return;
    const char *names[] = {"off", "count", "kill", "power", "fail"};
    int wanted = OFF;
    for (int i = 1; i < 5; i++)
        if (!strcmp(name, names[i])) wanted = i;
    snprintf(prefix, sizeof prefix, "%s", getenv("TORTURE_PREFIX"));
    at = atol(getenv("TORTURE_AT"));
    failure = atoi(getenv("TORTURE_ERRNO"));
    int file = syscall(SYS_openat, AT_FDCWD, getenv("TORTURE_STATE"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (syscall(SYS_ftruncate, file, 64)) abort();
    state = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (state == MAP_FAILED) abort();
    syscall(SYS_close, file);
    log_file = syscall(SYS_openat, AT_FDCWD, getenv("TORTURE_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((path = getenv("TORTURE_BACKUP")) && wanted == POWER)
        backup = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mode = wanted;
}

__attribute__((constructor)) static void start(void) { torture_arm(); }

/* The absolute form of a path; 0 if it is not below the prefix. */
static int below(int folder, const char *path, char *full) {
    if (!path) return 0;
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
    } else {
        char link[64];
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, full, PATH_MAX - 1);
        if (size < 0) return 0;
        snprintf(full + size, PATH_MAX - size, "/%s", path);
    }
    return !strncmp(full, prefix, strlen(prefix));
}

static int below_file(int file, char *full) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, full, PATH_MAX - 1);
    if (size < 0) return 0;
    full[size] = 0;
    return !strncmp(full, prefix, strlen(prefix));
}

static void die(void) {
    if (mode == POWER) atomic_store(&state->dead, 1);
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* Count one operation. Returns 0 (do it), an errno (do not), or TORN. */
static int count(const char *name, const char *path, const char *second, long size, int needs_space) {
    if (atomic_load(&state->dead)) die();
    long number = atomic_fetch_add(&state->count, 1) + 1;
    char line[2 * PATH_MAX + 128];
    int length = snprintf(line, sizeof line, "%ld\t%d\t%s\t%s\t%s\t%ld\n", number, (int)syscall(SYS_getpid), name,
                          path, second, size);
    syscall(SYS_write, log_file, line, length);
    if (mode == FAIL && (number == at || (number > at && failure == ENOSPC && needs_space))) return failure;
    if ((mode == KILL || mode == POWER) && number == at) {
        if (!strcmp(name, "write")) return TORN;
        die();
    }
    if (backup >= 0 && (!strcmp(name, "rename") || !strcmp(name, "unlink"))) {
        char target[32];
        snprintf(target, sizeof target, "%ld", number);
        syscall(SYS_linkat, AT_FDCWD, *second ? second : path, backup, target, 0);
    }
    return 0;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define STOP(failure_, result) do { int error_ = (failure_); if (error_) { errno = error_; return result; } } while (0)

static long size_of(const char *path) {
    struct stat found;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &found, 0) ? -1 : (long)found.st_size;
}

static int opening(int folder, const char *path, int flags) {
    char full[PATH_MAX];
    if (mode == OFF || !(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) || !below(folder, path, full)) return 0;
    return count(flags & O_TRUNC ? "create" : "open", full, "", size_of(full), 1);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list list; va_start(list, flags); mode_t permission = va_arg(list, mode_t); va_end(list); \
        STOP(opening(AT_FDCWD, path, flags), -1); \
        return real(path, flags, permission); \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        va_list list; va_start(list, flags); mode_t permission = va_arg(list, mode_t); va_end(list); \
        STOP(opening(folder, path, flags), -1); \
        return real(folder, path, flags, permission); \
    }
OPENAT(openat)
OPENAT(openat64)
#define FOPEN(name) \
    FILE *name(const char *path, const char *kind) { \
        REAL(FILE *, #name, const char *, const char *); \
        int flags = *kind == 'w' ? O_WRONLY | O_TRUNC : *kind == 'a' || strchr(kind, '+') ? O_WRONLY : 0; \
        STOP(opening(AT_FDCWD, path, flags), NULL); \
        return real(path, kind); \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* Before a write: its size, or 0 and errno; never returns if half of it was the last thing that this process did. */
static int writing(int file, const void *data, size_t size) {
    char full[PATH_MAX];
    if (mode == OFF || !below_file(file, full)) return 0;
    int result = count("write", full, "", (long)size, 1);
    if (result == TORN) {
        if (data) syscall(SYS_write, file, data, size / 2);
        die();
    }
    return result;
}

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    STOP(writing(file, data, size), -1);
    return real(file, data, size);
}
#define PWRITE(name, offset_type) \
    ssize_t name(int file, const void *data, size_t size, offset_type offset) { \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
        STOP(writing(file, NULL, size), -1); \
        return real(file, data, size, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
ssize_t writev(int file, const struct iovec *parts, int number) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    STOP(writing(file, number ? parts[0].iov_base : NULL, number ? parts[0].iov_len : 0), -1);
    return real(file, parts, number);
}

#define SENDFILE(name, offset_type) \
    ssize_t name(int to, int from, offset_type *offset, size_t size) { \
        REAL(ssize_t, #name, int, int, offset_type *, size_t); \
        STOP(writing(to, NULL, size), -1); \
        return real(to, from, offset, size); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

static int syncing(int file) {
    char full[PATH_MAX];
    struct stat found;
    if (mode == OFF || !below_file(file, full)) return 0;
    return count("fsync", full, "", syscall(SYS_fstat, file, &found) ? -1 : (long)found.st_size, 0);
}
int fsync(int file) { REAL(int, "fsync", int); STOP(syncing(file), -1); return real(file); }
int fdatasync(int file) { REAL(int, "fdatasync", int); STOP(syncing(file), -1); return real(file); }

#define TRUNCATE(name, offset_type) \
    int name(int file, offset_type length) { \
        REAL(int, #name, int, offset_type); \
        char full[PATH_MAX]; \
        if (mode != OFF && below_file(file, full)) STOP(count("truncate", full, "", (long)length, 0), -1); \
        return real(file, length); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

static int two(const char *name, int from, const char *first, int to, const char *second) {
    char one[PATH_MAX], other[PATH_MAX];
    if (mode == OFF) return 0;
    int inside = below(to, second, other);
    return (below(from, first, one) || inside) ? count(name, one, other, 0, 0) : 0;
}
int rename(const char *a, const char *b) {
    REAL(int, "rename", const char *, const char *);
    STOP(two("rename", AT_FDCWD, a, AT_FDCWD, b), -1);
    return real(a, b);
}
int renameat(int from, const char *a, int to, const char *b) {
    REAL(int, "renameat", int, const char *, int, const char *);
    STOP(two("rename", from, a, to, b), -1);
    return real(from, a, to, b);
}
int renameat2(int from, const char *a, int to, const char *b, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    STOP(two("rename", from, a, to, b), -1);
    return real(from, a, to, b, flags);
}
int link(const char *a, const char *b) {
    REAL(int, "link", const char *, const char *);
    STOP(two("link", AT_FDCWD, a, AT_FDCWD, b), -1);
    return real(a, b);
}
int linkat(int from, const char *a, int to, const char *b, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    STOP(two("link", from, a, to, b), -1);
    return real(from, a, to, b, flags);
}
int symlink(const char *a, const char *b) {
    REAL(int, "symlink", const char *, const char *);
    STOP(two("link", AT_FDCWD, a, AT_FDCWD, b), -1);
    return real(a, b);
}

static int one(const char *name, int folder, const char *path, int needs_space) {
    char full[PATH_MAX];
    return mode != OFF && below(folder, path, full) ? count(name, full, "", 0, needs_space) : 0;
}
int mkdir(const char *path, mode_t permission) {
    REAL(int, "mkdir", const char *, mode_t);
    STOP(one("mkdir", AT_FDCWD, path, 1), -1);
    return real(path, permission);
}
int mkdirat(int folder, const char *path, mode_t permission) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    STOP(one("mkdir", folder, path, 1), -1);
    return real(folder, path, permission);
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    STOP(one("unlink", AT_FDCWD, path, 0), -1);
    return real(path);
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    STOP(one("unlink", folder, path, 0), -1);
    return real(folder, path, flags);
}
int rmdir(const char *path) {
    REAL(int, "rmdir", const char *);
    STOP(one("rmdir", AT_FDCWD, path, 0), -1);
    return real(path);
}
