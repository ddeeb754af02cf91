"""What real clients write into a multipart form, byte by byte, and the code that each must get (0: success)."""

import http.client
import json
import os
from urllib.parse import urlsplit

URL = urlsplit(os.environ["CLIENT_URL"])
KNOWN = {"APP-ID": os.environ["CLIENT_APP_ID"], "APP-KEY": os.environ["CLIENT_APP_KEY"]}

with open(os.environ["CLIENT_ENROL"], "rb") as file:
    PHOTO = file.read()

FILE = 'Content-Disposition: form-data; name="photo"; filename="photo.jpg"'
JPEG = "Content-Type: image/jpeg"


def form(boundary, *lines, photo=PHOTO):
    head = "".join(f"{line}\r\n" for line in lines)
    return f"--{boundary}\r\n{head}\r\n".encode() + photo + f"\r\n--{boundary}--\r\n".encode()


def boundaries():
    for boundary in (
        "===1718000000000===",
        "boundary_.oOo._MjA0OTQ/NzE0+x==",
        "a:b",
        "a?b",
        "a,b",
        "(a)<b>@[c]",
        "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "'quoted'",
    ):
        yield f"boundary={boundary}", f"multipart/form-data; boundary={boundary}", form(boundary, FILE, JPEG), 0
    for between in (";boundary=abc", ";  boundary=abc", ";\tboundary=abc", ";; boundary=abc", "; boundary=abc;",
                    '; boundary="abc"', "; charset=utf-8; boundary=abc", "; BOUNDARY=abc", " ; boundary=abc"):
        yield repr(between), f"multipart/form-data{between}", form("abc", FILE, JPEG), 0


def part_types():
    for declared, code in (
        ("image/jpeg", 0),
        ("image/jpg", 0),
        ("image/pjpeg", 0),
        ("image/png", 0),  # a JPEG all the same
        ("image/*", 0),
        ("*/*", 0),
        ("multipart/form-data", 0),
        ("application/octet-stream", 0),
        ("binary/octet-stream", 0),
        ("null", 0),
        ("undefined", 0),
        ("image/x-png", 0),
        ("", 0),
        ("text/plain", 2),
        ("application/pdf", 2),
        ("image/heic", 2),
    ):
        yield f"part of {declared or 'no type'}", "multipart/form-data; boundary=b", form(
            "b", FILE, f"Content-Type: {declared}"
        ), code


def part_heads():
    for name, lines in (
        ("a name without quotes", ("Content-Disposition: form-data; name=photo; filename=photo.jpg", JPEG)),
        ("lower case", (FILE.lower(), JPEG.lower())),
        ("the length of the part", (FILE, JPEG, f"Content-Length: {len(PHOTO)}")),
        ("a transfer encoding", (FILE, JPEG, "Content-Transfer-Encoding: binary")),
        ("an encoded file name", (FILE.replace('"photo.jpg"', "photo.jpg; filename*=UTF-8''%C3%A9.jpg"), JPEG)),
        ("a file name in UTF-8", (FILE.replace("photo.jpg", "Übung 1.jpg"), JPEG)),
        ("a type before the name", (JPEG, FILE)),
        ("no file name", ('Content-Disposition: form-data; name="photo"', JPEG)),
    ):
        yield name, "multipart/form-data; boundary=b", form("b", *lines), 0
    yield "no form", "image/jpeg", PHOTO, 0
    yield "no photo", "multipart/form-data; boundary=b", b"--b--\r\n", 1
    yield "an empty photo", "multipart/form-data; boundary=b", form("b", FILE, JPEG, photo=b""), 3


def code(content_type, body):
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=30)
    try:
        connection.request("POST", "/api/v1.0/identify", body, dict(KNOWN, **{"Content-Type": content_type}))
        answer = connection.getresponse()
        reply = json.loads(answer.read())
    finally:
        connection.close()
    return 0 if answer.status == 200 else reply["result"]["code"]


def main():
    count, good, wrong = 0, 0, []
    for name, content_type, body, expected in (*boundaries(), *part_types(), *part_heads()):
        count += 1
        try:
            got = code(content_type, body)
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            got = repr(error)
        good += got == expected
        wrong += [] if got == expected else [f"{name}: {got}"]
    print(f"idioms\t{good}\t{count}\t{'; '.join(wrong)}")


if __name__ == "__main__":
    main()
