/* The load of the server benchmarks, and the C client among the peers of the client benchmarks.
 *
 *   generator lines  PORT CONNECTIONS DEPTH SIZE SECONDS MESSAGES   lines over TCP, DEPTH outstanding each
 *   generator tls    PORT CONNECTIONS DEPTH SIZE SECONDS MESSAGES   the same over TLS
 *   generator udp    PORT SOCKETS     DEPTH SIZE SECONDS MESSAGES   datagrams
 *   generator idle   PORT CONNECTIONS                               one round trip each, then waits for stdin
 *   generator fanout PORT COUNT CONCURRENCY                         short requests, each a connection
 *
 * A line is SIZE bytes, the last a newline; what comes back is compared with what was sent for the first two
 * messages of each connection and counted after that. It runs for SECONDS after a warm-up of a tenth of
 * that, or for MESSAGES if that is not 0.
 * Prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 65536, CHUNK = 65536, SAMPLES = 1 << 21, REPLY = 200 };

struct link {
    SSL *session;
    double sent_at;
    int partial, got;
};

static struct link links[MAX_FD];
static struct sockaddr_in server = {.sin_family = AF_INET};
static char chunk[CHUNK], batch[CHUNK];
static float samples[SAMPLES];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int rank(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static int dial(int type)
{
    int fd = socket(AF_INET, type, 0), on = 1;
    if (fd < 0 || fd >= MAX_FD || connect(fd, (struct sockaddr *)&server, sizeof server)) die("connect");
    if (type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    memset(&links[fd], 0, sizeof links[fd]);
    return fd;
}

static void put(int fd, int size)
{
    SSL *session = links[fd].session;
    int sent = session ? SSL_write(session, batch, size) : (int)send(fd, batch, size, MSG_NOSIGNAL);
    if (sent != size) die("short write");
}

static int get(int fd)
{
    SSL *session = links[fd].session;
    if (!session) return (int)recv(fd, chunk, CHUNK, 0);
    int got = SSL_read(session, chunk, CHUNK);
    if (got > 0) return got;
    errno = SSL_get_error(session, got) == SSL_ERROR_WANT_READ ? EAGAIN : ECONNRESET;
    return -1;
}

/* An orderly end: the server reads to the end of every stream, and nothing is reset. */
static void part(const int *all, int connections)
{
    struct timeval patience = {.tv_sec = 1};
    for (int i = 0; i < connections; i++) {
        fcntl(all[i], F_SETFL, 0);
        if (links[all[i]].session) SSL_shutdown(links[all[i]].session);
        shutdown(all[i], SHUT_WR);
        setsockopt(all[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    for (int i = 0; i < connections; i++) {
        while (recv(all[i], chunk, CHUNK, 0) > 0) {}
        close(all[i]);
    }
}

static void converse(int type, int tls, int connections, int depth, int size, double seconds, long long messages)
{
    SSL_CTX *context = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    int poller = epoll_create1(0), *all = calloc(connections, sizeof *all);
    struct epoll_event ready[256];
    long long done = 0, sampled = 0, warmed = 0;
    for (int i = 0; i < depth; i++) {
        for (int k = 0; k < size - 1; k++) batch[i * size + k] = 'a' + k % 26;
        batch[i * size + size - 1] = '\n';
    }
    for (int i = 0; i < connections; i++) {
        int fd = all[i] = dial(type);
        if (tls) {
            links[fd].session = SSL_new(context);
            SSL_set_fd(links[fd].session, fd);
            if (SSL_connect(links[fd].session) != 1) die("handshake");
        }
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct epoll_event watch = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &watch);
    }
    double warm = messages ? 0 : seconds / 10, begin = now(), start = begin;
    for (int i = 0; i < connections; i++) {
        links[all[i]].sent_at = begin;
        for (int k = 0; k < (type == SOCK_DGRAM ? depth : 1); k++)
            put(all[i], type == SOCK_DGRAM ? size : size * depth);
    }
    for (int measuring = messages != 0;;) {
        int count = epoll_wait(poller, ready, 256, 2000);
        double t = now();
        if (count == 0) {
            fprintf(stderr, "no answer for two seconds\n");
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd, got, lines = 0;
            struct link *link = &links[fd];
            do {
                got = get(fd);
                if (got < 0 && errno == EAGAIN) break;
                if (got <= 0) die("connection lost");
                if (link->got < 2 * size) {
                    for (int k = 0; k < got; k++)
                        if (chunk[k] != batch[(link->partial + k) % size]) {
                            fprintf(stderr, "wrong answer\n");
                            exit(1);
                        }
                    link->got += got;
                }
                link->partial += got;
                lines += link->partial / size;
                link->partial %= size;
            } while (link->session && SSL_pending(link->session));
            if (!lines) continue;
            done += lines;
            if (sampled < SAMPLES) samples[sampled++] = (float)(t - link->sent_at);
            link->sent_at = t;
            if (messages && done >= messages) continue;
            put(fd, lines * size);
        }
        if (!measuring && t - begin >= warm) {
            measuring = 1, warmed = done, done = 0, sampled = 0, start = t;
        } else if (messages ? done >= messages : measuring && t - start >= seconds) {
            qsort(samples, sampled, sizeof *samples, rank);
            printf("{\"count\": %lld, \"warmed\": %lld, \"seconds\": %.6f, \"cpu\": %.6f, ", done, warmed, t - start,
                   cpu());
            printf("\"p50\": %.1f, \"p99\": %.1f}\n", samples[sampled / 2] * 1e6,
                   samples[sampled * 99 / 100] * 1e6);
            fflush(stdout);
            if (type == SOCK_STREAM) part(all, connections);
            return;
        }
    }
}

static void idle(int connections)
{
    char byte;
    for (int i = 0; i < connections; i++) {
        int fd = dial(SOCK_STREAM);
        if (send(fd, "hello\n", 6, 0) != 6 || recv(fd, chunk, CHUNK, 0) != 6) die("round trip");
    }
    printf("{\"count\": %d}\n", connections);
    fflush(stdout);
    if (read(0, &byte, 1) < 0) die("stdin");
}

static void fanout(long count, long concurrency)
{
    static const char request[] = "GET /status HTTP/1.1\r\nHost: bench\r\n\r\n";
    int poller = epoll_create1(0), on = 1;
    struct epoll_event ready[256];
    long started = 0, finished = 0;
    double start = now(), used = cpu();
    while (finished < count) {
        while (started < count && started - finished < concurrency) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            if (fd < 0) die("socket");
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (connect(fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) die("connect");
            links[fd] = (struct link){0};
            struct epoll_event watch = {.events = EPOLLOUT, .data.fd = fd};
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &watch);
            started++;
        }
        int waiting = epoll_wait(poller, ready, 256, 5000);
        for (int i = 0; i < waiting; i++) {
            int fd = ready[i].data.fd;
            if (!links[fd].partial) {
                int problem = 0;
                socklen_t size = sizeof problem;
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
                if (problem || send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) die("request");
                links[fd].partial = 1;
                struct epoll_event watch = {.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(poller, EPOLL_CTL_MOD, fd, &watch);
                continue;
            }
            int got = (int)recv(fd, chunk, CHUNK, 0);
            if (got < 0) die("reply");
            links[fd].got += got;
            if (got == 0) {
                if (links[fd].got != REPLY) die("short reply");
                close(fd);
                finished++;
            }
        }
    }
    printf("{\"count\": %ld, \"seconds\": %.6f, \"cpu\": %.6f}\n", count, now() - start, cpu() - used);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 3 ? argv[1] : "";
    signal(SIGPIPE, SIG_IGN);
    if (argc > 3) server.sin_port = htons(atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!strcmp(mode, "idle"))
        idle(atoi(argv[3]));
    else if (!strcmp(mode, "fanout") && argc == 5)
        fanout(atol(argv[3]), atol(argv[4]));
    else if (argc == 8)
        converse(!strcmp(mode, "udp") ? SOCK_DGRAM : SOCK_STREAM, !strcmp(mode, "tls"), atoi(argv[3]),
                 atoi(argv[4]), atoi(argv[5]), atof(argv[6]), atoll(argv[7]));
    else {
        fprintf(stderr, "usage: generator lines|tls|udp|idle|fanout PORT ...\n");
        return 2;
    }
    return 0;
}
