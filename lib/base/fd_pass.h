/* One descriptor, and a byte that says what it is, over a Unix socket. */
#pragma once

#include <stdint.h>

/* `fd` stays the caller's. 0 or a negative errno. */
int fd_pass(int socket_fd, uint8_t byte, int fd);

/* *ret_fd: the caller's, closed on exec. 0, or -EPIPE: the peer is gone or sent something else. */
int fd_receive(int socket_fd, uint8_t *ret_byte, int *ret_fd);
