/* The lane protocol's datagrams on their socket. `buffer` is a secret of LANE_DATAGRAM_MAX bytes, one for each end: keys pass
 * through it, and through no other memory; it is wiped before these return. */
#pragma once

#include "lane/protocol.h"

/* Neither blocks for long: one request is on its way at a time, and the socket has room for it. ERR_BUSY: the peer is gone. */
int lane_send_request(int fd, struct secret *buffer, const struct lane_request *request, uint64_t seq, struct err *err);
int lane_send_reply(int fd, struct secret *buffer, const struct lane_reply *reply, const struct err *fault, uint64_t seq,
		    struct err *err);

/* Blocks. 0: there it is, the caller's to clear; -EPIPE with ERR_BUSY: the peer is gone; another fault: it said something
 * impossible. */
int lane_receive_request(int fd, struct secret *buffer, struct lane_request *ret, uint64_t *ret_seq, struct err *err);

/* Does not block: -EAGAIN without a fault. Else as above. */
int lane_receive_reply(int fd, struct secret *buffer, struct lane_reply *ret, struct err *ret_fault, uint64_t *ret_seq,
		       struct err *err);
