#!/usr/bin/env python3
"""Runs the server of an archive of scripts/dist.py in an empty root folder.

    python3 scripts/try_dist.py ARCHIVE PHOTO

The archive is unpacked and installed with its install.sh. The root folder has nothing but what that installs and the
shared libraries that the program and ONNX Runtime name: no shell, no tools, no certificates, no /proc, and no network but
loopback. As another user than root the server starts, enrolls the photo and identifies it. Needs root (for chroot); says
so and is listed as skipped without.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import skipped

USER = 10001


def libraries(file):
    """The shared libraries that a file needs, and the loader."""
    listed = subprocess.run(["ldd", str(file)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def install(archive, root):
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        (folder,) = Path(unpacked).iterdir()
        for _ in range(2):  # the second run is an upgrade
            subprocess.run([folder / "install.sh"], check=True, env={**os.environ, "DESTDIR": str(root)}, stdout=subprocess.DEVNULL)
    home = root / "opt" / "semblance"
    for path in ("etc/semblance/semblance.toml", "etc/systemd/system/semblance.service", "opt/semblance/THIRD-PARTY.txt"):
        assert (root / path).is_file(), f"{path} is not installed"
    for file in [home / "bin" / "semblance", *(home / "models" / "fetched").glob("libonnxruntime*")]:
        for library in libraries(file):
            copy = root / str(library).lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library, copy)
            copy.chmod(0o755)


def call(url, headers, photo=None, **query):
    boundary = "boundary"
    fields = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in query.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode()
    body = b"".join([*fields, head, photo, f"\r\n--{boundary}--\r\n".encode()])
    headers = {**headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as reply:
        return json.load(reply)["result"]


def serve(root, photo):
    data = root / "var" / "lib" / "semblance"
    data.mkdir(parents=True)
    os.chown(data, USER, USER)
    environment = {
        "SEMBLANCE_LISTEN": "127.0.0.1:0",
        "SEMBLANCE_DATA": "/var/lib/semblance",
        "SEMBLANCE_MODELS": "/opt/semblance/models",
        "SEMBLANCE_CONFIG": "/etc/semblance/semblance.toml",
    }
    command = ["chroot", f"--userspec={USER}:{USER}", str(root), "/opt/semblance/bin/semblance", "serve"]
    with subprocess.Popen(command, env={**environment, "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(found[1] for line in server.stdout if (found := re.search(r"serves (http://[\d.]+:\d+)", line)))
            credentials = json.loads((data / "credentials.json").read_text(encoding="utf-8"))
            headers = {"APP-ID": credentials["app_id"], "APP-KEY": credentials["app_key"]}
            call(f"{url}/api/v1.0/add", headers, photo, templateId="person")
            found = call(f"{url}/api/v1.0/identify", headers, photo)
            assert '"person"' in json.dumps(found), found
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=90)
    assert server.returncode == 0, f"the server ended with {server.returncode}"


def main(archive, photo):
    if os.geteuid() != 0 or not shutil.which("chroot"):
        skipped.add("dist", ["the archive is run in an empty root folder only by root, with chroot"])
        print("SKIPPED: dist: needs root and chroot")
        return
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        root.chmod(0o755)
        install(archive, root)
        serve(root, photo.read_bytes())
        files = sum(1 for path in root.rglob("*") if path.is_file())
    print(f"{archive.name}: serves in an empty root folder ({files} files), as another user than root")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
