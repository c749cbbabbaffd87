#include "bus/redis_endpoint.h"

#include <fcntl.h>
#include <hiredis/async.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#ifdef MAYFLY_REDIS_TLS
#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

#include "base/secret.h"
#include "bus/hiredis_own.h"

#define PASSWORD_MAX_BYTES 4096

struct redis_endpoint {
	char host[CONF_TEXT_MAX];
	unsigned port;
	char socket[CONF_TEXT_MAX];
	char user[CONF_TEXT_MAX];
	char name[CONF_TEXT_MAX + 16];
	struct secret *password; /* NULL: none */
	size_t password_len;
#ifdef MAYFLY_REDIS_TLS
	SSL_CTX *tls; /* NULL: none */
	char tls_name[CONF_TEXT_MAX];
#endif
};

static int check_tls(const struct redis_settings *settings, const char **ret_key, const char **ret_why)
{
	bool has_some = settings->tls_ca_file[0] || settings->tls_certificate_file[0] || settings->tls_key_file[0] ||
			settings->tls_name[0];

	*ret_key = "redis_tls";
	if (has_some && !settings->is_tls)
		*ret_why = "the settings redis_tls_... want redis_tls = yes beside them";
	else if (settings->is_tls && settings->socket[0])
		*ret_why = "there is no TLS on a Unix socket; take one of redis_tls and redis_socket out";
	else if (!settings->tls_certificate_file[0] != !settings->tls_key_file[0])
		*ret_why = "a client's certificate and its key go together: set redis_tls_certificate_file and redis_tls_key_file";
#ifndef MAYFLY_REDIS_TLS
	else if (settings->is_tls)
		*ret_why = "this build has no TLS to Redis: it wants hiredis 1.0 with hiredis_ssl (Debian 13; Debian 12's 0.14 has "
			   "none). Use redis_socket, or a private network";
#endif
	return *ret_why ? -EINVAL : 0;
}

int redis_settings_check(const struct redis_settings *settings, const char *source, struct err *err)
{
	const char *key = NULL, *why = NULL;

	if (settings->socket[0] && settings->socket[0] != '/') {
		key = "redis_socket";
		why = "write an absolute path";
	} else if (settings->user[0] && !settings->password_file[0]) {
		key = "redis_user";
		why = "a user has a password: set redis_password_file, too";
	} else {
		(void)check_tls(settings, &key, &why);
	}
	if (!why)
		return 0;
	return err_set(err, ERR_INPUT, 0, "%.100s%s%s: %s", source ? source : "", source ? ": " : "", key, why);
}

