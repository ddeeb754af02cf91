#!/usr/bin/env python3
"""Installs the Debian package in a minimal Debian, runs the server as its unit does, and removes it.

    python3 scripts/try_deb.py target/debian/semblance_*.deb [--photo .cache/photos/person_a_1.jpg]

The minimal Debian is the base of scripts/try_image.py, so dpkg itself decides whether the package's dependencies are there. The
server runs with the variables of the installed unit, as a user that no package made, with a read-only system and its state
folder. Then the package is installed over itself with changed settings, removed and purged. systemd is not there: a stand-in for
`systemctl` records what the package asks for.

Needs root, and buildah and debootstrap (packages of Debian); says so and is listed as skipped without.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import container
import skipped
from try_dist import call
from try_image import (REPOSITORY, TOOLS, Unavailable, base_buildah, bring_up_network, check_end, check_privileges, credentials,
                       expect, files_of, get, identify, require, wait_for)

PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
UNIT = "usr/lib/systemd/system/semblance.service"
SETTINGS = "etc/semblance/semblance.toml"
USER = 61184  # the first one of those that systemd takes for DynamicUser
PACKAGE = "semblance"
SERVICE = "semblance.service"


def service(text):
    """Environment, program and state folder of a unit, as the configuration of a container."""
    values = re.findall(r"^(Environment|ExecStart|StateDirectory)=(.+)$", text, re.M)
    (start,) = [value for name, value in values if name == "ExecStart"]
    (state,) = [value for name, value in values if name == "StateDirectory"]
    program, *arguments = start.split()
    environment = [value for name, value in values if name == "Environment"]
    return {"Entrypoint": [program], "Cmd": arguments, "Env": [PATH, *environment], "User": f"{USER}:{USER}"}, f"/var/lib/{state}"


class Machine:
    """The minimal Debian."""

    def __init__(self, root, folder, package):
        self.root, self.folder, self.package = root, folder, package

    def as_root(self, program, *arguments):
        config = {"Entrypoint": [program], "Cmd": [], "Env": [PATH, "DEBIAN_FRONTEND=noninteractive"], "User": container.ROOT}
        volumes = [container.Volume("/mnt", self.package.parent, True), container.Volume("/tmp")]
        return container.Container(self.root, config, None, read_only=False, volumes=volumes).once(*arguments)

    def dpkg(self, *arguments):
        code, output = self.as_root("/usr/bin/dpkg", *arguments)
        assert code == 0, f"dpkg {' '.join(arguments)}: {output}"
        return output

    def install(self):
        self.dpkg("--install", f"/mnt/{self.package.name}")

    def stand_in_for_systemd(self):
        """Makes scripts of packages believe that systemd runs."""
        (self.root / "run/systemd/system").mkdir(parents=True)
        systemctl = self.root / "usr/bin/systemctl"
        assert not systemctl.exists(), "the minimal Debian has systemd"
        systemctl.write_text('#!/bin/sh\necho "$*" >> /var/log/systemctl\n')
        systemctl.chmod(0o755)

    def asked(self):
        """What systemd was asked for since the last call."""
        log = self.root / "var/log/systemctl"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def files(self):
        """The files of the package, without folders that other packages have as well."""
        listed = [self.root / path.lstrip("/") for path in self.dpkg("--listfiles", PACKAGE).splitlines()]
        return [path for path in listed if path.is_symlink() or path.is_file()]


def check_files(machine):
    """Everything is root's and cannot be written by others; only the settings are a file of configuration."""
    files = machine.files()
    for path in files:
        entry = path.lstat()
        assert (entry.st_uid, entry.st_gid) == (0, 0), f"{path} is of {entry.st_uid}:{entry.st_gid}"
        assert path.is_symlink() or entry.st_mode & 0o7022 == 0, f"{path} has the mode {entry.st_mode:o}"
    for name in ("opt/semblance/models/pack.toml", "opt/semblance/models/traits.onnx", "opt/semblance/THIRD-PARTY.txt",
                 "opt/semblance/doc/docs/guides/systemd.md", "usr/share/doc/semblance/copyright", UNIT, SETTINGS):
        assert machine.root / name in files, f"{name} is not in the package"
    assert [path.name for path in files if path.match("models/fetched/libonnxruntime*")], "ONNX Runtime is not in the package"
    found = machine.as_root("/usr/bin/dpkg-query", "--show", "--showformat=${Conffiles}", PACKAGE)[1].split()
    assert found[::2] == [f"/{SETTINGS}"], f"files of configuration: {found}"
    asked = machine.asked()
    assert asked == ["--system daemon-reload"], f"an installation asks systemd for {asked}"
    expect(machine.as_root("/usr/bin/semblance", "--version"), 0, "semblance ")
    return len(files)


