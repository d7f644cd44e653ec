/* The part of the libevent engine that runs without the interpreter: callbacks, the log, forks, descriptors. */

#ifndef EVSOCKETS_LIBEVENT_LOOP_H
#define EVSOCKETS_LIBEVENT_LOOP_H

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <event2/event.h>

typedef struct Watch {
    struct event *reading, *writing;
    struct State *state;
    struct Watch *next; /* of those that fired */
    dev_t device;
    ino_t inode;
    int fd, interest;
    int mask;    /* what fired in this run; in the list if not 0 */
    int refused; /* the errno with which the kernel refused it in a run; 0: it did not */
} Watch;

typedef struct State {
    Watch **watches; /* by descriptor */
    int size;
    Watch *first, **last;
    int refused;  /* how many of the watches were */
    int stale;    /* the kernel may know what is not watched any more */
    int signalled;
    int expired;
} State;

static void fired(Watch *watch, int mask) {
    if (!watch->mask) {
        State *state = watch->state;
        watch->next = NULL;
        *state->last = watch;
        state->last = &watch->next;
    }
    watch->mask |= mask;
}
static void on_readable(evutil_socket_t fd, short what, void *watch) { fired(watch, 1); }
static void on_writable(evutil_socket_t fd, short what, void *watch) { fired(watch, 2); }
static void on_signal(evutil_socket_t fd, short what, void *state) { ((State *)state)->signalled = 1; }
static void on_time(evutil_socket_t fd, short what, void *state) { ((State *)state)->expired = 1; }

static __thread State *inside; /* whose base this thread has handed to libevent */

static void on_log(int severity, const char *text) {
    static const char *const names[] = {"debug", "msg", "warn", "err"};
    int number = errno, fd = -1;
    const char *at;
    State *state = inside;
    if (!state || severity >= EVENT_LOG_ERR) { /* after an error libevent ends the process */
        (void)fprintf(stderr, "[%s] %s\n", names[severity & 3], text);
    } else if (severity == EVENT_LOG_WARN && (at = strstr(text, " on fd ")) && sscanf(at + 7, "%d", &fd) == 1) {
        if (fd >= 0 && fd < state->size && state->watches[fd]) {
            state->refused += !state->watches[fd]->refused;
            state->watches[fd]->refused = number ? number : EIO;
        } else {
            state->stale = 1;
        }
    }
    errno = number;
}

static void enter(State *state) { inside = state; }
static int leave(void) { int number = errno; inside = NULL; return number; }

static int forks;
/* The system's number of the main thread, and pthread's, 0 until that thread has asked: asking for the former is a
   system call. `threading`'s own is gevent's where that has patched the program. */
static unsigned long main_number, main_thread;
static unsigned long number_of_thread(void) {
#ifdef PY_HAVE_THREAD_NATIVE_ID
    return PyThread_get_thread_native_id();
#else
    return (unsigned long)pthread_self();
#endif
}
static int in_main_thread(void) {
    if (!main_thread && number_of_thread() == main_number) main_thread = (unsigned long)pthread_self();
    return (unsigned long)pthread_self() == main_thread;
}
static void on_fork(void) {
    forks++;
    main_number = number_of_thread();
    main_thread = (unsigned long)pthread_self();
}
static void begin_process(unsigned long number) {
    main_number = number;
    pthread_atfork(NULL, NULL, on_fork);
    event_set_log_callback(on_log);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static int arm(struct event *timer, double seconds) {
    double whole = floor(seconds);
    struct timeval time = {(time_t)whole, (suseconds_t)((seconds - whole) * 1e6) + 1};
    if (time.tv_usec >= 1000000) { time.tv_sec += 1; time.tv_usec -= 1000000; }
    return event_add(timer, &time);
}

static int make_pipe(int ends[2]) {
    int number, i;
    if (pipe(ends) < 0) return -1;
    for (i = 0; i < 2; i++)
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0 || fcntl(ends[i], F_SETFL, O_NONBLOCK) < 0) {
            number = errno;
            close(ends[0]); close(ends[1]);
            ends[0] = ends[1] = -1;
            errno = number;
            return -1;
        }
    return 0;
}

/* The base's own descriptors: the kernel object, its timer, the pair for signals; and two to spare. */
static int has_room(void) {
    int taken[6], count = 0, number = 0;
    while (count < 6) {
        if ((taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) { number = errno; break; }
        count++;
    }
    while (count) close(taken[--count]);
    errno = number;
    return number ? -1 : 0;
}

static int same_file(Watch *watch) {
    struct stat found;
    return fstat(watch->fd, &found) == 0 && found.st_dev == watch->device && found.st_ino == watch->inode;
}

static const char *const methods[] = {
    "epoll", "wepoll", "kqueue", "evport", "devpoll", "poll", "select", "win32", NULL};

static struct event_base *make_base(const char *method, int changelist) {
    struct event_config *config = event_config_new();
    struct event_base *base;
    int flags = EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER, i;
    if (!config) return NULL;
    if (method) {
        flags |= EVENT_BASE_FLAG_IGNORE_ENV;
        for (i = 0; methods[i]; i++)
            if (strcmp(methods[i], method)) event_config_avoid_method(config, methods[i]);
    }
    if (changelist) flags |= EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST;
    event_config_set_flag(config, flags);
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

/* Python 3.11 and 3.12 keep the function to themselves; `signal.set_wakeup_fd` costs system calls. */
#if PY_VERSION_HEX >= 0x030D0000
#define HAS_SET_WAKEUP_FD 1
#define c_set_wakeup_fd PySignal_SetWakeupFd
#else
#define HAS_SET_WAKEUP_FD 0
static int c_set_wakeup_fd(int fd) { return fd; } /* not called */
#endif

#endif
