#!/usr/bin/env python3
"""Times decode + detect + align + embed beside OpenCV's own, in one run, over the same photos.

    pip install 'opencv-python-headless>=4,<5'
    python3 scripts/compare_opencv.py [PHOTO...]      (default: the six test photos)

Both sides use one thread and the same two folded models. OpenCV: imread, a copy that fits into 640 x
640 (as ours), FaceDetectorYN, alignCrop on the full photo and FaceRecognizerSF. Ours:
`semblance bench identify`. The sides take turns, and each photo's median over all turns is compared. Also
printed: the cosine between both embeddings of each photo, which differ where the landmarks differ, and
between ours and OpenCV's of the same landmarks (it warps large faces without shrinking them first).
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


class OpenCv:
    """OpenCV's own detector and recogniser on the folded models."""

    def __init__(self, models):
        import cv2

        cv2.setNumThreads(1)
        self.cv2 = cv2
        self.detector = cv2.FaceDetectorYN.create(
            str(models / "face_detection_yunet_2023mar_320.onnx"), "", (640, 640), 0.7, 0.3, 5000
        )
        self.recognizer = cv2.FaceRecognizerSF.create(str(models / "face_recognition_sface_2021dec.onnx"), "")

    def embed(self, photo):
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
        return self.feature(image, face)

    def embed_at(self, photo, landmarks):
        """The embedding of a face whose landmarks are given."""
        import numpy

        points = [coordinate for point in landmarks for coordinate in point]
        return self.feature(self.cv2.imread(str(photo)), numpy.array([0, 0, 1, 1, *points, 1], numpy.float32))

    def feature(self, image, face):
        return self.recognizer.feature(self.recognizer.alignCrop(image, face)).flatten().tolist()


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def ours(binary, photos, rounds):
    command = [str(binary), "bench", "identify", "--json", "--rounds", str(rounds), *map(str, photos)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--models", type=Path, default=REPOSITORY / "models" / "fetched")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10, help="rounds over all photos per turn")
    options = parser.parse_args()
    photos = options.photos or sorted((REPOSITORY / ".cache" / "photos").glob("*.jpg"))
    try:
        rival = OpenCv(options.models)
    except ImportError:
        sys.exit("OpenCV is not installed: pip install 'opencv-python-headless>=4,<5'")
    print(f"OpenCV {rival.cv2.__version__}, one thread; {len(photos)} photos, {options.turns} turns")

    theirs = {photo: [] for photo in photos}
    own = {photo: [] for photo in photos}
    vectors = {}
    for _ in range(options.turns):
        for turn in range(options.rounds + 1):
            for photo in photos:
                start = time.perf_counter()
                embedding = rival.embed(photo)
                if turn:  # the first round warms up
                    theirs[photo].append((time.perf_counter() - start) * 1000)
                vectors[photo] = [embedding]
        for photo, line in zip(photos, ours(options.binary, photos, options.rounds)):
            own[photo].append(line["total_ms"])
            vectors[photo] += [line["embedding"], rival.embed_at(photo, line["landmarks"])]

    ratios = []
    for photo in photos:
        their, our = statistics.median(theirs[photo]), statistics.median(own[photo])
        ratios.append(our / their)
        a, b, same = vectors[photo]
        cosines = f"cosine {cosine(a, b):.4f}, with our landmarks {cosine(same, b):.4f}" if a else "OpenCV: no face"
        print(f"{photo.name}: OpenCV {their:.2f} ms, ours {our:.2f} ms, ratio {our / their:.2f}, {cosines}")
    total = sum(statistics.median(own[p]) for p in photos) / sum(statistics.median(theirs[p]) for p in photos)
    print(f"all photos: ratio {total:.2f}, median of the ratios {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
