"""The parts of scripts/try_image.py and scripts/container.py that need no root."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import container  # noqa: E402
import try_image  # noqa: E402

CONFIG = {"User": "10001:10001", "Env": ["PATH=/bin", "A=1=2"], "Entrypoint": ["/program"], "Cmd": ["serve"]}


class Base(unittest.TestCase):
    def test_it_is_that_of_the_last_stage(self):
        text = "FROM rust:1-bookworm AS build\nRUN x\n\nFROM debian:trixie-slim@sha256:" + "ab" * 32 + "\nCOPY --from=build /a /a\n"
        self.assertEqual(try_image.final_base(text), ("debian:trixie-slim", "trixie"))

    def test_ours_can_be_made(self):
        self.assertEqual(try_image.final_base(try_image.DOCKERFILE.read_text())[0].split(":")[0], "debian")

    def test_another_base_is_reported(self):
        with self.assertRaises(try_image.Unavailable):
            try_image.final_base("FROM alpine:3\n")


class Container(unittest.TestCase):
    def test_the_image_and_the_manifest_decide(self):
        box = container.Container(Path("/root folder"), CONFIG, None, environment={"PATH": "/x"}, groups=[5],
                                  volumes=[container.Volume("/data", Path("/a b"), True), container.Volume("/tmp")])
        self.assertEqual(box.environment, {"PATH": "/x", "A": "1=2"})
        lines = box._script([box.entrypoint, *box.arguments]).splitlines()
        self.assertIn("mount -o remount,bind,ro '/root folder/data'", lines)
        self.assertIn("mount -t tmpfs -o mode=1777 tmpfs '/root folder/tmp'", lines)
        self.assertEqual(lines[-2], "mount -o remount,bind,ro '/root folder'")
        self.assertIn("--reuid=10001 --regid=10001 --groups=5 --no-new-privs --bounding-set=-all", lines[-1])
        self.assertTrue(lines[-1].endswith("-- /program serve"), lines[-1])

    def test_a_root_that_can_be_written_is_not_mounted_again(self):
        box = container.Container(Path("/r"), CONFIG, None, read_only=False)
        self.assertNotIn("mount -o remount,bind,ro /r", box._script(["x"]).splitlines())


if __name__ == "__main__":
    unittest.main()
