#include "tests/support/redis_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TRIES 500 /* of 20 ms each: a loaded machine under sanitizers */

static unsigned free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(fd >= 0);
	assert(bind(fd, (struct sockaddr *)&address, len) == 0);
	assert(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	(void)close(fd);
	return ntohs(address.sin_port);
}

static _Noreturn void exec_server(unsigned port)
{
	char port_text[16];
	int null_fd = open("/dev/null", O_RDWR);

	(void)snprintf(port_text, sizeof(port_text), "%u", port); /* fits */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(null_fd, STDIN_FILENO);
	(void)dup2(null_fd, STDOUT_FILENO);
	(void)execlp("redis-server", "redis-server", "--port", port_text, "--bind", "127.0.0.1", "--save", "",
		     "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", "/tmp", NULL);
	_exit(127);
}

static redisReply *try_ask(unsigned port, const char *command)
{
	struct timeval wait = { .tv_sec = 10 };
	redisContext *context = redisConnectWithTimeout("127.0.0.1", (int)port, wait);
	redisReply *reply = context && !context->err ? redisCommand(context, command) : NULL;

	if (context)
		redisFree(context);
	return reply;
}

void redis_server_start(struct redis_server *server)
{
	if (!server->port)
		server->port = free_port();
	server->pid = fork();
	assert(server->pid >= 0);
	if (server->pid == 0)
		exec_server(server->port);
	for (int i = 0; i < START_TRIES; i++) {
		redisReply *reply = try_ask(server->port, "PING");
		bool is_up = reply && reply->type == REDIS_REPLY_STATUS;

		freeReplyObject(reply);
		if (is_up)
			return;
		assert(waitpid(server->pid, NULL, WNOHANG) == 0); /* its port may have been taken meanwhile */
		(void)usleep(20000);
	}
	assert(!"redis-server did not answer");
}

void redis_server_kill(struct redis_server *server)
{
	if (!server->pid)
		return;
	(void)kill(server->pid, SIGKILL);
	(void)waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

static void print_reply(const redisReply *reply, FILE *out)
{
	if (reply->type == REDIS_REPLY_INTEGER)
		(void)fprintf(out, "%lld", reply->integer);
	else if (reply->type == REDIS_REPLY_ARRAY)
		for (size_t i = 0; i < reply->elements; i++) {
			(void)fputs(i ? " " : "", out);
			print_reply(reply->element[i], out);
		}
	else if (reply->str)
		(void)fwrite(reply->str, 1, reply->len, out);
}

const char *redis_server_ask(const struct redis_server *server, const char *fmt, ...)
{
	static char *answer;
	static size_t answer_len;
	char command[1024];
	redisReply *reply;
	va_list ap;
	FILE *out;

	va_start(ap, fmt);
	assert(vsnprintf(command, sizeof(command), fmt, ap) < (int)sizeof(command));
	va_end(ap);
	reply = try_ask(server->port, command);
	assert(reply);
	free(answer);
	answer = NULL;
	out = open_memstream(&answer, &answer_len);
	assert(out);
	print_reply(reply, out);
	(void)fclose(out);
	freeReplyObject(reply);
	return answer;
}
