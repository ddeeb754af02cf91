"""The bill of materials: whole, with the right hashes, and nothing in it that Apache-2.0 does not go with."""

import hashlib
import re
import sys
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import sbom

OLD = sys.version_info < (3, 11)


def allowed(expression, licences):
    """Whether an SPDX expression can be met with these licences alone."""
    # `WITH` binds an exception to its licence, AND binds tighter than OR.
    words = re.findall(r"[()]|[\w.+-]+(?: WITH [\w.+-]+)?", expression)

    def any_of():
        met = all_of()
        while words and words[0] == "OR":
            words.pop(0)
            met = all_of() or met
        return met

    def all_of():
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one():
        word = words.pop(0)
        if word != "(":
            return word in licences
        met = any_of()
        words.pop(0)
        return met

    return any_of()


class Expressions(unittest.TestCase):
    def test_alternatives_and_what_is_asked_for_together(self):
        for expression, expected in [
            ("MIT", True),
            ("GPL-3.0-only", False),
            ("GPL-3.0-only OR MIT", True),
            ("MIT AND GPL-3.0-only", False),
            ("(MIT OR GPL-3.0-only) AND Zlib", True),
            ("MIT OR GPL-3.0-only AND Zlib", True),
            ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ]:
            self.assertEqual(allowed(expression, {"MIT", "Zlib"}), expected, expression)
        self.assertEqual(sbom.expression("MIT/Apache-2.0"), "MIT OR Apache-2.0")
        self.assertEqual(sbom.expression("Apache-2.0 / MIT"), "Apache-2.0 OR MIT")


@unittest.skipIf(OLD, "SKIPPED: the bill of materials needs Python 3.11")
class Bill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.target = sbom.host()
        cls.document = sbom.bill(cls.target)
        cls.components = {component["bom-ref"]: component for component in cls.document["components"]}

    def hash_of(self, ref):
        (entry,) = self.components[ref]["hashes"]
        self.assertEqual(entry["alg"], "SHA-256")
        return entry["content"]

    def test_it_is_a_bill(self):
        document = self.document
        self.assertEqual((document["bomFormat"], document["specVersion"], document["version"]), ("CycloneDX", "1.6", 1))
        self.assertRegex(document["serialNumber"], r"\Aurn:uuid:[0-9a-f-]{36}\Z")
        self.assertEqual(document["metadata"]["component"]["name"], "semblance")
        self.assertEqual(len(self.components), len(document["components"]), "a reference names one component")
        for component in document["components"]:
            self.assertIn(component["type"], ("library", "machine-learning-model"))
            self.assertIn(component["scope"], ("required", "excluded"))
            self.assertTrue(component["name"] and component["version"] and component["licenses"])
            self.assertRegex(self.hash_of(component["bom-ref"]), r"\A[0-9a-f]{64}\Z")
        known = {document["metadata"]["component"]["bom-ref"], *self.components}
        self.assertEqual({entry["ref"] for entry in document["dependencies"]}, known)
        for entry in document["dependencies"]:
            self.assertLessEqual(set(entry["dependsOn"]), known)
        self.assertEqual(sbom.bill(self.target), document, "the same tree gives the same bill")

    def test_every_package_that_is_linked_is_in_it(self):
        """The dependencies in Cargo.toml and what these need, as in Cargo.lock."""
        lock = {(entry["name"], entry["version"]) for entry in sbom.toml(sbom.REPOSITORY / "Cargo.lock")["package"]}
        required = {ref for ref, part in self.components.items() if part["scope"] == "required"}
        edges = {entry["ref"]: entry["dependsOn"] for entry in self.document["dependencies"]}
        direct = sbom.toml(sbom.REPOSITORY / "Cargo.toml")["dependencies"]
        macros = {"async-trait"}
        for name in direct:
            found = [ref for ref in edges["pkg:cargo/semblance@0.1.0"] if ref.startswith(f"pkg:cargo/{name}@")]
            self.assertEqual(len(found), 1, name)
            self.assertEqual(found[0] in required, name not in macros, name)
        reached, waiting = set(), ["pkg:cargo/semblance@0.1.0"]
        while waiting:
            for ref in edges[waiting.pop()]:
                if ref not in reached:
                    reached.add(ref)
                    waiting.append(ref)
        self.assertEqual(reached, set(self.components), "every component is needed by another")
        for ref in required:
            if ref.startswith("pkg:cargo/"):
                name, version = ref[len("pkg:cargo/") :].split("@")
                self.assertIn((name, version), lock)
        tests = {"insta", "proptest", "rcgen", "reqwest", "tempfile"}
        self.assertFalse([ref for ref in required if ref[len("pkg:cargo/") :].split("@")[0] in tests])
        self.assertGreater(len(required), 150)

    def test_hashes_are_those_of_the_lock_and_the_pack(self):
        lock = sbom.toml(sbom.REPOSITORY / "Cargo.lock")["package"]
        checksums = {f"pkg:cargo/{entry['name']}@{entry['version']}": entry.get("checksum") for entry in lock}
        for ref in self.components:
            if ref.startswith("pkg:cargo/"):
                self.assertEqual(self.hash_of(ref), checksums[ref])
        models = sbom.REPOSITORY / "models"
        pack = sbom.toml(models / "pack.toml")
        for entry in pack["model"]:
            ref = f"model:{entry['id']}"
            self.assertEqual(self.hash_of(ref), entry["sha256"])
            self.assertEqual(self.components[ref]["licenses"], [{"expression": entry["licence"]}])
            self.assertEqual(hashlib.sha256((models / entry["file"]).read_bytes()).hexdigest(), entry["sha256"])
        library = pack["runtime"][sbom.RUNTIMES[self.target]]
        (runtime,) = [ref for ref, part in self.components.items() if part["name"] == "onnxruntime"]
        self.assertEqual(self.hash_of(runtime), library["sha256"])
        inside = self.components[runtime]["components"]
        self.assertIn({"license": {"id": "MPL-2.0"}}, {part["name"]: part["licenses"] for part in inside}["Eigen"])
        for part in inside:
            self.assertTrue(part["name"] and part["licenses"], part)
        self.assertTrue(any(part["name"] == "sqlite" for part in self.components.values()))

    def test_licences_go_with_ours(self):
        """What cargo-deny checks too, where it is."""
        licences = set(sbom.toml(sbom.REPOSITORY / "deny.toml")["licenses"]["allow"]) | {"blessing"}
        for ref, component in self.components.items():
            (licence,) = component["licenses"]
            expression = licence.get("expression") or licence["license"]["id"]
            self.assertTrue(allowed(expression, licences), f"{ref}: {expression}")


if __name__ == "__main__":
    unittest.main()
