"""Reference models that teach or measure, as the training scripts use them. None of them is shipped.

Each function takes a photo (RGB) and the landmarks of its face. The files and their licenses are
described where they are kept (`--models`); crops and normalisations are theirs.
"""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from common import TEMPLATE, similarity, tensor

# Points of the canonical face of MediaPipe (Apache-2.0) that carry the pose: index, x, y, z, weight.
# x to the face's left, y up, z towards the camera, in centimetres. Each with an index in MIRRORED has
# a twin on the other side.
BASIS = (
    (4, 0.0, -0.463170, 7.586580, 1.0),
    (6, 0.0, 2.473255, 5.788627, 1.0),
    (10, 0.0, 8.261778, 4.481535, 1.0),
    (33, -4.445859, 2.663991, 3.173422, 1.0),
    (54, -6.279331, 6.615427, 1.425850, 1.0),
    (67, -3.523964, 8.005976, 3.729163, 1.0),
    (61, -2.456206, -4.342621, 4.283884, 0.3),
    (1, 0.0, -1.126865, 7.475604, 1.0),
    (5, 0.0, 0.365669, 7.242870, 1.0),
    (9, 0.0, 4.885979, 5.385258, 1.0),
    (8, 0.0, 4.019042, 5.284764, 1.0),
    (2, 0.0, -2.089024, 6.058267, 1.0),
    (21, -7.087960, 5.434801, 0.099620, 0.5),
    (34, -7.214530, 2.263009, 0.073150, 0.5),
    (58, -6.719682, -4.788645, -1.745401, 0.3),
)
MIRRORED = {33: 263, 54: 284, 67: 297, 61: 291, 21: 251, 34: 264, 58: 288}


def session(models, name):
    """One of the reference models, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(Path(models) / f"{name}.onnx"), options)


class Mesh:
    """478 points of a face, and the head's pose from them (MediaPipe's face mesh, Apache-2.0)."""

    SIDE = 192

    def __init__(self, models):
        self.session = session(models, "face_mesh_478")
        ids, points, weights = [], [], []
        for index, x, y, z, weight in BASIS:
            ids.append(index), points.append((x, y, z)), weights.append(weight)
            if index in MIRRORED:
                ids.append(MIRRORED[index]), points.append((-x, y, z)), weights.append(weight)
        self.ids, self.points, self.weights = ids, np.array(points), np.array(weights)[:, None]

    def __call__(self, picture, landmarks):
        """(478 x 3 points in pixels of the photo, probability of a face, (pitch, yaw, roll) in degrees).

        Two looks: the second at a square 1.5 times as large as the mesh that the first one found.
        """
        target = (TEMPLATE - 55.5) * self.SIDE / (112 * 1.5) + (self.SIDE - 1) / 2
        matrix = similarity(np.asarray(landmarks, np.float64), target)
        points, _ = self._look(picture, matrix)
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        zoom = self.SIDE / (1.5 * (high - low).max())
        move = np.array([[zoom, 0, 0], [0, zoom, 0]])
        move[:, 2] = (self.SIDE - 1) / 2 - zoom * (low + high) / 2
        matrix = np.vstack([move, [0, 0, 1]]) @ np.vstack([matrix, [0, 0, 1]])
        points, presence = self._look(picture, matrix[:2])
        pose = self._pose(points)
        angle = np.arctan2(matrix[1, 0], matrix[0, 0])
        back = np.linalg.inv(matrix)
        there = points[:, :2] @ back[:2, :2].T + back[:2, 2]
        scale = np.hypot(back[0, 0], back[1, 0])
        return np.hstack([there, points[:, 2:] * scale]), presence, pose + [0, 0, np.degrees(angle)]

    def _look(self, picture, matrix):
        shrink = np.hypot(matrix[0, 0], matrix[1, 0])
        flags = cv2.INTER_LINEAR if shrink > 0.5 else cv2.INTER_AREA
        seen = cv2.warpAffine(picture, matrix[:2], (self.SIDE, self.SIDE), flags=flags)
        points, presence = self.session.run(None, {"input": tensor([seen]) / 255})
        return points[0].reshape(478, 3).astype(np.float64), float(presence[0, 0])

    def _pose(self, mesh):
        """The rotation between the canonical face and the mesh (weighted orthogonal Procrustes,
        Kabsch 1976), signed as the contract has it."""
        seen = mesh[self.ids] * [1, -1, -1]
        weights = self.weights / self.weights.sum()
        a = self.points - (weights * self.points).sum(0)
        b = seen - (weights * seen).sum(0)
        u, _, v = np.linalg.svd((b * weights).T @ a)
        turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        pitch, yaw = np.arcsin(-turn[1, 2]), np.arctan2(turn[0, 2], turn[2, 2])
        return np.degrees([pitch, yaw, np.arctan2(turn[1, 0], turn[1, 1])])


# The mesh points that the expression coefficients are computed from.
BLENDSHAPE_POINTS = [
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67,
    70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146,
    148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181,
    185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293,
    295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361,
    362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398,
    400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
]
BLINK_LEFT, BLINK_RIGHT = 9, 10  # of the subject


class Blinks:
    """How far the subject's right and left eye are closed, 0 to 1 (MediaPipe's blendshapes, Apache-2.0)."""

    def __init__(self, models):
        self.session = session(models, "face_blendshapes_52")

    def __call__(self, mesh):
        points = mesh[BLENDSHAPE_POINTS, :2].astype(np.float32)[None]
        found = self.session.run(None, {"points": points})[0].reshape(-1)
        return float(found[BLINK_RIGHT]), float(found[BLINK_LEFT])


def boxed(picture, box, factor, side):
    """The detector's box made square, enlarged, with the border pixels repeated."""
    x, y, w, h = box
    half = max(w, h) * factor / 2
    zoom = side / (2 * half)
    matrix = np.array([[zoom, 0, zoom * (half - x - w / 2)], [0, zoom, zoom * (half - y - h / 2)]])
    flags = cv2.INTER_LINEAR if zoom > 0.5 else cv2.INTER_AREA
    return cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)


class Neutral:
    """Probability of a neutral expression: the mean of two small networks (face-api.js and
    oarriaga/face_classification, both MIT)."""

    def __init__(self, models):
        self.first = session(models, "expression_faceapi")
        self.second = session(models, "expression_fer_minixception")

    def __call__(self, picture, box):
        one = self.first.run(None, {"input": tensor([boxed(picture, box, 1.1, 112)])})[0][0, 0]
        grey = cv2.cvtColor(boxed(picture, box, 1.05, 64), cv2.COLOR_RGB2GRAY).astype(np.float32)
        two = self.second.run(None, {"input": ((grey / 255 - 0.5) * 2)[None, None]})[0][0, 6]
        return float(one + two) / 2
