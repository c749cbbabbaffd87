"""QEMU as somebody boots it by hand, to user code and to Python's line."""
import os
import re
import subprocess
import threading
import time

from stack import ARTIFACTS, BUILD

LIMIT_S = 15  # five times what it takes; longer is a hang: the kernel's clock calibration fails on a busy host
TRIES = 4     # for each boot that is measured


def python_image():
    return os.path.join(ARTIFACTS, "images", "python", "rootfs.erofs")


def disk(folder):
    """A writable disk that is as large as a task's, and is not encrypted."""
    path = os.path.join(folder, "disk.ext4")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    return path


def initrd(folder):
    """The bundle's modules with an /init that mounts image and disk, and runs Python."""
    tree = os.path.join(folder, "tree")
    os.mkdir(tree)
    with open(os.path.join(ARTIFACTS, "kernel", "initrd.cpio"), "rb") as bundle:
        subprocess.run(["cpio", "-idm", "--quiet"], cwd=tree, stdin=bundle, check=True)
    order, modules = os.path.join(tree, "modules", "order"), []
    if os.path.exists(order):  # the small kernel has none
        with open(order, encoding="ascii") as f:
            modules = [f"/modules/{os.path.basename(line.split()[0])}\n" for line in f if line.strip()]
    with open(os.path.join(tree, "mods"), "w", encoding="ascii") as f:
        f.writelines(modules)
    os.unlink(os.path.join(tree, "init"))
    subprocess.run(["cp", os.path.join(BUILD, "tests", "bench", "by-hand-init"), os.path.join(tree, "init")], check=True)
    path = os.path.join(folder, "initrd.cpio")
    subprocess.run(f"cd '{tree}' && find . | cpio -o -H newc --quiet > '{path}'", shell=True, check=True)
    return path


def plain_command(folder, path):
    """What somebody writes who wants a microVM to print a line."""
    drives = []
    for name, file, more in (("image", python_image(), ",readonly=on"), ("disk", disk(folder), "")):
        drives += ["-drive", f"if=none,id={name},format=raw,file={file}{more}", "-device", f"virtio-blk-device,drive={name},serial={name}"]
    return ["qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-no-user-config",
            "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", os.path.join(ARTIFACTS, "kernel", "vmlinux"),
            "-initrd", path, "-append", "console=ttyS0 quiet panic=-1 reboot=t", *drives]


def tuned_command(line, folder, path):
    """Mayfly's own, with paths and a console where it has descriptors of its own, and without a control socket."""
    swaps = {"/proc/self/fd/5": os.path.join(ARTIFACTS, "kernel", "vmlinux"), "/proc/self/fd/6": path,
             "socket,id=channel,fd=3": "stdio,id=channel", "virtserialport,chardev=channel,name=agent": "virtconsole,chardev=channel"}
    options = [swaps.get(word, word.replace("/dev/fdset/9", python_image())) for word in line]
    options = [re.sub(r"driver=raw,node-name=work,.*", f"driver=raw,node-name=work,file.driver=file,file.filename={disk(folder)}", word)
               for word in options]
    for gone in ("socket,id=control,fd=4", "chardev=control,mode=control", "fd=7,set=9"):
        at = options.index(gone)
        del options[at - 1:at + 1]
    assert not re.search(r"\bfd=|fdset|/proc/self", " ".join(options)), f"a descriptor is left: {options}"
    return options


def boot(command):
    """[ms from exec of QEMU to user code, to Python's line], or None when it hangs. QEMU is ended here: a guest may start over for ever."""
    start, marks = time.monotonic(), {}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as qemu:
        limit = threading.Timer(LIMIT_S, qemu.kill)
        limit.start()
        try:
            for line in qemu.stdout:
                word = line.split()[:1]
                if word in ([b"USER-CODE"], [b"BY-HAND"]):
                    marks[word[0]] = (time.monotonic() - start) * 1000
                if word == [b"BY-HAND"]:
                    break
        finally:
            limit.cancel()
            qemu.kill()
    return [marks[b"USER-CODE"], marks[b"BY-HAND"]] if len(marks) == 2 else None


class ByHand:
    """One command line, booted again and again."""

    def __init__(self, name, command):
        self.name, self.command, self.took, self.hangs = name, command, [], 0

    def run(self):
        for _ in range(TRIES):
            took = boot(self.command)
            if took:
                self.took.append(took)
                return
            self.hangs += 1
