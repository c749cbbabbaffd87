#include "guest/agent/executable.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/own.h"

#define SHELL		   "/bin/sh"
#define HEAD_BYTES	   256 /* what the kernel looks at (BINPRM_BUF_SIZE): the first line of a script ends here */
#define SHOWN_BYTES	   60  /* of a name in a sentence */
#define INTERPRETERS_MAX   4   /* of a script whose interpreter is a script... (the kernel's bound) */
#define SEGMENTS_MAX	   64  /* program headers of an ELF file that are looked at */
#define PATH_WITHOUT_ONE   "/bin:/usr/bin"

struct head {
	char bytes[HEAD_BYTES + 1]; /* NUL-terminated */
	size_t len;
};

static void say(struct executable_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What a file or a name holds may be anything; a sentence is one line of text. */
static void say(struct executable_failure *failure, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(failure->why, sizeof(failure->why), format, args);
	va_end(args);
	for (char *p = failure->why; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

static void miss(struct executable_failure *failure, const char *path)
{
	const char *slash = strrchr(path, '/');

	(void)snprintf(failure->missing, sizeof(failure->missing), "%.*s", FRAME_MISSING_MAX, slash ? slash + 1 : path);
}

static bool read_head(const char *path, struct head *head)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, head->bytes, HEAD_BYTES);

	head->len = n > 0 ? (size_t)n : 0;
	head->bytes[head->len] = '\0';
	return n >= 0;
}

static bool is_elf(const struct head *head)
{
	return head->len >= SELFMAG && memcmp(head->bytes, ELFMAG, SELFMAG) == 0;
}

/* Text has no NUL in its first piece; that is what shells go by. */
static bool is_text(const char *path)
{
	struct head head;

	return read_head(path, &head) && !memchr(head.bytes, '\0', head.len) && !is_elf(&head);
}

/* The interpreter that the first line names, as the kernel reads it; false when it names none. */
static bool find_interpreter(const struct head *head, char interpreter[HEAD_BYTES])
{
	const char *from = head->bytes + 2;
	size_t len;

	if (head->len < 2 || memcmp(head->bytes, "#!", 2) != 0)
		return false;
	from += strspn(from, " \t");
	len = strcspn(from, " \t\n");
	if (len == 0)
		return false;
	(void)snprintf(interpreter, HEAD_BYTES, "%.*s", (int)len, from);
	return true;
}

/* The loader that an ELF file of this machine's kind asks for. */
static bool find_loader(const char *path, char loader[HEAD_BYTES])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	Elf64_Phdr segment = { 0 };
	Elf64_Ehdr head;
	ssize_t n;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phentsize != sizeof(segment))
		return false;
	for (unsigned i = 0; i < head.e_phnum && i < SEGMENTS_MAX && segment.p_type != PT_INTERP; i++)
		if (pread(fd, &segment, sizeof(segment),
			  (off_t)(head.e_phoff + i * sizeof(segment))) != sizeof(segment))
			return false;
	if (segment.p_type != PT_INTERP || segment.p_filesz == 0)
		return false;
	n = pread(fd, loader, segment.p_filesz < HEAD_BYTES ? segment.p_filesz : HEAD_BYTES - 1,
		  (off_t)segment.p_offset);
	if (n <= 0)
		return false;
	loader[n] = '\0';
	return true;
}

static void explain_link(const char *path, struct executable_failure *failure)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	target[n > 0 ? n : 0] = '\0';
	say(failure, "it is a link to '%.*s', which does not exist", SHOWN_BYTES, target);
	miss(failure, target);
}

/* There is nothing behind the path. */
static void explain_nothing(const char *path, struct executable_failure *failure)
{
	struct stat stat;

	if (lstat(path, &stat) == 0) {
		explain_link(path, failure);
		return;
	}
	say(failure, "there is no such file");
	miss(failure, path);
}

