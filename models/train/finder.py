"""The server's way to a face, in Python: YuNet on the whole photo, then a second look at each face.

`common.faces()` asks the server itself, which is best for photos as they are. A script that spoils photos by the ten
thousand needs the same landmarks without writing each photo to disk; this is `src/engine/finder.rs`, with the numbers
of `pack.toml`, and agrees with the server to about a pixel (windows are resampled by OpenCV).
"""

import tomllib
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime

from common import MODELS, TEMPLATE, TEMPLATE_SIDE, crop, similarity, tensor

STRIDES = (8, 16, 32)
MIRRORED = (1, 0, 2, 4, 3)  # the landmarks' places in a mirror image


class Seen(NamedTuple):
    """One detected face in pixels of the photo."""

    box: np.ndarray  # x, y, width, height
    landmarks: np.ndarray  # 5 x 2
    score: float

    @property
    def eyes(self):
        """Distance between the eyes in pixels."""
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))

    @property
    def roll(self):
        """By how many degrees the face is turned, as its landmarks have it."""
        turn = similarity(TEMPLATE, self.landmarks)
        return float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))


def session(path, outputs=()):
    """A model on one thread; `outputs` are inner tensors to be given as well, by name and shape."""
    import onnx

    model = onnx.load(str(path))
    for name, shape in outputs:
        if not any(output.name == name for output in model.graph.output):
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, shape))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def overlap(a, b):
    """Intersection over union of box `a` with each of the boxes `b`."""
    left, top = np.maximum(a[0], b[:, 0]), np.maximum(a[1], b[:, 1])
    right, bottom = np.minimum(a[0] + a[2], b[:, 0] + b[:, 2]), np.minimum(a[1] + a[3], b[:, 1] + b[:, 3])
    both = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    return both / np.maximum(a[2] * a[3] + b[:, 2] * b[:, 3] - both, 1e-9)


