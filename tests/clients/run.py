#!/usr/bin/env python3
"""Real HTTP clients against a real server, directly and through reverse proxies.

    python3 tests/clients/run.py                      every client that is here, 40 rounds each
    python3 tests/clients/run.py --quick              3 rounds each: what `make test` runs
    python3 tests/clients/run.py --prepare            fetch the libraries of requirements.txt and package-lock.json

Each client enrols a person, identifies the same person by another photo, and then, round by round, sends a request that
is refused before its body is read, and at once a right one over the same pool of connections: both must be answered.
A client or a proxy that this machine lacks is named in the last lines; it is no failure. Everything is on the loopback,
on free ports and in a temporary folder.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import skipped  # noqa: E402

CACHE = ROOT / ".cache" / "clients"
NODE_MODULES = CACHE / "node" / "node_modules"
PHOTOS = ROOT / ".cache" / "photos"
PYTHON = CACHE / "venv" / "bin" / "python"
NOT_INSTALLED = 77


class Missing(Exception):
    """A client or a proxy that is not on this machine."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, process, log):
    """Waits until something answers; how it answers does not matter."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} does not serve {url}:\n{log.read_text(errors='replace')[-2000:]}")


class Process:
    """A program in the foreground that is ended with this."""

    def __init__(self, command, log, environment=None):
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, cwd=ROOT
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Process):
    """The server, with a data folder of its own."""

    def __init__(self, binary, folder):
        self.url = f"http://127.0.0.1:{free_port()}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SEMBLANCE_")}
        self.admin_url = f"http://127.0.0.1:{free_port()}"
        data, log = folder / "data", folder / "server.log"
        settings = {
            "SEMBLANCE_DATA": str(data),
            "SEMBLANCE_LISTEN": self.url.removeprefix("http://"),
            "SEMBLANCE_ADMIN_LISTEN": self.admin_url.removeprefix("http://"),
            "SEMBLANCE_COMPUTE_INFERENCE_THREADS": "1",
            "SEMBLANCE_LOG_LEVEL": "warn",
        }
        super().__init__([str(binary), "serve"], log, dict(kept, **settings))
        try:
            wait_for(f"{self.url}/readyz", self.process, log)
            self.credentials = json.loads((data / "credentials.json").read_text())
            self.admin_token = owner_token(self.admin_url, (data / "admin.token").read_text().strip())
        except BaseException:
            self.__exit__()
            raise


def owner_token(url, first):
    """A token of an owner with a name: the first one ends when such an owner signs in."""

    def create(path, body):
        headers = {"Authorization": f"Bearer {first}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/api/admin/v1/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["result"]

    owner = create("administrators", {"name": "Clients", "role": "owner"})
    return create(f"administrators/{owner['adminId']}/tokens", {"name": "tests"})["token"]


class Proxy(Process):
    """A reverse proxy in front of a server."""

    def __init__(self, kind, folder, server):
        name, find, configure = kind
        program = find()
        if program is None:
            raise Missing(name)
        folder = folder / name.replace(" ", "-")
        folder.mkdir(mode=0o755)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = configure(program, folder, port, server.removeprefix("http://"))
        log = folder / "log"
        super().__init__(command, log)
        try:
            wait_for(f"{self.url}/readyz", self.process, log)
        except BaseException:
            self.__exit__()
            raise


def which(*names):
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    return next((found for found in (shutil.which(name, path=path) for name in names) if found), None)


def nginx(program, folder, port, server):
    """Connections to the server are kept. Request buffering stays on, as docs/clients.md advises."""
    root = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""daemon off; {root} worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 32m; {temporary}
    upstream semblance {{ server {server}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://semblance; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}
}}
"""
    )
    return [program, "-p", str(folder), "-c", "nginx.conf"]


def haproxy(program, folder, port, server):
    (folder / "haproxy.cfg").write_text(
        f"""defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server semblance {server}
"""
    )
    return [program, "-f", str(folder / "haproxy.cfg"), "-db"]


MODULES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2", "/usr/local/apache2/modules")


def find_httpd():
    has_modules = any(Path(folder, "mod_proxy_http.so").exists() for folder in MODULES)
    return which("apache2", "httpd") if has_modules else None


def httpd(program, folder, port, server):
    modules = next(Path(path) for path in MODULES if Path(path, "mod_proxy_http.so").exists())
    names = ("mpm_event", "authz_core", "proxy", "proxy_http", "unixd")
    load = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in names if (modules / f"mod_{name}.so").exists()
    )
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 and Path("/usr/sbin/apache2").exists() else ""
    (folder / "httpd.conf").write_text(
        f"""ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
{load}{user}PidFile {folder}/pid
DefaultRuntimeDir {folder}
Mutex pthread default
ErrorLog {folder}/error
ProxyPass / http://{server}/
"""
    )
    return [program, "-f", str(folder / "httpd.conf"), "-D", "FOREGROUND"]


PROXIES = [
    ("nginx", lambda: which("nginx"), nginx),
    ("HAProxy", lambda: which("haproxy"), haproxy),
    ("Apache httpd", find_httpd, httpd),
]


