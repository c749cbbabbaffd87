/* A fork of the waiting interpreter becomes a program.
 *
 * CPython's own main goes on where it stopped: between Py_Initialize() and Py_RunMain() nothing but the configuration
 * says what is to be run. So the fork takes the steps of every program, writes argv into the configuration as the
 * command line's parser would have, gives the environment to C and to `os`, and calls Py_RunMain(). */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>

#include "guest/warm/python/program.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "guest/agent/launch_steps.h"

#ifndef WARM_WEAK
#define WARM_WEAK false /* true in a build that only a test runs, to see that it sees a difference */
#endif

#define FOLDER "/usr/bin/"

static _Noreturn void fail(struct launch_report *report, int errnum)
{
	report->errnum = errnum;
	(void)!write(FAILURE_FD, report, sizeof(*report)); /* nobody else could be told */
	_exit(127);
}

/* /proc/PID/cmdline and environ show what the program was given. As root. An end must never lie before its start: the
 * texts lie below the stack, where the kernel had put those of the interpreter. */
static int show_texts(const struct program_order *order)
{
	const char *argv = order->texts, *env = order->n_env ? order->env[0] : order->texts_end;

	if (prctl(PR_SET_MM, PR_SET_MM_ARG_START, argv, 0, 0) < 0 || prctl(PR_SET_MM, PR_SET_MM_ARG_END, env, 0, 0) < 0 ||
	    prctl(PR_SET_MM, PR_SET_MM_ENV_START, env, 0, 0) < 0 ||
	    prctl(PR_SET_MM, PR_SET_MM_ENV_END, order->texts_end, 0, 0) < 0)
		return -errno;
	return 0;
}

static int set_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return prctl(PR_SET_NAME, slash ? slash + 1 : path, 0, 0, 0) < 0 ? -errno : 0;
}

