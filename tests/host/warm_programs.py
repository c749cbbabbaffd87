"""Programs for warm_suite.py: each is run by an executed interpreter and by a fork of the waiting one, and has to do the same.

A program is (name, argv, what else): env, files, stdin. What it prints must not depend on time, chance or an address."""

import textwrap


def command(name, code, *args, **more):
    return (name, ["python3", "-c", textwrap.dedent(code), *args], more)


def script(name, code, *args, **more):
    files = {"prog.py": textwrap.dedent(code), **more.pop("files", {})}
    return (name, ["python3", "prog.py", *args], {"files": files, **more})


def piped(name, code, **more):
    return (name, ["python3"], {"stdin": textwrap.dedent(code).encode(), **more})


# What a program sees of itself, an expression each.
SEEN = r"""
sys.argv | sys.orig_argv | sys.path | sys.flags | sys.executable | sys._base_executable | sys.prefix | sys.exec_prefix
sys.base_prefix | sys.version | sys.platform | sys.byteorder | sys.maxsize | sys.implementation | sys.warnoptions
sys._xoptions | sys.dont_write_bytecode | sys.pycache_prefix | sys.getrecursionlimit() | sys.getswitchinterval()
sys.getdefaultencoding() | sys.getfilesystemencoding() | sys.getfilesystemencodeerrors() | sys.hash_info | sys.float_info
sys.int_info | sys.thread_info | sys.hexversion | sys.api_version | sys.builtin_module_names | sorted(sys.stdlib_module_names)
list(sys.modules) | [type(f).__name__ for f in sys.meta_path] | sys.path_hooks | sorted(sys.path_importer_cache)
sys.gettrace() | sys.getprofile() | sys.excepthook | sys.displayhook is sys.__displayhook__ | sys.getdlopenflags()
sys.get_asyncgen_hooks() | sys.get_coroutine_origin_tracking_depth() | sys.is_finalizing() | sys.ps1 if hasattr(sys, 'ps1') else None
[(s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.write_through, s.closed) for s in (sys.stdin, sys.stdout, sys.stderr)]
[(s.isatty(), s.fileno(), s.readable(), s.writable(), s.seekable()) for s in (sys.stdin, sys.stdout, sys.stderr)]
[repr(s.buffer) for s in (sys.stdin, sys.stdout, sys.stderr)] | [s is t for s, t in ((sys.stdin, sys.__stdin__), (sys.stdout, sys.__stdout__))]
sorted(globals()) | __name__ | __doc__ | __package__ | __spec__ | __loader__ | __builtins__ | __annotations__ | sorted(vars(__builtins__))
dict(os.environ) | dict(os.environb) | os.getcwd() | os.getuid(), os.geteuid(), os.getgid(), os.getegid() | os.getgroups() | os.getresuid() | os.getresgid()
os.getppid() | os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid() | os.getpriority(os.PRIO_PROCESS, 0) | os.umask(0) | os.cpu_count()
sorted(os.listdir('/proc/self/fd')) | [os.get_inheritable(i) for i in range(3)] | [os.get_blocking(i) for i in range(3)]
[__import__('fcntl').fcntl(i, __import__('fcntl').F_GETFL) for i in range(3)] | os.sched_getaffinity(0) | os.sched_getscheduler(0) | os.times().elapsed > 0
[__import__('stat').S_ISFIFO(os.fstat(i).st_mode) for i in range(3)] | [(os.fstat(i).st_uid, oct(os.fstat(i).st_mode)) for i in range(3)]
{i: __import__('resource').getrlimit(i) for i in range(16)} | open('/proc/self/cmdline', 'rb').read() | open('/proc/self/comm').read()
open('/proc/self/environ', 'rb').read() | os.readlink('/proc/self/exe') | os.readlink('/proc/self/cwd') | os.readlink('/proc/self/root')
open('/proc/self/oom_score_adj').read() | [l for l in open('/proc/self/status') if l[:3] in ('Sig', 'Shd', 'Cap', 'NoN', 'Uma', 'Sec', 'Thr', 'Gro', 'Uid', 'Gid', 'Tra')]
open('/proc/self/limits').read() | open('/proc/self/cgroup').read().count('\n') | open('/proc/self/stat').read().split(')')[1].split()[4:6]
open('/proc/self/personality').read() | open('/proc/self/timerslack_ns').read()
os.access('/proc/self/mem', os.W_OK), open('/proc/self/maps').read().count('\n') > 10 | oct(os.stat('/proc/self').st_mode), os.stat('/proc/self').st_uid
{s: str(__import__('signal').getsignal(s)) for s in range(1, 65)} | __import__('signal').pthread_sigmask(0, []) | __import__('signal').getitimer(0)
__import__('signal').sigpending() | __import__('gc').isenabled(), __import__('gc').get_threshold(), __import__('gc').get_debug(), __import__('gc').garbage
__import__('threading').current_thread().name, __import__('threading').active_count() | __import__('threading').main_thread().ident == __import__('threading').get_ident()
__import__('threading').get_native_id() == os.getpid(), __import__('threading').main_thread().native_id == os.getpid() | __import__('threading').stack_size()
__import__('time').tzname, __import__('time').timezone, __import__('time').daylight, __import__('time').altzone | __import__('time').process_time() < 60
__import__('locale').setlocale(0), __import__('locale').getpreferredencoding(), __import__('locale').localeconv() | __import__('locale').getlocale()
__import__('site').ENABLE_USER_SITE, __import__('site').getusersitepackages(), __import__('site').getsitepackages(), __import__('site').PREFIXES
__import__('warnings').filters | __import__('faulthandler').is_enabled() | __import__('tracemalloc').is_tracing() | __import__('atexit')._ncallbacks()
__import__('codecs').lookup('utf-8').name | __import__('sysconfig').get_paths() | __import__('platform').python_version(), __import__('platform').machine()
__import__('tempfile').gettempdir() | __import__('getpass').getuser() | __import__('socket').gethostname() == os.uname().nodename | os.path.expanduser('~')
__import__('pwd').getpwuid(os.getuid()) | __import__('shutil').which('python3') | __import__('inspect').stack()[0][1:4] | len(__import__('inspect').stack())
sys._getframe().f_back | sys._getframe().f_code.co_filename, sys._getframe().f_lineno | sys._current_frames().keys() == {__import__('threading').get_ident()}
sys.exc_info() | sys.getsizeof('a'), sys.intern('x') is sys.intern('x') | hash(1), hash(1.5), hash(None) is not None, hash(()) | __import__('ctypes').CDLL(None).getppid()
"""