def need(program):
    found = which(program)
    if found is None:
        raise Missing(program)
    return found


def python_client(name):
    def command(_):
        here = PYTHON if PYTHON.exists() else Path(sys.executable)
        return [str(here), str(HERE / "python_clients.py"), name]

    return command


def node_client(name):
    return lambda _: [need("node"), str(HERE / "node_clients.mjs"), name]


def go_client(folder):
    program = folder / "go-client"
    if not program.exists():
        built(
            [need("go"), "build", "-o", str(program), str(HERE / "go_client.go")],
            dict(os.environ, GO111MODULE="off", GOFLAGS="", GOCACHE=str(folder / "go-cache"), CGO_ENABLED="0"),
        )
    return [str(program)]


def java_client(main, *libraries):
    def command(folder):
        compiler, java = need("javac"), need("java")
        jars = [Path("/usr/share/java") / f"{library}.jar" for library in libraries]
        lacking = [jar.stem for jar in jars if not jar.exists()]
        if lacking:
            raise Missing(f"{', '.join(lacking)}.jar")
        classes = folder / "classes" / main
        path = os.pathsep.join([str(classes), *map(str, jars)])
        if not classes.exists():
            sources = [str(HERE / "java" / f"{name}.java") for name in ("Scenario", main)]
            built([compiler, "-nowarn", "-d", str(classes), "-cp", path, *sources])
        return [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", path, main]

    return command


def built(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")


def curl_client(_):
    need("curl")
    return [sys.executable, str(HERE / "curl_client.py")]


CLIENTS = {
    "curl": curl_client,
    "Python http.client": python_client("http.client"),
    "Python requests": python_client("requests"),
    "Python httpx": python_client("httpx"),
    "Python aiohttp": python_client("aiohttp"),
    "Node fetch": node_client("fetch"),
    "Node axios": node_client("axios"),
    "Go net/http": go_client,
    "Java HttpClient": java_client("HttpClientRun"),
    "Java HttpURLConnection": java_client("UrlConnectionRun"),
    "Java OkHttp": java_client("OkHttpRun", "okhttp", "okio"),
    "Java Apache HttpClient": java_client("ApacheRun", "httpclient", "httpcore", "commons-logging", "commons-codec"),
    "multipart idioms": lambda _: [sys.executable, str(HERE / "idioms.py")],
}

def from_document(program, step, tool=None):
    """What is generated from a document, or tries the server by it. `tool`: what it needs of requirements.txt."""

    def command(folder):
        if tool is not None and not (PYTHON.parent / tool).exists():
            raise Missing(tool)
        return [str(PYTHON) if tool else sys.executable, str(HERE / program), step, str(folder)]

    return command


# What is generated from the two documents, and what tries the server by them: without a proxy.
FROM_DOCUMENT = {
    "generated Python client": from_document("generated.py", "python", "openapi-python-client"),
    "generated TypeScript client": from_document("generated.py", "typescript"),
    "schemathesis": from_document("generated.py", "schemathesis", "schemathesis"),
    "generated Python client of the administration": from_document(
        "generated_admin.py", "python", "openapi-python-client"
    ),
    "generated TypeScript client of the administration": from_document("generated_admin.py", "typescript"),
    "schemathesis on the administration": from_document("generated_admin.py", "schemathesis", "schemathesis"),
}


# Clients that use a connection again though they never sent the body that they had announced with `Expect`. Our
# `Connection: close` prevents it directly, but not behind a proxy that keeps its client's connection and waits there.
REUSES_UNFINISHED = {
    "Go net/http": "CVE-2024-24791, fixed in Go 1.21.12 and 1.22.5",
    "Java Apache HttpClient": "as of 4.5.14",
}
KEEPS_UNFINISHED = ("through HAProxy",)


class Run:
    """All clients over all routes."""

    def __init__(self, server, folder, rounds, only):
        self.folder, self.only = folder, only
        self.failed, self.missing, self.ran = [], [], set()
        large = folder / "large.jpg"
        large.write_bytes((PHOTOS / "person_b_1.jpg").read_bytes() + bytes(3 << 20))
        self.environment = dict(
            os.environ,
            CLIENT_APP_ID=server.credentials["app_id"],
            CLIENT_APP_KEY=server.credentials["app_key"],
            CLIENT_ADMIN_URL=server.admin_url,
            CLIENT_ADMIN_TOKEN=server.admin_token,
            CLIENT_ENROL=str(PHOTOS / "person_a_1.jpg"),
            CLIENT_PROBE=str(PHOTOS / "person_a_2.jpg"),
            CLIENT_LARGE=str(large),
            CLIENT_TEMPLATE="person-a",
            CLIENT_ROUNDS=str(rounds),
            CLIENT_NODE_MODULES=str(NODE_MODULES),
            # Proxies of the machine are not for the loopback.
            NO_PROXY="*",
            no_proxy="*",
        )

    def clients(self, clients, route, url):
        for name, command in clients.items():
            if self.only and name not in self.only:
                continue
            try:
                environment = dict(self.environment, CLIENT_URL=url)
                if route in KEEPS_UNFINISHED and name in REUSES_UNFINISHED:
                    environment["CLIENT_NO_EXPECT"] = "1"
                    self.lacks(f"Expect of {name} {route}", f"uses unfinished connections: {REUSES_UNFINISHED[name]}")
                self.client(name, command(self.folder), route, environment)
            except Missing as lacking:
                self.lacks(name, lacking)

    def lacks(self, name, what):
        line = name if str(what).lower() in name.lower() else f"{name} ({what})"
        if line not in self.missing:
            self.missing.append(line)

    def client(self, name, command, route, environment):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, cwd=ROOT)
        except subprocess.TimeoutExpired:
            return self.report(name, route, "it did not end within 600 s", False)
        if done.returncode == NOT_INSTALLED:
            return self.lacks(name, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "not installed")
        self.ran.add(name)
        steps = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 3]
        good = bool(steps) and done.returncode == 0 and all(right == of for _, right, of, _ in steps)
        results = ", ".join(
            f"{step} {right} of {of}{f' ({detail})' if detail else ''}" for step, right, of, detail in steps
        )
        if not good:
            results += f" exit {done.returncode}: {(done.stderr or done.stdout).strip()[-6000:]}"
        self.report(name, route, results, good)

    def report(self, name, route, text, good):
        print(f"{'ok    ' if good else 'FAILED'} {name}, {route}: {text}", flush=True)
        if not good:
            self.failed.append(f"{name}, {route}")


