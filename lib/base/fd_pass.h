/* Descriptors over a Unix socket (SCM_RIGHTS), with a datagram or a piece of a stream: the one file that knows how. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define FD_PASS_MAX 16 /* with one message */

/* `data` is at least a byte long. `fds` stay the caller's. `flags` as of sendmsg(2); no SIGPIPE. The bytes that were taken,
 * and with the first of them all descriptors; or a negative errno: nothing was. */
ssize_t fd_send(int socket_fd, const void *data, size_t len, const int *fds, size_t n_fds, int flags);

/* `fds` has room for `max_fds`; those of *ret_n_fds are the caller's, closed on exec. The bytes that came; 0: the end; or
 * a negative errno, with no descriptor: -EMSGSIZE for a datagram longer than `size`, -EBADMSG for more descriptors than
 * fit. `flags` as of recvmsg(2). */
ssize_t fd_receive(int socket_fd, void *data, size_t size, int *fds, size_t max_fds, size_t *ret_n_fds, int flags);
