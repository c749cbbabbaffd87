/* Modules that the waiting interpreter imported ahead (preload.py).
 *
 * They lie in a dict of ours, not in sys.modules: a program sees none of them until it imports one. That import goes its usual way, along
 * sys.meta_path and sys.path, until a module is to be loaded. Only if what was found is the file that was loaded
 * ahead is it taken instead of being executed again; and then the imports that its execution made are made, each the same way. Where
 * one of these leads elsewhere (a random.py beside the program), none of it is taken: what has that import in it is
 * executed. */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>

#include "guest/warm/python/hidden.h"

#include <stdbool.h>

extern const char preload_source[], preload_source_end[];

/* preload.py as it stands. */
__asm__(".pushsection .rodata\n"
	".global preload_source\n.hidden preload_source\npreload_source:\n"
	".incbin \"" PRELOAD_SOURCE "\"\n.byte 0\n"
	".global preload_source_end\n.hidden preload_source_end\npreload_source_end:\n"
	".popsection\n");

static const char modules[] =
	"collections re json functools itertools operator math random datetime string struct base64 hashlib pathlib tempfile "
	"shutil subprocess queue argparse logging traceback typing dataclasses enum copy heapq bisect csv textwrap contextlib "
	"glob pickle signal time errno types gc";

static PyObject *hidden, *real_load, *real_import;
static __thread unsigned depth; /* of modules that are being taken */
static PyObject *elsewhere;	/* the exception that says so, to the outermost of them */

static PyObject *load_really(PyObject *spec)
{
	return PyObject_CallOneArg(real_load, spec);
}

/* Somebody who looks on, or has replaced how imports are made, is to see all of it. */
static bool is_watched(void)
{
	PyThreadState *tstate = PyThreadState_Get();
	PyObject *import = PyDict_GetItemString(tstate->interp->builtins, "__import__"); /* borrowed */

	return import != real_import || tstate->c_tracefunc || tstate->c_profilefunc || tstate->interp->audit_hooks ||
	       _PyRuntime.audit_hook_head;
}

static bool have_same(PyObject *a, PyObject *b, const char *name)
{
	PyObject *x = PyObject_GetAttrString(a, name), *y = PyObject_GetAttrString(b, name);
	bool is_same = x && y && PyObject_RichCompareBool(x, y, Py_EQ) == 1;

	Py_XDECREF(x);
	Py_XDECREF(y);
	PyErr_Clear();
	return is_same;
}

static bool have_same_loader(PyObject *a, PyObject *b)
{
	PyObject *x = PyObject_GetAttrString(a, "loader"), *y = PyObject_GetAttrString(b, "loader");
	bool is_same = x && y && Py_TYPE(x) == Py_TYPE(y) && (!PyType_Check(x) || x == y);

	Py_XDECREF(x);
	Py_XDECREF(y);
	PyErr_Clear();
	return is_same;
}

static bool is_same_file(PyObject *module, PyObject *spec)
{
	PyObject *own = PyObject_GetAttrString(module, "__spec__");
	bool is_same = own && have_same(own, spec, "origin") && have_same(own, spec, "submodule_search_locations") &&
		       have_same_loader(own, spec);

	Py_XDECREF(own);
	PyErr_Clear();
	return is_same;
}

/* It led to the same module, and to the same things in it. */
static bool leads_there(PyObject *step)
{
	PyObject *wanted = PyTuple_GET_ITEM(step, 1), *module = PyTuple_GET_ITEM(step, 2), *values = PyTuple_GET_ITEM(step, 3);
	bool is_same = PyDict_GetItemWithError(PyImport_GetModuleDict(), PyTuple_GET_ITEM(step, 0)) == module;

	for (Py_ssize_t i = 0; is_same && i < PyTuple_GET_SIZE(values); i++) {
		PyObject *value = PyObject_GetAttr(module, PyTuple_GET_ITEM(wanted, i));

		is_same = value == PyTuple_GET_ITEM(values, i) || (!value && PyTuple_GET_ITEM(values, i) == Py_None);
		Py_XDECREF(value);
		PyErr_Clear();
	}
	return is_same;
}

