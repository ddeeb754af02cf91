#!/usr/bin/env python3
"""Loads a running server with concurrent clients and says how it stood it.

    python3 scripts/load.py --app-id ID --app-key KEY PHOTO... [--clients 64] [--seconds 60] [--pid PID]

Each client keeps one connection and sends one identify after the other. A 503 of a full server and a 429 of an
application beyond its share or rate, both with Retry-After, are refusals: they are counted apart, and the client
waits as long as they say. Anything else but 200 (or 400 for a photo that has no single face) is an error. One request
goes ahead: when the server does not answer, or answers 401, 404 or 405, nothing is measured. A server that stops
answering ends the measurement. With --pid the server's resident memory is read each second (Linux). Only the
loopback interface is meant to be loaded.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit


def request(host, path, app_id, app_key, photo):
    boundary = str(uuid.uuid4())
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        ).encode()
        + photo
        + f"\r\n--{boundary}--\r\n".encode()
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAPP-ID: {app_id}\r\nAPP-KEY: {app_key}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader):
    """Reads one response: its status, its headers and its body."""
    status = int((await reader.readline()).split()[1])
    headers = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return status, headers, body


class Problem(Exception):
    """Why nothing can be measured: one sentence."""


REFUSALS = (429, 503)
# What went wrong with a connection or an answer.
FAILURES = (OSError, ValueError, KeyError, IndexError, asyncio.IncompleteReadError, asyncio.TimeoutError)
MAX_FAILURES_IN_A_ROW = 50  # of all clients together; then the server is gone
FAILURE_PAUSE = 0.1  # seconds before a client connects again


class Tally:
    def __init__(self):
        self.served, self.refused, self.errors = [], dict.fromkeys(REFUSALS, 0), []
        self.failures_in_a_row = 0

    def failed(self, error):
        self.errors.append(repr(error))
        self.failures_in_a_row += 1

    def is_gone(self):
        return self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW


async def check(url, message):
    """Sends one request; raises where no measurement makes sense."""
    where = url.geturl()
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, url.port or 80), 10)
    except (OSError, asyncio.TimeoutError) as error:
        raise Problem(f"cannot connect to {where} ({error}); is the server running, and is --url right?") from None
    try:
        writer.write(message)
        await writer.drain()
        status, _, body = await asyncio.wait_for(answer(reader), 60)
        json.loads(body)["transactionId"]
    except FAILURES as error:
        raise Problem(f"{where} does not answer as Semblance does ({error!r}); is --url right?") from None
    finally:
        writer.close()
    if status == 401:
        raise Problem(f"{where} answers 401; are --app-id and --app-key right?")
    if status in (404, 405):
        raise Problem(f"{where} answers {status}; --url must name an endpoint such as /api/v1.0/identify")


async def client(url, messages, first, deadline, tally):
    reader = writer = None
    turn = first
    while time.monotonic() < deadline and not tally.is_gone():
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
            start = time.monotonic()
            writer.write(messages[turn % len(messages)])
            await writer.drain()
            status, headers, body = await asyncio.wait_for(answer(reader), 60)
            took = time.monotonic() - start
            json.loads(body)["transactionId"]
        except FAILURES as error:
            tally.failed(error)
            writer = None
            await asyncio.sleep(FAILURE_PAUSE)
            continue
        tally.failures_in_a_row = 0
        if status in REFUSALS and headers.get("retry-after", "").isdigit():
            tally.refused[status] += 1
            await asyncio.sleep(min(int(headers["retry-after"]), max(0.0, deadline - time.monotonic())))
        elif status in (200, 400):
            tally.served.append(took)
            turn += 1
        else:
            tally.errors.append(f"status {status}")
        if headers.get("connection", "").lower() == "close":
            writer = None
    if writer is not None:
        writer.close()


def resident(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def watch(pid, memory):
    while True:
        memory.append(resident(pid))
        await asyncio.sleep(1)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--url", default="http://127.0.0.1:8080/api/v1.0/identify")
    parser.add_argument("--app-id", required=True)
    parser.add_argument("--app-key", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pid", type=int, help="the server's process, to watch its memory")
    options = parser.parse_args()
    url = urlsplit(options.url)
    messages = [
        request(url.netloc, url.path, options.app_id, options.app_key, photo.read_bytes()) for photo in options.photos
    ]
    try:
        await check(url, messages[0])
    except Problem as problem:
        print(f"load: {problem}", file=sys.stderr)
        return 2
    tally, memory = Tally(), []
    watcher = asyncio.create_task(watch(options.pid, memory)) if options.pid else None
    start = time.monotonic()
    deadline = start + options.seconds
    await asyncio.gather(*(client(url, messages, n, deadline, tally) for n in range(options.clients)))
    took = time.monotonic() - start
    if watcher:
        watcher.cancel()
    print(f"{options.clients} clients for {took:.1f} s: {len(tally.served)} served, {len(tally.served) / took:.1f} a second")
    refused = ", ".join(f"{count} with {status}" for status, count in tally.refused.items())
    print(f"refused, with Retry-After: {refused}; errors: {len(tally.errors)} {sorted(set(tally.errors))[:5]}")
    if tally.is_gone():
        print(f"load: stopped early, the last {tally.failures_in_a_row} requests had no answer", file=sys.stderr)
    if len(tally.served) >= 2:
        cut = statistics.quantiles(tally.served, n=100, method="inclusive")
        print("latency of what was served: " + ", ".join(f"p{p} {cut[p - 1] * 1000:.0f} ms" for p in (50, 95, 99)))
    if memory:
        print("resident memory, MiB, each tenth of the time: " + ", ".join(f"{m:.0f}" for m in memory[:: max(1, len(memory) // 10)]))
    return 1 if tally.errors or not tally.served else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
