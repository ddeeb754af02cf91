#!/usr/bin/env python3
"""Copies the pictures of docs/console.md from the browser test: target/console to docs/pictures.

    python3 scripts/pictures.py

The test (`cargo test --test it -- server::console`) writes them. Only pages without a photo of a person are copied.
"""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "console"
PICTURES = {
    "overview.png": "overview-in-use-light-large.png",
    "person.png": "person-light-large.png",
    "import.png": "import-done-light-large.png",
}


def main():
    missing = [name for name in PICTURES.values() if not (TARGET / name).is_file()]
    if missing:
        sys.exit(f"{TARGET}: {', '.join(missing)} missing; run `cargo test --test it -- server::console` with a Chromium")
    folder = ROOT / "docs/pictures"
    folder.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        shutil.copyfile(TARGET / picture, folder / name)


if __name__ == "__main__":
    main()