static bool is_regular(const char *path, const char *what, struct executable_failure *failure)
{
	struct stat stat_;

	if (stat(path, &stat_) < 0 && errno == EACCES)
		say(failure, "a folder on the way to %s may not be entered", what);
	else if (stat(path, &stat_) < 0)
		say(failure, "%s cannot be looked at: %s", what, strerror(errno));
	else if (S_ISDIR(stat_.st_mode))
		say(failure, "%s is a directory", what);
	else if (!S_ISREG(stat_.st_mode))
		say(failure, "%s is no regular file", what);
	else
		return true;
	return false;
}

/* EACCES, of the file itself or of an interpreter that is there. */
static void explain_refusal(const char *path, const char *what, struct executable_failure *failure)
{
	struct statvfs fs;
	struct stat stat_;

	if (!is_regular(path, what, failure))
		return;
	if (stat(path, &stat_) == 0 && access(path, X_OK) < 0 && errno == EACCES)
		say(failure, "%s is not executable (its mode is %04o)", what, (unsigned)stat_.st_mode & 07777u);
	if (!failure->why[0] && statvfs(path, &fs) == 0 && fs.f_flag & ST_NOEXEC)
		say(failure, "%s lies on a file system from which nothing is executed", what);
}

static void explain_format(const char *path, const char *what, struct executable_failure *failure)
{
	struct head head;

	if (!read_head(path, &head))
		return;
	if (is_elf(&head))
		say(failure, "%s is built for another kind of machine, or damaged (this one is x86-64)", what);
	else
		say(failure, "%s is neither a program for this machine nor a script", what);
}

static void explain_missing_interpreter(const char *path, const char *interpreter, struct executable_failure *failure)
{
	size_t len = strlen(interpreter);

	if (interpreter[len - 1] == '\r') {
		say(failure,
		    "its first line, '#!%.*s', ends in a carriage return (Windows line ends), which belongs to no program's name; "
		    "save it with LF line ends",
		    (int)(len - 1 < SHOWN_BYTES ? len - 1 : SHOWN_BYTES), interpreter);
		return;
	}
	say(failure, "'%.*s', which '%.*s' names as its interpreter, does not exist", SHOWN_BYTES, interpreter,
	    SHOWN_BYTES, path);
	miss(failure, interpreter);
}

/* The file is there, and so the kernel means one that it leads to: its interpreter, that one's, or a loader. */
static void explain_what_it_needs(const char *path, struct executable_failure *failure)
{
	char at[HEAD_BYTES], next[HEAD_BYTES], what[HEAD_BYTES];
	struct head head;

	(void)snprintf(at, sizeof(at), "%s", path);
	for (int i = 0; i < INTERPRETERS_MAX && read_head(at, &head) && find_interpreter(&head, next); i++) {
		if (access(next, F_OK) < 0 && errno != EACCES) {
			explain_missing_interpreter(at, next, failure);
			return;
		}
		(void)snprintf(what, sizeof(what), "its interpreter '%.*s'", SHOWN_BYTES, next);
		if (access(next, X_OK) < 0 || !is_regular(next, what, failure)) {
			explain_refusal(next, what, failure);
			return;
		}
		memcpy(at, next, sizeof(at));
	}
	if (!find_loader(at, next) || access(next, F_OK) == 0)
		return;
	say(failure, "'%.*s', the loader that '%.*s' was built for, does not exist", SHOWN_BYTES, next, SHOWN_BYTES,
	    at);
}

static void explain_access(const char *path, const char *what, struct executable_failure *failure)
{
	if (access(path, X_OK) < 0 || !is_regular(path, what, failure))
		explain_refusal(path, what, failure);
	else
		explain_what_it_needs(path, failure);
	if (!failure->why[0])
		explain_refusal(path, what, failure); /* its file system: access(2) does not mention that */
}

