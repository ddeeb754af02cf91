#!/usr/bin/env python3
"""Times each call that the console makes, with many people enrolled.

    python3 scripts/console_calls.py [--binary target/release/semblance] [--people 100000] [--rounds 100] FOLDER

`semblance bench people` makes a database of people with names, external ids and groups in FOLDER, which must not exist. A
server of its own serves it on free ports, and one client sends each call, one after the other, over one connection, with
another cursor, person or word each time. Printed are the median, the 95th percentile and the slowest time in milliseconds
until the body has arrived, and the size of the last body. Photos are not analyzed here.
"""

import argparse
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
APP = "applications/bench"
WORDS = ["ada", "mu", "lopez 12", "hr-00012", "ł", "garcía", "okafor 3", "pia kim"]
PAGE = 50


class Server:
    """A server of the database of `bench people`."""

    def __init__(self, binary, folder):
        self.environment = {
            **os.environ,
            "SEMBLANCE_DATA": str(folder),
            "SEMBLANCE_MODELS": str(ROOT / "models"),
            "SEMBLANCE_LISTEN": "127.0.0.1:0",
            "SEMBLANCE_ADMIN_LISTEN": "127.0.0.1:0",
        }
        self.binary = binary
        self.process = subprocess.Popen([binary, "serve"], env=self.environment, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if found := re.match(r"Console and administration: http://([^/]+)/console", line):
                self.address = found[1]
            if " serves " in line:
                return
        sys.exit("the server ended before it served")

    def token(self):
        """A token of an owner."""
        command = [self.binary, "admin", "token", "--owner", "console-calls"]
        made = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return re.search(r"sba_\S+", made.stdout)[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=90)


class Client:
    """One connection."""

    def __init__(self, address, token):
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, method, path, body=None):
        """Returns the status, the body and the seconds."""
        start = time.perf_counter()
        body = None if body is None else json.dumps(body)
        self.connection.request(method, f"/api/admin/v1/{path}", body, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        return response.status, content, time.perf_counter() - start

    def call(self, method, path, body=None):
        """Returns the `result`, the seconds and the bytes."""
        status, content, seconds = self.send(method, path, body)
        if status != 200:
            sys.exit(f"{method} {path}: {status} {content[:300]}")
        return json.loads(content)["result"], seconds, len(content)

    def wait_for_names(self):
        """The index of names is made after the start; a search before that is 503."""
        end = time.monotonic() + 120
        while self.send("POST", f"{APP}/people/search", {"q": "ada"})[0] == 503 and time.monotonic() < end:
            time.sleep(0.1)


def calls(client):
    """Each call of the console: its name, and a function that makes the next request."""
    people = client.call("GET", f"{APP}/people?limit=1000")[0]["people"]
    ids = itertools.cycle([person["templateId"] for person in people])
    words, cursors = itertools.cycle(WORDS), {}

    def pages(name, body):
        def request():
            cursor = cursors.get(name)
            page = {**body, "limit": PAGE, "total": True, **({"cursor": cursor} if cursor else {})}
            found = client.call("POST", f"{APP}/people/search", page)
            cursors[name] = found[0]["nextCursor"]
            return found

        return request

    def get(path):
        return lambda: client.call("GET", path)

    def person(tail=""):
        return lambda: client.call("GET", f"{APP}/people/{quote(next(ids), safe='')}{tail}")

    def search():
        return client.call("POST", f"{APP}/people/search", {"q": next(words), "limit": PAGE, "total": True})

    journal = {"appId": "bench", "limit": PAGE}
    return {
        "session": get("session"),
        "overview": get("overview"),
        "figures, an hour": get("figures"),
        "people, by id": pages("id", {"sort": "templateId"}),
        "people, by name": pages("name", {"sort": "name"}),
        "people, last changed": pages("changed", {"sort": "updatedAt", "order": "desc"}),
        "people, by a word": search,
        "people, by a group": pages("group", {"groups": ["group 7"]}),
        "groups": get(f"{APP}/groups"),
        "one person": person(),
        "one person, health": person("/health"),
        "review": get(f"{APP}/review?limit={PAGE}"),
        "journal": lambda: client.call("POST", "journal/search", journal),
        "journal, status": get("journal/status"),
        "applications": get("applications"),
        "one application": get(APP),
        "its keys": get(f"{APP}/keys"),
        "administrators": get("administrators"),
        "sessions": get("sessions"),
        "jobs": get("jobs"),
        "system": get("system"),
        "nodes": get("nodes"),
        "models": get("models"),
        "store": get("store"),
        "settings": get("settings"),
    }


def measure(client, rounds):
    print(f"{'call':24} {'median':>8} {'p95':>8} {'slowest':>8} {'bytes':>8}")
    for name, request in calls(client).items():
        times = []
        for _ in range(rounds):
            # Fewer than the calls that one administrator may send in a second.
            time.sleep(0.025)
            _, seconds, size = request()
            times.append(seconds * 1000)
        times.sort()
        p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
        print(f"{name:24} {times[len(times) // 2]:8.1f} {p95:8.1f} {times[-1]:8.1f} {size:8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/semblance")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    binary, folder = arguments.binary.resolve(), arguments.folder.resolve()
    count = str(arguments.people)
    subprocess.run(
        [binary, "bench", "people", folder, "--templates", count, "--named", count, "--rounds", "3"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    server = Server(binary, folder)
    try:
        client = Client(server.address, server.token())
        started = time.perf_counter()
        client.wait_for_names()
        print(f"{arguments.people} people; names can be searched {time.perf_counter() - started:.1f} s after the start")
        measure(client, arguments.rounds)
    finally:
        status = server.stop()
    sys.exit(status)


if __name__ == "__main__":
    main()