static int take_import(PyObject *module, PyObject *step)
{
	bool is_found = PyTuple_GET_ITEM(step, 2) != Py_None;
	PyObject *made = PyImport_ImportModuleLevelObject(PyTuple_GET_ITEM(step, 0), PyModule_GetDict(module), NULL,
							  PyTuple_GET_ITEM(step, 1), 0);

	Py_XDECREF(made);
	if (made)
		return is_found && leads_there(step) ? 0 : -1;
	if (is_found || !PyErr_ExceptionMatches(PyExc_ImportError))
		return -1;
	PyErr_Clear();
	return 0;
}

static int take_step(PyObject *module, PyObject *step)
{
	PyObject *made;

	if (PyTuple_GET_SIZE(step) == 2)
		return PyObject_SetItem(PyImport_GetModuleDict(), PyTuple_GET_ITEM(step, 0), PyTuple_GET_ITEM(step, 1));
	if (PyTuple_GET_SIZE(step) == 4)
		return take_import(module, step);
	made = PyObject_Call(PyTuple_GET_ITEM(step, 0), PyTuple_GET_ITEM(step, 1), PyTuple_GET_ITEM(step, 2));
	Py_XDECREF(made);
	return made ? 0 : -1;
}

/* What a module learned when it was loaded, and that is another thing now. */
static const struct {
	const char *name, *code;
} refreshed[] = {
	{ "random", "_inst.seed()" },
	{ "logging", "globals().__setitem__('_startTime', time.time())" },
	{ "threading", "(_main_thread._set_ident(), _main_thread._set_native_id())" },
};

static int refresh(PyObject *name, PyObject *module)
{
	for (size_t i = 0; i < sizeof(refreshed) / sizeof(refreshed[0]); i++) {
		PyObject *dict = PyModule_GetDict(module), *done;

		if (PyUnicode_CompareWithASCIIString(name, refreshed[i].name) != 0)
			continue;
		done = PyRun_String(refreshed[i].code, Py_eval_input, dict, dict);
		Py_XDECREF(done);
		return done ? 0 : -1;
	}
	return 0;
}

static int take_steps(PyObject *name, PyObject *module, PyObject *steps)
{
	int r = PyObject_SetItem(PyImport_GetModuleDict(), name, module);

	for (Py_ssize_t i = 0; r == 0 && i < PyTuple_GET_SIZE(steps); i++)
		r = take_step(module, PyTuple_GET_ITEM(steps, i));
	/* As after every load, it is the last of them. */
	if (r == 0)
		r = PyDict_DelItem(PyImport_GetModuleDict(), name);
	if (r == 0)
		r = PyObject_SetItem(PyImport_GetModuleDict(), name, module);
	return r == 0 ? refresh(name, module) : r;
}

static PyObject *take(PyObject *spec, PyObject *name, PyObject *entry)
{
	PyObject *module = PyTuple_GET_ITEM(entry, 0);
	int r;

	depth++;
	r = take_steps(name, module, PyTuple_GET_ITEM(entry, 1));
	depth--;
	if (r == 0)
		return Py_NewRef(module);
	if (depth == 0)
		PyErr_Clear();
	if (PyDict_DelItem(PyImport_GetModuleDict(), name) < 0)
		PyErr_Clear();
	if (depth == 0)
		return load_really(spec);
	if (!PyErr_Occurred())
		PyErr_SetNone(elsewhere);
	return NULL;
}

