/* main() of a fuzz target in an ordinary build: runs every file of its corpus once, without libFuzzer.
 *
 * Arguments come in pairs: a folder, and how the names of its files begin ("any" for all). No file at all is a failure. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/own.h"
#include "tests/fuzz/target.h"

#define INPUT_MAX_BYTES (4 * 1024 * 1024)

static int replay_file(const char *path)
{
	cleanup_file FILE *file = fopen(path, "re");
	cleanup_free uint8_t *whole = malloc(INPUT_MAX_BYTES);
	cleanup_free uint8_t *exact = NULL; /* so that a sanitizer sees a read beyond the input */
	size_t len;

	if (!file || !whole)
		return -errno;
	len = fread(whole, 1, INPUT_MAX_BYTES, file);
	exact = malloc(len ? len : 1);
	if (ferror(file) || !exact)
		return -EIO;
	memcpy(exact, whole, len);
	(void)LLVMFuzzerTestOneInput(exact, len); /* answers 0 always; a broken property aborts */
	return 0;
}

static bool is_wanted(const char *name, const char *prefix)
{
	size_t len = strlen(name);

	return name[0] != '.' && (strcmp(prefix, "any") == 0 || strncmp(name, prefix, strlen(prefix)) == 0) &&
	       !(len > 5 && strcmp(name + len - 5, ".json") == 0); /* the meaning of a vector, not an input */
}

static int replay_folder(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX];

		if (!is_wanted(entry->d_name, prefix))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (replay_file(path) < 0) {
			(void)fprintf(stderr, "cannot read %s\n", path);
			exit(2);
		}
		n++;
	}
	if (dir)
		(void)closedir(dir); /* only read from */
	return n;
}

int main(int argc, char **argv)
{
	int n = 0;

	for (int i = 1; i + 1 < argc; i += 2)
		n += replay_folder(argv[i], argv[i + 1]);
	printf("%d inputs\n", n);
	return n > 0 ? 0 : 1;
}
