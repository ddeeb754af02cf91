"""The archive of a release, with a text in place of the program: `make test` runs the real one (scripts/try_dist.py)."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@unittest.skipIf(sys.version_info < (3, 11), "scripts/dist.py needs Python 3.11 for tomllib")
class Archive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = Path(cls.folder.name)
        (root / "program").write_text("#!/bin/sh\necho first\n", encoding="utf-8")
        cls.archives = []
        for name in ("one", "two"):
            command = [sys.executable, REPOSITORY / "scripts" / "dist.py", "--binary", root / "program", "--output", root / name]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            cls.archives += (root / name).glob("*.tar.gz")
        with tarfile.open(cls.archives[0]) as tar:
            tar.extractall(root / "unpacked", filter="data")
        (cls.tree,) = (root / "unpacked").iterdir()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_the_same_tree_gives_the_same_archive(self):
        first, second = (hashlib.sha256(archive.read_bytes()).hexdigest() for archive in self.archives)
        self.assertEqual(first, second)

    def test_it_has_every_model_and_every_license(self):
        import tomllib

        pack = tomllib.loads((REPOSITORY / "models" / "pack.toml").read_text(encoding="utf-8"))
        for model in pack["model"]:
            content = (self.tree / "models" / model["file"]).read_bytes()
            self.assertEqual(hashlib.sha256(content).hexdigest(), model["sha256"], model["file"])
        texts = (self.tree / "THIRD-PARTY.txt").read_text(encoding="utf-8")
        for crate in ("axum", "libsqlite3-sys", "mozjpeg-sys", "ort"):
            self.assertIn(f"\n{crate} ", texts)
        self.assertIn("Permission is hereby granted", texts)
        for name in ("LICENSE", "sbom.json", "doc/README.md", "models/fetched/onnxruntime-ThirdPartyNotices.txt"):
            self.assertTrue((self.tree / name).is_file(), name)

    def test_a_second_installation_upgrades_and_keeps_the_settings(self):
        with tempfile.TemporaryDirectory() as stage:
            install = [self.tree / "install.sh"]
            environment = {"PATH": os.environ["PATH"], "DESTDIR": stage}
            subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)
            program = Path(stage) / "opt/semblance/bin/semblance"
            settings = Path(stage) / "etc/semblance/semblance.toml"
            settings.write_text("# mine\n", encoding="utf-8")
            program.write_text("an older program", encoding="utf-8")
            (Path(stage) / "opt/semblance/models/removed.onnx").touch()
            subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)
            self.assertEqual(settings.read_text(encoding="utf-8"), "# mine\n")
            self.assertIn("echo first", program.read_text(encoding="utf-8"))
            self.assertTrue(os.access(program, os.X_OK))
            self.assertFalse((Path(stage) / "opt/semblance/models/removed.onnx").exists())
            self.assertFalse(list(program.parent.parent.glob("*.old")) + list(program.parent.parent.glob("*.new")))

    def test_one_user_installs_without_a_unit(self):
        with tempfile.TemporaryDirectory() as home:
            environment = {"PATH": os.environ["PATH"], "PREFIX": f"{home}/semblance"}
            subprocess.run([self.tree / "install.sh"], check=True, env=environment, stdout=subprocess.DEVNULL)
            shown = subprocess.run([f"{home}/semblance/bin/semblance"], check=True, stdout=subprocess.PIPE, text=True)
            self.assertEqual(shown.stdout, "first\n")
            self.assertEqual([path.name for path in Path(home).iterdir()], ["semblance"])


if __name__ == "__main__":
    unittest.main()
