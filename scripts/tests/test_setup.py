"""The set-up scripts, without the network: pip is replaced by one that does what a test wants."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
from array import array
from pathlib import Path
from unittest import mock

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import onnx_fold
import setup
from onnx_fold import FLOAT, INT8, INT64, UINT8, FoldError, Node, Tensor, fold, with_outputs


class Refusals(unittest.TestCase):
    """Each failure is one sentence, status 1, and no file."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.root = self.folder / "root"

    def run_setup(self, *options, python_options=(), **environment):
        command = [sys.executable, *python_options, str(SCRIPTS / "setup.py"), "--root", str(self.root), *options]
        return subprocess.run(
            command, env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def fake_pip(self, body):
        """A PYTHONPATH with a `pip` whose program is `body`; DEST is the folder to download into."""
        package = self.folder / "fake" / "pip"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        prologue = "import pathlib, sys\nDEST = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
        (package / "__main__.py").write_text(prologue + body)
        return {"PYTHONPATH": str(package.parent)}

    def assert_refused(self, done, *words):
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"\Asetup: [^\n]*\.\n\Z")
        for word in words:
            self.assertIn(word, done.stderr)
        left = [path for path in self.root.rglob("*") if not path.is_dir()] if self.root.is_dir() else []
        self.assertEqual(left, [])

    def test_wrong_package(self):
        pip = self.fake_pip("DEST.mkdir()\n(DEST / 'onnxruntime.whl').write_bytes(b'not it')\n")
        self.assert_refused(self.run_setup(**pip), "the package onnxruntime 1.28.0", "SHA-256", "thrown away")

    def test_pip_reports_a_wrong_hash(self):
        pip = self.fake_pip("sys.exit('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.')\n")
        self.assert_refused(self.run_setup(**pip), "onnxruntime 1.28.0", "does not have the SHA-256")

    def test_no_pip(self):
        self.assert_refused(self.run_setup(python_options=["-S"]), "no pip", "ensurepip")

    def test_pip_fails(self):
        pip = self.fake_pip("sys.exit('WARNING: retrying\\nERROR: No matching distribution found')\n")
        self.assert_refused(self.run_setup(**pip), "could not fetch onnxruntime 1.28.0", "No matching distribution")

    def test_no_network(self):
        nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
        done = self.run_setup(PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL="", **nowhere)
        self.assert_refused(done, "could not fetch onnxruntime 1.28.0", "check the network")

    def test_unwritable_folder(self):
        self.root.write_text("a file")
        done = self.run_setup(**self.fake_pip(""))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Asetup: [^\n]*\.\n\Z")
        self.assertIn(str(self.root), done.stderr)

    def test_unsupported_platform(self):
        with self.assertRaisesRegex(setup.Problem, "no build of ONNX Runtime"):
            setup.Setup(self.root, "Plan9 mips").runtime()
        with mock.patch.dict(os.environ):
            os.environ.pop("SEMBLANCE_TEST_POSTGRES_URL", None)
            with self.assertRaisesRegex(setup.Problem, "no packaged Postgres"):
                setup.Setup(self.root, "Plan9 mips").postgres()
        with mock.patch.object(setup.platform, "system", return_value="Linux"):
            with mock.patch.object(setup, "_glibc", return_value=(2, 27)):
                with self.assertRaisesRegex(setup.Problem, "glibc 2.28"):
                    setup.host()

    @unittest.skipUnless((setup.REPOSITORY / "models" / "fetched").is_dir(), "nothing is set up yet")
    def test_what_is_here_is_not_fetched_again(self):
        self.root = setup.REPOSITORY
        done = self.run_setup(**self.fake_pip("sys.exit('ERROR: fetched again')\n"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.count("already here"), 2)

    def test_toolchain(self):
        cargo, rustc, cc = (self.folder / "bin" / name for name in ("cargo", "rustc", "cc"))
        cargo.parent.mkdir()
        with mock.patch.dict(os.environ, PATH=str(cargo.parent)):
            os.environ.pop("CC", None)
            self.assert_toolchain("no Rust toolchain")
            for program in (cargo, rustc):
                program.write_text("#!/bin/sh\necho rustc 1.60.0\n")
                program.chmod(0o755)
            self.assert_toolchain("rustc is 1.60.0 and must be")
            rustc.write_text("#!/bin/sh\necho 'rustc 9.0.1-nightly (0 2030-01-01)'\n")
            self.assert_toolchain("no C compiler")
            cc.write_text("#!/bin/sh\n")
            cc.chmod(0o755)
            with mock.patch.object(setup, "_say"):
                setup.check_toolchain()

    def assert_toolchain(self, words):
        with self.assertRaisesRegex(setup.Problem, words):
            setup.check_toolchain()


class Fetching(unittest.TestCase):
    """One asset through its life, with a package made here in place of pip's."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name) / "root"
        self.downloads = 0
        self.content = b"a library"
        self.package = setup.Package("thing", "1", self.wheel_sha256())
        self.target = self.root / "models" / "fetched" / "thing"
        self.patch(mock.patch.object(setup, "_say"))
        self.patch(mock.patch.object(setup, "_download", self.download))

    def patch(self, patch):
        patch.start()
        self.addCleanup(patch.stop)

    def wheel_sha256(self):
        with tempfile.TemporaryDirectory() as folder:
            return setup._file_sha256(self.wheel(Path(folder)))

    def wheel(self, folder):
        path = folder / "thing.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("thing"), self.content)
        return path

    def download(self, _package, scratch):
        self.downloads += 1
        return self.wheel(scratch)

    def fetch(self, pinned=b"a library"):
        def take(wheel):
            with zipfile.ZipFile(wheel) as archive:
                return {self.target: archive.read("thing")}

        setup.Setup(self.root, "Linux x86_64")._files(
            "thing", self.package, {self.target: setup._sha256(pinned)}, take
        )

    def files(self):
        return [path.name for path in self.root.rglob("*") if not path.is_dir()]

    def test_second_run_fetches_nothing(self):
        self.fetch()
        self.fetch()
        self.assertEqual((self.downloads, self.files()), (1, ["thing"]))
        self.assertEqual(self.target.read_bytes(), b"a library")

    def test_damaged_file_is_fetched_again(self):
        self.fetch()
        self.target.write_bytes(b"a librarz")
        self.fetch()
        self.assertEqual((self.downloads, self.target.read_bytes()), (2, b"a library"))

    def test_wrong_package_leaves_nothing(self):
        self.content = b"another library"
        with self.assertRaisesRegex(setup.Problem, "the package thing 1 has the SHA-256 .* instead of the pinned"):
            self.fetch()
        self.assertEqual(self.files(), [])

    def test_wrong_file_in_the_package_leaves_nothing(self):
        with self.assertRaisesRegex(setup.Problem, "thing has the SHA-256"):
            self.fetch(pinned=b"what was expected")
        self.assertEqual(self.files(), [])

    RUNTIME = ["lib.so", "onnxruntime-LICENSE", "onnxruntime-ThirdPartyNotices.txt", "onnxruntime-components.json"]

    def runtime(self, library):
        """A set-up whose pinned runtime is `library`."""
        texts = {"LICENSE": b"licence", "ThirdPartyNotices.txt": b"Notices\n_____\n\nonnx\n\nMIT License\n"}
        self.content = library
        with tempfile.TemporaryDirectory() as folder:
            wheel = Path(folder) / "runtime.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr("onnxruntime/capi/lib.so", library)
                for text in texts:
                    archive.writestr(f"onnxruntime/{text}", texts[text])
            package, content = setup.Package("thing", "1", setup._file_sha256(wheel)), wheel.read_bytes()

        def download(_package, scratch):
            (scratch / "runtime.whl").write_bytes(content)
            return scratch / "runtime.whl"

        self.patch(mock.patch.object(setup, "_download", download))
        self.patch(
            mock.patch.object(setup, "ONNXRUNTIME", {"Plan9 mips": (package, "lib.so", setup._sha256(library))})
        )
        pinned = {text: setup._sha256(content) for text, content in texts.items()}
        self.patch(mock.patch.object(setup, "ONNXRUNTIME_TEXTS", pinned))
        setup.Setup(self.root, "Plan9 mips").runtime()

    def test_a_runtime_that_sends_telemetry_is_refused(self):
        markers = [line.split("\t") for line in setup.TELEMETRY_MARKERS.read_text().splitlines() if line[0] != "#"]
        self.assertGreater(len(markers), 10)
        for marker, client in markers:
            with self.assertRaises(setup.Problem) as refused:
                self.runtime(b"\x7fELF" + bytes(1000) + b"https://eu." + marker.encode() + b"/1\0")
            for word in ("lib.so", marker, client, "pin a build"):
                self.assertIn(word, str(refused.exception))
            self.assertEqual(self.files(), [])

    def test_an_installed_runtime_that_sends_telemetry_is_refused(self):
        path = self.root / "models" / "fetched" / "lib.so"
        self.runtime(b"a silent library")
        self.assertEqual(sorted(self.files()), self.RUNTIME)
        components = json.loads((path.parent / "onnxruntime-components.json").read_text())
        self.assertEqual(components, [{"name": "onnx", "source": None, "licences": ["MIT"]}])
        library = b"https://mobile.events.data.microsoft.com/OneCollector/1.0"
        path.write_bytes(library)
        pinned = {"Plan9 mips": (self.package, "lib.so", setup._sha256(library))}
        with mock.patch.object(setup, "ONNXRUNTIME", pinned):
            with self.assertRaisesRegex(setup.Problem, "lib.so is a build that sends telemetry"):
                setup.Setup(self.root, "Plan9 mips").runtime()

    def test_a_runtime_that_is_no_longer_pinned_is_removed(self):
        fetched = self.root / "models" / "fetched"
        fetched.mkdir(parents=True)
        for name in ("ours.so", "changed.so", "theirs.so"):
            (fetched / name).write_bytes(b"a former library")
        (fetched / "changed.so").write_bytes(b"a library of their own")
        former = {name: (setup._sha256(b"a former library"),) for name in ("ours.so", "changed.so", "missing.so")}
        with mock.patch.object(setup, "FORMER_RUNTIMES", former):
            self.runtime(b"a silent library")
        self.assertEqual(sorted(self.files()), sorted([*self.RUNTIME, "changed.so", "theirs.so"]))

    def test_the_pinned_runtimes_are_those_of_the_pack(self):
        pack = (setup.REPOSITORY / "models" / "pack.toml").read_text()
        for package, library, sha256 in setup.ONNXRUNTIME.values():
            self.assertIn(f'file = "fetched/{library}"\nsha256 = "{sha256}"', pack)
            self.assertIn(package.version, library)
            self.assertNotIn(library, setup.FORMER_RUNTIMES)

    def test_interrupted_write_leaves_nothing(self):
        with mock.patch.object(setup.os, "replace", side_effect=SystemExit(143)):
            with self.assertRaises(SystemExit):
                self.fetch()
        self.assertEqual(self.files(), [])

    def test_tree_digest_sees_content_names_and_modes(self):
        self.fetch()
        seen = {setup._tree_digest(self.root)}
        self.target.chmod(0o755)
        seen.add(setup._tree_digest(self.root))
        self.target.write_bytes(b"else")
        seen.add(setup._tree_digest(self.root))
        self.target.rename(self.target.with_name("other"))
        seen.add(setup._tree_digest(self.root))
        self.assertEqual(len(seen), 4)


class Folding(unittest.TestCase):
    """Models of a few bytes, written here field by field."""

    def fold(self, nodes, tensors, inputs=("x",), outputs=("y",), **options):
        graph = [field(1, node) for node in nodes]
        graph += [field(5, tensor.write()) for tensor in tensors]
        graph += [field(11, value(name, [1, 3, 64, 64])) for name in inputs]
        graph += [field(12, value(name, [1, 4, 2])) for name in outputs]
        graph += [field(13, value("stale", [1, 2]))]
        model = number(1, 6) + field(7, b"".join(graph)) + field(8, number(2, 21))
        return Folded(fold(model, **options))

    def dequantized(self, tensors, **attributes):
        names = [tensor.name for tensor in tensors]
        nodes = [node("DequantizeLinear", names, "w", **attributes), node("Conv", ["x", "w"], "y")]
        return self.fold(nodes, tensors).tensors["w"]

    def test_per_tensor(self):
        tensors = [int8("q", [2, 3], [-128, -1, 0, 1, 2, 127]), floats("s", [], [0.5]), int8("z", [], [1])]
        weights = self.dequantized(tensors)
        self.assertEqual(weights.dims, [2, 3])
        self.assertEqual(list(weights.floats()), [-64.5, -1.0, -0.5, 0.0, 0.5, 63.0])

    def test_one_scale_serves_all_whatever_the_block_size(self):
        tensors = [int8("q", [3], [1, 2, 3]), floats("s", [1], [2.0]), int8("z", [1], [0])]
        weights = self.dequantized(tensors, axis=0, block_size=64)
        self.assertEqual(list(weights.floats()), [2.0, 4.0, 6.0])

    def test_per_axis(self):
        weights = self.dequantized([int8("q", [2, 2, 2], range(8)), floats("s", [2], [1.0, 10.0])])
        self.assertEqual(list(weights.floats()), [0, 1, 20, 30, 4, 5, 60, 70])
        weights = self.dequantized([int8("q", [2, 2, 2], range(8)), floats("s", [2], [1.0, 10.0])], axis=-1)
        self.assertEqual(list(weights.floats()), [0, 10, 2, 30, 4, 50, 6, 70])

    def test_blocked(self):
        scales, zeros = floats("s", [2, 3], [1, 2, 3, 4, 5, 6]), int8("z", [2, 3], [0, 0, 0, 1, 0, 0])
        tensors = [int8("q", [2, 5], range(10)), scales, zeros]
        weights = self.dequantized(tensors, axis=1, block_size=2)
        self.assertEqual(list(weights.floats()), [0, 1, 4, 6, 12, 16, 20, 35, 40, 54])

    def test_blocked_along_an_outer_axis(self):
        tensors = [int8("q", [3, 2], [1, 1, 1, 1, 1, 1]), floats("s", [2, 2], [1, 2, 3, 4])]
        weights = self.dequantized(tensors, axis=0, block_size=2)
        self.assertEqual(list(weights.floats()), [1, 2, 1, 2, 3, 4])

    def test_unsigned_and_rounded_once(self):
        data, zero = Tensor("q", UINT8, [2], bytes([0, 255])), Tensor("z", UINT8, [], bytes([7]))
        weights = self.dequantized([data, floats("s", [], [1 / 3]), zero])
        third = array("f", [1 / 3])[0]
        self.assertEqual(weights.floats(), array("f", [-7 * third, 248 * third]))

    def test_reshape_and_leftovers(self):
        tensors = [int8("q", [2, 2], [1, 2, 3, 4]), floats("s", [], [1.0]), int64("shape", [1, 0, -1])]
        tensors.append(floats("kept", [1], [9.0]))
        nodes = [
            node("DequantizeLinear", ["q", "s"], "flat", block_size=64),
            node("Reshape", ["flat", "shape"], "w"),
            node("Conv", ["x", "w", "kept"], "y"),
        ]
        folded = self.fold(nodes, tensors, inputs=("x", "q", "kept", "former"))
        self.assertEqual([each.op for each in folded.nodes], ["Conv"])
        self.assertEqual(sorted(folded.tensors), ["kept", "w"])
        self.assertEqual(folded.tensors["w"].dims, [1, 2, 2])
        self.assertEqual(folded.inputs, {"x": [1, 3, 64, 64]})
        self.assertEqual(folded.shapes, ["stale"])

    def test_computed_values_are_left_alone(self):
        nodes = [node("DequantizeLinear", ["x", "s"], "y"), node("Reshape", ["x", "shape"], "z")]
        folded = self.fold(nodes, [floats("s", [], [1.0]), int64("shape", [-1])])
        self.assertEqual([each.op for each in folded.nodes], ["DequantizeLinear", "Reshape"])
        self.assertEqual(sorted(folded.tensors), ["s", "shape"])

    def test_prelu_becomes_relu_and_two_scalings(self):
        folded = self.fold([node("PRelu", ["x", "slope"], "y")], [floats("slope", [3, 1, 1], [-0.5, 0.25, 2.0])])
        self.assertEqual([each.op for each in folded.nodes], ["Relu", "Conv", "Conv", "Add"])
        self.assertEqual([each.integers for each in folded.nodes], [{}, {"group": 3}, {"group": 3}, {}])
        above, every = (folded.tensors[each.inputs[1]] for each in folded.nodes[1:3])
        self.assertEqual((above.dims, every.dims), ([3, 1, 1, 1], [3, 1, 1, 1]))
        self.assertEqual(sorted(folded.tensors), sorted([above.name, every.name]))
        for x in (-2.0, 0.0, 3.0):  # in each channel, the sum of both scalings is x or slope * x
            got = [a * max(x, 0.0) + b * x for a, b in zip(above.floats(), every.floats())]
            self.assertEqual(got, [x if x > 0 else slope * x for slope in (-0.5, 0.25, 2.0)])

    def test_nothing_to_fold_changes_nothing(self):
        graph = field(1, node("Conv", ["x", "w"], "y")) + field(5, floats("w", [1], [1.0]).write())
        graph += field(11, value("x", [1])) + field(12, value("y", [1])) + field(2, b"name")
        model = number(1, 6) + field(7, graph) + field(200, b"unknown") + b"\x9d\x06abcd"
        self.assertEqual(fold(model), model)

    def test_another_input_size(self):
        folded = self.fold([node("Conv", ["x"], "y")], [], input_hw=(32, 128))
        self.assertEqual((folded.inputs, folded.outputs), ({"x": [1, 3, 32, 128]}, {"y": [1, 4, 2]}))
        self.assertEqual(self.fold([node("Conv", ["x"], "y")], [], input_hw=(128, 128)).outputs, {"y": [1, 16, 2]})
        self.assertEqual(folded.shapes, [])
        with self.assertRaisesRegex(FoldError, "whole cells"):
            self.fold([node("Conv", ["x"], "y")], [], input_hw=(33, 64))

    def test_an_inner_tensor_becomes_an_output(self):
        nodes = [node("Conv", ["x"], "inner"), node("Relu", ["inner"], "y")]
        folded = self.fold(nodes, [], output=("inner", [1, 8, 7]))
        self.assertEqual(folded.outputs, {"y": [1, 4, 2], "inner": [1, 8, 7]})
        with self.assertRaisesRegex(FoldError, "no other in the graph"):
            self.fold(nodes, [], output=("other", [1]))

    def test_outputs_are_left_out(self):
        graph = [field(1, node("Conv", ["x"], "inner")), field(1, node("Relu", ["inner"], "y"))]
        graph += [field(11, value("x", [1])), field(12, value("y", [1, 4])), field(12, value("inner", [1, 8]))]
        model = number(1, 6) + field(7, b"".join(graph)) + field(8, number(2, 21))
        kept = with_outputs(model, ["y"])
        self.assertEqual(Folded(kept).outputs, {"y": [1, 4]})
        self.assertEqual([each.op for each in Folded(kept).nodes], ["Conv", "Relu"])
        self.assertEqual(with_outputs(model, ["inner", "y"]), model)
        with self.assertRaisesRegex(FoldError, "no output z"):
            with_outputs(model, ["y", "z"])

    def test_what_is_no_model_is_refused(self):
        for data in (b"\x3a\x7f", b"\x3f", b"\xff"):
            with self.assertRaises(FoldError):
                fold(data)


class Folded:
    """A folded model, read back."""

    def __init__(self, model):
        graph = list(onnx_fold._fields(onnx_fold._message(model)[7]))
        self.nodes = [Node(each) for key, _, each, _ in graph if key == 1]
        self.tensors = {tensor.name: tensor for tensor in (Tensor.read(each) for key, _, each, _ in graph if key == 5)}
        self.inputs = {onnx_fold._name(each): onnx_fold._shape(each) for key, _, each, _ in graph if key == 11}
        self.outputs = {onnx_fold._name(each): onnx_fold._shape(each) for key, _, each, _ in graph if key == 12}
        self.shapes = [onnx_fold._name(each) for key, _, each, _ in graph if key == 13]


field, number = onnx_fold._field, onnx_fold._number


def node(op, inputs, output, **attributes):
    parts = [field(1, name.encode()) for name in inputs] + [field(2, output.encode()), field(4, op.encode())]
    for name, integer in attributes.items():
        parts.append(field(5, field(1, name.encode()) + number(3, integer) + number(20, 2)))
    return b"".join(parts)


def value(name, dims):
    shape = b"".join(field(1, number(1, size)) for size in dims)
    return field(1, name.encode()) + field(2, field(1, number(1, FLOAT) + field(2, shape)))


def int8(name, dims, values):
    return Tensor(name, INT8, dims, array("b", values).tobytes())


def int64(name, values):
    return Tensor(name, INT64, [len(values)], struct.pack(f"<{len(values)}q", *values))


def floats(name, dims, values):
    return Tensor(name, FLOAT, dims, struct.pack(f"<{len(values)}f", *values))


if __name__ == "__main__":
    unittest.main()
