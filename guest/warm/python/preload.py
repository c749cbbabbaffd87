# Run once by the waiting interpreter, in a namespace of its own: import modules ahead, see what each did while it was loaded, and
# put all of them away again. A program finds sys.modules as it is after any start. `hidden` becomes {name: (module, steps)}; a
# step is what loading the module does to others, in order:
#   (name, fromlist, module, values)  an import, and what it led to; module is None where it led nowhere
#   (name, module)                    another name under which it puts a module into sys.modules
#   (function, args, kwargs)          a registration that outlives it: atexit, os.register_at_fork
import builtins
import sys

bootstrap = sys.modules["_frozen_importlib"]
started = dict(sys.modules)
finders = dict(sys.path_importer_cache)
codecs_seen = dict(sys.modules["encodings"]._cache)
steps_of, stack, known = {}, [], set(started)
real_import, real_load = builtins.__import__, bootstrap._load_unlocked


def note_other_names():
    for name in [name for name in sys.modules if name not in known]:
        known.add(name)
        if name not in steps_of and stack:
            stack[-1].append((name, sys.modules[name]))


def load(spec):
    note_other_names()
    stack.append(steps_of.setdefault(spec.name, []))
    known.add(spec.name)
    try:
        return real_load(spec)
    finally:
        note_other_names()
        stack.pop()


def noted_import(name, globals=None, locals=None, fromlist=(), level=0):
    steps = stack[-1] if stack else []
    absolute = bootstrap._resolve_name(name, bootstrap._calc___package__(globals), level) if level else name
    wanted = tuple(fromlist or ())
    note_other_names()
    at = len(steps)
    steps.append(None)
    try:
        found = real_import(name, globals, locals, fromlist, level)
        module = sys.modules[absolute]
        steps[at] = (absolute, wanted, module, tuple(getattr(module, what, None) for what in wanted if what != "*"))
        return found
    except ImportError:
        steps[at] = (absolute, wanted, None, ())
        raise


def note_calls(module, name):
    real = getattr(module, name)

    def note(*args, **kwargs):
        if not stack:
            return real(*args, **kwargs)
        stack[-1].append((real, args, kwargs))
        return args[0] if args else None

    setattr(module, name, note)
    return module, name, real


builtins.__import__, bootstrap._load_unlocked = noted_import, load
noted = [note_calls(sys.modules["os"], "register_at_fork"), note_calls(noted_import("atexit"), "register")]
noted.append(note_calls(noted_import("threading"), "_register_atexit"))
for name in MODULES.split():
    noted_import(name)
for module, name, real in noted:
    setattr(module, name, real)
builtins.__import__, bootstrap._load_unlocked = real_import, real_load

for thing in sys.modules["gc"].get_objects():
    if type(thing) is sys.modules["functools"]._lru_cache_wrapper:
        thing.cache_clear()
sys.modules["re"].purge()
hidden = {name: (sys.modules.pop(name), tuple(steps_of.get(name, ()))) for name in list(sys.modules) if name not in started}
for name, (module, steps) in hidden.items():
    package, _, child = name.rpartition(".")
    package = started.get(package) or hidden.get(package, (None,))[0]
    if name in steps_of and package and package.__dict__.get(child) is module:
        delattr(package, child)
for name in [name for name in hidden if name not in steps_of]:
    del hidden[name]
for path in [path for path in sys.path_importer_cache if path not in finders]:
    del sys.path_importer_cache[path]
for name in [name for name in sys.modules["encodings"]._cache if name not in codecs_seen]:
    del sys.modules["encodings"]._cache[name]
