#include "bus/redis_door.h"

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

struct redis_door {
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
static int read_password(struct redis_door *door, const char *path, struct err *err)
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
	door->password = TAKE_PTR(secret);
	door->password_len = len;
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

static int prepare_tls(struct redis_door *door, const struct redis_settings *settings, struct err *err)
{
	SSL_CTX *tls = door->tls = SSL_CTX_new(TLS_client_method());
	int r = 0;

	if (!tls)
		return err_set(err, ERR_HOST, ENOMEM, "TLS to Redis");
	(void)snprintf(door->tls_name, sizeof(door->tls_name), "%s", settings->tls_name[0] ? settings->tls_name : door->host);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION); /* fails for versions that do not exist */
	if (settings->tls_ca_file[0] && SSL_CTX_load_verify_locations(tls, settings->tls_ca_file, NULL) != 1)
		r = tls_fault("redis_tls_ca_file", settings->tls_ca_file, err);
	else if (!settings->tls_ca_file[0])
		(void)SSL_CTX_set_default_verify_paths(tls); /* without any, nothing is trusted */
	return r == 0 && settings->tls_certificate_file[0] ? load_certificate(tls, settings, err) : r;
}

/* hiredis verifies the chain, not whose certificate it is: that is said here. */
static int start_tls(const struct redis_door *door, redisContext *hiredis)
{
	unsigned char address[16];
	SSL *ssl = SSL_new(door->tls);
	bool is_address = inet_pton(AF_INET, door->tls_name, address) == 1 || inet_pton(AF_INET6, door->tls_name, address) == 1;

	if (!ssl)
		return REDIS_ERR;
	if (is_address)
		(void)X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), door->tls_name); /* it is one */
	else if (SSL_set1_host(ssl, door->tls_name) != 1 || SSL_set_tlsext_host_name(ssl, door->tls_name) != 1) {
		SSL_free(ssl);
		return REDIS_ERR;
	}
	return redisInitiateSSL(hiredis, ssl);
}
#endif

int redis_door_new(const struct redis_settings *settings, struct redis_door **ret, struct err *err)
{
	cleanup_(redis_door_freep) struct redis_door *door = calloc(1, sizeof(*door));
	int r = redis_settings_check(settings, NULL, err);

	if (!door)
		return err_set(err, ERR_HOST, ENOMEM, "connect to Redis");
	if (r < 0)
		return r;
	memcpy(door->host, settings->host, sizeof(door->host));
	door->port = (unsigned)settings->port;
	(void)snprintf(door->socket, sizeof(door->socket), "%s", settings->socket);
	(void)snprintf(door->user, sizeof(door->user), "%s", settings->user);
	if (door->socket[0])
		(void)snprintf(door->name, sizeof(door->name), "%s", door->socket);
	else
		(void)snprintf(door->name, sizeof(door->name), "%s:%u", door->host, door->port);
	if (settings->password_file[0])
		r = read_password(door, settings->password_file, err);
#ifdef MAYFLY_REDIS_TLS
	if (r == 0 && settings->is_tls)
		r = prepare_tls(door, settings, err);
#endif
	if (r == 0)
		*ret = TAKE_PTR(door);
	return r;
}

void redis_door_free(struct redis_door *door)
{
	if (!door)
		return;
	secret_free(door->password);
#ifdef MAYFLY_REDIS_TLS
	SSL_CTX_free(door->tls);
#endif
	free(door);
}

const char *redis_door_name(const struct redis_door *door)
{
	return door->name;
}

struct redisAsyncContext *redis_door_begin(const struct redis_door *door)
{
	redisAsyncContext *hiredis = door->socket[0] ? redisAsyncConnectUnix(door->socket) :
						       redisAsyncConnect(door->host, (int)door->port);

#ifdef MAYFLY_REDIS_TLS
	if (hiredis && !hiredis->err && door->tls && start_tls(door, &hiredis->c) != REDIS_OK)
		hiredis->err = hiredis->c.err ? hiredis->c.err : REDIS_ERR_OTHER;
#endif
	return hiredis;
}

