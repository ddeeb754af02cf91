"""The comparison with OpenCV: what it calls the same, and that it says so by its exit code. No OpenCV is needed."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import compare_opencv
from onnx_fold import with_outputs

# An OpenCV with the parts that are used. What it finds stands in the photo, as JSON.
CV2 = """
import json, pathlib
__version__ = "0.0 (a test's)"
INTER_AREA = 0
setNumThreads = lambda _: None

class Image:
    shape = (100, 100, 3)
    def __init__(self, photo): self.photo = photo

class Numbers(list):
    def copy(self): return Numbers(self)
    def __getitem__(self, at):
        return Numbers(list.__getitem__(self, at)) if isinstance(at, slice) else list.__getitem__(self, at)
    def __itruediv__(self, scale): return Numbers(x / scale for x in self)
    def tolist(self): return list(self)
    def flatten(self): return self

imread = Image
def resize(image, size, interpolation):
    small = Image(image.photo)
    small.shape = (size[1], size[0], 3)
    return small

class FaceDetectorYN:
    @staticmethod
    def create(*_): return FaceDetectorYN()
    def setInputSize(self, _): pass
    def detect(self, image):
        box = json.loads(pathlib.Path(image.photo).read_text())["theirs"]["box"]
        return 1, box and [Numbers([6.4 * x for x in box] + [0] * 11)]

class FaceRecognizerSF:
    @staticmethod
    def create(*_): return FaceRecognizerSF()
    def alignCrop(self, image, face): return image
    def feature(self, image): return Numbers(json.loads(pathlib.Path(image.photo).read_text())["theirs"]["embedding"])
"""
NUMPY = "float32 = 0\narray = lambda values, _: values\n"
BINARY = """#!/usr/bin/env python3
import json, pathlib, sys
for photo in sys.argv[sys.argv.index("--rounds") + 2:]:
    print(json.dumps(json.loads(pathlib.Path(photo).read_text())["ours"] | {"total_ms": 2.0, "landmarks": [[1, 2]] * 5}))
"""
MODELS = SCRIPTS.parent / "models" / "fetched"


class Comparison(unittest.TestCase):
    def test_overlap_and_cosine(self):
        self.assertEqual(compare_opencv.overlap([0, 0, 2, 2], [0, 0, 2, 2]), 1)
        self.assertAlmostEqual(compare_opencv.overlap([0, 0, 2, 2], [1, 0, 2, 2]), 1 / 3)
        self.assertEqual(compare_opencv.overlap([0, 0, 2, 2], [5, 5, 2, 2]), 0)
        self.assertAlmostEqual(compare_opencv.cosine([3, 4], [4, 3]), 0.96)

    def test_every_disagreement_is_named(self):
        ours = {"box": [0, 0, 10, 10], "embedding": [1.0, 0.0]}
        self.assertEqual(compare_opencv.disagreements(ours, ([0, 0, 10, 10], [1.0, 0.1]), [1.0, 0.0]), [])
        for found, same, word in [
            (([8, 0, 10, 10], [1.0, 0.0]), [1.0, 0.0], "boxes"),
            (([0, 0, 10, 10], [0.0, 1.0]), [1.0, 0.0], "the cosine is 0.000"),
            (([0, 0, 10, 10], [1.0, 0.0]), [0.0, 1.0], "with our landmarks"),
            (([0, 0, 10, 10], [float("nan"), 0.0]), [1.0, 0.0], "the cosine is nan"),
            (None, [1.0, 0.0], "no face"),
        ]:
            (fault,) = compare_opencv.disagreements(ours, found, same)
            self.assertIn(word, fault)

    @unittest.skipUnless(MODELS.is_dir(), "nothing is set up yet")
    def test_the_exit_code_says_whether_both_sides_compute_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "cv2.py").write_text(CV2)
            (folder / "numpy.py").write_text(NUMPY)
            binary, python = folder / "semblance", folder / "python"
            binary.write_text(BINARY)
            python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
            binary.chmod(0o755)
            python.chmod(0o755)

            def run(theirs):
                ours = {"box": [10, 10, 50, 50], "embedding": [1.0, 0.0]}
                (folder / "photo").write_text(json.dumps({"ours": ours, "theirs": theirs}))
                command = [sys.executable, str(SCRIPTS / "compare_opencv.py"), str(folder / "photo")]
                command += ["--binary", str(binary), "--opencv", str(python), "--opencv", str(python)]
                command += ["--turns", "1", "--rounds", "1"]
                return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

            done = run({"box": [10, 10, 50, 50], "embedding": [2.0, 0.0]})
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout.count("boxes 1.00, cosine 1.0000, with our landmarks 1.0000"), 2)
            # The fault that was there: the last of two outputs was taken for the embedding.
            done = run({"box": [10, 10, 50, 50], "embedding": [0.0, 1.0]})
            self.assertEqual(done.returncode, 1)
            self.assertIn("photo: the cosine is 0.000, not at least", done.stderr)
            done = run({"box": None, "embedding": [1.0, 0.0]})
            self.assertEqual(done.returncode, 1)
            self.assertIn("OpenCV finds no face", done.stderr)

    @unittest.skipUnless(MODELS.is_dir(), "nothing is set up yet")
    def test_the_network_for_opencv_has_one_output(self):
        model = (MODELS / "face_recognition_sface_2021dec.onnx").read_bytes()
        self.assertIn(b"bn1", model)
        self.assertLess(len(with_outputs(model, ["fc1"])), len(model))


if __name__ == "__main__":
    unittest.main()
