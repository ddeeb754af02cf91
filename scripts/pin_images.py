#!/usr/bin/env python3
"""Pins the images of Dockerfile and docker-compose.yml to the digests that their tags have now.

    python3 scripts/pin_images.py [FILE...]

A tag can be moved to other content; a digest cannot. Needs `docker buildx` and the registry. Run it again to move to the
newest image of a tag. It prints each image and changes nothing when one of them is not found.
"""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# `FROM rust:1-bookworm AS build`, `image: postgres:17-alpine`; with or without a digest.
IMAGE = re.compile(
    r"^(?P<before>\s*(?:FROM|image:)\s+)(?P<tag>[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?(?P<after>[ \t].*)?$", re.M
)


def digest(tag):
    """The digest of a tag, for all platforms."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", tag]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise ValueError(f"{tag}: {found!r} is no digest")
    return found


def pinned(text, find=digest):
    """The text of a file with every image pinned."""

    def pin(found):
        tag, after = found["tag"], found["after"] or ""
        return f"{found['before']}{tag}@{find(tag)}{after}"

    return IMAGE.sub(pin, text)


def main(names):
    paths = [Path(name) for name in names] or [REPOSITORY / "Dockerfile", REPOSITORY / "docker-compose.yml"]
    try:
        texts = {path: pinned(path.read_text()) for path in paths}
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        sys.exit(f"nothing is changed: {str(reason).strip()}")
    for path, text in texts.items():
        path.write_text(text)
        for found in IMAGE.finditer(text):
            print(f"{path.name}: {found[0].strip()}")


if __name__ == "__main__":
    main(sys.argv[1:])
