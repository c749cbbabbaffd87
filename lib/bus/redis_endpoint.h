/* How this process gets into Redis: by host and port or by a Unix socket, with TLS where hiredis has it, as which user. All files
 * are read when an endpoint is made, so that the process may become another user afterwards; the password is kept in locked memory
 * and handed over with every new connection, before anything else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/own.h"
#include "bus/lease_keys.h"

struct redis_settings {
	char host[CONF_TEXT_MAX]; /* host and port are not used with a socket */
	uint64_t port;
	char socket[CONF_TEXT_MAX]; /* absolute; "": host and port */
	char user[CONF_TEXT_MAX];   /* "": the default user */
	char password_file[CONF_TEXT_MAX];
	bool is_tls;
	char tls_ca_file[CONF_TEXT_MAX]; /* "": what the system trusts */
	char tls_certificate_file[CONF_TEXT_MAX], tls_key_file[CONF_TEXT_MAX]; /* both or neither */
	char tls_name[CONF_TEXT_MAX]; /* in the server's certificate; "": the host */
};

/* The rows of a table (base/conf.h) for a field of this type in the settings `of`. */
#define REDIS_ROWS(of, field)                                                                                         \
	CONF_ROW(of, "redis_host", CONF_TYPE_TEXT, field.host, "127.0.0.1"),                                           \
		CONF_UINT_ROW(of, "redis_port", field.port, 1, 65535, "6379"),                                         \
		CONF_ROW(of, "redis_socket", CONF_TYPE_TEXT, field.socket, ""),                                        \
		CONF_ROW(of, "redis_user", CONF_TYPE_TEXT, field.user, ""),                                            \
		CONF_ROW(of, "redis_password_file", CONF_TYPE_TEXT, field.password_file, ""),                          \
		CONF_ROW(of, "redis_tls", CONF_TYPE_BOOL, field.is_tls, "no"),                                         \
		CONF_ROW(of, "redis_tls_ca_file", CONF_TYPE_TEXT, field.tls_ca_file, ""),                              \
		CONF_ROW(of, "redis_tls_certificate_file", CONF_TYPE_TEXT, field.tls_certificate_file, ""),            \
		CONF_ROW(of, "redis_tls_key_file", CONF_TYPE_TEXT, field.tls_key_file, ""),                            \
		CONF_ROW(of, "redis_tls_name", CONF_TYPE_TEXT, field.tls_name, "")

/* Do they go together, and can this build do it? Opens no file. ERR_INPUT begins with `source`, if that is not NULL. */
int redis_settings_check(const struct redis_settings *settings, const char *source, struct err *err);

struct redis_endpoint;
struct redisContext;
struct redisAsyncContext;

/* ERR_INPUT: a file cannot be read, or holds no such thing. */
int redis_endpoint_new(const struct redis_settings *settings, struct redis_endpoint **ret, struct err *err);
void redis_endpoint_free(struct redis_endpoint *endpoint);

DEFINE_FREEP(struct redis_endpoint, redis_endpoint_free)

/* "127.0.0.1:6379" or the socket's path. */
const char *redis_endpoint_name(const struct redis_endpoint *endpoint);

/* A connection that has been begun, with TLS where that is wanted; NULL or one with `err` set when it cannot. */
struct redisAsyncContext *redis_endpoint_begin(const struct redis_endpoint *endpoint);

/* Sends AUTH, if there is a password. `answer`(hiredis, reply, ctx) as hiredis calls it. Answers whether there is one. */
bool redis_endpoint_greet(const struct redis_endpoint *endpoint, struct redisAsyncContext *hiredis,
		      void (*answer)(struct redisAsyncContext *hiredis, void *reply, void *ctx), void *ctx);

/* The same for blocking callers, AUTH included. ERR_INPUT: Redis refuses us; ERR_HOST: it does not answer. */
int redis_endpoint_enter(const struct redis_endpoint *endpoint, unsigned timeout_ms, struct redisContext **ret, struct err *err);

/* May we do with the keys of this prefix all that worker and reaper do? Changes nothing. Errors as above; the message names the command. */
int redis_endpoint_check(const struct redis_endpoint *endpoint, const char *prefix, unsigned timeout_ms, struct err *err);

/* Is this a refusal that a person has to mend: who we are, or what we may do? */
bool redis_is_refusal(const char *error);