/* A line's end after it is not part of it. */
static int read_password(struct redis_endpoint *endpoint, const char *path, struct err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_(secret_freep) struct secret *secret = NULL;
	size_t len = 0;
	ssize_t n = 1;
	int r = fd < 0 ? err_set(err, ERR_INPUT, errno, "redis_password_file: open '%.150s'", path) :
			 secret_new(PASSWORD_MAX_BYTES + 1, &secret, err);

	if (r < 0)
		return r;
	while (len <= PASSWORD_MAX_BYTES && (n = read(fd, secret_data(secret) + len, PASSWORD_MAX_BYTES + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return err_set(err, ERR_INPUT, errno, "redis_password_file: read '%.150s'", path);
	if (len > PASSWORD_MAX_BYTES)
		return err_set(err, ERR_INPUT, 0, "redis_password_file: '%.150s' is larger than %d bytes", path,
			       PASSWORD_MAX_BYTES);
	while (len && (secret_peek(secret)[len - 1] == '\n' || secret_peek(secret)[len - 1] == '\r'))
		len--;
	if (!len)
		return err_set(err, ERR_INPUT, 0, "redis_password_file: '%.150s' is empty", path);
	endpoint->password = TAKE_PTR(secret);
	endpoint->password_len = len;
	return 0;
}

#ifdef MAYFLY_REDIS_TLS
static int tls_fault(const char *key, const char *path, struct err *err)
{
	const char *reason = ERR_reason_error_string(ERR_get_error());

	ERR_clear_error();
	return err_set(err, ERR_INPUT, 0, "%s: '%.150s': %s", key, path, reason ? reason : "OpenSSL does not take it");
}

static int load_certificate(SSL_CTX *tls, const struct redis_settings *settings, struct err *err)
{
	if (SSL_CTX_use_certificate_chain_file(tls, settings->tls_certificate_file) != 1)
		return tls_fault("redis_tls_certificate_file", settings->tls_certificate_file, err);
	if (SSL_CTX_use_PrivateKey_file(tls, settings->tls_key_file, SSL_FILETYPE_PEM) != 1)
		return tls_fault("redis_tls_key_file", settings->tls_key_file, err);
	return 0;
}

static int prepare_tls(struct redis_endpoint *endpoint, const struct redis_settings *settings, struct err *err)
{
	SSL_CTX *tls = endpoint->tls = SSL_CTX_new(TLS_client_method());
	int r = 0;

	if (!tls)
		return err_set(err, ERR_HOST, ENOMEM, "TLS to Redis");
	(void)snprintf(endpoint->tls_name, sizeof(endpoint->tls_name), "%s", settings->tls_name[0] ? settings->tls_name : endpoint->host);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION); /* fails for versions that do not exist */
	if (settings->tls_ca_file[0] && SSL_CTX_load_verify_locations(tls, settings->tls_ca_file, NULL) != 1)
		r = tls_fault("redis_tls_ca_file", settings->tls_ca_file, err);
	else if (!settings->tls_ca_file[0])
		(void)SSL_CTX_set_default_verify_paths(tls); /* without any, nothing is trusted */
	return r == 0 && settings->tls_certificate_file[0] ? load_certificate(tls, settings, err) : r;
}

/* hiredis verifies the chain, not whose certificate it is: that is said here. */
static int start_tls(const struct redis_endpoint *endpoint, redisContext *hiredis)
{
	unsigned char address[16];
	SSL *ssl = SSL_new(endpoint->tls);
	bool is_address = inet_pton(AF_INET, endpoint->tls_name, address) == 1 || inet_pton(AF_INET6, endpoint->tls_name, address) == 1;

	if (!ssl)
		return REDIS_ERR;
	if (is_address)
		(void)X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), endpoint->tls_name); /* it is one */
	else if (SSL_set1_host(ssl, endpoint->tls_name) != 1 || SSL_set_tlsext_host_name(ssl, endpoint->tls_name) != 1) {
		SSL_free(ssl);
		return REDIS_ERR;
	}
	return redisInitiateSSL(hiredis, ssl);
}
#endif

int redis_endpoint_new(const struct redis_settings *settings, struct redis_endpoint **ret, struct err *err)
{
	cleanup_(redis_endpoint_freep) struct redis_endpoint *endpoint = calloc(1, sizeof(*endpoint));
	int r = redis_settings_check(settings, NULL, err);

	if (!endpoint)
		return err_set(err, ERR_HOST, ENOMEM, "connect to Redis");
	if (r < 0)
		return r;
	memcpy(endpoint->host, settings->host, sizeof(endpoint->host));
	endpoint->port = (unsigned)settings->port;
	(void)snprintf(endpoint->socket, sizeof(endpoint->socket), "%s", settings->socket);
	(void)snprintf(endpoint->user, sizeof(endpoint->user), "%s", settings->user);
	if (endpoint->socket[0])
		(void)snprintf(endpoint->name, sizeof(endpoint->name), "%s", endpoint->socket);
	else
		(void)snprintf(endpoint->name, sizeof(endpoint->name), "%s:%u", endpoint->host, endpoint->port);
	if (settings->password_file[0])
		r = read_password(endpoint, settings->password_file, err);
#ifdef MAYFLY_REDIS_TLS
	if (r == 0 && settings->is_tls)
		r = prepare_tls(endpoint, settings, err);
#endif
	if (r == 0)
		*ret = TAKE_PTR(endpoint);
	return r;
}

