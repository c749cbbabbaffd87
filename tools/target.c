#include "tools/target.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSTALLED_STATE	  "/var/lib/mayfly"
#define INSTALLED_LIBEXEC "/usr/libexec/mayfly"

const char *const target_usage =
	"Options of every command:\n"
	"  --brokers LIST     Kafka, HOST:PORT[,...]   (MAYFLY_BROKERS; 127.0.0.1:29092)\n"
	"  --redis HOST:PORT  Redis                    (MAYFLY_REDIS; 127.0.0.1:26379)\n"
	"  --prefix NAME      of topics and keys       (MAYFLY_PREFIX; mayfly)\n"
	"  --state DIR        state of this host       (MAYFLY_STATE; .mayfly of the source tree, else " INSTALLED_STATE
	")\n"
	"  --help\n";

/* The folder of this executable, without a slash at the end. */
static int own_folder(char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return -ENOENT;
	out[n] = '\0';
	slash = strrchr(out, '/');
	*slash = '\0';
	return 0;
}

/* <tree>/build/<preset>/tools is where a built mayfly lies. */
static void preset_state(char *out, size_t size)
{
	char folder[PATH_MAX], mark[PATH_MAX + 32], tree[PATH_MAX];

	(void)snprintf(out, size, "%s", INSTALLED_STATE);
	if (own_folder(folder) < 0)
		return;
	(void)snprintf(mark, sizeof(mark), "%s/../../../tools/quickstart", folder);
	if (access(mark, R_OK) < 0)
		return;
	(void)snprintf(mark, sizeof(mark), "%s/../../..", folder);
	if (realpath(mark, tree) && strlen(tree) + sizeof("/.mayfly") <= size)
		(void)snprintf(out, size, "%.*s/.mayfly", (int)(size - sizeof("/.mayfly")), tree);
}

static int take_text(char *out, size_t size, const char *what, const char *value, struct err *err)
{
	if (!*value || strlen(value) >= size)
		return err_set(err, ERR_INPUT, 0, "%s must have 1 to %zu characters", what, size - 1);
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

static int take_redis(struct target *target, const char *value, struct err *err)
{
	const char *colon = strrchr(value, ':');
	char *end = NULL;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || colon == value || end == colon + 1 || *end || port < 1 || port > 65535 ||
	    (size_t)(colon - value) >= sizeof(target->redis_host))
		return err_set(err, ERR_INPUT, 0, "--redis '%.100s' must be HOST:PORT", value);
	(void)snprintf(target->redis_host, sizeof(target->redis_host), "%.*s", (int)(colon - value), value);
	target->redis_port = (unsigned)port;
	return 0;
}

static int take_prefix(struct target *target, const char *value, struct err *err)
{
	if (!ident_is_id(value, strlen(value)))
		return err_set(err, ERR_INPUT, 0, "--prefix '%.100s' must be 1 to %d letters, digits, '.', '_' or '-'",
			       value, IDENT_ID_MAX);
	return take_text(target->prefix, sizeof(target->prefix), "--prefix", value, err);
}

static int take_state(struct target *target, const char *value, struct err *err)
{
	char absolute[PATH_MAX], here[PATH_MAX];

	if (value[0] == '/')
		return take_text(target->state_dir, sizeof(target->state_dir), "--state", value, err);
	if (!getcwd(here, sizeof(here)))
		return err_set(err, ERR_HOST, errno, "the current directory");
	if ((size_t)snprintf(absolute, sizeof(absolute), "%s/%s", here, value) >= sizeof(absolute))
		return err_set(err, ERR_INPUT, 0, "--state is too long a path");
	return take_text(target->state_dir, sizeof(target->state_dir), "--state", absolute, err);
}

int target_take(struct target *target, int option, const char *value, struct err *err)
{
	switch (option) {
	case TARGET_OPTION_BROKERS:
		return take_text(target->brokers, sizeof(target->brokers), "--brokers", value, err);
	case TARGET_OPTION_REDIS:
		return take_redis(target, value, err);
	case TARGET_OPTION_PREFIX:
		return take_prefix(target, value, err);
	case TARGET_OPTION_STATE:
		return take_state(target, value, err);
	default:
		return err_set(err, ERR_BUG, 0, "option %d has no meaning", option);
	}
}

int target_init(struct target *target, struct err *err)
{
	static const struct {
		const char *variable;
		enum target_option option;
	} variables[] = { { "MAYFLY_BROKERS", TARGET_OPTION_BROKERS },
			  { "MAYFLY_REDIS", TARGET_OPTION_REDIS },
			  { "MAYFLY_PREFIX", TARGET_OPTION_PREFIX },
			  { "MAYFLY_STATE", TARGET_OPTION_STATE } };

	*target = (struct target){
		.brokers = "127.0.0.1:29092", .redis_host = "127.0.0.1", .redis_port = 26379, .prefix = "mayfly"
	};
	preset_state(target->state_dir, sizeof(target->state_dir));
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		const char *value = getenv(variables[i].variable);

		if (value && *value && target_take(target, variables[i].option, value, err) < 0)
			return err_wrap(err, "%s", variables[i].variable);
	}
	return 0;
}

int target_program(const char *room, const char *name, char out[PATH_MAX], struct err *err)
{
	char folder[PATH_MAX], path[PATH_MAX + 128];

	if (own_folder(folder) == 0) {
		(void)snprintf(path, sizeof(path), "%s/../%s/%s", folder, room, name); /* a build tree */
		if (access(path, X_OK) == 0 && realpath(path, out))
			return 0;
		(void)snprintf(path, sizeof(path), "%s/../libexec/mayfly/%s", folder, name); /* <prefix>/bin */
		if (access(path, X_OK) == 0 && realpath(path, out))
			return 0;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", INSTALLED_LIBEXEC, name);
	if (access(path, X_OK) == 0 && realpath(path, out))
		return 0;
	return err_set(err, ERR_HOST, 0,
		       "'%s' is neither beside this mayfly nor in %s; build it: cmake --build --preset release", name,
		       INSTALLED_LIBEXEC);
}

int target_libexec(char out[PATH_MAX], struct err *err)
{
	int r = target_program("jail", "mayfly-guard", out, err);

	if (r < 0)
		return r;
	*strrchr(out, '/') = '\0';
	return 0;
}
