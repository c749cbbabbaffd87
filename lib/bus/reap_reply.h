/* What Redis answers to the reaper's calls of the lease library. Pure and strict: what the library does not say is refused. */
#pragma once

#include <stddef.h>

#include "bus/reap.h"

struct redisReply;

/* A scan into `leases` (REAP_SCAN_MAX). A lease whose line is not one is left out and counted in *ret_bad: one broken
 * key must not stop the reaper. 0 or -EBADMSG. */
int reap_reply_scan(const struct redisReply *reply, struct reap_scan *ret, struct reap_lease *leases, size_t *ret_bad,
		    struct err *err);

/* `n` integers. */
int reap_reply_numbers(const struct redisReply *reply, size_t n, int64_t *numbers, struct err *err);

/* `n` times an integer, a line and a time; lines are parsed where the integer is a token. */
int reap_reply_heal(const struct redisReply *reply, size_t n, int64_t *numbers, struct reap_lease *leases,
		    struct err *err);

/* The text of INFO. */
int reap_reply_server(const struct redisReply *reply, struct reap_server *ret, struct err *err);
