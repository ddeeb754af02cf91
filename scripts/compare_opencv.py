#!/usr/bin/env python3
"""Times decode + detect + align + embed beside OpenCV's own, in one run, over the same photos.

    python3 -m venv opencv4 && opencv4/bin/pip install 'opencv-python-headless>=4,<5'
    python3 -m venv opencv5 && opencv5/bin/pip install 'opencv-python-headless>=5,<6'
    python3 scripts/compare_opencv.py --opencv opencv4/bin/python --opencv opencv5/bin/python [PHOTO...]

Without photos, the six test photos; without --opencv, the interpreter that runs this script. Each OpenCV runs in a
process of its own, as two versions cannot be in one. All sides use one thread and the same two networks; OpenCV gets
a copy of SFace with its embedding as the only output, because it takes the last of several, or refuses them. OpenCV:
imread, a copy that fits into 640 x 640, FaceDetectorYN, alignCrop on the full photo and FaceRecognizerSF. Ours:
`semblance bench identify`. The sides take turns, and each photo's median over all turns is compared.

A comparison of times says something only if both sides compute the same. So of each photo this must hold, or the
script exits with 1: the boxes overlap, and the embeddings agree, both of either side's own landmarks and of the same
landmarks (OpenCV warps large faces without shrinking them first).
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # for the import below: the scripts may lie in a read-only folder
sys.path.insert(0, str(Path(__file__).resolve().parent))
from onnx_fold import with_outputs

REPOSITORY = Path(__file__).resolve().parent.parent
MIN_OVERLAP = 0.6  # intersection over union of both boxes
MIN_COSINE = 0.90  # of the embeddings, each side with landmarks of its own
MIN_COSINE_SAME_LANDMARKS = 0.97


class OpenCv:
    """OpenCV's own detector and recogniser on the folded models."""

    def __init__(self, detector, embedder):
        import cv2

        cv2.setNumThreads(1)
        self.cv2 = cv2
        self.detector = cv2.FaceDetectorYN.create(detector, "", (640, 640), 0.7, 0.3, 5000)
        self.recognizer = cv2.FaceRecognizerSF.create(embedder, "")

    def embed(self, photo):
        """The box and the embedding of the best face; None without a face."""
        cv2 = self.cv2
        image = cv2.imread(str(photo))
        height, width = image.shape[:2]
        scale = min(640 / width, 640 / height)
        small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        self.detector.setInputSize((small.shape[1], small.shape[0]))
        _, faces = self.detector.detect(small)
        if faces is None:
            return None
        face = faces[0].copy()
        face[:14] /= scale
        return face[:4].tolist(), self.feature(image, face)

    def embed_at(self, photo, landmarks):
        """The embedding of a face whose landmarks are given."""
        import numpy

        points = [coordinate for point in landmarks for coordinate in point]
        return self.feature(self.cv2.imread(str(photo)), numpy.array([0, 0, 1, 1, *points, 1], numpy.float32))

    def feature(self, image, face):
        return self.recognizer.feature(self.recognizer.alignCrop(image, face)).flatten().tolist()


def worker(detector, embedder):
    """Answers questions on standard input, a line of JSON each: the process that has an OpenCV."""
    rival = OpenCv(detector, embedder)
    print(json.dumps(rival.cv2.__version__), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "landmarks" in question:
            answer = rival.embed_at(question["photo"], question["landmarks"])
        else:
            times = []
            for turn in range(question["rounds"] + 1):
                start = time.perf_counter()
                found = rival.embed(question["photo"])
                if turn:  # the first round warms up
                    times.append((time.perf_counter() - start) * 1000)
            answer = {"times": times, "found": found}
        print(json.dumps(answer), flush=True)


class Rival:
    """A process with an OpenCV."""

    def __init__(self, python, detector, embedder):
        command = [str(python), __file__, "--worker", str(detector), str(embedder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.times = {}
        try:
            self.version = self._answer()
        except ValueError:
            sys.exit(f"{python} has no OpenCV that reads the networks: pip install 'opencv-python-headless>=4'")

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        return json.loads(self.process.stdout.readline())


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def overlap(a, b):
    """Intersection over union of two boxes as (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    return inner / (a[2] * a[3] + b[2] * b[3] - inner)


def disagreements(ours, found, same):
    """What keeps our result for a photo and OpenCV's from being the same face, the same way."""
    if found is None:
        return ["OpenCV finds no face"]
    box, embedding = found
    checks = (
        ("the boxes overlap by", overlap(ours["box"], box), MIN_OVERLAP),
        ("the cosine is", cosine(ours["embedding"], embedding), MIN_COSINE),
        ("with our landmarks the cosine is", cosine(ours["embedding"], same), MIN_COSINE_SAME_LANDMARKS),
    )
    return [f"{what} {value:.3f}, not at least {least}" for what, value, least in checks if not value >= least]


def bench(binary, photos, rounds):
    command = [str(binary), "bench", "identify", "--json", "--rounds", str(rounds), *map(str, photos)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(rivals, photos, options):
    """Prints the comparison; returns what does not agree."""
    own, ours = {photo: [] for photo in photos}, {}
    for _ in range(options.turns):
        for rival in rivals:
            for photo in photos:
                answer = rival.ask(photo=str(photo), rounds=options.rounds)
                rival.times.setdefault(photo, []).extend(answer["times"])
        for photo, line in zip(photos, bench(options.binary, photos, options.rounds)):
            own[photo].append(line["total_ms"])
            ours[photo] = line
    faults = []
    for rival in rivals:
        print(f"OpenCV {rival.version}, one thread; {len(photos)} photos, {options.turns} turns")
        ratios = []
        for photo in photos:
            their, our = statistics.median(rival.times[photo]), statistics.median(own[photo])
            ratios.append(our / their)
            found = rival.ask(photo=str(photo), rounds=0)["found"]
            same = rival.ask(photo=str(photo), landmarks=ours[photo]["landmarks"])
            line = f"{photo.name}: OpenCV {their:.2f} ms, ours {our:.2f} ms, ratio {our / their:.2f}"
            if found is not None:
                line += f", boxes {overlap(ours[photo]['box'], found[0]):.2f}"
                line += f", cosine {cosine(ours[photo]['embedding'], found[1]):.4f}"
                line += f", with our landmarks {cosine(ours[photo]['embedding'], same):.4f}"
            print(line)
            wrong = disagreements(ours[photo], found, same)
            faults += [f"OpenCV {rival.version}, {photo.name}: {what}" for what in wrong]
        their, our = (sum(map(statistics.median, times.values())) for times in (rival.times, own))
        print(f"all photos: ratio {our / their:.2f}, median of the ratios {statistics.median(ratios):.2f}\n")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--opencv", action="append", metavar="PYTHON", help="an interpreter that has an OpenCV")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "models" / "fetched")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10, help="rounds over all photos per turn")
    options = parser.parse_args()
    photos = options.photos or sorted((REPOSITORY / ".cache" / "photos").glob("*.jpg"))
    detector = options.models / "face_detection_yunet_2023mar_320.onnx"
    with tempfile.TemporaryDirectory() as scratch:
        embedder = Path(scratch) / "sface.onnx"
        embedder.write_bytes(with_outputs((options.models / "face_recognition_sface_2021dec.onnx").read_bytes(), ["fc1"]))
        rivals = [Rival(python, detector, embedder) for python in options.opencv or [sys.executable]]
        faults = compare(rivals, photos, options)
        for rival in rivals:
            rival.process.stdin.close()
            rival.process.wait()
    for fault in faults:
        print(f"compare_opencv: not the same: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        sys.exit(main())
