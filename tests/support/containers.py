"""podman and podman-compose for a test, with a storage of its own: nothing of the machine's podman is used or changed, and no
registry of images is asked. What takes long to make and depends on nothing but its recipe is kept in the state's cache."""
import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

from stack import ARTIFACTS, REPO

RECIPES = os.path.join(REPO, "tests", "e2e", "containers")
CACHE = os.path.join(ARTIFACTS, "cache", "containers")
BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
GROUP_PARENTS = ["/sys/fs/cgroup/libpod_parent", *(root + "libpod_parent" for root in glob.glob("/sys/fs/cgroup/*/"))]

# As the slim image: no documentation, and no fsync() for each file of a package.
BOOTSTRAP = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--dpkgopt=force-unsafe-io",
             "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
             "--dpkgopt=path-exclude=/usr/share/locale/*", "--aptopt=Acquire::Languages \"none\""]

STORAGE = """[storage]
driver = "{driver}"
graphroot = "{root}/graph"
runroot = "{root}/run"
"""

# Added to deploy/compose/containers.conf, in its last section.
ENGINE = """cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
static_dir = "{root}/graph/libpod"
volume_path = "{root}/graph/volumes"
tmp_dir = "{root}/run/libpod"

[network]
network_config_dir = "{root}/net"
"""


def run(*command, seconds=600, **options):
    """Its standard output; what it said is in the error when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def cached(name, make):
    """The path of a thing in the cache; `make(path)` makes it where it is not there."""
    path = os.path.join(CACHE, name)
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".making.") as folder:
            making = os.path.join(folder, name)
            make(making)
            if not os.path.exists(path):
                os.rename(making, path)
    return path


def machine_files():
    """What apt in a container needs to reach this machine's sources: keyrings, certificates."""
    keyrings = re.findall(r"signed-by=(/[^] ,]+)", read(os.path.join(ARTIFACTS, "cache", "apt", "sources.list")))
    certificates = ["/etc/ssl/certs/ca-certificates.crt", *glob.glob("/usr/local/share/ca-certificates/*.crt")]
    return sorted({path for path in keyrings + certificates if os.path.isfile(path)})


def machine_apt():
    """apt's settings of this machine that are about how to reach its sources."""
    return re.findall(r'^Acquire::(?:http|https|Check|Retries).*;$', run("apt-config", "dump"), flags=re.M)


def make_base(path):
    """The base image, from where tools/image/build-image found this machine's packages."""
    folder = os.path.dirname(path)
    settings = write(os.path.join(folder, "apt.conf"), "\n".join(machine_apt()) + "\n")
    hooks = [f"--customize-hook=upload '{settings}' /etc/apt/apt.conf.d/90machine"]
    for name in machine_files():
        hooks += [f"--customize-hook=mkdir -p \"$1{os.path.dirname(name)}\"", f"--customize-hook=upload '{name}' '{name}'"]
    run(*BOOTSTRAP, *hooks, "bookworm", path, os.path.join(ARTIFACTS, "cache", "apt", "sources.list"))


def base_tar():
    inputs = [*BOOTSTRAP, *machine_apt(), read(os.path.join(ARTIFACTS, "cache", "apt", "sources.list"))]
    inputs += [run("sha256sum", *machine_files())]
    return cached(f"base-{hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]}.tar", make_base)


def compose_python():
    """A Python that has podman-compose; what that needs beside it is Debian's."""
    requirements = os.path.join(RECIPES, "requirements.txt")

    def make(path):
        run("/usr/bin/python3", "-m", "venv", "--system-site-packages", path)
        run(os.path.join(path, "bin", "python3"), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", requirements)

    venv = cached(f"venv-{hashlib.sha256(read(requirements).encode()).hexdigest()[:16]}", make)
    return os.path.join(venv, "bin", "python3")


def storage_driver(folder):
    """overlay where the kernel mounts one there, else whole copies."""
    parts = [os.path.join(folder, part) for part in ("lower", "upper", "work", "merged")]
    for part in parts:
        os.makedirs(part)
    options = "lowerdir={},upperdir={},workdir={}".format(*parts)
    is_fine = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, parts[3]], stderr=subprocess.DEVNULL, check=False)
    if is_fine.returncode == 0:
        run("umount", parts[3])
    for part in parts:
        shutil.rmtree(part)
    return "vfs" if is_fine.returncode else "overlay"