MODULES_AT_ONCE = 4

# Modules that programs import, as the first thing they do.
MODULES = """
abc argparse array ast asyncio atexit base64 binascii bisect builtins bz2 calendar cmath cmd code codecs collections
collections.abc colorsys compileall concurrent.futures configparser contextlib contextvars copy copyreg cProfile csv ctypes
dataclasses datetime dbm decimal difflib dis doctest email email.message enum errno fcntl filecmp fileinput fnmatch
fractions ftplib functools gc getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html html.parser http http.client
http.server imaplib importlib importlib.metadata importlib.resources inspect io ipaddress itertools json keyword linecache
locale logging logging.handlers lzma mailbox marshal math mimetypes mmap multiprocessing netrc numbers operator optparse
os pathlib pdb pickle pickletools pkgutil platform plistlib poplib posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc
queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site
smtplib socket socketserver sqlite3 ssl stat statistics string stringprep struct subprocess symtable sys sysconfig syslog
tabnanny tarfile tempfile termios textwrap threading time timeit token tokenize tomllib trace traceback tracemalloc tty types
typing unicodedata unittest unittest.mock urllib urllib.parse urllib.request uuid venv warnings wave weakref webbrowser
wsgiref xml.dom.minidom xml.etree.ElementTree xml.sax xmlrpc.client zipapp zipfile zipimport zlib zoneinfo
""".split()