class Finder:
    """Finds faces as the server does."""

    def __init__(self):
        pack = tomllib.loads((MODELS / "pack.toml").read_text(encoding="utf-8"))
        self.detector, self.faces = pack["detector"], pack["faces"]
        files = {model["id"]: model["file"] for model in pack["model"]}
        self.inputs = {
            name: (session(MODELS / files[spec["model"]]), spec["input"]["size"])
            for name, spec in self.detector["inputs"].items()
        }
        self.grids = {
            (size, stride): np.stack(np.meshgrid(np.arange(size // stride), np.arange(size // stride)), -1).reshape(-1, 2)
            for _, size in self.inputs.values()
            for stride in STRIDES
        }

    def candidates(self, name, square, least):
        """Rows of x, y, width, height, ten coordinates, score: everything of at least that score."""
        yunet, size = self.inputs[name]
        names = [output.name for output in yunet.get_outputs()]
        fed = np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
        given = dict(zip(names, yunet.run(names, {yunet.get_inputs()[0].name: fed})))
        rows = []
        for stride in STRIDES:
            out = {kind: given[f"{kind}_{stride}"][0] for kind in ("cls", "obj", "bbox", "kps")}
            score = np.sqrt(np.clip(out["cls"][:, 0], 0, 1) * np.clip(out["obj"][:, 0], 0, 1))
            kept = np.flatnonzero(score >= least)
            cell, box, points = self.grids[size, stride][kept], out["bbox"][kept], out["kps"][kept].reshape(-1, 5, 2)
            middle, extent = (cell + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
            points = ((points + cell[:, None]) * stride).reshape(-1, 10)
            rows.append(np.hstack([middle - extent / 2, extent, points, score[kept, None]]))
        return np.concatenate(rows).astype(np.float64)

    def merged(self, rows):
        """Suppression and box voting, best first."""
        rows = rows[np.argsort(-rows[:, 14], kind="stable")][:1000]
        kept = []
        for row in rows:
            if not kept or overlap(row[:4], np.stack(kept)[:, :4]).max() <= self.detector["nms_iou"]:
                kept.append(row)
        faces = []
        for row in kept:
            agree = rows[(overlap(row[:4], rows[:, :4]) > self.detector["vote_iou"]) & (rows[:, 14] > 0.5 * row[14])]
            weight = agree[:, 14:] ** 2
            faces.append(np.append((agree[:, :14] * weight).sum(0) / weight.sum(), row[14]))
        return faces

    def search(self, picture, steps=None, least=None):
        """All faces of a photo, best first; `steps` limits the search to the inputs named."""
        found, sure = [], False
        longest = max(picture.shape[:2])
        for step in self.detector["search"]:
            if steps and (step["input"], step["margin"]) not in steps:
                continue
            if step["when"] == "unsure" and sure or step["when"] == "nothing" and found:
                continue
            size = self.inputs[step["input"]][1]
            side = longest * (1 + 2 * step["margin"])
            corner = -(side - np.array(picture.shape[1::-1])) / 2 if step["margin"] else np.zeros(2)
            faces = self.merged(self.candidates(step["input"], window(picture, corner, side, size), least or self.detector["score"]))
            largest = max(faces, key=lambda face: face[2] * face[3], default=None)
            unsure = self.detector["unsure"]
            sure = longest <= size or largest is not None and largest[3] >= unsure["height"] and largest[14] >= unsure["score"]
            if faces:
                found = [placed(face, corner, side, size) for face in faces]
        return found

    def confirm(self, picture, seen, loose=False):
        """The second look. None where it was a false alarm, unless `loose`."""
        spec = self.detector["refine"]
        size = self.inputs[spec["input"]][1]
        side = max(seen.box[2:]) * spec["factor"]
        corner = seen.box[:2] + seen.box[2:] / 2 + 0.5 - side / 2
        square = window(picture, corner, side, size)
        looks = []
        for mirrored in (False, True):
            rows = self.candidates(spec["input"], square[:, ::-1] if mirrored else square, spec["score"])
            faces = self.merged(rows) if len(rows) else []
            if not faces:
                continue
            expected = size / spec["factor"]
            away = [
                np.hypot(*(face[:2] + face[2:4] / 2 - size / 2)) / expected + abs(np.log(max(face[2:4]) / expected))
                for face in faces
            ]
            face = faces[int(np.argmin(away))]
            if mirrored:
                face = face.copy()
                face[0] = size - 1 - face[0] - face[2]
                points = face[4:14].reshape(5, 2)[list(MIRRORED)]
                face[4:14] = (points * [-1, 1] + [size - 1, 0]).reshape(-1)
            looks.append(face)
        if not looks:
            return seen if loose or seen.score >= spec["trust"] else None
        score = max([face[14] for face in looks] + [seen.score])
        if score < spec["confirm"] and not loose:
            return None
        return placed(np.mean(looks, 0), corner, side, size)._replace(score=float(score))

    def main(self, picture, steps=None, central=False):
        """The face that the server would take, or None; nearest to the middle or the largest."""
        found = self.search(picture, steps)
        if central:
            middle = np.array(picture.shape[1::-1]) / 2
            found.sort(key=lambda seen: np.hypot(*(seen.box[:2] + seen.box[2:] / 2 - middle)))
        else:
            found.sort(key=lambda seen: -seen.box[2] * seen.box[3])
        for seen in found:
            confirmed = self.confirm(picture, seen)
            if confirmed is not None:
                return confirmed if confirmed.eyes >= self.faces["min_eye_distance"] else None
        return None


def placed(face, corner, side, size):
    """A row in pixels of a window, as a face in pixels of the photo."""
    pixel = side / size
    points = (face[4:14].reshape(5, 2) + 0.5) * pixel + corner - 0.5
    box = np.append((face[:2] + 0.5) * pixel + corner - 0.5, face[2:4] * pixel)
    return Seen(box, points, float(face[14]))


def window(picture, corner, side, size):
    """A square part of the photo, resampled to `size` pixels, black outside the photo."""
    scale = size / side
    if scale < 0.75:  # shrunk by area first: bilinear sampling alone would alias
        height, width = picture.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        corner, scale = np.asarray(corner) * scale, 1.0
    shift = -np.asarray(corner) * scale + (scale - 1) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))


class Embedder:
    """SFace with the map that its embedding is made of."""

    def __init__(self):
        self.sface = session(
            MODELS / "fetched/face_recognition_sface_2021dec.onnx", [("bn1", [1, 1024, 7, 7])]
        )

    def __call__(self, picture, landmarks):
        """(embedding of length 1, map 1024 x 7 x 7, crop) of an aligned face."""
        aligned = crop(picture, landmarks, TEMPLATE_SIDE)
        embedding, inner = self.sface.run(["fc1", "bn1"], {self.sface.get_inputs()[0].name: tensor([aligned])})
        return embedding[0] / np.linalg.norm(embedding[0]), inner[0], aligned
