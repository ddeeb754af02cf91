#!/usr/bin/env python3
"""Times the start of a server with a large gallery, and identify against it, end to end.

    python3 scripts/bench_start.py --embeddings EXPORT [--templates 1000000] [--photo PHOTO] [--keep FOLDER]
    python3 scripts/postgres.py run -- python3 scripts/bench_start.py --postgres --embeddings EXPORT

Fills the gallery of a fresh application with templates drawn from a real export's statistics, beside it
one with 1 000, then starts the server: once from the database alone, once from the snapshot that it wrote.
Printed are the seconds from the start of the process to readiness and to the first answered identify,
and the milliseconds of identify against both galleries, in turns. Filling takes minutes; with --keep it is done
once: what is in FOLDER from the last time is used again.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTO = REPOSITORY / ".cache" / "photos" / "person_a_1.jpg"


class Server:
    def __init__(self, binary, environment):
        self.begun = time.monotonic()
        command = [str(binary), "serve", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = next(word for line in self.process.stdout for word in line.split() if word.startswith("http://"))

    def since(self):
        return time.monotonic() - self.begun

    def wait(self):
        """Until identify can be served."""
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                    return self.since()
            except (urllib.error.HTTPError, urllib.error.URLError):
                time.sleep(0.02)
        raise SystemExit("the server ended")

    def identify(self, app, photo):
        boundary = str(uuid.uuid4())
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        body = head.encode() + photo + f"\r\n--{boundary}--\r\n".encode()
        headers = {"APP-ID": app["app_id"], "APP-KEY": app["app_key"], "Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(f"{self.url}/api/v1.0/identify", body, headers)
        start = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        return 1000 * (time.monotonic() - start)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, required=True, help="what `semblance gallery export` wrote")
    parser.add_argument("--templates", type=int, default=1_000_000)
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--postgres", action="store_true", help="use SEMBLANCE_TEST_POSTGRES_URL instead of SQLite")
    parser.add_argument("--keep", type=Path, help="the data folder, which stays (SQLite)")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    options = parser.parse_args()
    photo = options.photo.read_bytes()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = dict(os.environ, SEMBLANCE_DATA=str(folder), SEMBLANCE_MODELS=str(REPOSITORY / "models"))
        environment.update(SEMBLANCE_DATABASE_TIMEOUT_MS="60000", SEMBLANCE_SNAPSHOTS_EVERY_S="0")
        if options.postgres:
            environment["SEMBLANCE_DATABASE_URL"] = os.environ["SEMBLANCE_TEST_POSTGRES_URL"]

        def run(*arguments):
            command = [str(options.binary), *map(str, arguments)]
            return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

        filled = folder / "filled.json"
        if filled.exists():
            large, small = json.loads(filled.read_text())
        else:
            large, small = (json.loads(run("app", "create", name, "--json")) for name in ("large", "small"))
            for app, count in ((large, options.templates), (small, min(1000, options.templates))):
                fill = ("bench", "fill", "--templates", count, "--embeddings", options.embeddings, "--app", app["app_id"])
                print(run(*fill).strip(), flush=True)
            filled.write_text(json.dumps([large, small]))

        def start(what):
            server = Server(options.binary, environment)
            ready = server.wait()
            server.identify(large, photo)
            print(f"{what}: ready after {ready:.2f} s, first identify answered after {server.since():.2f} s", flush=True)
            return server

        for old in folder.glob("snapshots/*"):
            old.unlink()
        start("from the database").stop()
        environment["SEMBLANCE_SNAPSHOTS_EVERY_S"] = "1"
        server = start("from the database, then writing a snapshot")
        snapshots = folder / "snapshots"
        while not list(snapshots.glob("*.gallery")):
            time.sleep(0.2)
        server.stop()
        size = sum(file.stat().st_size for file in snapshots.glob("*.gallery"))
        server = start(f"from the snapshot ({size / 2**20:.0f} MiB)")
        time.sleep(15)  # until the codes are made
        times = {"large": [], "small": []}
        for _ in range(options.rounds):
            times["large"].append(server.identify(large, photo))
            times["small"].append(server.identify(small, photo))
        server.stop()
        of = {name: statistics.median(all) for name, all in times.items()}
        print(
            f"identify, {options.rounds} in turns, median ms: {options.templates} templates {of['large']:.1f}, "
            f"1 000 templates {of['small']:.1f}, ratio {of['large'] / of['small']:.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
