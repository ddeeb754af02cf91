#!/usr/bin/env python3
"""Runs a server under mixed traffic for long, and says whether it stood it: a table, and a plot as SVG.

    python3 scripts/soak.py [--minutes 30] [--clients 4] [--svg docs/soak.svg] [--templates 2000]
    python3 scripts/postgres.py run -- python3 scripts/soak.py --postgres

A server of its own is started on a folder of its own, with SQLite or with the Postgres that
SEMBLANCE_TEST_POSTGRES_URL names. Each client sends one request after the other, drawn by a seeded
generator: identify with every check (over half of all), enrolments that replace, deletes, listings,
verifications, wrong keys, broken photos, unknown templates. Each kind has the statuses that it may be
answered with; anything else, and every cut connection, is an error. Resident memory, threads and open files are read
from /proc (Linux). Exits with 1 when there was an error.
"""

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTOS = REPOSITORY / ".cache" / "photos"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 720, 150, 64, 110, 16, 34
BINS = 60


def form(fields, photos):
    """A multipart body, and its content type."""
    boundary, parts = str(uuid.uuid4()), []
    for name, value in fields.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, photo in photos.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        parts.append(head.encode() + photo + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Traffic:
    """Requests of one client, and what they may be answered with."""

    def __init__(self, app, photos, seed, ids):
        self.headers = {"APP-ID": app["app_id"], "APP-KEY": app["app_key"]}
        self.photos, self.random, self.ids = photos, random.Random(seed), ids
        self.kinds = [(60, self.identify), (14, self.add), (7, self.delete), (6, self.listing), (5, self.verify)]
        self.kinds += [(3, self.wrong_key), (3, self.broken_photo), (2, self.unknown)]

    def next(self):
        """Method, path, body, headers, statuses that are right."""
        weights, kinds = zip(*self.kinds)
        kind = self.random.choices(kinds, weights)[0]
        method, path, (body, content_type), statuses, *more = kind()
        headers = dict(self.headers, **({"Content-Type": content_type} if content_type else {}))
        headers.update(more[0] if more else {})
        return kind.__name__, method, f"/api/v1.0/{path}", body, headers, statuses

    def photo(self):
        return self.random.choice(self.photos)

    def template(self):
        return f"soak-{self.random.randrange(self.ids)}"

    def identify(self):
        body = form({}, {"photo": self.photo()})
        return "POST", "identify?check_liveness=true&check_deepfake=true", body, {200}

    def add(self):
        return "POST", "add?replace=true", form({"templateId": self.template()}, {"photo": self.photo()}), {200}

    def delete(self):
        body = json.dumps({"templateId": self.template()}).encode()
        return "POST", "delete", (body, "application/json"), {200, 400, 404}

    def listing(self):
        return "GET", "templates?limit=100", (None, None), {200}

    def verify(self):
        return "POST", "verify", form({}, {"first_photo": self.photo(), "second_photo": self.photo()}), {200}

    def wrong_key(self):
        return "POST", "identify", form({}, {"photo": self.photo()}), {401, 403}, {"APP-KEY": "0" * 64}

    def broken_photo(self):
        photo = bytearray(self.photo())
        for _ in range(20):
            photo[self.random.randrange(len(photo))] = self.random.randrange(256)
        cut = photo[: self.random.randrange(1, len(photo))]
        return "POST", "identify", form({}, {"photo": bytes(cut)}), {200, 400}

    def unknown(self):
        return "GET", f"templates/nobody-{self.random.randrange(1000)}", (None, None), {400, 404}


class Soak:
    def __init__(self, url, deadline):
        self.url, self.deadline, self.begun = urlsplit(url), deadline, time.monotonic()
        self.lock, self.served, self.refused, self.errors = threading.Lock(), [], [], []
        self.memory = []

    def client(self, traffic):
        connection = None
        while time.monotonic() < self.deadline:
            kind, method, path, body, headers, statuses = traffic.next()
            start = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=60)
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                if content:
                    json.loads(content)
                status, again = answer.status, answer.headers.get("Retry-After")
            except (OSError, ValueError, http.client.HTTPException) as error:
                connection = None
                with self.lock:
                    self.errors.append((start - self.begun, f"{kind}: {error!r}"))
                continue
            took, at = time.monotonic() - start, start - self.begun
            with self.lock:
                if status in (429, 503) and again:
                    self.refused.append(at)
                elif status in statuses:
                    self.served.append((at, took, kind))
                else:
                    self.errors.append((at, f"{kind}: status {status}: {content[:200]!r}"))
            if status in (429, 503) and again:
                time.sleep(int(again))

    def watch(self, pid):
        while time.monotonic() < self.deadline:
            status = Path(f"/proc/{pid}/status").read_text()
            numbers = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line[:3] in ("VmR", "Thr")}
            files = len(os.listdir(f"/proc/{pid}/fd"))
            point = (time.monotonic() - self.begun, int(numbers["VmRSS"]) / 1024, int(numbers["Threads"]), files)
            self.memory.append(point)
            time.sleep(2)

    def bins(self, count, seconds):
        """For each part of the time: minutes, MiB, p50 and p99 of identify in ms, served a second, refused, errors."""
        out = []
        for n in range(count):
            here = lambda at: n * seconds / count <= at < (n + 1) * seconds / count
            times = [1000 * took for at, took, kind in self.served if here(at) and kind == "identify"]
            cut = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [0.0] * 99
            memory = [mib for at, mib, *_ in self.memory if here(at)]
            served = sum(here(at) for at, *_ in self.served)
            refused, errors = sum(map(here, self.refused)), sum(here(at) for at, _ in self.errors)
            mib = statistics.median(memory) if memory else 0.0
            out.append(((n + 1) * seconds / count / 60, mib, cut[49], cut[98], served * count / seconds, refused, errors))
        return out