static void become_task(const struct program_order *order, struct launch_report *report)
{
	int r = setns(order->agent_ns_fd, CLONE_NEWNS) < 0 ? -errno : 0;

	report->step = STEP_ROOT;
	if (r == 0)
		r = show_texts(order);
	if (r == 0)
		r = set_name(order->argv[0]);
	if (r == 0)
		r = launch_take_steps(order->cgroup, order->stdio_fds, &report->step);
	if (r < 0)
		fail(report, -r);
	report->step = STEP_EXEC;
	if (!WARM_WEAK && signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* as Python's start does */
		fail(report, errno);
	while (getppid() != 1) /* until who forked it is gone */
		(void)sched_yield();
}

/* Once it has the rights of the task and no others, it may be seen by it, as after exec(2). */
static void begin(struct launch_report *report)
{
	report->errnum = 0;
	if (write(FAILURE_FD, report, sizeof(*report)) != sizeof(*report) || close(FAILURE_FD) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		_exit(127);
}

/* os.environ and os.environb share one dict with posix.environ; the first of two lines of a name counts. */
static int set_environ(const struct program_order *order)
{
	PyObject *posix = PyImport_ImportModule("posix");
	PyObject *dict = posix ? PyObject_GetAttrString(posix, "environ") : NULL;

	Py_XDECREF(posix);
	if (!dict || !PyDict_Check(dict))
		return -1;
	PyDict_Clear(dict);
	for (unsigned i = 0; i < order->n_env; i++) {
		const char *equals = strchr(order->env[i], '=');
		PyObject *key, *value;

		if (!equals)
			continue;
		key = PyBytes_FromStringAndSize(order->env[i], equals - order->env[i]);
		value = PyBytes_FromString(equals + 1);
		if (!key || !value || !PyDict_SetDefault(dict, key, value))
			return -1;
		Py_DECREF(key);
		Py_DECREF(value);
	}
	Py_DECREF(dict);
	environ = order->env;
	return 0;
}

static wchar_t *decode(const char *text)
{
	return Py_DecodeLocale(text, NULL);
}

static int set_list(PyWideStringList *list, char *const *texts, unsigned n)
{
	for (Py_ssize_t i = 0; i < list->length; i++)
		PyMem_RawFree(list->items[i]);
	PyMem_RawFree(list->items);
	*list = (PyWideStringList){ .items = PyMem_RawCalloc(n ? n : 1, sizeof(*list->items)) };
	if (!list->items)
		return -1;
	for (; list->length < n; list->length++) {
		list->items[list->length] = decode(texts[list->length]);
		if (!list->items[list->length])
			return -1;
	}
	return 0;
}

static int show_list(const char *name, const PyWideStringList *list)
{
	PyObject *object = PyList_New(list->length);

	for (Py_ssize_t i = 0; object && i < list->length; i++) {
		PyObject *text = PyUnicode_FromWideChar(list->items[i], -1);

		if (!text)
			return -1;
		PyList_SET_ITEM(object, i, text);
	}
	if (!object || PySys_SetObject(name, object) < 0)
		return -1;
	Py_DECREF(object);
	return 0;
}

/* A command gets a newline at its end. */
static wchar_t *make_command(const char *text)
{
	wchar_t *code = decode(text), *command;
	size_t len = code ? wcslen(code) : 0;

	command = code ? PyMem_RawMalloc((len + 2) * sizeof(*command)) : NULL;
	if (!command)
		return NULL;
	wmemcpy(command, code, len);
	wmemcpy(command + len, L"\n", 2);
	PyMem_RawFree(code);
	return command;
}

static wchar_t *make_filename(const char *text)
{
	char folder[PATH_MAX], path[PATH_MAX + WARM_PATH_ROOM];

	if (text[0] == '/')
		return decode(text);
	if (!getcwd(folder, sizeof(folder)) || strlen(text) >= WARM_PATH_ROOM - 1)
		return NULL;
	if (strcmp(text, ".") == 0)
		return decode(folder);
	(void)snprintf(path, sizeof(path), "%s/%s", folder, text);
	return decode(path);
}

/* What parsing the command line leaves; the agent has let through no option but these. */
static int set_command(PyConfig *config, const struct program_order *order)
{
	char *const *rest = order->argv + 1;
	unsigned n = order->n_argv - 1;
	static char empty[] = "", *const nothing[] = { empty };
	char *shown[WARM_ARGV_MAX];

	PyMem_RawFree(config->run_command);
	config->run_command = NULL;
	if (n == 0)
		return set_list(&config->argv, nothing, 1);
	if (strcmp(rest[0], "-c") == 0 || strcmp(rest[0], "-m") == 0) {
		bool is_module = rest[0][1] == 'm';
		wchar_t *what = is_module ? decode(rest[1]) : make_command(rest[1]);

		*(is_module ? &config->run_module : &config->run_command) = what;
		if (!what || n > WARM_ARGV_MAX)
			return -1;
		shown[0] = rest[0];
		memcpy(shown + 1, rest + 2, (n - 2) * sizeof(*shown));
		return set_list(&config->argv, shown, n - 1);
	}
	if (strcmp(rest[0], "-") != 0) {
		config->run_filename = make_filename(rest[0]);
		if (!config->run_filename)
			return -1;
	}
	return set_list(&config->argv, rest, n);
}

static int set_text(wchar_t **place, const wchar_t *text)
{
	wchar_t *copy = PyMem_RawMalloc((wcslen(text) + 1) * sizeof(*copy));

	if (!copy)
		return -1;
	PyMem_RawFree(*place);
	*place = wcscpy(copy, text);
	return 0;
}

/* The interpreter's own name: as it was called, and where that is. */
static int set_executable(PyConfig *config, const char *name)
{
	char path[PATH_MAX];
	wchar_t *called = decode(name), *full;
	PyObject *shown;
	int r = -1;

	(void)snprintf(path, sizeof(path), "%s%s", strchr(name, '/') ? "" : FOLDER, name);
	full = decode(path);
	shown = PyUnicode_DecodeFSDefault(path);
	if (called && full && shown && set_text(&config->program_name, called) == 0 &&
	    set_text(&config->executable, full) == 0 && set_text(&config->base_executable, full) == 0 &&
	    PySys_SetObject("executable", shown) == 0 && PySys_SetObject("_base_executable", shown) == 0)
		r = 0;
	Py_XDECREF(shown);
	PyMem_RawFree(called);
	PyMem_RawFree(full);
	return r;
}

/* No frame of ours is below the program's: not for its stack's depth, not for who looks, and none that holds on to __main__
 * when the program ends. */
static int leave_frames(void)
{
	PyThreadState *tstate = PyThreadState_Get();

	for (_PyInterpreterFrame *frame = tstate->cframe->current_frame; frame; frame = frame->previous) {
		PyObject *nothing = PyDict_New();

		if (!nothing)
			return -1;
		Py_SETREF(frame->f_func->func_globals, nothing);
		frame->f_globals = nothing;
		if (frame->f_locals)
			Py_SETREF(frame->f_locals, Py_NewRef(nothing));
	}
	tstate->cframe = &tstate->root_cframe;
	tstate->root_cframe.current_frame = NULL;
	tstate->recursion_remaining = tstate->recursion_limit;
	return 0;
}

static int set_state(const struct program_order *order)
{
	PyConfig *config = (PyConfig *)(uintptr_t)_PyInterpreterState_GetConfig(PyInterpreterState_Get());
	PyObject *time;

	if (set_environ(order) < 0 || set_executable(config, order->argv[0]) < 0 || set_command(config, order) < 0 ||
	    set_list(&config->orig_argv, order->argv, order->n_argv) < 0 || show_list("argv", &config->argv) < 0 ||
	    show_list("orig_argv", &config->orig_argv) < 0)
		return -1;
	if (!getenv("TZ"))
		return 0;
	time = PyImport_ImportModule("time");
	Py_XDECREF(time ? PyObject_CallMethod(time, "tzset", NULL) : NULL);
	Py_XDECREF(time);
	return PyErr_Occurred() ? -1 : 0;
}

_Noreturn void program_run(const struct program_order *order, int report_fd)
{
	struct launch_report report = { .step = STEP_COUNT, .pid = getpid() };

	if (dup3(report_fd, FAILURE_FD, O_CLOEXEC) < 0 || write(FAILURE_FD, &report, sizeof(report)) != sizeof(report))
		_exit(127);
	become_task(order, &report);
	if (set_state(order) < 0 || leave_frames() < 0)
		fail(&report, EPROTO);
	begin(&report);
	exit(Py_RunMain());
}