def mounts_below(folder):
    return [line.split()[1] for line in read("/proc/self/mounts").splitlines() if line.split()[1].startswith(folder)]


class Containers:
    """A storage, and what was made of it. `environment` is of every podman and podman-compose."""

    def __init__(self, environment):
        sweep()
        self.had_groups = [path for path in GROUP_PARENTS if os.path.isdir(path)]
        self.root = tempfile.mkdtemp(prefix=".containers.", dir=ARTIFACTS)
        self.lock = hold(self.root)
        storage = write(os.path.join(self.root, "storage.conf"),
                        STORAGE.format(root=self.root, driver=storage_driver(os.path.join(self.root, "try"))))
        shipped = read(os.path.join(REPO, "deploy", "compose", "containers.conf"))
        conf = write(os.path.join(self.root, "containers.conf"), shipped + ENGINE.format(root=self.root))
        # One layer for an image: no later build will find the others.
        self.environment = {**os.environ, **environment, "CONTAINERS_CONF": conf, "CONTAINERS_STORAGE_CONF": storage,
                            "BUILDAH_LAYERS": "false", "TMPDIR": self.root, "PYTHONDONTWRITEBYTECODE": "1"}

    def podman(self, *args, **options):
        return run("podman", *args, env=self.environment, **options)

    def compose(self, *args, **options):
        return run(compose_python(), "-m", "podman_compose", *args, env=self.environment, cwd=REPO, **options)

    def answers(self, *args):
        """Whether podman's exit status is 0."""
        return subprocess.run(["podman", *args], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False, timeout=120).returncode == 0

    def groups(self, ids):
        """Control groups of containers."""
        return [path for parent in GROUP_PARENTS for one in ids for path in glob.glob(f"{parent}/*{one}*")]

    def import_base(self):
        self.podman("import", "--quiet", base_tar(), BASE_IMAGE)

    def build(self, recipe, tag, files=()):
        """An image of RECIPES; `files` are folders beside it that it copies."""
        with tempfile.TemporaryDirectory(dir=self.root) as context:
            shutil.copytree(RECIPES, context, dirs_exist_ok=True)
            for folder in files:
                shutil.copytree(folder, os.path.join(context, os.path.basename(folder)))
            self.podman("build", "--quiet", "-f", os.path.join(context, recipe), "-t", tag, context)

    def close(self):
        if self.lock.closed:
            return
        remove(self.root, self.environment)
        self.lock.close()
        for parent in set(GROUP_PARENTS) - set(self.had_groups):
            for path in (os.path.join(parent, "conmon"), parent):
                with contextlib.suppress(OSError):  # not there, or another podman has begun to use it
                    os.rmdir(path)


def hold(root):
    """Held as long as the test lives, however it ends."""
    lock = open(os.path.join(root, "lock"), "w", encoding="ascii")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def remove(root, environment):
    for what in (["pod", "rm"], ["rm", "--depend"]):
        subprocess.run(["podman", *what, "--force", "--all", "--time", "0"], env=environment, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=300)
    left = subprocess.run(["podman", "ps", "--all"], env=environment, capture_output=True, text=True, check=False).stdout.splitlines()[1:]
    assert not left, f"podman does not remove these; {root} stays:\n" + "\n".join(left)
    for mount in reversed(mounts_below(root)):
        run("umount", mount)
    shutil.rmtree(root)


def sweep():
    """What a test that was killed left."""
    for root in glob.glob(os.path.join(ARTIFACTS, ".containers.*")):
        try:
            lock = hold(root)
        except BlockingIOError:
            continue
        remove(root, {**os.environ, "CONTAINERS_CONF": os.path.join(root, "containers.conf"),
                      "CONTAINERS_STORAGE_CONF": os.path.join(root, "storage.conf")})
        lock.close()