def check_service(machine, photo):
    """The server, as the unit starts it, twice: the second start finds the person in the state folder."""
    config, state = service((machine.root / UNIT).read_text(encoding="utf-8"))
    data = machine.folder / "state"
    data.mkdir(mode=0o700)
    os.chown(data, USER, USER)
    volumes = [container.Volume(state, data), container.Volume("/tmp")]
    api, headers = "http://127.0.0.1:8080", None
    for _ in range(2):
        with container.Container(machine.root, config, machine.folder / "log", volumes=volumes).running() as box:
            wait_for(box, f"{api}/readyz")
            check_privileges(box, USER)
            if headers is None:
                headers = credentials(box, f"{state}/credentials.json")
                call(f"{api}/api/v1.0/add", headers, photo, templateId="person")
            identify(api, headers, photo)
            expect(get("http://127.0.0.1:8081/console"), 200, "<html")
            box.terminate()
            ended = check_end(box, 60)
    return ended


def check_upgrade(machine):
    """Settings that were changed outlive the installation of the package over itself."""
    settings = machine.root / SETTINGS
    changed = settings.read_text(encoding="utf-8") + '\n[log]\nlevel = "warn"\n'
    settings.write_text(changed, encoding="utf-8")
    machine.install()
    assert settings.read_text(encoding="utf-8") == changed, "an upgrade has replaced the settings"
    asked = machine.asked()
    assert [line for line in asked if SERVICE in line] == [f"try-restart {SERVICE}"], f"an upgrade asks systemd for {asked}"


def check_removal(machine):
    """A removal keeps the settings, a purge does not; nothing else is left."""
    files = machine.files()
    machine.dpkg("--remove", PACKAGE)
    asked = machine.asked()
    assert [line for line in asked if SERVICE in line] == [f"stop {SERVICE}"], f"a removal asks systemd for {asked}"
    left = [str(path) for path in files if path.is_symlink() or path.exists()]
    assert left == [str(machine.root / SETTINGS)], f"left after a removal: {left}"
    assert not (machine.root / "opt/semblance").exists(), "/opt/semblance is left after a removal"
    machine.dpkg("--purge", PACKAGE)
    assert not (machine.root / SETTINGS).parent.exists(), "/etc/semblance is left after a purge"
    left = [str(path) for path in (machine.root / "etc/systemd").rglob(f"*{PACKAGE}*")]
    assert not left, f"left after a purge: {left}"
    assert machine.as_root("/usr/bin/dpkg-query", "--status", PACKAGE)[0] != 0, "dpkg still knows the package"
    assert (machine.folder / "state" / "semblance.db").is_file(), "the purge has removed the data"


def inside(folder, package, photo):
    """In a network of its own."""
    bring_up_network()
    machine = Machine(Path(json.loads((folder / "root.json").read_text())), folder, package)
    machine.stand_in_for_systemd()
    machine.install()
    count = check_files(machine)
    ended = check_service(machine, photo)
    check_upgrade(machine)
    check_removal(machine)
    print(f"{package.name}: {count} files installed, serves as its unit says, SIGTERM ended it in {ended:.1f} s, removed, purged")


def main():
    parser = argparse.ArgumentParser(description="Installs, runs and removes the Debian package.")
    parser.add_argument("package", type=Path)
    parser.add_argument("--photo", type=Path, default=REPOSITORY / ".cache" / "photos" / "person_a_1.jpg")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options.package, options.photo.read_bytes())
        return
    try:
        require(TOOLS)
        with tempfile.TemporaryDirectory(prefix="semblance-deb-") as folder:
            image, command = base_buildah(Path(folder))
            Path(folder, "root.json").write_text(json.dumps(str(files_of(command, image))))
            again = ["unshare", "--net", sys.executable, __file__, options.package.resolve(), "--inside", folder,
                     "--photo", options.photo.resolve()]
            sys.exit(subprocess.run(again).returncode)
    except Unavailable as reason:
        skipped.add("deb", [f"the package is not installed: {reason}"])
        print(f"SKIPPED: deb: {reason}")


if __name__ == "__main__":
    main()