def prepare():
    """Fetches what clients need of the package indexes. What cannot be fetched is reported, and counts as missing later."""
    if PYTHON_VERSION_TOO_OLD:
        print("clients: Python 3.11 or newer is needed for the generated clients; left out", file=sys.stderr)
    else:
        step("Python libraries", CACHE / "venv", HERE / "requirements.txt", fetch_python)
    if which("npm") is None:
        print("clients: npm is not here; axios and the TypeScript client are left out", file=sys.stderr)
    else:
        step("Node libraries", CACHE / "node", HERE / "package-lock.json", fetch_node)


PYTHON_VERSION_TOO_OLD = sys.version_info < (3, 11)


def step(title, folder, pins, fetch):
    digest, mark = hashlib.sha256(pins.read_bytes()).hexdigest(), folder / "digest"
    if mark.exists() and mark.read_text() == digest:
        print(f"clients: {title}: already here")
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        fetch(folder, pins)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        output = getattr(error, "stderr", None) or ""
        print(f"clients: {title} cannot be fetched and are left out: {error} {output[-500:]}", file=sys.stderr)
        return
    mark.write_text(digest)
    print(f"clients: {title}: fetched")


def fetch_python(folder, pins):
    quiet = {"check": True, "capture_output": True, "text": True, "timeout": 600}
    subprocess.run([sys.executable, "-m", "venv", str(folder)], **quiet)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--timeout", "20", "--retries", "2", "-r", str(pins)], **quiet)


def fetch_node(folder, pins):
    for name in (pins, pins.with_name("package.json")):
        shutil.copy(name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=20000"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target / "release" / "semblance")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="3 rounds, fewer examples")
    parser.add_argument("--only", action="append", choices=[*CLIENTS, *FROM_DOCUMENT], help="this client")
    names = ["none", *(name for name, _, _ in PROXIES)]
    parser.add_argument("--proxy", action="append", choices=names, help="this proxy")
    parser.add_argument("--prepare", action="store_true", help="fetch libraries, run nothing")
    options = parser.parse_args()
    # However this is ended, the programs that it started are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.prepare:
        prepare()
        return 0
    if not options.binary.exists():
        parser.error(f"{options.binary} does not exist; build it with `make setup` or name another with --binary")
    if not (PHOTOS / "person_a_1.jpg").exists():
        parser.error(f"{PHOTOS} has no test photos; fetch them with `make setup`")
    rounds = 3 if options.quick else options.rounds
    proxies = 0
    with tempfile.TemporaryDirectory(prefix="semblance-clients-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a proxy may give up its rights
        with Server(options.binary.resolve(), folder) as server:
            run = Run(server, folder, rounds, options.only)
            run.environment["CLIENT_QUICK"] = "1" if options.quick else ""
            run.clients(CLIENTS, "directly", server.url)
            run.clients(FROM_DOCUMENT, "directly", server.url)
            for kind in (kind for kind in PROXIES if not options.proxy or kind[0] in options.proxy):
                try:
                    with Proxy(kind, folder, server.url) as proxy:
                        proxies += 1
                        run.clients(CLIENTS, f"through {kind[0]}", proxy.url)
                except Missing as lacking:
                    run.lacks(kind[0], lacking)
                except RuntimeError as error:
                    run.report(kind[0], "as a proxy", str(error), False)
    if options.quick:
        skipped.add("HTTP clients and proxies", run.missing)
    missing = f"missing: {', '.join(run.missing)}" if run.missing else "nothing is missing"
    print(f"{len(run.ran)} clients x {proxies} proxies ran (and each directly), {rounds} rounds; {missing}")
    if run.failed:
        print(f"FAILED: {'; '.join(run.failed)}", file=sys.stderr)
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
