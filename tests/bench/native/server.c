/* The peer of the client benchmarks: one epoll loop, TCP or TLS.
 *
 *   server echo            sends back what it receives
 *   server reply           answers the first bytes of a connection with 200 bytes and closes
 *   server source BYTES    sends BYTES to whoever connects and closes, one connection at a time
 *   server sink            reads to the end, then sends one byte and closes, one connection at a time
 *   server udp             sends every datagram back
 *
 * A certificate and a key file as the last two arguments make echo and reply speak TLS 1.3.
 * Prints its port (loopback, chosen by the kernel) and process number, and serves until it is killed.
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
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FD = 65536, CHUNK = 65536, REPLY = 200 };

static SSL *sessions[MAX_FD];
static char chunk[CHUNK];
static char reply[REPLY];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int open_port(int type)
{
    int fd = socket(AF_INET, type, 0), on = 1;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, size)) die("bind");
    if (type == SOCK_STREAM && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || listen(fd, 4096)))
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&name, &size)) die("getsockname");
    printf("%d %d\n", ntohs(name.sin_port), getpid());
    fflush(stdout);
    return fd;
}

static void drop(int fd)
{
    if (sessions[fd]) {
        SSL_free(sessions[fd]);
        sessions[fd] = NULL;
    }
    close(fd);
}

/* Everything sent here fits the socket's buffer, so a short write is an error of the benchmark. */
static void put(int fd, const char *data, int size)
{
    int sent = sessions[fd] ? SSL_write(sessions[fd], data, size) : (int)send(fd, data, size, MSG_NOSIGNAL);
    if (sent != size && errno != EPIPE && errno != ECONNRESET) die("short write");
}

/* Bytes received; 0 at the end; -1 when there is nothing now. */
static int get(int fd)
{
    int got = sessions[fd] ? SSL_read(sessions[fd], chunk, CHUNK) : (int)recv(fd, chunk, CHUNK, 0);
    if (got > 0) return got;
    if (sessions[fd]) {
        int why = SSL_get_error(sessions[fd], got);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
    }
    return got < 0 && errno == EAGAIN ? -1 : 0;
}

static void serve(int listener, int replies, SSL_CTX *context)
{
    int poller = epoll_create1(0), on = 1;
    struct epoll_event ready[256], watch = {.events = EPOLLIN, .data.fd = listener};
    fcntl(listener, F_SETFL, O_NONBLOCK);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &watch);
    for (;;) {
        int count = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd, got;
            if (fd == listener) {
                int client;
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (client >= MAX_FD) die("too many connections");
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    if (context) {
                        sessions[client] = SSL_new(context);
                        SSL_set_fd(sessions[client], client);
                        SSL_set_accept_state(sessions[client]);
                    }
                    watch.data.fd = client;
                    epoll_ctl(poller, EPOLL_CTL_ADD, client, &watch);
                }
                continue;
            }
            do {
                got = get(fd);
                if (got > 0) put(fd, replies ? reply : chunk, replies ? REPLY : got);
            } while (got > 0 && !replies && sessions[fd] && SSL_pending(sessions[fd]));
            if (got > 0 && replies) {
                if (sessions[fd]) SSL_shutdown(sessions[fd]);
                drop(fd);
            } else if (got == 0)
                drop(fd);
        }
    }
}

static void datagrams(int fd)
{
    for (;;) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        ssize_t got = recvfrom(fd, chunk, CHUNK, 0, (struct sockaddr *)&peer, &size);
        if (got >= 0) sendto(fd, chunk, got, 0, (struct sockaddr *)&peer, size);
    }
}

static void bulk(int listener, long long amount)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) die("accept");
        if (amount) {
            for (long long left = amount; left > 0;) {
                ssize_t sent = send(fd, chunk, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
                if (sent <= 0) break;
                left -= sent;
            }
        } else {
            while (recv(fd, chunk, CHUNK, 0) > 0) {}
            send(fd, "k", 1, MSG_NOSIGNAL);
        }
        close(fd);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    SSL_CTX *context = NULL;
    signal(SIGPIPE, SIG_IGN);
    memset(chunk, 'x', sizeof chunk);
    memset(reply, 'r', sizeof reply);
    if (!strcmp(mode, "source") && argc > 2) bulk(open_port(SOCK_STREAM), atoll(argv[2]));
    if (!strcmp(mode, "sink")) bulk(open_port(SOCK_STREAM), 0);
    if (!strcmp(mode, "udp")) datagrams(open_port(SOCK_DGRAM));
    if (argc == 4) {
        context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
        if (SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1)
            die("certificate");
    }
    if (!strcmp(mode, "echo")) serve(open_port(SOCK_STREAM), 0, context);
    if (!strcmp(mode, "reply")) serve(open_port(SOCK_STREAM), 1, context);
    fprintf(stderr, "usage: server echo|reply|source|sink|udp\n");
    return 2;
}
