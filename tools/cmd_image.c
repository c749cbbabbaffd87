/* `mayfly image`: what microVMs are made of on this host. The builders are scripts (tools/image); this finds them, runs them
 * one after the other, and lists what they made. */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/own.h"
#include "tools/command.h"
#include "tools/screen.h"

#define BUILDERS	  "../../tools/image" /* where a build tree has them; installed ones lie with the daemons */
#define RECIPES		  "../../guest/images" /* from the builders */
#define INSTALLED_RECIPES "../../share/mayfly/images"
#define IMAGES_MAX	  256 /* listed */
#define SHORT_DIGEST	  12
#define LINE_FORMAT	  "%s%-16s%s %9s  %-10.10s  %-12.12s  %8s  %s\n"

enum { OPTION_FORCE = 1, OPTION_REFRESH, OPTION_KERNEL, OPTION_AGENT, OPTION_JSON };

struct image_build {
	const struct target *target;
	const char *kernel, *agent;
	bool is_forced, is_refreshing;
};

/* Run a builder with this process's streams. Answers its exit status. */
static int run_builder(const char *name, const char *const *args, struct err *err)
{
	const char *argv[16] = { NULL };
	char path[PATH_MAX];
	size_t n = 0;
	pid_t pid;
	int status, r = target_program(BUILDERS, name, path, err);

	if (r < 0)
		return r;
	argv[n++] = path;
	while (*args && n < ARRAY_SIZE(argv) - 1)
		argv[n++] = *args++;
	r = posix_spawn(&pid, path, NULL, NULL, (char *const *)(uintptr_t)argv, environ);
	if (r != 0)
		return err_set(err, ERR_HOST, r, "start '%s'", path);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(err, ERR_HOST, errno, "wait for '%s'", path);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, ERR_HOST, 0, "'%s' failed; what it said is above", path);
	return 0;
}

static bool has_recipe(const char *builders, const char *recipes, const char *name, char out[PATH_MAX])
{
	return snprintf(out, PATH_MAX, "%s/%s/%s.image", builders, recipes, name) < PATH_MAX && access(out, R_OK) == 0;
}

/* A recipe is a file, or the name of one that comes with Mayfly. */
static int find_recipe(const char *word, char out[PATH_MAX], struct err *err)
{
	char builder[PATH_MAX];

	if (strchr(word, '/') || access(word, R_OK) == 0) {
		(void)snprintf(out, PATH_MAX, "%s", word);
		return access(out, R_OK) < 0 ? err_set(err, ERR_INPUT, errno, "recipe '%s'", word) : 0;
	}
	if (target_program(BUILDERS, "build-image", builder, err) < 0)
		return -ENOENT;
	*strrchr(builder, '/') = '\0';
	if (has_recipe(builder, RECIPES, word, out) || has_recipe(builder, INSTALLED_RECIPES, word, out))
		return 0;
	return err_set(err, ERR_INPUT, 0,
		       "'%s' is neither a recipe's file nor the name of one that comes with Mayfly (base, python)",
		       word);
}

static int build_kernel(const struct image_build *build, struct err *err)
{
	char agent[PATH_MAX];
	const char *args[] = { "--state",  build->target->state_dir,
			       "--agent",  build->agent ? build->agent : agent,
			       "--kernel", build->kernel,
			       NULL };

	if (!build->agent && target_program("guest", "mayfly-agent", agent, err) < 0)
		return -ENOENT;
	return run_builder("build-kernel", args, err);
}

static int build_image(const struct image_build *build, const char *word, struct err *err)
{
	char recipe[PATH_MAX];
	const char *args[8] = { "--state", build->target->state_dir };
	size_t n = 2;
	int r = find_recipe(word, recipe, err);

	if (r < 0)
		return r;
	if (build->is_forced)
		args[n++] = "--force";
	if (build->is_refreshing)
		args[n++] = "--refresh";
	args[n++] = recipe;
	return run_builder("build-image", args, err);
}

static int build_all(const struct image_build *build, char *const *words, size_t n_words, struct err *err)
{
	static char base[] = "base", python[] = "python";
	static char *const usual[] = { base, python };
	const char *jail_args[] = { "--state", build->target->state_dir, NULL };
	int r = build_kernel(build, err);

	if (n_words == 0) {
		words = usual;
		n_words = ARRAY_SIZE(usual);
	}
	if (r == 0)
		r = run_builder("build-jail-root", jail_args, err);
	for (size_t i = 0; r == 0 && i < n_words; i++)
		r = build_image(build, words[i], err);
	return r;
}

static int main_build(struct target *target, int argc, char **argv)
{
	static const struct option own[] = { { "force", no_argument, NULL, OPTION_FORCE },
					     { "refresh", no_argument, NULL, OPTION_REFRESH },
					     { "kernel", required_argument, NULL, OPTION_KERNEL },
					     { "agent", required_argument, NULL, OPTION_AGENT } };
	struct image_build build = { .target = target, .kernel = "stock" };
	struct command_options options;
	struct err err;
	int code;

	command_options_init(&options, &cmd_image, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0) {
		build.is_forced |= code == OPTION_FORCE;
		build.is_refreshing |= code == OPTION_REFRESH;
		if (code == OPTION_KERNEL)
			build.kernel = optarg;
		if (code == OPTION_AGENT)
			build.agent = optarg;
	}
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	if (geteuid() != 0)
		return command_complain(&cmd_image, "images hold files of root; run it as root, or with sudo in front");
	if (build_all(&build, argv + optind, (size_t)(argc - optind), &err) < 0)
		return command_fail(&cmd_image, &err, 1);
	return 0;
}

