/* The waiting interpreter: the image's own python3, stopped between its start and its first program.
 *
 * It was started with `-c`, whose one expression loads this library; the library's start is the loop below and does not
 * return. It is told to draw a new hash seed once, and then of programs: for each it forks a process that is PID 1's
 * child and becomes that program (program.c). It runs nothing of a task itself. When it cannot be sure to be what it
 * claims to be, it ends: programs are then executed. */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fd_pass.h"
#include "guest/warm/order.h"
#include "guest/warm/python/hashes.h"
#include "guest/warm/python/hidden.h"
#include "guest/warm/python/program.h"

static int agent_ns_fd = -1;

/* The texts of an order, in their place. */
static char *take_text(char **at, const char *end)
{
	char *text = *at;
	size_t len = strnlen(text, (size_t)(end - text));

	if (text + len >= end)
		return NULL;
	*at = text + len + 1;
	return text;
}

static char **take_texts(char **at, const char *end, unsigned n)
{
	char **texts = calloc(n + 1, sizeof(*texts));

	for (unsigned i = 0; texts && i < n; i++)
		if (!(texts[i] = take_text(at, end)))
			return NULL;
	return texts;
}

/* In the program's process, which keeps all of it. */
static int read_order(struct program_order *order, char *bytes, size_t len)
{
	const struct warm_order *head = (const struct warm_order *)(const void *)bytes;
	char *at = bytes + sizeof(*head), *end = bytes + len;

	if (head->n_argv == 0 || head->n_argv > WARM_ARGV_MAX || head->n_env > WARM_ORDER_MAX)
		return -EPROTO;
	order->n_argv = head->n_argv;
	order->n_env = head->n_env;
	order->cgroup = take_text(&at, end);
	order->texts = at;
	order->argv = take_texts(&at, end, order->n_argv);
	order->env = order->argv ? take_texts(&at, end, order->n_env) : NULL;
	order->texts_end = at;
	return order->cgroup && order->env ? 0 : -EPROTO;
}

static _Noreturn void become(char *bytes, size_t len, const int fds[WARM_ORDER_FDS])
{
	struct program_order order = { .stdio_fds = { fds[0], fds[1], fds[2] }, .agent_ns_fd = agent_ns_fd };

	if (read_order(&order, bytes, len) < 0)
		_exit(127);
	program_run(&order, fds[3]);
}

/* The program is the child of a process that ends, so that PID 1 is its parent, as it is of one that was executed. Who is
 * between them borrows our memory (vfork(2)) and only forks. */
static void start_program(char *bytes, size_t len, const int fds[WARM_ORDER_FDS])
{
	pid_t pid;

	PyOS_BeforeFork();
	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): a whole copy less */
	if (pid == 0) {
		if (fork() != 0)
			_exit(0);
		PyOS_AfterFork_Child();
		become(bytes, len, fds);
	}
	PyOS_AfterFork_Parent();
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

static _Noreturn void serve(void)
{
	/* A program shows this as its arguments and its environment, so it is memory of its own. */
	char *bytes = mmap(NULL, WARM_ORDER_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fds[WARM_ORDER_FDS];
	size_t n_fds;
	ssize_t n;

	while (bytes != MAP_FAILED && (n = fd_receive(WARM_SOCKET_FD, bytes, WARM_ORDER_MAX, fds, WARM_ORDER_FDS, &n_fds, 0)) >=
					      (ssize_t)sizeof(uint32_t)) {
		uint32_t word = *(const uint32_t *)(const void *)bytes;

		if (word == WARM_RESEED && hashes_reseed() < 0)
			break;
		if (word == WARM_PROGRAM && n > (ssize_t)sizeof(struct warm_order) && n_fds == WARM_ORDER_FDS)
			start_program(bytes, (size_t)n, fds);
		for (size_t i = 0; i < n_fds; i++)
			(void)close(fds[i]);
	}
	_exit(0); /* the agent is gone */
}

/* Does an interpreter work that drew a new hash seed? A fork of this one tries. */
static int dry_run(void)
{
	static const char *const attempt = "import sys; sys.intern('warm' * 3); import json; assert json.loads(json.dumps({'a': [1]})) == {'a': [1]}";
	pid_t pid;
	int status = -1;

	PyOS_BeforeFork();
	pid = fork();
	if (pid == 0) {
		PyOS_AfterFork_Child();
		_exit(hashes_reseed() < 0 || hashes_check() < 0 || PyRun_SimpleString(attempt) < 0);
	}
	PyOS_AfterFork_Parent();
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int prepare(void)
{
	static const uint32_t ready = WARM_READY;
	PyObject *path = PySys_GetObject("path"); /* borrowed */

	/* `-c` put "" there. */
	if (!path || PyList_SetSlice(path, 0, 1, NULL) < 0)
		return -1;
	agent_ns_fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (agent_ns_fd < 0)
		return -1;
	if (hidden_prepare() < 0)
		return -1;
	if (hashes_find() < 0 || dry_run() < 0)
		return -1;
	return write(WARM_SOCKET_FD, &ready, sizeof(ready)) == sizeof(ready) ? 0 : -1;
}

PyMODINIT_FUNC PyInit_warm(void);

PyMODINIT_FUNC PyInit_warm(void) /* called by the interpreter, which finds it by this name */
{
	if (Py_Version >> 16 != PY_VERSION_HEX >> 16 || prepare() < 0)
		_exit(1);
	serve();
}
