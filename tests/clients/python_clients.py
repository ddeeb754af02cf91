"""The scenario with Python's HTTP clients: http.client, requests, httpx, aiohttp.

    python3 tests/clients/python_clients.py http.client

What to do comes in the environment, and every step is a line on the standard output (see run.py). Exit code 77: the
library is not installed.
"""

import asyncio
import os
import sys
from urllib.parse import urlsplit

URL = os.environ["CLIENT_URL"]
TEMPLATE = os.environ["CLIENT_TEMPLATE"]
ROUNDS = int(os.environ["CLIENT_ROUNDS"])
KNOWN = {"APP-ID": os.environ["CLIENT_APP_ID"], "APP-KEY": os.environ["CLIENT_APP_KEY"]}
UNKNOWN = dict(KNOWN, **{"APP-KEY": "wrong"})
NOT_INSTALLED = 77


def content(name):
    with open(os.environ[name], "rb") as file:
        return file.read()


ENROL, PROBE, LARGE = content("CLIENT_ENROL"), content("CLIENT_PROBE"), content("CLIENT_LARGE")


def report(step, good, of, detail=""):
    print(f"{step}\t{good}\t{of}\t{' '.join(str(detail).split())[:200]}", flush=True)


async def scenario(send):
    """`send(endpoint, headers, photo, template)` is the client: it returns a status and a text."""

    async def step(name, call, expected):
        try:
            status, text = await call
        except Exception as error:  # any exception of a client is a failure for its user
            return False, f"{name}: {type(error).__name__}: {error}"
        return status == expected[0] and expected[1] in text, f"{name}: {status} {text}"

    good, detail = await step("enrol", send("add?replace=true", KNOWN, ENROL, TEMPLATE), (200, f'"{TEMPLATE}"'))
    report("enrol", int(good), 1, "" if good else detail)
    good, detail = await step("identify", send("identify", KNOWN, PROBE, None), (200, f'"{TEMPLATE}"'))
    report("identify", int(good), 1, "" if good else detail)
    for step_name, extra in (("refused", {}), ("refused, Expect", {"Expect": "100-continue"})):
        count, trouble = 0, ""
        for _ in range(ROUNDS):
            refused = await step("refused", send("identify", dict(UNKNOWN, **extra), LARGE, None), (401, '"code":401'))
            served = await step("next", send("identify", KNOWN, ENROL, None), (200, f'"{TEMPLATE}"'))
            count += refused[0] and served[0]
            trouble = trouble or next((detail for good, detail in (refused, served) if not good), "")
        report(step_name, count, ROUNDS, trouble)


def form(photo, template):
    boundary = "python-7d8f2c"
    parts = [("photo\"; filename=\"photo.jpg", photo)] + ([("templateId", template.encode())] if template else [])
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def with_http_client():
    import http.client

    url, connection = urlsplit(URL), None

    async def send(endpoint, headers, photo, template):
        nonlocal connection
        connection = connection or http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        body, content_type = form(photo, template)
        try:
            connection.request("POST", f"/api/v1.0/{endpoint}", body, dict(headers, **{"Content-Type": content_type}))
            answer = connection.getresponse()
            text = answer.read().decode()
        except BaseException:
            connection = None
            raise
        return answer.status, text

    asyncio.run(scenario(send))


def with_requests():
    import requests

    session = requests.Session()

    async def send(endpoint, headers, photo, template):
        answer = session.post(
            f"{URL}/api/v1.0/{endpoint}",
            headers=headers,
            files={"photo": ("photo.jpg", photo, "image/jpeg")},
            data={"templateId": template} if template else None,
            timeout=30,
        )
        return answer.status_code, answer.text

    asyncio.run(scenario(send))


def with_httpx():
    import httpx

    client = httpx.Client(timeout=30)

    async def send(endpoint, headers, photo, template):
        answer = client.post(
            f"{URL}/api/v1.0/{endpoint}",
            headers=headers,
            files={"photo": ("photo.jpg", photo, "image/jpeg")},
            data={"templateId": template} if template else None,
        )
        return answer.status_code, answer.text

    asyncio.run(scenario(send))


def with_aiohttp():
    import aiohttp

    async def run():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

            async def send(endpoint, headers, photo, template):
                data = aiohttp.FormData()
                data.add_field("photo", photo, filename="photo.jpg", content_type="image/jpeg")
                if template:
                    data.add_field("templateId", template)
                # The library waits for `100 Continue` only with its own option, not by the header alone.
                headers = dict(headers)
                expect = headers.pop("Expect", None) is not None
                async with session.post(
                    f"{URL}/api/v1.0/{endpoint}", headers=headers, data=data, expect100=expect
                ) as answer:
                    return answer.status, await answer.text()

            await scenario(send)

    asyncio.run(run())


CLIENTS = {
    "http.client": with_http_client,
    "requests": with_requests,
    "httpx": with_httpx,
    "aiohttp": with_aiohttp,
}

if __name__ == "__main__":
    try:
        CLIENTS[sys.argv[1]]()
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_INSTALLED)