# What is left of a program that ends: exit codes, what is said, in which order.
ENDS = r"""
pass | sys.exit() | sys.exit(0) | sys.exit(3) | sys.exit(-1) | sys.exit(256) | sys.exit(257) | sys.exit(None) | sys.exit('said') | sys.exit((1, 2)) | sys.exit(True)
raise SystemExit | raise SystemExit(4) | raise SystemExit('text') | os._exit(5) | os.abort() | exit(6) | quit('bye') | raise KeyboardInterrupt | raise ValueError('x')
1/0 | raise ExceptionGroup('g', [ValueError(1), TypeError(2)]) | raise Exception from KeyError('k') | assert False, 'no' | undefined_name | import nothing_of_that_name
raise BaseException('b') | raise StopIteration | raise GeneratorExit | raise MemoryError | def f(): f()\nf() | print('a', end='') | print('a', file=sys.stderr)
os.kill(os.getpid(), 9) | os.kill(os.getpid(), 15) | os.kill(os.getpid(), 2) | os.kill(os.getpid(), 1) | os.kill(os.getpid(), 13) | os.kill(os.getpid(), 6) | os.kill(os.getpid(), 11)
print('out'); print('err', file=sys.stderr); sys.stdout.flush() | sys.stdout.write('no newline') and None | sys.stdout.close() | sys.stderr.close() | os.close(1); print('x') | os.close(0); input()
import atexit; atexit.register(print, 'at exit'); print('before') | import atexit; atexit.register(lambda: 1/0) | import atexit; atexit.register(sys.exit, 9) | sys.excepthook = lambda *a: print(a[0]); 1/0
class A:\n def __del__(self): print('gone')\na = A() | class A:\n def __del__(self): 1/0\na = A() | import threading; threading.Thread(target=lambda: print('t')).start() | import threading; threading.Thread(target=lambda: 1/0).start()
import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start() | import weakref; f = weakref.finalize(type('A', (), {})(), print, 'f') | sys.unraisablehook = print; x = [type('B', (), {'__del__': lambda s: 1/0})()]
import faulthandler; faulthandler.enable(); os.kill(os.getpid(), 11) | print(input()) | print(sys.stdin.read()) | for l in sys.stdin: print(repr(l)) | print('x' * 200000) | sys.stdout.buffer.write(bytes(range(256)) * 300)
sys.stderr.write('e' * 100000) | print('\u00e9\u4e2d\U0001f600') | print('\udc80') | print(os.fsencode('\udc80')) | import warnings; warnings.warn('w') | import warnings; warnings.warn('d', DeprecationWarning) | import imp
import warnings; warnings.simplefilter('error'); warnings.warn('w') | '\d' | 1 is 1 | eval('1 +') | compile('x = = 1', 'f', 'exec') | import this | breakpoint() | help('len') | print(copyright)
"""


