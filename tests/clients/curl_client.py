"""The scenario with curl: two requests of a round share one process, and so its connections."""

import json
import os
import subprocess

URL = f"{os.environ['CLIENT_URL']}/api/v1.0"
ROUNDS = int(os.environ["CLIENT_ROUNDS"])
TEMPLATE = os.environ["CLIENT_TEMPLATE"]
FORMAT = "\\n%{http_code}\\n"


def request(endpoint, key, photo, *more):
    return [
        *("--silent", "--show-error", "--max-time", "30", "--http1.1", "--write-out", FORMAT),
        *("-H", f"APP-ID: {os.environ['CLIENT_APP_ID']}", "-H", f"APP-KEY: {key}"),
        *("-F", f"photo=@{os.environ[photo]};type=image/jpeg", *more, f"{URL}/{endpoint}"),
    ]


def curl(*requests):
    """Status and body of each, and what curl complained of."""
    arguments = list(requests[0])
    for following in requests[1:]:
        arguments += ["--next", *following]
    done = subprocess.run(["curl", *arguments], capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if line]
    answers = list(zip(lines[1::2], lines[0::2]))
    return [(int(status), body) for status, body in answers], done.stderr.strip()


def is_found(answer):
    status, body = answer
    return status == 200 and TEMPLATE in json.dumps(json.loads(body))


def report(step, good, of, detail=""):
    print(f"{step}\t{good}\t{of}\t{' '.join(str(detail).split())[:200]}", flush=True)


def main():
    key = os.environ["CLIENT_APP_KEY"]
    for step, endpoint, photo, more in (
        ("enrol", "add?replace=true", "CLIENT_ENROL", ("-F", f"templateId={TEMPLATE}")),
        ("identify", "identify", "CLIENT_PROBE", ()),
    ):
        answers, trouble = curl(request(endpoint, key, photo, *more))
        good = len(answers) == 1 and is_found(answers[0])
        report(step, int(good), 1, "" if good else (answers, trouble))
    for step, expect in (("refused", "Expect:"), ("refused, Expect", "Expect: 100-continue")):
        count, first = 0, ""
        for _ in range(ROUNDS):
            refused = request("identify", "wrong", "CLIENT_LARGE", "-H", expect)
            answers, trouble = curl(refused, request("identify", key, "CLIENT_ENROL"))
            good = len(answers) == 2 and answers[0][0] == 401 and is_found(answers[1])
            count += good
            first = first or ("" if good else (answers, trouble))
        report(step, count, ROUNDS, first)


if __name__ == "__main__":
    main()