void redis_endpoint_free(struct redis_endpoint *endpoint)
{
	if (!endpoint)
		return;
	secret_free(endpoint->password);
#ifdef MAYFLY_REDIS_TLS
	SSL_CTX_free(endpoint->tls);
#endif
	free(endpoint);
}

const char *redis_endpoint_name(const struct redis_endpoint *endpoint)
{
	return endpoint->name;
}

struct redisAsyncContext *redis_endpoint_begin(const struct redis_endpoint *endpoint)
{
	redisAsyncContext *hiredis = endpoint->socket[0] ? redisAsyncConnectUnix(endpoint->socket) :
						       redisAsyncConnect(endpoint->host, (int)endpoint->port);

#ifdef MAYFLY_REDIS_TLS
	if (hiredis && !hiredis->err && endpoint->tls && start_tls(endpoint, &hiredis->c) != REDIS_OK)
		hiredis->err = hiredis->c.err ? hiredis->c.err : REDIS_ERR_OTHER;
#endif
	return hiredis;
}

bool redis_endpoint_greet(const struct redis_endpoint *endpoint, struct redisAsyncContext *hiredis,
		      void (*answer)(struct redisAsyncContext *hiredis, void *reply, void *ctx), void *ctx)
{
	const char *words[3] = { "AUTH" };
	size_t lens[3] = { 4 };
	int n = 1;

	if (!endpoint->password)
		return false;
	if (endpoint->user[0]) {
		words[n] = endpoint->user;
		lens[n++] = strlen(endpoint->user);
	}
	words[n] = (const char *)secret_peek(endpoint->password);
	lens[n++] = endpoint->password_len;
	(void)redisAsyncCommandArgv(hiredis, answer, ctx, n, words, lens); /* a context that fails says so by its end */
	return true;
}

bool redis_is_refusal(const char *error)
{
	static const char *const words[] = { "NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "can't run this command",
					     "can't access", "no permissions", "invalid password", "denied" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasestr(error, words[i]))
			return true;
	return false;
}

static int refused(const struct redis_endpoint *endpoint, const char *what, const char *error, struct err *err)
{
	return err_set(err, redis_is_refusal(error) ? ERR_INPUT : ERR_HOST, 0, "Redis at %.80s refuses %s%s%s: %.100s", endpoint->name, what,
		       endpoint->user[0] ? " user " : " the default user", endpoint->user, error);
}

static int login(const struct redis_endpoint *endpoint, redisContext *redis, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = NULL;

	if (!endpoint->password)
		return 0;
	reply = endpoint->user[0] ? redisCommand(redis, "AUTH %b %b", endpoint->user, strlen(endpoint->user),
					     secret_peek(endpoint->password), endpoint->password_len) :
				redisCommand(redis, "AUTH %b", secret_peek(endpoint->password), endpoint->password_len);
	if (!reply)
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", endpoint->name, redis->errstr);
	return reply->type == REDIS_REPLY_ERROR ? refused(endpoint, "the password of", reply->str, err) : 0;
}

int redis_endpoint_enter(const struct redis_endpoint *endpoint, unsigned timeout_ms, struct redisContext **ret, struct err *err)
{
	const struct timeval limit = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	cleanup_(redisFreep) redisContext *redis = endpoint->socket[0] ?
							   redisConnectUnixWithTimeout(endpoint->socket, limit) :
							   redisConnectWithTimeout(endpoint->host, (int)endpoint->port, limit);
	int r;

	if (!redis || redis->err)
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", endpoint->name,
			       redis ? redis->errstr : "no memory");
	(void)redisSetTimeout(redis, limit); /* without it a hung server hangs us */
