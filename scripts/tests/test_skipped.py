import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import skipped


class Skipped(unittest.TestCase):
    def test_skips_are_counted_and_listed_once(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, CARGO_TARGET_DIR=folder):
            self.assertEqual(skipped.summary(), "No checks were skipped.")
            skipped.add("clients", [])
            self.assertFalse(skipped.path().exists())
            skipped.add("clients", ["nginx", "curl"])
            skipped.add("clients", ["curl"])
            report = skipped.summary()
        self.assertEqual(
            report, "3 checks were skipped:\n  clients: curl (2 times)\n  clients: nginx"
        )


if __name__ == "__main__":
    unittest.main()
