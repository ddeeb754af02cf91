#!/usr/bin/env python3
"""Builds the image of the Dockerfile around a given program, and runs it as the manifests do, without Docker or a cluster.

    python3 scripts/try_image.py [--binary target/release/semblance] [--photo .cache/photos/person_a_1.jpg]

The first stage of the Dockerfile, which compiles, is replaced by a folder with the program; every other line is that of the
Dockerfile. Its base is made by debootstrap, from the mirror that apt uses, and kept in .cache/image. `buildah` builds.
scripts/container.py runs the result as docker-compose.yml asks for, and as packaging/kubernetes does: with their users,
variables, volumes and ports, a read-only root, no capabilities, and a real Postgres in which scripts/postgres_role.sh has made
the role. The probes come from an address that is not of the loopback, as those of Kubernetes do.

Needs root, and buildah and debootstrap (packages of Debian); says so and is listed as skipped without.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import container
import manifests
import postgres
import skipped
from try_dist import call

REPOSITORY = Path(__file__).resolve().parent.parent
DOCKERFILE = REPOSITORY / "Dockerfile"
CACHE = REPOSITORY / ".cache" / "image"
TOOLS = ("buildah", "debootstrap", "apt-get", "dpkg", "openssl", *container.TOOLS)
PROGRAM = "/opt/semblance/bin/semblance"
FOLDERS = ("backups", "photos", "tls")  # beside docker-compose.yml, in the recipes of docs/guides/docker.md
OTHER_MACHINE = "10.90.0.1"  # an address that is not of the loopback, as clients of a container have


class Unavailable(Exception):
    """Why this machine cannot make the image: one sentence."""


def require(tools):
    """Root on Linux, and these programs."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Unavailable("only root on Linux makes and runs it")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        raise Unavailable(f"{', '.join(missing)} is not here (on Debian: apt-get install buildah debootstrap)")


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command[:3]))} ...: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def final_base(dockerfile):
    """The image that the last stage begins with, and its release of Debian."""
    image = re.findall(r"^FROM\s+(\S+)", dockerfile, re.M)[-1]
    named = re.fullmatch(r"debian:(\w+)-slim(?:@sha256:[0-9a-f]{64})?", image)
    if not named:
        raise Unavailable(f"the base of the image is {image}, not a release of Debian")
    return image.partition("@")[0], named[1]


def mirror(release):
    """The mirror that apt takes this release from."""
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {release}")
    if not listed.split():
        raise Unavailable(f"apt has no source for Debian {release}")
    return listed.split()[0]


def buildah(store, running, *options):
    """The command `buildah` with its images and its state in these folders."""
    return ("buildah", "--root", store, "--runroot", running, "--storage-driver", "vfs", *options)


