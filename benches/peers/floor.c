/* The floor of the job: a relay of bytes that parses nothing.
 *
 * Each client gets a connection of its own to one endpoint, and what comes on one goes out on the other. One thread, epoll.
 * What a proxy needs above it is the price of being one.
 *
 *   floor PORT OTHER_PORT ENDPOINT_PORT      OTHER_PORT is listened on, and nobody is served there
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUF (128 * 1024)
#define EVENTS 256

struct side {
    int fd;
    struct side *other;
    /* Read and not yet sent, because this side takes no more. */
    char *held;
    size_t from, to;
};

static int queue;
static char buf[BUF];

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listening(int port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void watch(struct side *side, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = side};
    epoll_ctl(queue, op, side->fd, &event);
}

static void end(struct side *side)
{
    if (side->fd < 0)
        return;
    close(side->fd);
    close(side->other->fd);
    side->fd = side->other->fd = -1;
}

static struct side *new_side(int fd)
{
    struct side *side = calloc(1, sizeof *side);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    side->fd = fd;
    return side;
}

static void take_client(int listener, int endpoint_port)
{
    int client;
    while ((client = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        struct sockaddr_in address = loopback(endpoint_port);
        int endpoint = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(endpoint, (void *)&address, sizeof address)) {
            close(client);
            close(endpoint);
            continue;
        }
        struct side *a = new_side(client), *b = new_side(endpoint);
        a->other = b;
        b->other = a;
        watch(a, EPOLL_CTL_ADD, EPOLLIN);
        watch(b, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Sends; what does not go is held, and nothing more is read for this side meanwhile. */
static void pass(struct side *to, const char *bytes, size_t len)
{
    ssize_t sent = send(to->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        end(to);
        return;
    }
    size_t done = sent < 0 ? 0 : sent;
    if (done == len)
        return;
    if (!to->held)
        to->held = malloc(BUF);
    memmove(to->held, bytes + done, len - done);
    to->from = 0;
    to->to = len - done;
    watch(to, EPOLL_CTL_MOD, EPOLLOUT);
    watch(to->other, EPOLL_CTL_MOD, 0);
}

static void go_on(struct side *to)
{
    size_t len = to->to - to->from;
    ssize_t sent = send(to->fd, to->held + to->from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        end(to);
        return;
    }
    to->from += sent < 0 ? 0 : sent;
    if (to->from == to->to) {
        watch(to, EPOLL_CTL_MOD, EPOLLIN);
        watch(to->other, EPOLL_CTL_MOD, EPOLLIN);
    }
}

int main(int count, char **args)
{
    if (count != 4) {
        fprintf(stderr, "floor PORT OTHER_PORT ENDPOINT_PORT\n");
        return 2;
    }
    struct side listener = {.fd = listening(atoi(args[1]))};
    listening(atoi(args[2]));
    queue = epoll_create1(0);
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(queue, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct side *side = events[i].data.ptr;
            if (side == &listener) {
                take_client(listener.fd, atoi(args[3]));
            } else if (side->fd < 0) {
                continue;
            } else if (events[i].events & EPOLLOUT) {
                go_on(side);
            } else {
                ssize_t got = recv(side->fd, buf, sizeof buf, MSG_DONTWAIT);
                if (got > 0)
                    pass(side->other, buf, got);
                else if (got == 0 || errno != EAGAIN)
                    end(side);
            }
        }
    }
}