#ifdef MAYFLY_REDIS_TLS
	if (endpoint->tls && start_tls(endpoint, redis) != REDIS_OK)
		return err_set(err, strstr(redis->errstr, "certificate") ? ERR_INPUT : ERR_HOST, 0,
			       "Redis at %s: TLS as '%s' fails: %.100s", endpoint->name, endpoint->tls_name, redis->errstr);
#endif
	r = login(endpoint, redis, err);
	if (r == 0)
		*ret = TAKE_PTR(redis);
	return r;
}

/* Every command of the lease library (lua/), on keys as its own, such that nothing changes: ".check" is no id.
 * Answers what is refused, or "". */
static const char check_lua[] =
	"local refused = ''\n"
	"local function try(...)\n"
	"  local answer = redis.pcall(...)\n"
	"  if refused == '' and type(answer) == 'table' and answer.err then\n"
	"    refused = select(1, ...) .. ' ' .. (select(2, ...) or '') .. ': ' .. answer.err\n"
	"  end\n"
	"end\n"
	"local key = KEYS[2] .. '.check'\n"
	"try('TIME')\n"
	"try('GET', KEYS[3])\n"
	"local token = redis.pcall('GET', KEYS[3])\n"
	"if type(token) == 'string' then try('SET', KEYS[3], token) end\n"
	"try('MGET', key, key)\n"
	"try('SET', key, '-')\n"
	"try('MSET', key, '-')\n"
	"try('DEL', key)\n"
	"local vms = KEYS[4] .. '.check'\n"
	"try('HDEL', vms, '.check')\n"
	"try('HMGET', vms, '.check')\n"
	"try('HSCAN', vms, '0')\n"
	"try('HSET', vms, '.check', '.check')\n"
	"try('DEL', vms)\n"
	"try('ZADD', KEYS[1], 'XX', '0', '.check')\n"
	"try('ZREM', KEYS[1], '.check')\n"
	"try('ZCARD', KEYS[1])\n"
	"try('ZCOUNT', KEYS[1], '(1', '(1')\n"
	"try('ZRANGEBYSCORE', KEYS[1], '(1', '(1', 'LIMIT', '0', '1')\n"
	"try('ZSCORE', KEYS[1], '.check')\n"
	"return refused\n";

static int check_script(const struct redis_endpoint *endpoint, redisContext *redis, const struct lease_keys *keys, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = redisCommand(redis, "EVAL %s 4 %s %s %s %s", check_lua, keys->deadlines,
							       keys->lease_prefix, keys->token, keys->vms_prefix);

	if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_ERROR))
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", endpoint->name, redis->errstr);
	if (reply->type == REDIS_REPLY_ERROR)
		return refused(endpoint, "EVAL by", reply->str, err);
	return reply->len ? refused(endpoint, "a command of", reply->str, err) : 0;
}

static int check_command(const struct redis_endpoint *endpoint, redisContext *redis, const char *command, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = redisCommand(redis, command);

	if (!reply)
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", endpoint->name, redis->errstr);
	if (reply->type == REDIS_REPLY_ERROR && redis_is_refusal(reply->str))
		return refused(endpoint, "a command of", reply->str, err);
	return 0; /* other errors are of what was asked, not of who asks */
}

int redis_endpoint_check(const struct redis_endpoint *endpoint, const char *prefix, unsigned timeout_ms, struct err *err)
{
	static const char *const commands[] = { "SCRIPT LOAD return", "EVALSHA 0 0", "INFO server" };
	cleanup_(redisFreep) redisContext *redis = NULL;
	struct lease_keys keys;
	int r = lease_keys_name(prefix, &keys, err);

	if (r == 0)
		r = redis_endpoint_enter(endpoint, timeout_ms, &redis, err);
	if (r == 0)
		r = check_script(endpoint, redis, &keys, err);
	for (size_t i = 0; i < ARRAY_SIZE(commands) && r == 0; i++)
		r = check_command(endpoint, redis, commands[i], err);
	return r;
}
