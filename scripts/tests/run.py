#!/usr/bin/env python3
"""Runs the tests of the scripts, and reports those that are skipped (scripts/skipped.py)."""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import skipped  # noqa: E402


def main():
    tests = unittest.defaultTestLoader.discover(str(HERE))
    result = unittest.TextTestRunner().run(tests)
    skipped.add("scripts", [f"{test.id()}: {reason}" for test, reason in result.skipped])
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