def svg(bins, minutes):
    """Three panels over the same minutes: memory, latency, rate and errors."""
    panels = [
        ("resident memory, MiB", [("memory", 1, "#2563eb")]),
        ("identify, ms", [("p50", 2, "#059669"), ("p99", 3, "#d97706")]),
        ("a second", [("served", 4, "#7c3aed"), ("errors", 6, "#dc2626")]),
    ]
    height = TOP + len(panels) * (HEIGHT + GAP) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for at, (title, lines) in enumerate(panels):
        top = TOP + at * (HEIGHT + GAP)
        most = max([one[column] for one in bins for _, column, _ in lines] + [1e-9]) * 1.15
        across = lambda minute: LEFT + minute / minutes * (WIDTH - LEFT - RIGHT)
        down = lambda value: top + HEIGHT - value / most * HEIGHT
        for part in range(5):
            y = top + HEIGHT * part / 4
            out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>')
            label = most * (4 - part) / 4
            out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#374151">{label:.{0 if most > 20 else 1}f}</text>')
        for part in range(7):
            x = across(minutes * part / 6)
            out.append(f'<text x="{x:.1f}" y="{top + HEIGHT + 15}" text-anchor="middle" fill="#374151">{minutes * part / 6:.0f} min</text>')
        out.append(f'<text x="{LEFT + 6}" y="{top + 14}" fill="#111827">{title}</text>')
        for n, (name, column, colour) in enumerate(lines):
            path = " ".join(f"{across(one[0]):.1f},{down(one[column]):.1f}" for one in bins)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            y = top + 16 + 20 * n
            out.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
            out.append(f'<text x="{WIDTH - RIGHT + 30}" y="{y}" fill="#111827">{name}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--templates", type=int, default=2000, help="ids that are enrolled and deleted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of photos with one face each")
    parser.add_argument("--postgres", action="store_true", help="use SEMBLANCE_TEST_POSTGRES_URL instead of SQLite")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    options = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(options.photos.glob("*.jpg"))]
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, SEMBLANCE_DATA=folder, SEMBLANCE_MODELS=str(REPOSITORY / "models"))
        environment.update(SEMBLANCE_SNAPSHOTS_EVERY_S="60", SEMBLANCE_SNAPSHOTS_TEMPLATES="100", SEMBLANCE_LOG_LEVEL="warn")
        if options.postgres:
            environment["SEMBLANCE_DATABASE_URL"] = os.environ["SEMBLANCE_TEST_POSTGRES_URL"]
        create = [str(options.binary), "app", "create", "soak", "--json"]
        app = json.loads(subprocess.run(create, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)
        command = [str(options.binary), "serve", "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
        soak = Soak(url, time.monotonic() + seconds)
        threads = [threading.Thread(target=soak.watch, args=(server.pid,))]
        for n in range(options.clients):
            traffic = Traffic(app, photos, options.seed + n, options.templates)
            threads.append(threading.Thread(target=soak.client, args=(traffic,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.send_signal(signal.SIGTERM)
        ended = server.wait(60)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 2**20

    print(f"{options.minutes:g} minutes, {options.clients} clients, {'Postgres' if options.postgres else 'SQLite'}, seed {options.seed}")
    kinds = sorted({kind for *_, kind in soak.served})
    print("served: " + ", ".join(f"{kind} {sum(k == kind for *_, k in soak.served)}" for kind in kinds))
    print(f"refused with Retry-After: {len(soak.refused)}; errors: {len(soak.errors)}; server ended with {ended}; data folder {size:.1f} MiB")
    for at, error in soak.errors[:10]:
        print(f"  {at:.0f} s: {error}")
    print("\n| minute | memory MiB | identify p50 ms | p99 ms | served a second | refused | errors |\n|---|---|---|---|---|---|---|")
    for minute, mib, p50, p99, rate, refused, errors in soak.bins(10, seconds):
        print(f"| {minute:.0f} | {mib:.0f} | {p50:.0f} | {p99:.0f} | {rate:.1f} | {refused} | {errors} |")
    half = [(at / 3600, mib) for at, mib, *_ in soak.memory if at > seconds / 2]
    if len(half) > 2:
        slope = statistics.linear_regression(*zip(*half)).slope
        threads, files = ({point[n] for point in soak.memory if point[0] > seconds / 10} for n in (2, 3))
        print(f"\nsecond half: memory grows by {slope:.1f} MiB an hour; threads {min(threads)} to {max(threads)}, open files {min(files)} to {max(files)}")
    if options.svg:
        options.svg.write_text(svg(soak.bins(BINS, seconds), options.minutes))
    return 1 if soak.errors or ended != 0 or not soak.served else 0


if __name__ == "__main__":
    sys.exit(main())
