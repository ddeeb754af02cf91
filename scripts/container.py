"""Runs programs in the file system of an image without a container engine: namespaces and mounts by util-linux, as root.

A container has namespaces of its own for mounts and processes, and what the image and the manifest ask for: user, groups,
environment, a root file system that is mounted read-only, volumes, a tmpfs, no capabilities, no new privileges. Its network is
the caller's. Limits of memory and processes are not set: they belong to control groups.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

ROOT = "root"  # as the user of a container: with all capabilities, for the set-up of a file system
DEVICES = ("null", "zero", "full", "random", "urandom")
TOOLS = ("unshare", "nsenter", "mount", "chroot", "setpriv")


class Volume(NamedTuple):
    """A folder or file of this machine inside the container; without a source a tmpfs."""

    target: str
    source: Path = None
    read_only: bool = False
    options: str = "mode=1777"


class Container:
    """A container of the image whose files are in `root`. `config` is the image's configuration (User, Env, Entrypoint, Cmd)."""

    def __init__(self, root, config, log, *, environment=(), volumes=(), user=None, groups=(), read_only=True):
        self.root, self.log, self.volumes, self.read_only = root, log, volumes, read_only
        (self.entrypoint,), self.arguments = config["Entrypoint"], config["Cmd"]
        self.environment = {**dict(line.split("=", 1) for line in config["Env"]), **dict(environment)}
        self.user, self.groups = user or config["User"], groups
        self.process = self.pid = None

    def _privileges(self, user=None):
        if self.user == ROOT:
            return []
        uid, gid = (user or self.user).split(":")
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", groups, "--no-new-privs",
                "--bounding-set=-all", "--inh-caps=-all", "--"]

    def _script(self, command, more=()):
        """The commands that make the mounts, and those of `more`, and become the container's program."""
        place = lambda target: shlex.quote(f"{self.root}{target}")
        lines = ["set -eu", "ulimit -c 0", "mount --make-rprivate /", f"mount --bind {place('')} {place('')}"]
        devices = [Volume("/dev", options="mode=755,size=64k")] + [Volume(f"/dev/{name}", Path("/dev", name)) for name in DEVICES]
        for volume in [*devices, *self.volumes, *more]:
            target = place(volume.target)
            if volume.source is None:
                lines += [f"mkdir -p {target}", f"mount -t tmpfs -o {volume.options} tmpfs {target}"]
                continue
            # A container engine makes the mount point, too.
            make = f"mkdir -p {target}" if volume.source.is_dir() else f"mkdir -p $(dirname {target}) && touch {target}"
            lines += [make, f"mount --bind {shlex.quote(str(volume.source))} {target}"]
            if volume.read_only:
                lines.append(f"mount -o remount,bind,ro {target}")
        lines.append(f"mount -t proc -o nosuid,nodev,noexec proc {place('/proc')}")
        if self.read_only:
            lines.append(f"mount -o remount,bind,ro {place('')}")
        lines.append(shlex.join(["exec", "chroot", str(self.root), *self._privileges(), *command]))
        return "\n".join(lines)

    def _popen(self, output, command, more=()):
        namespaces = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", self._script(command, more)]
        return subprocess.Popen(namespaces, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def once(self, *arguments, volumes=()):
        """Runs the image's program with other arguments, as `docker run` does, and returns its code and output."""
        with self._popen(subprocess.PIPE, [self.entrypoint, *arguments], volumes) as process:
            output = process.communicate(timeout=120)[0].decode(errors="replace")
        return process.returncode, output

    @contextlib.contextmanager
    def running(self):
        """The image's program, as process 1."""
        with self.log.open("wb") as log:
            self.process = self._popen(log, [self.entrypoint, *self.arguments])
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            while not self.pid and self.process.poll() is None:
                self.pid = int(children.read_text() or 0)
                time.sleep(0.01)
            yield self
        finally:
            if self.process.poll() is None:
                # The end of process 1 ends all processes of its namespace, and then `unshare`, which waits for it.
                os.kill(self.pid or self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = self.pid = None

    def _enter(self, command, user=None):
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd", *self._privileges(user), *command]

    def exec(self, *command, user=None):
        """Runs a command in the running container, as `docker exec` does, and returns its code and output."""
        enter = self._enter(command, user)
        done = subprocess.run(enter, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.returncode, done.stdout

    def exec_bytes(self, *command):
        """What a command in the running container writes to its standard output."""
        return subprocess.run(self._enter(command), env=self.environment, check=True, capture_output=True, timeout=120).stdout

    def status(self):
        """What the kernel knows of the program: its users, capabilities and so on."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds):
        """The exit code, and after how many seconds it ended."""
        start = time.monotonic()
        return self.process.wait(seconds), time.monotonic() - start

    def output(self):
        return self.log.read_text(errors="replace")
