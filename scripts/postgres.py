#!/usr/bin/env python3
"""Runs a command with a Postgres server of its own, which is created before it and deleted after it.

    python3 scripts/postgres.py run -- COMMAND...
    python3 scripts/postgres.py supervise -- COMMAND...

The server listens on a free port of 127.0.0.1 and lives in a new temporary folder. COMMAND finds it in
SEMBLANCE_TEST_POSTGRES_URL. The server is always stopped and its folder removed, and the exit
status is COMMAND's. Where SEMBLANCE_TEST_POSTGRES_URL is set already, `run` uses that server as it is;
`supervise` makes one of its own all the same, and starts it again, on the same port and data, when it dies.

fsync stays on, because durability is among the things tested. Postgres refuses to run as root: when root
calls, the server runs as `nobody`, from a copy of the programs where `nobody` cannot reach the original.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIABLE = "SEMBLANCE_TEST_POSTGRES_URL"
TREE = Path(__file__).resolve().parent.parent / ".cache" / "postgres"
PROGRAMS = Path("pgserver", "pginstall", "bin")
START_SECONDS = 60
STOP_SECONDS = 30


class Problem(Exception):
    """Why there is no server: one sentence."""


class Stopped(Exception):
    """A signal asked this script to end."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


class Server:
    """A Postgres server in `folder`, which must be new and empty; without `port` on a free one."""

    def __init__(self, folder, port=None):
        self.fixed_port = port
        self.folder, self.data, self.log = folder, folder / "data", folder / "log"
        self.account = _account()
        if self.account:
            os.chown(folder, self.account["user"], self.account["group"])
        self.programs = self._reachable_programs()
        self.process, self.port = None, None

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        done = self._run("initdb", "--pgdata", str(self.data), *options)
        if done.returncode != 0:
            raise Problem(f"initdb failed: {_last_line(done.stdout)}")
        for _ in range(5):  # another program may take the free port first
            self.port = self.fixed_port or _free_port()
            if self._start_on_port():
                return
        raise Problem(f"Postgres does not start: {_last_line(self.log.read_text(errors='replace'))}")

    def _start_on_port(self):
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        command = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the command; the server is stopped after it
                **self._as_account(),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._is_ready():
                return True
            time.sleep(0.05)
        self.stop()
        return False

    def revive(self):
        """Starts the server again where it has died. Processes of the one before may have to end first."""
        if self.process is not None and self.process.poll() is None:
            return
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self._start_on_port()

    def _is_ready(self):
        with contextlib.suppress(OSError, IndexError):
            return (self.data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        return False

    def stop(self):
        """Ends the server: politely, then at once, then for certain."""
        if self.process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
                break
        self.process = None

    def _reachable_programs(self):
        """The folder of the programs, after making sure that the server's account can run them."""
        if not (TREE / PROGRAMS / "postgres").is_file():
            raise Problem(f"there is no Postgres in {TREE}, run scripts/setup.py --with-tests first")
        if self.account and not self._can_run(TREE / PROGRAMS):
            copy = self.folder / "programs"
            shutil.copytree(TREE, copy)
            for path in (copy, *copy.rglob("*")):
                mode = path.stat().st_mode
                path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)  # for all what its owner may
            if not self._can_run(copy / PROGRAMS):
                raise Problem(f"the account of the test server cannot run programs in {self.folder}")
            return copy / PROGRAMS
        return TREE / PROGRAMS

    def _can_run(self, programs):
        try:
            return self._run("postgres", "--version", programs=programs).returncode == 0
        except PermissionError:
            return False

    def _run(self, program, *arguments, programs=None):
        return subprocess.run(
            [str((programs or self.programs) / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **self._as_account(),
        )

    def _as_account(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
        return {"cwd": self.folder, "env": dict(environment, LC_ALL="C"), **(self.account or {})}


def _account():
    """The account of the server: `nobody` for root, otherwise the caller's own (None)."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise Problem("Postgres does not run as root, and there is no account `nobody` to run it as") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


def run(command, supervised):
    """Runs the command with a server, and returns its exit status as a shell would."""
    if os.environ.get(VARIABLE) and not supervised:
        return _command(command, os.environ)
    folder = Path(tempfile.mkdtemp(prefix="semblance-postgres-"))
    server = None
    try:
        server = Server(folder)
        server.start()
        environment = dict(os.environ, **{VARIABLE: server.url})
        return _command(command, environment, server.revive if supervised else None)
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _command(command, environment, meanwhile=None):
    # A session of its own, so that a signal reaches the command's children too, and exactly once.
    try:
        process = subprocess.Popen(command, env=environment, start_new_session=True)
    except OSError as error:
        raise Problem(f"{command[0]} cannot be run: {error.strerror}") from None
    try:
        while meanwhile and process.poll() is None:
            meanwhile()
            time.sleep(0.05)
        status = process.wait()
    except Stopped as stopped:
        os.killpg(process.pid, stopped.number)
        with contextlib.suppress(subprocess.TimeoutExpired, Stopped):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return status if status >= 0 else 128 - status


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _stop(number, _frame):
    raise Stopped(number)


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("run", "supervise") or sys.argv[2] != "--":
        sys.exit("usage: postgres.py run|supervise -- COMMAND...")
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    try:
        sys.exit(run(sys.argv[3:], sys.argv[1] == "supervise"))
    except Stopped as stopped:
        sys.exit(128 + stopped.number)
    except Problem as problem:
        sys.exit(f"postgres: {problem}.")


if __name__ == "__main__":
    main()