# A program each, with the imports that it needs.
DOES = r"""
import subprocess; print(subprocess.run(['sh', '-c', 'echo $0 $HOME; umask; ulimit -n; ulimit -c; ls /proc/self/fd | wc -l'], capture_output=True))
import subprocess; print(subprocess.run([sys.executable, '-c', 'import sys, os; print(sys.argv, sys.path, os.environ)', 'x'], capture_output=True))
import subprocess; print(subprocess.run(['cat'], input=b'hello', capture_output=True)); print(subprocess.run('exit 7', shell=True).returncode)
import subprocess; p = subprocess.Popen(['sleep', '9']); p.terminate(); print(p.wait())
import subprocess; print(subprocess.run([sys.executable, '-c', 'import signal; print(signal.getsignal(signal.SIGPIPE), signal.getsignal(signal.SIGINT))'], capture_output=True))
import os; r = os.fork(); (print('child', os.getppid() > 1, flush=True), os._exit(3)) if r == 0 else print(os.waitpid(r, 0)[1])
import os; print(os.system('exit 3'), os.popen('echo p').read(), os.spawnlp(os.P_WAIT, 'true', 'true'))
import os; os.execvp('sh', ['sh', '-c', 'echo executed $PPID'])
import os; os.execv(sys.executable, ['python3', '-c', 'import sys; print(sys.orig_argv)'])
import multiprocessing as m; print(m.get_start_method(), m.current_process(), m.parent_process(), m.cpu_count())
import multiprocessing as m; p = m.get_context('fork').Process(target=print, args=('in a process',)); p.start(); p.join(); print(p.exitcode)
import multiprocessing as m; q = m.get_context('fork').Pool(2); print(q.map(abs, [-1, -2, 3])); q.close(); q.join()
import concurrent.futures as c; e = c.ThreadPoolExecutor(2); print(list(e.map(abs, [-1, -2])))
import asyncio; print(asyncio.run(asyncio.sleep(0, 'slept'))); print(type(asyncio.new_event_loop()).__name__)
import asyncio; exec('async def f():\n p = await asyncio.create_subprocess_exec("echo", "x", stdout=-1)\n return await p.communicate()'); print(asyncio.run(f()))
import threading; l = []; t = [threading.Thread(target=l.append, args=(i,)) for i in range(9)]; [x.start() for x in t]; [x.join() for x in t]; print(sorted(l), t[0].name)
import threading; print(threading.enumerate(), threading.main_thread() is threading.current_thread()) if 0 else print(len(threading.enumerate()))
import signal; signal.signal(signal.SIGUSR1, lambda *a: print('got', a[0])); os.kill(os.getpid(), signal.SIGUSR1)
import signal; signal.alarm(1); signal.pause()
import signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)
import signal; signal.raise_signal(signal.SIGINT)
import random; random.seed(1); print(random.random(), random.choice('abc'), random.sample(range(99), 5))
import random; print(random.getstate()[0], type(random._inst).__name__)
import json, pickle, copy; x = {'a': [1, 2.5, None, True, 'é']}; print(json.dumps(x), pickle.loads(pickle.dumps(x)), copy.deepcopy(x))
import pickle, __main__; exec('class A: pass'); print(pickle.dumps(A), type(pickle.loads(pickle.dumps(A()))))
import re; print(re.findall(r'(\w)(\d)', 'a1 b2 c3'), re.compile('x+'), len(re._cache))
import hashlib, hmac, zlib, binascii; print(hashlib.sha256(b'a').hexdigest(), hmac.new(b'k', b'm', 'md5').hexdigest(), zlib.crc32(b'x'), sorted(hashlib.algorithms_available))
import decimal, fractions, statistics; print(decimal.Decimal(1) / 3, decimal.getcontext(), fractions.Fraction(1, 3), statistics.mean([1, 2, 4]))
import datetime, time, calendar; print(datetime.datetime(2020, 2, 29).strftime('%c %Z'), time.strftime('%c', time.gmtime(0)), calendar.month(2020, 2), time.localtime(0))
import datetime; print(datetime.datetime.fromtimestamp(0), datetime.datetime.now().astimezone().tzinfo)
import enum, dataclasses, typing; exec('@dataclasses.dataclass\nclass P:\n x: int\n y: typing.List[int] = dataclasses.field(default_factory=list)'); print(P(1), enum.Enum('E', 'A B').A)
import collections; print(collections.Counter('hello'), collections.OrderedDict(a=1), collections.namedtuple('N', 'a b')(1, 2), collections.ChainMap({}))
import functools; f = functools.lru_cache(None)(lambda x: x + 1); f(1); f(1); print(f.cache_info(), functools.reduce(lambda a, b: a + b, [1, 2]))
import logging; logging.warning('w'); logging.basicConfig(level=10, format='%(levelname)s %(process)d %(message)s' if 0 else '%(levelname)s %(message)s'); logging.debug('d')
import logging; logging.getLogger('x').error('e %s', 1); print(logging.root, logging._handlers.valuerefs() and 1, os.getpid() == logging.LogRecord('a', 1, 'b', 1, 'c', (), None).process)
import argparse; p = argparse.ArgumentParser(); p.add_argument('--x', type=int); p.parse_args(['--x', 'no'])
import argparse; print(argparse.ArgumentParser(description='d').format_help())
import inspect, json; print(inspect.getsourcefile(json), inspect.signature(json.dumps), len(inspect.getsource(json.dumps)))
import inspect; exec('def f(a, *, b=1): pass'); print(inspect.signature(f)); print(inspect.getsource(sys.modules['__main__'])[:30])
import traceback; exec('try:\n 1/0\nexcept Exception:\n traceback.print_exc()'); traceback.print_stack()
import linecache; print(list(linecache.cache), linecache.getline(__file__, 1))
import socket; a, b = socket.socketpair(); a.send(b'x'); print(b.recv(9), a.fileno(), b.fileno())
import socket, select; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print(select.select([s], [], [], 1)[0] == [s])
import ssl; print(ssl.OPENSSL_VERSION, ssl.create_default_context().verify_mode, ssl.get_default_verify_paths())
import sqlite3; c = sqlite3.connect(':memory:'); print(c.execute('select 1 + 1, sqlite_version()').fetchall())
import xml.etree.ElementTree as e; print(e.tostring(e.fromstring('<a b="1"><c/></a>')), e.XMLParser)
import csv, io; w = io.StringIO(); csv.writer(w).writerows([[1, 'a,b'], ['"', None]]); print(repr(w.getvalue()), csv.list_dialects())
import tempfile; f = tempfile.NamedTemporaryFile(); print(os.path.dirname(f.name), f.fileno(), len(os.path.basename(f.name)))
import pathlib; pathlib.Path('f').write_text('x'); print(list(pathlib.Path('.').glob('f')), oct(pathlib.Path('f').stat().st_mode), pathlib.Path('f').owner())
import shutil, glob; os.mkdir('d'); open('d/f', 'w').close(); print(glob.glob('d/*'), shutil.disk_usage('/').total > 0); shutil.rmtree('d')
import zipfile, tarfile, gzip, bz2, lzma; z = zipfile.ZipFile('z.zip', 'w'); z.writestr('m.py', 'print("from a zip")'); z.close(); sys.path.insert(0, 'z.zip'); import m
import importlib; open('late.py', 'w').write('print(__name__, __file__)'); importlib.invalidate_caches(); import late; importlib.reload(late); print(sorted(os.listdir('__pycache__')))
import importlib.util; print(importlib.util.find_spec('json'), importlib.util.find_spec('nothing_here'))
import ctypes; print(ctypes.CDLL(None).abs(-3), ctypes.sizeof(ctypes.c_long), ctypes.c_char.in_dll)
import contextvars, contextlib; v = contextvars.ContextVar('v', default=1); print(v.get(), list(contextvars.copy_context()))
import gc; gc.collect(); print(gc.isenabled(), gc.callbacks, gc.is_tracked([]), gc.get_debug())
import weakref; s = weakref.WeakSet(); x = type('X', (), {})(); s.add(x); print(len(s)); del x; print(len(s))
import warnings; warnings.warn('one'); warnings.warn('one'); print(len(warnings.filters))
import trace, profile, pstats, io; p = profile.Profile(); p.runcall(sum, [1]); print(p.getstats if hasattr(p, 'getstats') else 'p')
import locale; print(locale.setlocale(locale.LC_ALL, ''), locale.getencoding(), '{:n}'.format(1234567))
import readline; print(readline.get_history_length(), readline.get_completer())
import unittest; unittest.main(argv=['x', '-q'], module='string') if 0 else print(unittest.TestCase().id())
import code; code.interact(banner='b', exitmsg='e')
import runpy; print(sorted(runpy.run_path(__file__ if 0 else os.devnull))[:3])
import timeit; print(timeit.timeit('1', number=1) < 9)
import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); exec('try:\n l = [open("/dev/null") for i in range(99)]\nexcept OSError as e: print(e)')
import resource; print(resource.getrusage(0).ru_nswap, resource.getpagesize())
import mmap; m = mmap.mmap(-1, 4096); m[0] = 65; print(m[:2])
import uuid; print(uuid.uuid5(uuid.NAMESPACE_DNS, 'a'), len(str(uuid.uuid4())), uuid.uuid4() != uuid.uuid4())
import secrets, string; print(len(secrets.token_hex(4)), string.Template('$a').substitute(a=1))
import heapq, bisect, itertools, operator; print(heapq.nsmallest(2, [3, 1, 2]), bisect.bisect([1, 2], 1), list(itertools.permutations('ab')), operator.itemgetter(1)('ab'))
import urllib.parse, html, base64, textwrap, difflib; print(urllib.parse.urlparse('http://a/b?c=d'), html.escape('<'), base64.b64encode(b'x'), textwrap.wrap('a b c', 3), list(difflib.ndiff('a', 'b')))
import email.message, email.utils; m = email.message.EmailMessage(); m['To'] = 'a@b'; m.set_content('hi'); print(m)
import http.server, threading, urllib.request; s = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler); print(s.server_address[0])
import configparser, tomllib, plistlib; c = configparser.ConfigParser(); c.read_string('[a]\nb = 1'); print(c['a']['b'], tomllib.loads('a = 1'), plistlib.dumps({}))
import ast, dis, tokenize; print(ast.dump(ast.parse('a + 1'))); dis.dis(compile('a + 1', 'f', 'eval'))
import pdb, bdb, cmd; print(pdb.Pdb.__mro__)
import zoneinfo; print(zoneinfo.ZoneInfo('Europe/Berlin').utcoffset(None), len(zoneinfo.available_timezones()) > 100, zoneinfo.TZPATH)
import numbers, abc; print(isinstance(1, numbers.Integral), abc.get_cache_token() is not None)
def f(n): return n and 1 + f(n - 1)\nfor n in range(900, 1100):\n try: f(n)\n except RecursionError: print(n); break
def f(): raise ValueError('deep')\ndef g():\n try: f()\n except ValueError as e: raise KeyError('x') from e\ng()
print({1, 2, 3}, {'a': 1} | {'b': 2}, sorted({'x', 'y', 'z'}), 'x' in {'x', 'y'}, dict.fromkeys('abc').keys() == set('cab'))
d = {('a', i): i for i in range(1000)}; print(all(d[('a', i)] == i for i in range(1000)), frozenset('abc') == frozenset('cba'), hash(frozenset('ab')) == hash(frozenset('ba')))
print([getattr(m, '__name__', m) for m in (int, str)], sys.getrefcount(object()), type(sys.stdin.buffer.raw), sys.stdin.buffer.peek()[:3])
import builtins; print([n for n in dir(builtins) if n not in sorted(vars(builtins))], builtins.print is print)
print(*[c.__name__ for c in object.__subclasses__() if c.__module__ == 'builtins'][:40])
print(sorted(vars(sys)), sorted(vars(os)))
print(sys.settrace(lambda *a: None), sys.gettrace() is not None); sys.setrecursionlimit(50); print(sys.getrecursionlimit())
import os; os.umask(0o77); open('u', 'w').close(); print(oct(os.stat('u').st_mode)); os.nice(5); print(os.nice(0)); os.remove('u')
import os; print([os.path.exists(p) for p in ('/warm', '/image', '/task', '/disk', '/proc/1/root', '/init')], os.listdir('/work'))
import os; print([line.split(',size')[0] for line in open('/proc/mounts')]); print(os.access('/usr', os.W_OK))
import os; print([(n, len(os.listdir('/proc/self/' + n))) for n in ('task', 'ns', 'fdinfo')], sorted(n for n in os.listdir('/proc') if n.isdigit()) == [str(os.getpid())])
import os; exec('try: os.setuid(0)\nexcept OSError as e: print(e)'); exec('try: os.chroot("/")\nexcept OSError as e: print(e)'); exec('try: os.kill(1, 0)\nexcept OSError as e: print(e)')
import os, ctypes; c = ctypes.CDLL(None); print([c.prctl(n, 0, 0, 0, 0) for n in (2, 3, 7, 21, 27, 30, 39, 42)])
"""