bool redis_door_greet(const struct redis_door *door, struct redisAsyncContext *hiredis,
		      void (*answer)(struct redisAsyncContext *hiredis, void *reply, void *ctx), void *ctx)
{
	const char *words[3] = { "AUTH" };
	size_t lens[3] = { 4 };
	int n = 1;

	if (!door->password)
		return false;
	if (door->user[0]) {
		words[n] = door->user;
		lens[n++] = strlen(door->user);
	}
	words[n] = (const char *)secret_peek(door->password);
	lens[n++] = door->password_len;
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

static int refused(const struct redis_door *door, const char *what, const char *error, struct err *err)
{
	return err_set(err, redis_is_refusal(error) ? ERR_INPUT : ERR_HOST, 0, "Redis at %.80s refuses %s%s%s: %.100s", door->name, what,
		       door->user[0] ? " user " : " the default user", door->user, error);
}

static int login(const struct redis_door *door, redisContext *redis, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = NULL;

	if (!door->password)
		return 0;
	reply = door->user[0] ? redisCommand(redis, "AUTH %b %b", door->user, strlen(door->user),
					     secret_peek(door->password), door->password_len) :
				redisCommand(redis, "AUTH %b", secret_peek(door->password), door->password_len);
	if (!reply)
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", door->name, redis->errstr);
	return reply->type == REDIS_REPLY_ERROR ? refused(door, "the password of", reply->str, err) : 0;
}

int redis_door_enter(const struct redis_door *door, unsigned timeout_ms, struct redisContext **ret, struct err *err)
{
	const struct timeval limit = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	cleanup_(redisFreep) redisContext *redis = door->socket[0] ?
							   redisConnectUnixWithTimeout(door->socket, limit) :
							   redisConnectWithTimeout(door->host, (int)door->port, limit);
	int r;

	if (!redis || redis->err)
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", door->name,
			       redis ? redis->errstr : "no memory");
	(void)redisSetTimeout(redis, limit); /* without it a hung server hangs us */
#ifdef MAYFLY_REDIS_TLS
	if (door->tls && start_tls(door, redis) != REDIS_OK)
		return err_set(err, strstr(redis->errstr, "certificate") ? ERR_INPUT : ERR_HOST, 0,
			       "Redis at %s: TLS as '%s' fails: %.100s", door->name, door->tls_name, redis->errstr);
#endif
	r = login(door, redis, err);
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

static int check_script(const struct redis_door *door, redisContext *redis, const struct lease_keys *keys, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = redisCommand(redis, "EVAL %s 4 %s %s %s %s", check_lua, keys->deadlines,
							       keys->lease_prefix, keys->token, keys->vms_prefix);

	if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_ERROR))
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", door->name, redis->errstr);
	if (reply->type == REDIS_REPLY_ERROR)
		return refused(door, "EVAL by", reply->str, err);
	return reply->len ? refused(door, "a command of", reply->str, err) : 0;
}

static int check_command(const struct redis_door *door, redisContext *redis, const char *command, struct err *err)
{
	cleanup_(reply_freep) redisReply *reply = redisCommand(redis, command);

	if (!reply)
		return err_set(err, ERR_HOST, 0, "Redis at %s does not answer (%s)", door->name, redis->errstr);
	if (reply->type == REDIS_REPLY_ERROR && redis_is_refusal(reply->str))
		return refused(door, "a command of", reply->str, err);
	return 0; /* other errors are of what was asked, not of who asks */
}

int redis_door_check(const struct redis_door *door, const char *prefix, unsigned timeout_ms, struct err *err)
{
	static const char *const commands[] = { "SCRIPT LOAD return", "EVALSHA 0 0", "INFO server" };
	cleanup_(redisFreep) redisContext *redis = NULL;
	struct lease_keys keys;
	int r = lease_keys_name(prefix, &keys, err);

	if (r == 0)
		r = redis_door_enter(door, timeout_ms, &redis, err);
	if (r == 0)
		r = check_script(door, redis, &keys, err);
	for (size_t i = 0; i < ARRAY_SIZE(commands) && r == 0; i++)
		r = check_command(door, redis, commands[i], err);
	return r;
}
