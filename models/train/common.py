"""What every training script shares: photos, faces, splits, crops, and the export to ONNX.

A face is a photo and the five landmarks that the server itself finds on it: `faces()` asks
`semblance analyze` once and keeps its answers in a file. Crops are cut as `src/image/align.rs` cuts
them, so that a network is trained on what it will be shown.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MODELS = REPOSITORY / "models"

# Where the landmarks lie in an aligned face of 112 x 112 pixels (`TEMPLATE` in align.rs): the eyes
# at the picture's left and right, the nose, the corners of the mouth.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
TEMPLATE_SIDE = 112
SHARP_UP_TO = 2.0


class Face(NamedTuple):
    """One photo with one face."""

    path: str  # the photo
    key: str  # the person, or the file: what splits must keep together
    landmarks: np.ndarray  # 5 x 2, pixels of the photo; whole numbers name pixel centres
    box: np.ndarray  # x, y, width, height of the face as the detector sees it

    @property
    def eyes(self):
        """Distance between the eyes in pixels."""
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))

    @property
    def part(self):
        """`train`, `validate` (for choices: thresholds, early stopping) or `test` (only reported)."""
        return part(self.key)


def part(key):
    """7 in 10 keys are for training, 1 to choose by, 2 to report on; decided by the key alone."""
    bucket = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 10
    return "test" if bucket < 2 else "validate" if bucket == 2 else "train"


def seed(number):
    """Seeds every generator there is; returns one of numpy's."""
    import torch

    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return np.random.default_rng(number)


def faces(folder, cache, person=None, binary=None):
    """The faces in the photos under `folder`, in order of their paths.

    `cache` is a folder for the output of `semblance analyze`. `person` makes a key of a path relative to
    `folder` (default: the path itself). Photos without a face are left out; where there are several,
    the one nearest to the middle is taken, which is how research sets are labelled.
    """
    folder, cache = Path(folder).resolve(), Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    answers = cache / (hashlib.sha256(str(folder).encode()).hexdigest()[:16] + ".jsonl")
    if not answers.exists():
        _analyze(folder, answers, binary or REPOSITORY / "target/release/semblance")
    found = []
    with open(answers, encoding="utf-8") as lines:
        for line in lines:
            answer = json.loads(line)
            result = answer["result"]
            if "landmarks" not in result:
                continue
            path = answer["photo"]
            name = os.path.relpath(path, folder)
            box = result["box"]
            found.append(
                Face(
                    path,
                    person(name) if person else name,
                    np.array(result["landmarks"], np.float64),
                    np.array([box["x"], box["y"], box["w"], box["h"]], np.float64),
                )
            )
    found.sort(key=lambda face: face.path)
    return found


def _analyze(folder, answers, binary):
    photos = sorted(str(p) for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not photos:
        raise SystemExit(f"{folder}: there are no photos")
    print(f"{folder}: finding the faces of {len(photos)} photos", file=sys.stderr)
    part = answers.with_suffix(".part")
    with open(part, "w", encoding="utf-8") as out:
        for at in range(0, len(photos), 1000):
            command = [str(binary), "analyze", "--json", "--central", *photos[at : at + 1000]]
            done = subprocess.run(command, cwd=REPOSITORY, stdout=out, stderr=subprocess.PIPE, text=True)
            if done.returncode not in (0, 1):  # 1: some photos have no face
                raise SystemExit(f"semblance analyze failed: {done.stderr.strip()}")
    part.rename(answers)


def lfw(data, cache, **options):
    """Labeled Faces in the Wild; keys are people."""
    return faces(Path(data) / "lfw/images", cache, person=lambda name: "lfw/" + name.split(os.sep)[0], **options)


def utkface(data, cache, **options):
    """UTKFace; keys are files, as it names no people. Labels: `utk_labels(face)`."""
    return faces(Path(data) / "utkface", cache, person=lambda name: "utk/" + name, **options)


def utk_labels(face):
    """(age, gender, race) of a UTKFace file; gender 0 male, 1 female; race 0 white, 1 black, 2 asian,
    3 indian, 4 other. None where the name lacks one."""
    parts = os.path.basename(face.path).split("_")
    try:
        age, gender, race = int(parts[0]), int(parts[1]), int(parts[2])
    except (ValueError, IndexError):
        return None
    return (age, gender, race) if gender in (0, 1) and race in range(5) else None


def load(path):
    """The photo as height x width x 3 bytes, red first, upright."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path}: not a photo")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def similarity(source, target):
    """The 2 x 3 matrix that turns, scales and moves `source` nearest to `target` (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    spread = (a * a).sum()
    cos = (a * b).sum() / spread
    sin = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.hstack([turn, (target.mean(0) - turn @ source.mean(0))[:, None]])


def crop(picture, landmarks, side, field=1.0):
    """A square of `side` pixels around the face, turned upright, black outside the photo.

    `field` is how much of the scene it shows: 1 is the field of the 112 x 112 template (3.18 eye
    distances wide), 2 twice as much in width and height, about the same centre. The same as
    `align()` in align.rs up to rounding.
    """
    scale = side / (TEMPLATE_SIDE * field)
    target = (TEMPLATE - (TEMPLATE_SIDE - 1) / 2) * scale + (side - 1) / 2
    matrix = similarity(np.asarray(landmarks, np.float64), target)
    shrink = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink * SHARP_UP_TO < 1.0:
        # Shrunk first, because bilinear sampling looks at four pixels only.
        factor = shrink * SHARP_UP_TO
        height, width = picture.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        by = np.array([size[0] / width, size[1] / height])
        matrix = similarity((np.asarray(landmarks) + 0.5) * by - 0.5, target)
    return cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))


def tensor(crops):
    """Crops as a float32 batch, N x 3 x side x side, 0 to 255: what every network here is fed."""
    return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2), dtype=np.float32)


def auc(positive, negative):
    """Area under the ROC curve: the chance that a positive scores higher than a negative."""
    positive, negative = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    both = np.concatenate([positive, negative])
    # Ties share their mean rank.
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    return (ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))


def export(network, example, file, inputs, outputs):
    """Writes a network as ONNX with fixed shapes and checks that ONNX Runtime computes the same.

    `example` is a tuple of input tensors with batch 1; returns the largest difference.
    """
    import onnx
    import onnxruntime
    import torch

    network = network.eval().cpu()
    torch.onnx.export(
        network, example, str(file), input_names=inputs, output_names=outputs, opset_version=17, dynamo=False
    )
    model = onnx.load(str(file))
    onnx.checker.check_model(model)
    with torch.no_grad():
        expected = network(*example)
    expected = expected if isinstance(expected, (tuple, list)) else (expected,)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    found = session.run(outputs, {name: value.numpy() for name, value in zip(inputs, example)})
    difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected))
    print(f"{file}: {os.path.getsize(file)} bytes, ONNX Runtime differs by at most {difference:.1e}")
    if not difference < 1e-3:
        raise SystemExit("the exported model does not compute the same")
    return difference