def split(text, with_lines=True):
    parts = [part.strip() for line in text.strip().splitlines() for part in line.split(" | ") if part.strip()]
    return [part.replace("\\n", "\n") for part in parts] if with_lines else parts


def seen():
    for i, what in enumerate(split(SEEN, with_lines=False)):
        yield command("seen %d %s" % (i, what[:40]),
                      "import sys, os\nprint(repr((%s)))" % what, "one", "--two=2", "")


def ends():
    for i, what in enumerate(split(ENDS)):
        yield script("ends %d %s" % (i, what[:40]), "import sys, os\n" + what + "\n", "arg", stdin=b"first\nsecond\n\xff last")


def imports():
    for at in range(0, len(MODULES), MODULES_AT_ONCE):
        names = MODULES[at:at + MODULES_AT_ONCE]
        yield command("import " + " ".join(names), "import sys\nfor name in %r:\n    __import__(name)\n    print(name, list(sys.modules), sorted(vars(sys.modules[name])))\n" % names)


def does():
    for i, what in enumerate(DOES.strip().splitlines()):
        yield script("does %d %s" % (i, what[:40]), "import sys, os\n" + what.replace("\\n", "\n") + "\n", stdin=b"1 + 1\nprint('x')\n")


SHADOW = "print('mine', __name__, __file__)\n"