def base_store(image, release):
    """A store of buildah in which a minimal Debian has the name of the image; made once."""
    store = CACHE / f"debian-{release}-{run('dpkg', '--print-architecture').strip()}"
    if store.is_dir():
        return store
    part = store.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="semblance-base-") as folder:
        files = Path(folder, "files")
        # In a mount namespace, so that no mount of debootstrap is left in the folder, which is removed.
        make = ["unshare", "--mount", "debootstrap", "--force-check-gpg", "--variant=minbase", release, files, mirror(release)]
        done = subprocess.run(make, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Unavailable(f"debootstrap makes no base: {done.stdout.strip().splitlines()[-1]}")
        for left_out in ("dev/*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*"):
            for path in files.glob(left_out):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        command = buildah(part, Path(folder, "running"))
        working = run(*command, "from", "scratch").strip()
        run(*command, "add", "--quiet", working, files, "/")
        run(*command, "commit", "--quiet", "--rm", working, f"docker.io/library/{image}")
    part.rename(store)
    return store


def stand_in(binary, folder):
    """What the first stage leaves: program, models and license in /opt/semblance."""
    home = folder / "opt" / "semblance"
    (home / "bin").mkdir(parents=True)
    shutil.copyfile(binary, home / "bin" / "semblance")
    (home / "bin" / "semblance").chmod(0o755)
    shutil.copytree(REPOSITORY / "models", home / "models", ignore=shutil.ignore_patterns("train", "__pycache__"))
    shutil.copyfile(REPOSITORY / "LICENSE", home / "LICENSE")


def base_buildah(folder):
    """The name of the base, and the command `buildah` that knows it and keeps everything else in a folder."""
    image, release = final_base(DOCKERFILE.read_text(encoding="utf-8"))
    store = base_store(image, release).resolve()
    return image, buildah(folder / "store", folder / "running", "--storage-opt", f"vfs.imagestore={store}")


def files_of(command, image):
    """A copy of the files of an image."""
    working = run(*command, "from", "--pull-never", image).strip()
    return Path(run(*command, "mount", working).strip())


def build(binary, folder):
    """Builds the image and returns its files and its configuration."""
    _, command = base_buildah(folder)
    stage = folder / "stage"
    stand_in(binary, stage)
    # A stage that nothing needs is not built; and an image that is not here is not fetched, so the first stage cannot run.
    run(*command, "build", "--isolation", "chroot", "--pull=never", "--format", "docker",
        "--build-context", f"build={stage}", "--tag", "semblance-check", "--file", DOCKERFILE, REPOSITORY)
    config = json.loads(run(*command, "inspect", "--type", "image", "semblance-check"))["Docker"]["config"]
    return files_of(command, "semblance-check"), config


def bring_up_network():
    """The loopback of a new network namespace, and on it one address that is no loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        address = struct.pack("<16sH2x4s8x", b"lo:0", socket.AF_INET, socket.inet_aton(OTHER_MACHINE))
        for number, request in [(0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40)), (0x8916, address)]:  # SIOCSIFFLAGS, SIOCSIFADDR
            fcntl.ioctl(control, number, request)


@contextlib.contextmanager
def database(secrets):
    """Postgres at the port of the manifests, with the role of docker-compose.yml, which needs its password."""
    with tempfile.TemporaryDirectory(prefix="semblance-postgres-") as folder:
        server = postgres.Server(Path(folder), port=5432)
        try:
            server.start()
            variables = {"PATH": f"{server.programs}:{os.environ['PATH']}", "PGHOST": "127.0.0.1", "LC_ALL": "C"}
            role = {**variables, "SEMBLANCE_ROLE_PASSWORD_FILE": str(secrets / "postgres_password")}
            run("sh", REPOSITORY / "scripts" / "postgres_role.sh", env=role)
            rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            (server.data / "pg_hba.conf").write_text(rules)
            server.process.send_signal(signal.SIGHUP)
            yield lambda sql, name="semblance": run("psql", "-U", "postgres", "-d", name, "-Atc", sql, env=variables).strip()
        finally:
            server.stop()


def new_database(sql):
    sql("DROP DATABASE semblance WITH (FORCE)", "postgres")
    sql("CREATE DATABASE semblance OWNER semblance", "postgres")


def get(url, headers=None, seconds=10, context=None):
    """The status and body of a reply."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=seconds, context=context) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(box, url, status=200, seconds=120, context=None):
    end = time.monotonic() + seconds
    while time.monotonic() < end and box.process.poll() is None:
        with contextlib.suppress(OSError):
            if get(url, context=context)[0] == status:
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not become {status}:\n{box.output()[-3000:]}")


def expect(done, code, text):
    """A command in the container has this exit code, and prints this."""
    assert done[0] == code and text in done[1], f"expected {code} and {text!r}: {done}"


def check_privileges(box, user, groups=()):
    status = box.status()
    assert status["Uid"] == [str(user)] * 4, status["Uid"]
    assert status["Groups"] == [str(group) for group in groups], status["Groups"]
    assert all(int(status[name][0], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")), status
    assert status["NoNewPrivs"] == ["1"], status["NoNewPrivs"]


def check_files(box):
    """The program cannot be changed, not even by its owner; /data and /tmp can be written."""
    for target in (PROGRAM, "/opt/semblance/models/pack.toml", "/etc/passwd"):
        expect(box.exec("sh", "-c", f"echo x >> {target}"), 2, "cannot create")
        expect(box.exec("chmod", "777", target, user="0:0"), 1, "Read-only file system")
    expect(box.exec("touch", "/opt/semblance/new"), 1, "cannot touch")
    expect(box.exec("touch", "/opt/semblance/new", user="0:0"), 1, "Read-only file system")
    expect(box.exec("sh", "-c", "touch /data/probe /tmp/probe && rm /data/probe /tmp/probe"), 0, "")


def credentials(box, path="/data/credentials.json"):
    code, text = box.exec("cat", path)
    assert code == 0, text
    found = json.loads(text)
    return {"APP-ID": found["app_id"], "APP-KEY": found["app_key"]}


def identify(api, headers, photo, template="person"):
    found = call(f"{api}/api/v1.0/identify", headers, photo)
    assert found["templateId"] == template, found


def check_end(box, grace):
    """After SIGTERM it ends with code 0 within the grace period."""
    code, seconds = box.wait(grace)
    assert code == 0, f"ended with {code}:\n{box.output()[-3000:]}"
    return seconds


class Compose:
    """The service of docker-compose.yml, in the words of container.py."""

    def __init__(self, root, config, folder):
        (compose,) = manifests.load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
        self.service, self.root, self.config = compose["services"]["semblance"], root, config
        assert self.service["read_only"] and self.service["cap_drop"] == ["ALL"], "docker-compose.yml grants more"
        assert self.service["security_opt"] == ["no-new-privileges:true"] and self.service["ulimits"] == {"core": 0}
        self.grace = int(self.service["stop_grace_period"].removesuffix("s"))
        uid, gid = map(int, config["User"].split(":"))
        self.secrets, self.data, self.log = folder / "secrets", folder / "data", folder / "log"
        # A new volume begins as a copy of the folder in the image.
        shutil.copytree(root / "data", self.data)
        entry = (root / "data").stat()
        assert (entry.st_uid, entry.st_gid, entry.st_mode & 0o777) == (uid, gid, 0o700), entry
        os.chown(self.data, uid, gid)
        self.folder = folder
        (folder / "hosts").write_text("127.0.0.1 localhost db\n")
        for name in FOLDERS:
            (folder / name).mkdir()

    def run(self, *arguments):
        """`docker compose run` with the folders of the recipes."""
        volumes = [container.Volume(f"/{name}", self.folder / name, True) for name in ("backups", "photos")]
        return self.container().once(*arguments, volumes=volumes)

    def container(self, **environment):
        volumes = [container.Volume("/etc/hosts", self.folder / "hosts"), container.Volume("/run/tls", self.folder / "tls", True)]
        volumes += [container.Volume(target) for target in self.service["tmpfs"]]
        volumes += [container.Volume(f"/run/secrets/{name}", self.secrets / name, True) for name in self.service["secrets"]]
        volumes += [container.Volume(mount.split(":")[1], self.data) for mount in self.service["volumes"]]
        return container.Container(self.root, self.config, self.log, volumes=volumes,
                                   environment={**self.service["environment"], **environment})


def try_compose(compose, sql, photo):
    api, admin = "http://127.0.0.1:8080", f"http://{OTHER_MACHINE}:9090"
    health = compose.config["Healthcheck"]["Test"]
    assert health[0] == "CMD" and set(compose.config["ExposedPorts"]) == {"8080/tcp"} and set(compose.config["Volumes"]) == {"/data"}
    with compose.container().running() as box:
        wait_for(box, f"{api}/readyz")
        check_privileges(box, compose.config["User"].split(":")[0])
        check_files(box)
        expect(box.exec(*health[1:]), 0, "")
        headers = credentials(box)
        call(f"{api}/api/v1.0/add", headers, photo, templateId="person")
        identify(api, headers, photo)
        expect((get(f"{admin}/metrics")[0], ""), 200, "")
        token = {"Authorization": f"Bearer {box.exec('cat', '/data/admin.token')[1].strip()}"}
        expect(get(f"{admin}/api/admin/v1/session", token), 403, "tlsRequired")
        box.terminate()
        ended = check_end(box, compose.grace)
    assert health[1] == PROGRAM and compose.container().once(*health[2:])[0] != 0, "the health check passes without a server"
    # The same volume and database again, with the administration as docs/guides/docker.md opens it.
    with compose.container(SEMBLANCE_ADMIN_PLAIN_HTTP="true").running() as box:
        wait_for(box, f"{api}/readyz")
        identify(api, headers, photo)
        expect(get(f"{admin}/api/admin/v1/session", {**token, "Host": "127.0.0.1:8081"}), 200, '"bootstrap":true')
        expect(get(f"{admin}/console", {"Host": "127.0.0.1:8081"}), 200, "<html")
        code, owner = box.exec("semblance", "admin", "token", "--owner", "Ada")
        token = {"Authorization": f"Bearer {re.search(r'sba_[0-9a-f]+_[A-Za-z0-9_-]+', owner)[0]}"}
        expect(get(f"{admin}/api/admin/v1/session", {**token, "Host": "127.0.0.1:8081"}), 200, '"name":"Ada"')
        try_recipes(compose, box, photo)
        box.terminate()
        check_end(box, compose.grace)
    assert sql("SELECT count(*) FROM templates") == "2", "the templates are not in Postgres"
    try_restore(compose, sql, headers, token, photo)
    print(f"image: as docker-compose.yml runs it: enrolls and identifies, read-only, SIGTERM ended it in {ended:.1f} s")


def try_recipes(compose, box, photo):
    """Import and backup as docs/guides/docker.md describes them, beside the running server."""
    (compose.folder / "photos" / "other").mkdir()
    (compose.folder / "photos" / "other" / "1.jpg").write_bytes(photo)
    expect(compose.run("gallery", "import", "/photos"), 0, "")
    backup = box.exec_bytes("semblance", "backup", "-")
    (compose.folder / "backups" / "people.backup").write_bytes(backup)
    expect(compose.run("restore", "--check", "/backups/people.backup"), 0, "")
    (compose.folder / "backups" / "damaged.backup").write_bytes(backup[:-100])
    assert compose.run("restore", "--check", "/backups/damaged.backup")[0] != 0, "a damaged backup passes"


def try_restore(compose, sql, headers, token, photo):
    """An empty database, the backup, and the server with a certificate."""
    new_database(sql)
    expect(compose.run("restore", "/backups/people.backup"), 0, "")
    expect(compose.run("doctor"), 0, "")
    tls = compose.folder / "tls"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{OTHER_MACHINE}",
        "-keyout", tls / "key.pem", "-out", tls / "cert.pem")
    uid, gid = map(int, compose.config["User"].split(":"))
    for path, mode in [(tls, 0o700), (tls / "cert.pem", 0o400), (tls / "key.pem", 0o400)]:
        path.chmod(mode)
        os.chown(path, uid, gid)
    settings = {"SEMBLANCE_TLS_CERT": "/run/tls/cert.pem", "SEMBLANCE_TLS_KEY": "/run/tls/key.pem",
                "SEMBLANCE_ADMIN_HOSTS": "faces.example.org"}
    trusted = ssl.create_default_context(cafile=tls / "cert.pem")
    with compose.container(**settings).running() as box:
        wait_for(box, "https://localhost:8080/readyz", context=trusted)
        expect(box.exec(*compose.config["Healthcheck"]["Test"][1:]), 0, "")
        session = f"https://{OTHER_MACHINE}:9090/api/admin/v1/session"
        expect(get(session, {**token, "Host": "faces.example.org"}, context=trusted), 200, '"name":"Ada"')
        box.terminate()
        check_end(box, compose.grace)
    with compose.container().running() as box:
        wait_for(box, "http://127.0.0.1:8080/readyz")
        identify("http://127.0.0.1:8080", headers, photo, "other")  # imported; of equals the first by id


class Pod:
    """The pod of packaging/kubernetes, in the words of container.py."""

    def __init__(self, root, config, folder):
        objects = manifests.load((manifests.MANIFESTS / "semblance.yaml").read_text(encoding="utf-8"))
        (self.set,) = (found["spec"] for found in objects if found["kind"] == "StatefulSet")
        self.spec = self.set["template"]["spec"]
        (self.container,) = self.spec["containers"]
        own, pod = self.container["securityContext"], self.spec["securityContext"]
        assert own["capabilities"] == {"drop": ["ALL"]} and not own["allowPrivilegeEscalation"] and pod["runAsNonRoot"]
        self.user, self.group = f"{pod['runAsUser']}:{pod['runAsGroup']}", pod["fsGroup"]
        self.read_only, self.grace = own["readOnlyRootFilesystem"], self.spec["terminationGracePeriodSeconds"]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.root, self.config, self.log = root, config, folder / "pod.log"
        self.folder, self.secrets = folder / "pod", folder / "secrets"
        self.folder.mkdir()
        (self.folder / "hosts").write_text("127.0.0.1 localhost postgres\n")

    def _own(self, folder):
        """What Kubernetes does to a volume for `fsGroup`, at each start of a pod."""
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, -1, self.group)
            path.chmod(path.stat().st_mode | (0o2770 if path.is_dir() else 0o660))

    def _claim(self, name):
        folder = self.folder / name
        (folder / "lost+found").mkdir(mode=0o700, parents=True, exist_ok=True)  # a new file system has it
        self._own(folder)
        return folder

    def _secret(self, name, mode):
        """Files of a Secret are links, so that all of them change at once."""
        folder, files = self.folder / name, self.folder / name / "..2026"
        shutil.rmtree(folder, ignore_errors=True)
        files.mkdir(parents=True)
        (folder / "..data").symlink_to(files.name)
        for source in self.secrets.iterdir():
            shutil.copyfile(source, files / source.name)
            os.chown(files / source.name, 0, self.group)
            (files / source.name).chmod(mode)
            (folder / source.name).symlink_to(f"..data/{source.name}")
        return folder

    def _volume(self, mount):
        named = {volume["name"]: volume for volume in self.spec["volumes"]}.get(mount["name"])
        if named is None:
            assert mount["name"] in [claim["metadata"]["name"] for claim in self.set["volumeClaimTemplates"]], mount
            return container.Volume(mount["mountPath"], self._claim(mount["name"]))
        if "secret" in named:
            return container.Volume(mount["mountPath"], self._secret(mount["name"], named["secret"]["defaultMode"]), mount["readOnly"])
        size = named["emptyDir"]["sizeLimit"].removesuffix("i")
        return container.Volume(mount["mountPath"], options=f"mode=2777,gid={self.group},size={size}")

    def start(self):
        volumes = [container.Volume("/etc/hosts", self.folder / "hosts"), *map(self._volume, self.container["volumeMounts"])]
        environment = {variable["name"]: variable["value"] for variable in self.container["env"]}
        return container.Container(self.root, self.config, self.log, volumes=volumes, environment=environment,
                                   user=self.user, groups=[self.group], read_only=self.read_only)

    def url(self, port, host=OTHER_MACHINE):
        return f"http://{host}:{self.ports[port]}"

    def probe(self, kind):
        """The status of a probe as the kubelet sends it, from another address and within its time; 0 without an answer."""
        probe = self.container[f"{kind}Probe"]
        with contextlib.suppress(OSError):
            return get(self.url(probe["httpGet"]["port"]) + probe["httpGet"]["path"], seconds=probe.get("timeoutSeconds", 1))[0]
        return 0

    def wait(self, box, kind, status, seconds):
        end = time.monotonic() + seconds
        while self.probe(kind) != status:
            assert time.monotonic() < end and box.process.poll() is None, f"the {kind} probe is not {status}:\n{box.output()[-3000:]}"
            time.sleep(0.1)


def try_kubernetes(pod, sql, photo):
    with pod.start().running() as box:
        pod.wait(box, "startup", 200, 120)
        pod.wait(box, "readiness", 200, 30)
        assert pod.probe("liveness") == 200
        check_privileges(box, pod.user.split(":")[0], [pod.group])
        check_files(box)
        headers = credentials(box)
        call(f"{pod.url('http')}/api/v1.0/add", headers, photo, templateId="person")
        # `kubectl port-forward` connects from the pod's own loopback.
        token = {"Authorization": f"Bearer {box.exec('cat', '/data/admin.token')[1].strip()}"}
        forwarded = {"Host": "localhost:8081"}
        expect(get(f"{pod.url('admin', '127.0.0.1')}/api/admin/v1/session", {**token, **forwarded}), 200, '"bootstrap":true')
        expect(get(f"{pod.url('admin', '127.0.0.1')}/console", forwarded), 200, "<html")
        expect(get(f"{pod.url('admin')}/api/admin/v1/session", token), 403, "tlsRequired")
        expect(box.exec("sh", "-c", "kill -HUP 1"), 0, "")
        pod.wait(box, "readiness", 200, 30)
    # The pod is killed; the next one has the same volume.
    with pod.start().running() as box:
        pod.wait(box, "readiness", 200, 120)
        identify(pod.url("http"), headers, photo)
        box.terminate()
        pod.wait(box, "readiness", 503, 5)
        identify(pod.url("http"), headers, photo)
        ended = check_end(box, pod.grace)
    assert sql("SELECT count(*) FROM templates") == "1", "the template is not in Postgres"
    print(f"image: as packaging/kubernetes runs it: probes, identify while it drains, SIGTERM ended it in {ended:.1f} s")


def inside(folder, image, photo):
    """In a network of its own."""
    bring_up_network()
    secrets = folder / "secrets"
    secrets.mkdir()
    for name in ("postgres_password", "sealing_key"):  # as `make secrets` does
        (secrets / name).write_text(os.urandom(32).hex() + "\n")
        (secrets / name).chmod(0o444)
    with database(secrets) as sql:
        try_compose(Compose(Path(image["root"]), image["config"], folder), sql, photo)
        new_database(sql)
        try_kubernetes(Pod(Path(image["root"]), image["config"], folder), sql, photo)


def main():
    default = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    parser = argparse.ArgumentParser(description="Builds the image of the Dockerfile and runs it.")
    parser.add_argument("--binary", type=Path, default=default / "release" / "semblance")
    parser.add_argument("--photo", type=Path, default=REPOSITORY / ".cache" / "photos" / "person_a_1.jpg")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, json.loads((options.inside / "image.json").read_text()), options.photo.read_bytes())
        return
    try:
        require(TOOLS)
        if not manifests.is_prepared():
            raise Unavailable("run `python3 scripts/manifests.py --prepare` first")
        with tempfile.TemporaryDirectory(prefix="semblance-image-") as folder:
            root, config = build(options.binary.resolve(), Path(folder))
            (Path(folder) / "image.json").write_text(json.dumps({"root": str(root), "config": config}))
            again = ["unshare", "--net", sys.executable, __file__, "--inside", folder, "--photo", options.photo.resolve()]
            code = subprocess.run(again).returncode
    except Unavailable as reason:
        skipped.add("image", [f"the image is not made: {reason}"])
        print(f"SKIPPED: image: {reason}")
        return
    skipped.add("image", ["the first stage of the Dockerfile is not run: it compiles in an image of a registry"])
    sys.exit(code)


if __name__ == "__main__":
    main()