static const char *text_of(const json_t *manifest, const char *key)
{
	const char *text = json_string_value(json_object_get(manifest, key));

	return text ? text : "?";
}

static void size_text(const json_t *manifest, char out[24])
{
	(void)snprintf(out, 24, "%" PRId64 " MiB",
		       (int64_t)json_integer_value(json_object_get(manifest, "bytes")) >> 20);
}

/* Manifests are ours, but what is on a disk may be anything: nothing in them steers the terminal. */
static void print_line(const char *name, const json_t *manifest)
{
	char size[24], count[16], plain[5][128];
	const char *const texts[] = { name, text_of(manifest, "date"), text_of(manifest, "digest"),
				      text_of(manifest, "description") };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		screen_plain(texts[i], plain[i], sizeof(plain[i]));
	size_text(manifest, size);
	(void)snprintf(count, sizeof(count), "%zu", json_object_size(json_object_get(manifest, "packages")));
	(void)printf(LINE_FORMAT, "", plain[0], "", size, plain[1], plain[2], count, plain[3]);
}

static int print_json(const json_t *manifest)
{
	cleanup_free char *line = json_dumps(manifest, JSON_COMPACT);

	return line && puts(line) >= 0 ? 0 : 1;
}

static int print_image(const char *folder, const char *name, bool is_json)
{
	char path[PATH_MAX + NAME_MAX + sizeof("//manifest.json")];
	json_auto_t *manifest = NULL;
	int status = 0;

	(void)snprintf(path, sizeof(path), "%s/%s/manifest.json", folder, name);
	manifest = json_load_file(path, 0, NULL);
	if (!manifest)
		(void)fprintf(stderr, "mayfly image list: '%s' cannot be read; build it again: mayfly image build\n",
			      path);
	else if (is_json)
		status = print_json(manifest);
	else
		print_line(name, manifest);
	return manifest ? status : 1;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void free_entries(struct dirent **entries, int n)
{
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
}

static int print_images(const char *folder, bool is_json)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_visible, alphasort);
	int status = 0;

	if (n <= 0) {
		(void)fprintf(stderr, "mayfly image list: there is no image in '%s'; build some: mayfly image build\n",
			      folder);
		free(entries);
		return is_json && n == 0 ? 0 : 1;
	}
	if (!is_json)
		(void)printf(LINE_FORMAT, screen_code(stdout, SCREEN_BOLD), "IMAGE", screen_code(stdout, SCREEN_PLAIN),
			     "SIZE", "DATE", "DIGEST", "PACKAGES", "DESCRIPTION");
	for (int i = 0; i < n && i < IMAGES_MAX; i++)
		status |= print_image(folder, entries[i]->d_name, is_json);
	free_entries(entries, n);
	return status;
}

static void print_kernel(const struct target *target)
{
	char path[PATH_MAX], release[128];
	json_auto_t *manifest = NULL;

	(void)snprintf(path, sizeof(path), "%s/kernel/manifest.json", target->state_dir);
	manifest = json_load_file(path, 0, NULL);
	screen_plain(text_of(manifest, "kernel"), release, sizeof(release));
	(void)printf("%skernel %s (%.*s)%s\n", screen_code(stdout, SCREEN_FAINT), release, SHORT_DIGEST,
		     text_of(manifest, "digest"), screen_code(stdout, SCREEN_PLAIN));
}

static int main_list(struct target *target, int argc, char **argv)
{
	static const struct option own[] = { { "json", no_argument, NULL, OPTION_JSON } };
	struct host_place place = { 0 };
	struct command_options options;
	char folder[PATH_MAX];
	bool is_json = false;
	int code, status;

	command_options_init(&options, &cmd_image, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0)
		is_json |= code == OPTION_JSON;
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	if (optind < argc)
		return command_complain(&cmd_image, "'%s' is too much", argv[optind]);
	(void)snprintf(place.state_dir, sizeof(place.state_dir), "%s", target->state_dir);
	names_images_dir(&place, folder);
	status = print_images(folder, is_json);
	if (!is_json && status == 0)
		print_kernel(target);
	return status;
}

static int main_image(struct target *target, int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "build") == 0)
		return main_build(target, argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "list") == 0)
		return main_list(target, argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		command_help(&cmd_image);
		return 0;
	}
	return argc > 1 ? command_complain(&cmd_image, "'%s' is none of build, list", argv[1])
			: command_complain(&cmd_image, "build or list?");
}

const struct command cmd_image = {
	.name = "image",
	.summary = "root file systems of microVMs: build, list",
	.usage =
		"usage: mayfly image build [--force] [--refresh] [--kernel stock|small] [--agent FILE] [RECIPE...]\n"
		"       mayfly image list [--json]\n\n"
		"build makes what is missing or outdated: the kernel bundle, the VMM's jail, and the images of the recipes (by\n"
		"default base and python). A recipe is a short file:\n\n"
		"  name = numbers\n"
		"  description = Debian with Python and NumPy\n"
		"  packages = python3 python3-numpy\n"
		"  file = start.sh /usr/local/bin/start 0755\n\n"
		"Options:\n"
		"  --force              build the images even when nothing changed\n"
		"  --refresh            ask Debian's mirror for newer packages (else once a day)\n"
		"  --kernel KIND        stock (default) or small\n"
		"  --agent FILE         the guest's agent (default: this build's)\n"
		"  --json               one manifest a line\n",
	.run = main_image,
};