def forms():
    show = "import sys; print(sys.argv, sys.path[0], sys.orig_argv, __name__, globals().get('__file__'), __spec__)\n"
    for name in ("python", "python3", "python3.11", "/usr/bin/python", "/usr/bin/python3", "/usr/bin/python3.11", "/bin/python3"):
        yield ("called " + name, [name, "-c", show + "print(sys.executable, sys._base_executable)"], {})
        yield ("called %s without a file" % name, [name, "nothing.py"], {})
    for path in ("a.py", "./a.py", "d/../a.py", "d/b.py", "/work/a.py", "d", "d/", ".", "/work", "e.txt", "-", "é.py", "-a.py"):
        yield ("file " + path, ["python3", path, "x", "-y"],
               {"files": {"a.py": show, "d/b.py": show, "d/__main__.py": show, "e.txt": show, "é.py": show, "__main__.py": show},
                "stdin": show.encode()})
    for module in ("a", "p", "p.q", "nothing", "this", "json.tool", "site", "timeit", "platform", "p.nothing", ".", ""):
        yield ("module " + module, ["python3", "-m", module, "-n1", "x"][: 3 if module in ("this", "site", "platform") else 5],
               {"files": {"a.py": show, "p/__init__.py": show, "p/__main__.py": show, "p/q.py": show}, "stdin": b"{}"})
    for option in ("-u", "-B", "-E", "-I", "-s", "-S", "-O", "-OO", "-W error", "-X dev", "-V", "-h", "-q", "-b", "-v -c pass", "-i", "-P", "-x", "--version", "-c", "-m", "--bad", "-Z"):
        yield ("option " + option, ["python3", *option.split(), "-c", "import sys; print(sys.flags, sys.path)"], {"stdin": b"1"})
    for name, value in (("PYTHONPATH", "/work/lib"), ("PYTHONHASHSEED", "0"), ("PYTHONUNBUFFERED", "1"), ("LANG", "C"), ("LC_ALL", "C.UTF-8"),
                        ("TZ", "America/New_York"), ("HOME", "/tmp"), ("A", "b=c"), ("LANG", "C.UTF-8"), ("PATH", "/usr/bin"), ("X" * 200, "y" * 9000),
                        ("É", "é\U0001f600"), ("EMPTY", ""), ("PYTHONDONTWRITEBYTECODE", "1"), ("TMPDIR", "/work"), ("TERM", "dumb")):
        yield ("env %s" % name[:30], ["python3", "-c", "import os, sys, time, tempfile; print(os.environ, sys.path, sys.flags, time.tzname, tempfile.gettempdir(), time.localtime(0), sys.stdout.encoding)"],
               {"env": {name: value}})
    for name in ("json", "random", "re", "types", "enum", "collections", "queue", "os", "sys", "string", "functools", "decimal", "site", "logging"):
        yield ("shadow " + name, ["python3", "-c", "import json, random, re, logging, decimal, queue, sys; print(sorted(sys.modules))"], {"files": {name + ".py": SHADOW}})
        yield ("shadow by a script " + name, ["python3", "d/s.py"], {"files": {"d/" + name + ".py": SHADOW, "d/s.py": "import json, random, re, logging, decimal, queue, sys; print(list(sys.modules))"}})
    yield ("big arguments", ["python3", "-c", "import sys; print(len(sys.argv), sum(map(len, sys.argv)))", *["x" * 300] * 100], {})
    yield ("arguments that are not ASCII", ["python3", "-c", "import sys; print(ascii(sys.argv), open('/proc/self/cmdline', 'rb').read())", "é", "\U0001f600", "", "\n"], {})
    yield ("a command of many lines", ["python3", "-c", "\nif 1:\n  print(1)\n\nraise ValueError('line 5')"], {})
    yield ("a command with a tab and no code", ["python3", "-c", "\t"], {})
    yield ("a command with a bad line", ["python3", "-c", "print(1\n"], {})
    yield ("an indented file", ["python3", "a.py"], {"files": {"a.py": "  x = 1\n"}})
    yield ("a file in another encoding", ["python3", "a.py"], {"files": {"a.py": b"# coding: latin-1\nprint(ascii('\xe9'))\n"}})
    yield ("a file with a bad byte", ["python3", "a.py"], {"files": {"a.py": b"print('\xe9')\n"}})
    yield piped("a program from stdin", show + "print(sys.stdin.read())\n")
    yield piped("a bad program from stdin", "print(1)\n1/0\n")
    yield piped("nothing on stdin", "")


def programs():
    for group in (seen, ends, imports, does, forms):
        yield from group()