/* In the place of importlib._bootstrap._load_unlocked(). */
static PyObject *load(PyObject *self, PyObject *spec)
{
	PyObject *name = PyObject_GetAttrString(spec, "name"), *entry, *loaded;

	(void)self;
	entry = name ? PyDict_GetItemWithError(hidden, name) : NULL; /* borrowed */
	Py_XINCREF(entry);
	if (entry && PyDict_DelItem(hidden, name) < 0) /* taken or not, it is nobody's after this */
		PyErr_Clear();
	PyErr_Clear();
	if (entry && !is_watched() && is_same_file(PyTuple_GET_ITEM(entry, 0), spec)) {
		loaded = take(spec, name, entry);
	} else if (depth > 0) {
		PyErr_SetNone(elsewhere);
		loaded = NULL;
	} else {
		loaded = load_really(spec);
	}
	Py_XDECREF(entry);
	Py_XDECREF(name);
	return loaded;
}

static PyMethodDef load_method = { "_load_unlocked", load, METH_O, NULL };

static int forget_codecs(Py_ssize_t n)
{
	PyObject *cache = PyInterpreterState_Get()->codec_search_cache, *keys = cache ? PyDict_Keys(cache) : NULL;
	int r = keys ? 0 : -1;

	for (Py_ssize_t i = n; r == 0 && i < PyList_GET_SIZE(keys); i++)
		r = PyDict_DelItem(cache, PyList_GET_ITEM(keys, i));
	Py_XDECREF(keys);
	return r;
}

/* No collection in a program looks at what was imported ahead, which is many times what a program makes. At what any start
 * makes it looks, as ever: what a program hangs on there is found when it ends. */
static int freeze(PyObject *gc, PyObject *started)
{
	PyObject *done;

	PyGC_Collect();
	done = PyObject_CallMethod(gc, "freeze", NULL);
	Py_XDECREF(done);
	for (Py_ssize_t i = 0; done && i < PyList_GET_SIZE(started); i++) {
		PyObject *object = PyList_GET_ITEM(started, i);

		if (!PyObject_GC_IsTracked(object))
			continue;
		PyObject_GC_UnTrack(object);
		PyObject_GC_Track(object);
	}
	return done ? 0 : -1;
}

/* A module that is not to be in sys.modules afterwards. */
static PyObject *import_unseen(const char *name)
{
	PyObject *module = PyImport_ImportModule(name);

	if (module && PyDict_DelItemString(PyImport_GetModuleDict(), name) < 0)
		PyErr_Clear();
	return module;
}

int hidden_prepare(void)
{
	PyInterpreterState *interp = PyInterpreterState_Get();
	Py_ssize_t n_codecs = interp->codec_search_cache ? PyDict_Size(interp->codec_search_cache) : 0;
	PyObject *names = Py_BuildValue("{s:s,s:s}", "MODULES", modules, "__name__", "warm");
	PyObject *gc = import_unseen("gc"), *started = gc ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
	PyObject *bootstrap = PyImport_ImportModule("_frozen_importlib"), *ours = PyCFunction_New(&load_method, NULL), *done;

	real_load = bootstrap ? PyObject_GetAttrString(bootstrap, "_load_unlocked") : NULL;
	real_import = Py_XNewRef(PyDict_GetItemString(interp->builtins, "__import__"));
	elsewhere = PyErr_NewException("warm.Elsewhere", PyExc_BaseException, NULL);
	if (!started || !names || !ours || !real_load || !real_import || !elsewhere ||
	    PyDict_SetItemString(names, "__builtins__", interp->builtins) < 0)
		return -1;
	done = PyRun_String(preload_source, Py_file_input, names, names);
	hidden = done ? Py_XNewRef(PyDict_GetItemString(names, "hidden")) : NULL;
	Py_XDECREF(done);
	PyDict_Clear(names);
	Py_DECREF(names);
	if (!hidden || forget_codecs(n_codecs) < 0)
		return -1;
	if (PyObject_SetAttrString(bootstrap, "_load_unlocked", ours) < 0 || freeze(gc, started) < 0)
		return -1;
	Py_DECREF(started); /* a list that was made behind all of them */
	PyGC_Collect();
	return 0;
}
