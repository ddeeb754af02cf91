#!/usr/bin/env python3
"""Two versions of the server on one Postgres, under load: an upgrade node by node, and half of it back.

    python3 scripts/postgres.py run -- python3 scripts/upgrade.py --before BINARY [--after BINARY] [--rounds 60]

BINARY of the version before is what `make setup` built there; it has to find the same models. The old node serves
alone, the new one joins it (and brings the schema up to date), then both enrol, replace, delete and identify in
turns, and each must find what the other wrote. The old one is killed and its place taken by a new one. Printed are
the operations acknowledged and those lost; any other answer ends it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTOS = REPOSITORY / ".cache" / "photos"
SEEN_WITHIN_S = 5


class Node:
    def __init__(self, binary, folder, key):
        environment = dict(os.environ, SEMBLANCE_DATA=str(folder), SEMBLANCE_MODELS=str(REPOSITORY / "models"))
        environment.update(SEMBLANCE_DATABASE_URL=os.environ["SEMBLANCE_TEST_POSTGRES_URL"], SEMBLANCE_KEY=key)
        environment.update(SEMBLANCE_LISTEN="127.0.0.1:0", SEMBLANCE_LOG_LEVEL="error")
        self.folder = folder
        self.process = subprocess.Popen([str(binary), "serve"], env=environment, stdout=subprocess.PIPE, text=True)
        self.url = next(word for line in self.process.stdout for word in line.split() if word.startswith("http://"))
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                    return
            except (urllib.error.HTTPError, urllib.error.URLError):
                if self.process.poll() is not None:
                    raise SystemExit(f"{binary} ended") from None
                time.sleep(0.05)

    def call(self, app, path, photo=None, **fields):
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
        if photo:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
            parts += [head.encode(), (PHOTOS / photo).read_bytes(), b"\r\n"]
            body, kind = b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
        else:
            body, kind = json.dumps(fields).encode(), "application/json"
        headers = {"APP-ID": app["app_id"], "APP-KEY": app["app_key"], "Content-Type": kind}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/v1.0/{path}", body, headers), timeout=30) as reply:
            return json.load(reply).get("result")

    def index(self, app):
        """Every template that is found, with its similarity to one photo."""
        found = self.call(app, "identify?threshold=0&candidates=100", "person_a_1.jpg")
        return {one["templateId"]: one["similarity"] for one in found["candidates"]}


def agree(nodes, app, expected):
    """Waits until every node finds exactly these templates."""
    until = time.monotonic() + SEEN_WITHIN_S
    while True:
        found = [node.index(app) for node in nodes]
        if all(one == found[0] for one in found) and set(found[0]) == expected:
            return
        if time.monotonic() > until:
            raise SystemExit(f"the nodes differ: {expected} was acknowledged, {found} are found")
        time.sleep(0.05)


def mixed(nodes, app, expected, rounds):
    photos = ("person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg", "person_b_2.jpg")
    for turn in range(rounds):
        writer, name = nodes[turn % len(nodes)], f"t{turn % 7}"
        if turn % 4 == 3 and name in expected:
            writer.call(app, "delete", templateId=name)
            expected.discard(name)
        else:
            writer.call(app, "add?replace=true", photos[turn % 4], templateId=name)
            expected.add(name)
        agree(nodes, app, expected)
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="the program of the version before")
    parser.add_argument("--after", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    parser.add_argument("--rounds", type=int, default=60, help="writes with the two versions together")
    options = parser.parse_args()
    key, nodes = os.urandom(32).hex(), []
    with tempfile.TemporaryDirectory() as folder:

        def start(binary):
            place = Path(folder) / str(len(nodes) + len(os.listdir(folder)))
            place.mkdir()
            nodes.append(Node(binary, place, key))

        try:
            start(options.before)
            app = json.loads((nodes[0].folder / "credentials.json").read_text())
            expected, count = set(), 0
            count += mixed(nodes, app, expected, 8)
            start(options.after)
            agree(nodes, app, expected)
            count += mixed(nodes, app, expected, options.rounds)
            nodes[0].process.kill()
            nodes[0].process.wait()
            del nodes[0]
            count += mixed(nodes, app, expected, 8)
            start(options.after)
            agree(nodes, app, expected)
            count += mixed(nodes, app, expected, 8)
        finally:
            for node in nodes:
                node.process.kill()
                node.process.wait()
    print(f"{count} writes acknowledged, {options.rounds} of them by two versions in turns, 0 lost; the nodes agreed after each")


if __name__ == "__main__":
    sys.exit(main())
