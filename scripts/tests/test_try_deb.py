"""The unit of systemd as scripts/try_deb.py reads it."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import try_deb  # noqa: E402


class Service(unittest.TestCase):
    def test_our_unit_is_a_server_with_its_state(self):
        config, state = try_deb.service((try_deb.REPOSITORY / "packaging" / "semblance.service").read_text(encoding="utf-8"))
        self.assertEqual(config["Entrypoint"] + config["Cmd"], ["/opt/semblance/bin/semblance", "serve"])
        self.assertIn(f"SEMBLANCE_DATA={state}", config["Env"])
        self.assertEqual(config["User"], "61184:61184")

    def test_a_unit_with_two_programs_is_refused(self):
        with self.assertRaises(ValueError):
            try_deb.service("ExecStart=/a\nExecStart=/b\nStateDirectory=x\n")


if __name__ == "__main__":
    unittest.main()