/* `what` is the file in the sentence: "it", or its path when only its name was given. */
static void explain(const char *path, const char *what, int errnum, struct executable_failure *failure)
{
	if (errnum == ENOENT && access(path, F_OK) < 0)
		explain_nothing(path, failure);
	else if (errnum == ENOENT)
		explain_what_it_needs(path, failure);
	else if (errnum == EACCES)
		explain_access(path, what, failure);
	else if (errnum == ENOEXEC)
		explain_format(path, what, failure);
	else if (errnum == ENOTDIR)
		say(failure, "a part of its path is no directory");
	else if (errnum == E2BIG)
		say(failure, "its arguments and its environment are more than the kernel takes");
	if (!failure->why[0])
		say(failure, "%s", strerror(errnum));
}

/* A file without "#!" is a script for the shell when it is text, as execvp(3) and every shell have it. */
static int exec_by_shell(const char *path, char **argv, char **env)
{
	char **shell_argv;
	size_t n = 0;

	if (!is_text(path))
		return -ENOEXEC;
	while (argv[n])
		n++;
	shell_argv = calloc(n + 2, sizeof(*shell_argv));
	if (!shell_argv)
		return -ENOMEM;
	shell_argv[0] = (char *)(uintptr_t)SHELL;
	shell_argv[1] = (char *)(uintptr_t)path;
	memcpy(shell_argv + 2, argv + 1, (n - 1) * sizeof(*argv));
	(void)execve(SHELL, shell_argv, env);
	free(shell_argv);
	return -ENOEXEC;
}

static int exec_path(const char *path, char **argv, char **env)
{
	(void)execve(path, argv, env);
	return errno == ENOEXEC ? exec_by_shell(path, argv, env) : -errno;
}

/* What ends a search at once, instead of the next folder being looked at. */
static bool is_final(int r)
{
	return r != -ENOENT && r != -ENOTDIR && r != -EACCES && r != -ENAMETOOLONG && r != -ESTALE && r != -ENODEV &&
	       r != -ETIMEDOUT;
}

static void explain_search(const char *name, const char *seen, int seen_errnum, struct executable_failure *failure)
{
	char what[SHOWN_BYTES + 8];

	if (seen[0]) {
		(void)snprintf(what, sizeof(what), "'%.*s'", SHOWN_BYTES, seen);
		explain(seen, what, seen_errnum, failure);
		return;
	}
	if (access(name, F_OK) == 0) /* the working directory is /work */
		say(failure, "no folder of PATH has a program of that name; the one in /work is called './%.*s'",
		    SHOWN_BYTES,
		    name);
	else
		say(failure, "no folder of PATH has a program of that name");
	miss(failure, name);
}

/* The one after `folder` of a PATH, NULL after the last. */
static const char *next_folder(const char *folder)
{
	const char *end = folder + strcspn(folder, ":");

	return *end ? end + 1 : NULL;
}

static int search(const char *name, char **argv, char **env, struct executable_failure *failure)
{
	const char *given = getenv("PATH");
	char path[PATH_MAX], seen[PATH_MAX] = "";
	int r = -ENOENT, seen_errnum = 0;

	for (const char *folder = given ? given : PATH_WITHOUT_ONE; folder; folder = next_folder(folder)) {
		int len = (int)strcspn(folder, ":");

		if (snprintf(path, sizeof(path), "%.*s%s%s", len, folder, len ? "/" : "", name) >= (int)sizeof(path))
			continue;
		r = exec_path(path, argv, env);
		if (!seen[0] && (is_final(r) || access(path, F_OK) == 0)) {
			memcpy(seen, path, sizeof(seen));
			seen_errnum = -r;
		}
		if (is_final(r))
			break;
	}
	explain_search(name, seen, seen_errnum, failure);
	return seen[0] ? -seen_errnum : -ENOENT;
}

int executable_exec(char **argv, char **env, struct executable_failure *failure)
{
	int r;

	*failure = (struct executable_failure){ .why = "" };
	environ = env; /* getenv() is to see the PATH that the task asked for */
	if (!strchr(argv[0], '/'))
		return search(argv[0], argv, env, failure);
	r = exec_path(argv[0], argv, env);
	explain(argv[0], "it", -r, failure);
	return r;
}
