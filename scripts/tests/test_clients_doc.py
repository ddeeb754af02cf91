"""docs/clients.md names the versions of the generators that tests/clients runs."""

import json
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Versions(unittest.TestCase):
    page = (ROOT / "docs" / "clients.md").read_text()

    def test_python(self):
        [words] = re.findall(r"^pip install (.+)$", self.page, re.MULTILINE)
        pins = (ROOT / "tests" / "clients" / "requirements.txt").read_text().split()
        self.assertTrue(words.split())
        self.assertEqual([word for word in words.split() if word not in pins], [])

    def test_typescript(self):
        [words] = re.findall(r"^npm install --save-dev (.+)$", self.page, re.MULTILINE)
        pins = json.loads((ROOT / "tests" / "clients" / "package.json").read_text())["dependencies"]
        known = {f"{name}@{version}" for name, version in pins.items()}
        self.assertTrue(words.split())
        self.assertEqual([word for word in words.split() if word not in known], [])


if __name__ == "__main__":
    unittest.main()
