#!/usr/bin/env python3
"""Lists the checks that `make test` skipped on this machine.

Tests add a line to target/skipped-tests.txt for each check that they skip (tests/it/support/skip.rs, and `add` here);
`make test` empties the file first and runs this script last.
"""

import collections
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def path():
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "skipped-tests.txt"


def add(check, reasons):
    """Adds a line for each reason."""
    if reasons:
        path().parent.mkdir(parents=True, exist_ok=True)
        with path().open("a", encoding="utf-8") as file:
            file.writelines(f"SKIPPED: {check}: {reason}\n" for reason in reasons)


def summary():
    """The report: how many checks were skipped, and each once, with its count."""
    lines = path().read_text(encoding="utf-8").splitlines() if path().exists() else []
    counts = collections.Counter(line.removeprefix("SKIPPED: ") for line in lines)
    if not counts:
        return "No checks were skipped."
    listed = [f"  {line}" + (f" ({count} times)" if count > 1 else "") for line, count in sorted(counts.items())]
    return "\n".join([f"{len(lines)} checks were skipped:", *listed])


if __name__ == "__main__":
    print(summary())
