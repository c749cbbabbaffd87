#include "guest/agent/warm_argv.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "guest/agent/launch.h"
#include "guest/agent/mounts.h"

#define FOLDER "/usr/bin/"

/* It loads our library, whose start does not return. No name is bound, so that __main__ stays as it is at a start. */
static char python_code[] = "__import__('_imp').create_dynamic(__import__('_frozen_importlib').ModuleSpec("
			    "'warm', None, origin='/proc/self/fd/4'))";
static char *const python_argv[] = { (char[]){ "python3" }, (char[]){ "-c" }, python_code, NULL };
static const char *const python_names[] = { "python3", "python", "python3.11", NULL };

static const struct warm_runtime runtimes[] = {
	{ "python", FOLDER "python3", python_argv, python_names },
};

/* What the interpreter, its C library or a library of its modules looks at when it starts; lines that end with '*' mean
 * everything that begins so. */
static const char *const heeded_env[] = {
	"PYTHON*", "LD_*",    "MALLOC_*",  "GLIBC_*",	"LANG", "LANGUAGE", "LC_*", "LOCPATH",
	"HOME",	   "OPENSSL*", "SSL_*",	   "GCONV_PATH", "TZDIR", "RANDFILE", "CTLOG_FILE",
};

/* Before /usr/bin in the PATH that a program has by default. */
static const char *const earlier_folders[] = { "/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/" };

const struct warm_runtime *warm_runtime_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++)
		if (strcmp(runtimes[i].name, name) == 0)
			return &runtimes[i];
	return NULL;
}

static bool equals(const struct frame_text *text, const char *word)
{
	return text->len == strlen(word) && memcmp(text->text, word, text->len) == 0;
}

static bool matches(const struct frame_text *text, const char *pattern)
{
	size_t len = strcspn(pattern, "*");

	return pattern[len] ? text->len >= len && memcmp(text->text, pattern, len) == 0 : equals(text, pattern);
}

static bool is_heeded(const struct frame_pair *pair)
{
	if (equals(&pair->key, "LANG") && equals(&pair->value, "C.UTF-8"))
		return false;
	if (equals(&pair->key, "HOME") && equals(&pair->value, "/work"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(heeded_env); i++)
		if (matches(&pair->key, heeded_env[i]))
			return true;
	return false;
}

static bool is_in_task(const char *folder, const char *name)
{
	char path[PATH_MAX];
	struct stat status;

	(void)snprintf(path, sizeof(path), DISK_ROOT "%s%s", folder, name);
	return lstat(path, &status) == 0;
}

/* Names of /usr/bin that are one file: there only root writes, and nobody does. */
static bool is_program(const struct warm_runtime *runtime, const char *name)
{
	char path[PATH_MAX];
	struct stat its, own;

	(void)snprintf(path, sizeof(path), DISK_ROOT "%s%s", FOLDER, name);
	if (stat(path, &its) < 0)
		return false;
	(void)snprintf(path, sizeof(path), DISK_ROOT "%s", runtime->program);
	return stat(path, &own) == 0 && own.st_ino == its.st_ino && own.st_dev == its.st_dev;
}

static bool is_runtime(const struct warm_runtime *runtime, const struct frame *run)
{
	struct frame_text name = run->argv[0];
	bool is_path = name.len > strlen(FOLDER) && memcmp(name.text, FOLDER, strlen(FOLDER)) == 0;

	if (is_path) {
		name.text += strlen(FOLDER);
		name.len -= (uint32_t)strlen(FOLDER);
	} else if (launch_has_env(run, "PATH")) {
		return false;
	}
	for (size_t i = 0; runtime->names[i]; i++) {
		if (!equals(&name, runtime->names[i]))
			continue;
		for (size_t k = 0; !is_path && k < ARRAY_SIZE(earlier_folders); k++)
			if (is_in_task(earlier_folders[k], runtime->names[i]))
				return false;
		return is_program(runtime, runtime->names[i]);
	}
	return false;
}

/* A program from stdin, by -c, -m or as a file; no option of the interpreter itself. */
static bool has_plain_options(const struct frame *run)
{
	const struct frame_text *first = &run->argv[1];

	if (run->n_argv == 1)
		return true;
	if (equals(first, "-c") || equals(first, "-m"))
		return run->n_argv > 2;
	return first->len && (first->text[0] != '-' || first->len == 1);
}

bool warm_runtime_takes(const struct warm_runtime *runtime, const struct frame *run)
{
	struct stat status;

	if (!run->n_argv || !has_plain_options(run) || !is_runtime(runtime, run))
		return false;
	for (size_t i = 0; i < run->n_env; i++)
		if (is_heeded(&run->env[i]))
			return false;
	return lstat(DISK_WORK "/.local", &status) < 0; /* the user's own site-packages lie there */
}
