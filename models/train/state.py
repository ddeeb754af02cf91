#!/usr/bin/env python3
"""Trains `models/state.onnx`: is an eye closed, is the face covered, is the expression neutral?

Three small networks in one file, on the aligned face (160 pixels, field 1.0):

  eyes        one network for both eyes, on grey patches brought to zero mean and unit spread, so that
              the data sets cannot be distinguished by color; the subject's left eye is mirrored. Taught by
              MediaPipe's blink coefficients, and by the label "closed" of Closed Eyes in the Wild.
  occlusion   real masks against faces without, and occluders painted over clean faces: masks, hands,
              scarves, sunglasses, hair, text, patches of other photos.
  emotion     the neutral class of a re-labelled FER2013 part against the rest, and two MIT-licensed
              networks' P(neutral) on LFW and UTKFace; half of those are shown grey and coarse, as
              FER's photos are, so that the style says nothing.

    python state.py --data DATA --models REFERENCE_MODELS --cache DIR [--only eyes] [--evaluate]
"""

import argparse
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import common
from common import MODELS, TEMPLATE, auc, crop, faces, lfw, load, tensor, utk_labels, utkface
from teachers import Blinks, Mesh, Neutral

SEED = 11
SIDE = 160
# Eye patches in the crop: rows, then columns of the eye at the picture's left and at its right.
ROWS, LEFT, RIGHT = (56, 92), (29, 81), (79, 131)
OUTPUTS = ["right_eye_closed", "left_eye_closed", "occlusion", "emotion"]


# ---- Data ---------------------------------------------------------------------------------------


def _prepare(job):
    """Crops, blinks (subject's right, left) and P(neutral) of some faces."""
    some, models = job
    cv2.setNumThreads(1)
    mesh, blinks, neutral = Mesh(models), Blinks(models), Neutral(models)
    crops, taught = [], []
    for face in some:
        picture = load(face.path)
        points, present, _ = mesh(picture, face.landmarks)
        crops.append(crop(picture, face.landmarks, SIDE))
        taught.append((*(blinks(points) if present > 0.5 else (np.nan, np.nan)), neutral(picture, face.box)))
    return np.array(crops), np.array(taught, np.float32)


def prepared(name, some, options):
    """(crops [N, 160, 160, 3], taught [N, 3]), computed once."""
    folder = Path(options.cache) / "state"
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}-crops.npy", folder / f"{name}-taught.npy"
    if not files[1].exists():
        jobs = [([some[i] for i in piece], options.models) for piece in np.array_split(range(len(some)), 40)]
        with multiprocessing.Pool(options.processes) as pool:
            parts = pool.map(_prepare, jobs, chunksize=1)
        np.save(files[0], np.concatenate([part[0] for part in parts]))
        np.save(files[1], np.concatenate([part[1] for part in parts]))
    return np.load(files[0]), np.load(files[1])


class Set:
    """Faces of one collection with their crops and what the teachers say."""

    def __init__(self, name, some, options):
        self.faces = some
        self.crops, self.taught = prepared(name, some, options)
        self.part = np.array([face.part for face in some])

    def where(self, part):
        return np.flatnonzero(self.part == part)


def collections(options):
    data, cache = Path(options.data), options.cache
    plain = lambda name: faces(data / name, cache, person=lambda file: f"{name}/{file}")
    return {
        # Every second one: neighbours in the list are the same people, or as old.
        "lfw": Set("lfw", lfw(data, cache)[::2], options),
        "utk": Set("utk", [face for face in utkface(data, cache) if utk_labels(face)][::2], options),
        "closed": Set("closed", plain("closed_eyes"), options),
        "masked": Set("masked", plain("masks/with_mask"), options),
        "bare": Set("bare", plain("masks/without_mask"), options),
        "fer": Set("fer", plain("emotion"), options),
    }


def shaken(picture, random, grey=0.3, coarse=0.3):
    """Another photo of the same: light, colour, sharpness, noise, compression, a little movement."""
    out = picture.astype(np.float32)
    if random.random() < grey:
        out = np.repeat(out @ np.array([0.299, 0.587, 0.114], np.float32)[:, None], 3, axis=2)
    out = 255 * np.clip(out / 255, 0, 1) ** random.uniform(0.6, 1.7)
    out = out * random.uniform(0.6, 1.3) * random.uniform(0.88, 1.12, 3) + random.uniform(-25, 25)
    angle, zoom = random.normal(0, 3), random.uniform(0.93, 1.08)
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, zoom)
    matrix[:, 2] += random.normal(0, 2.5, 2)
    out = cv2.warpAffine(np.clip(out, 0, 255), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    if random.random() < coarse:
        small = random.integers(40, 120)
        out = cv2.resize(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    if random.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.3, 2.0))
    if random.random() < 0.3:
        out = out + random.normal(0, random.uniform(1, 12), out.shape)
    out = np.clip(out, 0, 255).astype(np.uint8)
    if random.random() < 0.3:
        coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(random.uniform(20, 90))])[1]
        out = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return out


# ---- Occluders ----------------------------------------------------------------------------------

POINTS = (TEMPLATE - 55.5) * SIDE / 112 + (SIDE - 1) / 2  # eyes, nose, mouth corners in the crop
SKIN = np.array([[70, 45, 35], [120, 80, 60], [170, 120, 95], [205, 160, 135], [235, 200, 180]], np.float32)


def _filling(random, others):
    """A colour, a gradient, stripes, or a piece of another photo: a picture of the crop's size."""
    kind = random.integers(5)
    if kind == 0:
        return np.tile(random.integers(0, 256, 3).astype(np.uint8), (SIDE, SIDE, 1))
    if kind == 1:  # cloth: a colour with folds
        base = random.integers(20, 240, 3)
        folds = cv2.resize(random.normal(0, 25, (random.integers(2, 8), random.integers(2, 8))), (SIDE, SIDE),
                           interpolation=cv2.INTER_CUBIC)
        return np.clip(base + folds[:, :, None], 0, 255).astype(np.uint8)
    if kind == 2:  # stripes or checks
        a, b = random.integers(0, 256, (2, 3))
        x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
        turn, period = random.uniform(0, np.pi), random.uniform(4, 24)
        on = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period) > 0
        if random.random() < 0.5:
            on ^= np.sin(2 * np.pi * (y * np.cos(turn) - x * np.sin(turn)) / period) > 0
        return np.where(on[:, :, None], a, b).astype(np.uint8)
    if kind == 3:  # skin
        base = SKIN[random.integers(len(SKIN))] * random.uniform(0.7, 1.15)
        shade = cv2.resize(random.normal(0, 18, (4, 4)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        return np.clip(base + shade[:, :, None], 0, 255).astype(np.uint8)
    other = others[random.integers(len(others))]
    zoom = random.uniform(1.0, 3.0)
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), random.uniform(0, 360), zoom)
    return cv2.warpAffine(other, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)


def _blob(random, centre, size, corners=9):
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    reach = size * random.uniform(0.6, 1.2, corners)
    return np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], 1)


def _shape(random):
    """Where the occluder is: a mask of 0 and 1, at least a good part of what matters in a face."""
    out = np.zeros((SIDE, SIDE), np.float32)
    fill = lambda points: cv2.fillPoly(out, [np.round(points).astype(np.int32)], 1.0, lineType=cv2.LINE_AA)
    eyes, nose, mouth = POINTS[:2].mean(0), POINTS[2], POINTS[3:].mean(0)
    kind = random.integers(7)
    shift = lambda by: random.normal(0, by, 2)
    if kind <= 1:  # a mask from the nose or from under it to the chin
        top = random.uniform(eyes[1] + 14, nose[1] + 12)
        left, right = nose[0] - random.uniform(44, 66), nose[0] + random.uniform(44, 66)
        bottom = random.uniform(150, 175)
        peak = top - random.uniform(0, 14)
        fill(np.array([[left, top + 8], [nose[0], peak], [right, top + 8], [right - 8, bottom - 12],
                       [nose[0], bottom], [left + 8, bottom - 12]]) + shift(2))
    elif kind == 2:  # a hand or something else over a part
        centre = (eyes, nose, mouth, POINTS[0], POINTS[1])[random.integers(5)] + shift(8)
        fill(_blob(random, centre, random.uniform(26, 50)))
        for _ in range(random.integers(0, 4)):
            end = centre + random.normal(0, 60, 2)
            cv2.line(out, tuple(map(int, centre)), tuple(map(int, end)), 1.0, int(random.uniform(8, 16)), cv2.LINE_AA)
    elif kind == 3:  # sunglasses
        width, height = random.uniform(20, 28), random.uniform(14, 22)
        for eye in POINTS[:2]:
            cv2.ellipse(out, tuple(map(int, eye + shift(1.5) + [0, 3])), (int(width), int(height)), 0, 0, 360, 1.0, -1,
                        cv2.LINE_AA)
        cv2.line(out, tuple(map(int, POINTS[0])), tuple(map(int, POINTS[1])), 1.0, 4, cv2.LINE_AA)
    elif kind == 4:  # a straight edge: a scarf, a book, a phone, a door
        turn, at = random.uniform(0, 2 * np.pi), random.uniform(-10, 30)
        normal = np.array([np.cos(turn), np.sin(turn)])
        along = np.array([-normal[1], normal[0]])
        start = np.array([79.5, 85.0]) + normal * at
        fill(np.array([start + along * 300, start - along * 300, start - along * 300 + normal * 300,
                       start + along * 300 + normal * 300]))
    elif kind == 5:  # hair over an eye
        side = random.integers(2)
        for _ in range(random.integers(10, 30)):
            x = POINTS[side][0] + random.normal(0, 16)
            cv2.line(out, (int(x + random.normal(0, 12)), -5), (int(x), int(random.uniform(85, 150))), 1.0,
                     int(random.integers(2, 6)), cv2.LINE_AA)
    else:  # a thing
        w, h = random.uniform(36, 90), random.uniform(30, 80)
        centre = (eyes, nose, mouth)[random.integers(3)] + shift(10)
        box = cv2.boxPoints(((float(centre[0]), float(centre[1])), (w, h), random.uniform(0, 90)))
        fill(box)
    return out, kind


def covered(picture, random, others):
    """The face with something before it."""
    shape, kind = _shape(random)
    filling = _filling(random, others)
    if kind == 3:  # dark or mirrored glass
        tint = random.integers(0, 70, 3)
        filling = np.clip(tint + 0.15 * filling.astype(np.float32), 0, 255).astype(np.uint8)
    if kind == 5:
        tint = SKIN[0] * random.uniform(0.1, 1.8) + random.normal(0, 8, 3)
        filling = np.clip(np.tile(tint, (SIDE, SIDE, 1)) + random.normal(0, 14, (SIDE, SIDE, 1)), 0, 255)
    shape = cv2.GaussianBlur(shape, (0, 0), random.uniform(0.5, 2.0))[:, :, None]
    out = np.clip(picture * (1 - shape) + filling * shape, 0, 255).astype(np.uint8)
    if kind == 6 and random.random() < 0.4:
        for _ in range(random.integers(2, 6)):
            cv2.putText(out, "".join(random.choice(list("AKRMXSE0187"), 9)), tuple(map(int, random.integers(-20, 130, 2))),
                        int(random.integers(0, 5)), random.uniform(0.5, 1.4), random.integers(0, 256, 3).tolist(),
                        int(random.integers(1, 4)), cv2.LINE_AA)
    return out


# ---- The networks -------------------------------------------------------------------------------


def networks():
    import torch
    from torch import nn

    def block(a, b, stride=1):
        return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    class Standard(nn.Module):
        """Grey, zero mean, unit spread."""

        def forward(self, x):
            grey = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
            away = grey - grey.mean((2, 3), keepdim=True)
            return away / ((away * away).mean((2, 3), keepdim=True) + 25.0).sqrt()

    class Eye(nn.Module):
        """A patch of 36 x 52 around an eye: the logit of it being closed."""

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                Standard(), block(1, 16), nn.MaxPool2d(2), block(16, 32), nn.MaxPool2d(2), block(32, 48),
                nn.MaxPool2d(2), block(48, 64), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 4 * 6, 1),
            )  # fmt: skip

        def forward(self, x):
            return self.layers(x)

    class Whole(nn.Module):
        """The whole face at 80 x 80: one logit."""

        def __init__(self, colour):
            super().__init__()
            self.colour = colour
            self.standard = Standard()
            self.layers = nn.Sequential(
                block(3 if colour else 1, 24, 2), block(24, 40, 2), block(40, 40), block(40, 72, 2), block(72, 72),
                block(72, 112, 2), nn.Flatten(), nn.Dropout(0.4), nn.Linear(112 * 25, 1),
            )  # fmt: skip

        def forward(self, x):
            x = nn.functional.avg_pool2d(x, 2)
            return self.layers((x - 127.5) / 64 if self.colour else self.standard(x))

    class State(nn.Module):
        def __init__(self):
            super().__init__()
            self.eyes, self.occlusion, self.emotion = Eye(), Whole(True), Whole(False)

        def forward(self, face):
            rows = face[:, :, ROWS[0] : ROWS[1]]
            at_left = self.eyes(rows[:, :, :, LEFT[0] : LEFT[1]])
            at_right = self.eyes(rows[:, :, :, RIGHT[0] : RIGHT[1]].flip(3))
            # The subject's right eye is at the picture's left.
            return at_left.sigmoid(), at_right.sigmoid(), self.occlusion(face).sigmoid(), self.emotion(face).sigmoid()

    return State()


def fit(net, batches, epochs, rate, name):
    """Trains one network on (pictures, targets, weights) batches; `batches(epoch)` yields them."""
    import torch
    from torch.nn import functional as F

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net.to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    first = list(batches(0))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(first), pct_start=0.2)
    for epoch in range(epochs):
        losses = []
        for pictures, targets, weights in first if epoch == 0 else batches(epoch):
            x, y = torch.from_numpy(pictures).to(device), torch.from_numpy(targets).to(device)
            loss = F.binary_cross_entropy_with_logits(net(x)[:, 0], y, torch.from_numpy(weights).to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule.last_epoch < schedule.total_steps:
                schedule.step()
            losses.append(loss.item())
        print(f"{name} epoch {epoch + 1}: {np.mean(losses):.4f}", flush=True)
    net.cpu().eval()


def pick(random, rows, size):
    return rows[random.integers(len(rows), size=size)]


def eye_batches(sets, epoch, size=256, steps=110):
    """Half closed eyes of CEW, half eyes as the teacher sees them."""
    random = np.random.default_rng([SEED, 1, epoch])
    for _ in range(steps):
        pictures, targets = [], []
        for _ in range(size // 2):  # two eyes a face
            name = ("closed", "lfw", "utk", "bare", "lfw", "utk")[random.choice(6, p=[0.35, 0.2, 0.2, 0.05, 0.1, 0.1])]
            one = sets[name]
            at = pick(random, one.where("train"), 1)[0]
            blinks = np.clip((one.taught[at, :2] - 0.40) / 0.20, 0, 1)
            if name == "closed":
                blinks = np.array([1.0, 1.0])
            if np.isnan(blinks).any():
                continue
            face = shaken(one.crops[at], random, grey=0.0)[ROWS[0] : ROWS[1]]
            pictures += [face[:, LEFT[0] : LEFT[1]], face[:, RIGHT[0] : RIGHT[1]][:, ::-1]]
            targets += list(blinks)
        yield tensor(pictures), np.array(targets, np.float32), np.ones(len(targets), np.float32)


def occlusion_batches(sets, epoch, size=128, steps=150):
    random = np.random.default_rng([SEED, 2, epoch])
    others = sets["utk"].crops
    for _ in range(steps):
        pictures, targets = [], []
        for _ in range(size):
            kind = random.choice(3, p=[0.12, 0.4, 0.48])
            name = "masked" if kind == 0 else ("lfw", "utk", "bare", "closed")[random.choice(4, p=[0.5, 0.25, 0.15, 0.1])]
            one = sets[name]
            picture = one.crops[pick(random, one.where("train"), 1)[0]]
            if kind == 1:
                picture = covered(picture, random, others)
            picture = shaken(picture, random, grey=0.15)
            pictures.append(picture[:, ::-1] if random.random() < 0.5 else picture)
            targets.append(float(kind < 2))
        yield tensor(pictures), np.array(targets, np.float32), np.ones(size, np.float32)


def emotion_batches(sets, epoch, size=128, steps=150):
    random = np.random.default_rng([SEED, 3, epoch])
    fer = sets["fer"]
    neutral = np.array([os.sep + "neutral" + os.sep in face.path for face in fer.faces])
    rows = fer.where("train")
    calm, moved = rows[neutral[rows]], rows[~neutral[rows]]
    for _ in range(steps):
        pictures, targets, weights = [], [], []
        for _ in range(size):
            if random.random() < 0.5:
                label = random.random() < 0.5
                one, at = fer, pick(random, moved if label else calm, 1)[0]
                # The labels are noisy; the teachers were not asked about them, but may be.
                target = 0.75 * label + 0.25 * (1 - fer.taught[at, 2])
            else:
                one = sets[("lfw", "utk")[random.integers(2)]]
                at = pick(random, one.where("train"), 1)[0]
                target = 1 - one.taught[at, 2]
            coarse = 0.5 if one is not fer else 0.1
            picture = shaken(one.crops[at], random, grey=0.0, coarse=coarse)
            pictures.append(picture[:, ::-1] if random.random() < 0.5 else picture)
            targets.append(target)
            weights.append(1.0)
        yield tensor(pictures), np.array(targets, np.float32), np.array(weights, np.float32)


def train(sets, options):
    import torch

    common.seed(SEED)
    torch.set_num_threads(options.processes)
    net = networks()
    kept = Path(options.cache) / "state/net.pt"
    if options.only and kept.exists():
        net.load_state_dict(torch.load(kept))
    plans = (
        ("eyes", net.eyes, eye_batches, 10, 2e-3),
        ("occlusion", net.occlusion, occlusion_batches, 12, 2e-3),
        ("emotion", net.emotion, emotion_batches, 6, 2e-3),
    )
    for name, part, batches, epochs, rate in plans:
        if options.only in (None, name):
            torch.manual_seed(SEED)  # so that a part trained alone is the same as among the others
            fit(part, lambda epoch: batches(sets, epoch), epochs, rate, name)
            torch.save(net.state_dict(), kept)
    common.export(net.eval(), (torch.zeros(1, 3, SIDE, SIDE),), MODELS / "state.onnx", ["face"], OUTPUTS)


# ---- Measuring ----------------------------------------------------------------------------------


def run(crops):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(MODELS / "state.onnx"), options)
    return np.array([[v[0, 0] for v in net.run(OUTPUTS, {"face": tensor([one])})] for one in crops])


def evaluate(sets):
    """Prints the figures of the model card, on the test part only."""
    found = {name: run(one.crops[one.where("test")]) for name, one in sets.items()}
    random = np.random.default_rng(SEED)
    for side, column in (("right", 0), ("left", 1)):
        for name in ("utk", "lfw"):
            print(f"{side} eye closed: CEW ({len(found['closed'])}) against {name} ({len(found[name])}): AUC "
                  f"{auc(found['closed'][:, column], found[name][:, column]):.4f}; at 0.5 found "
                  f"{(found['closed'][:, column] >= 0.5).mean():.3f}, {name} flagged {(found[name][:, column] >= 0.5).mean():.4f}")
    utk = sets["utk"]
    races = np.array([utk_labels(utk.faces[at])[2] for at in utk.where("test")])
    print("  flagged by race: " + ", ".join(
        f"{name} {(found['utk'][races == n, 0] >= 0.5).mean():.3f}"
        for n, name in enumerate(("white", "black", "asian", "indian", "other"))))
    for name in ("lfw", "utk", "bare", "closed"):
        print(f"occlusion: masks ({len(found['masked'])}) against {name} ({len(found[name])}): AUC "
              f"{auc(found['masked'][:, 2], found[name][:, 2]):.4f}; at 0.5 found {(found['masked'][:, 2] >= 0.5).mean():.3f}, "
              f"{name} flagged {(found[name][:, 2] >= 0.5).mean():.4f}")
    clean = sets["lfw"].crops[sets["lfw"].where("test")][:600]
    hidden = run(np.array([covered(one, random, utk.crops) for one in clean]))
    print(f"occlusion: painted over LFW: AUC {auc(hidden[:, 2], found['lfw'][:, 2]):.4f}, found {(hidden[:, 2] >= 0.5).mean():.3f}")
    fer = sets["fer"]
    rows = fer.where("test")
    neutral = np.array([os.sep + "neutral" + os.sep in fer.faces[at].path for at in rows])
    score = found["fer"][:, 3]
    print(f"emotion: FER {(~neutral).sum()} against {neutral.sum()} neutral: AUC {auc(score[~neutral], score[neutral]):.4f} "
          f"(teachers {auc(-fer.taught[rows, 2][~neutral], -fer.taught[rows, 2][neutral]):.4f}); at 0.5 found "
          f"{(score[~neutral] >= 0.5).mean():.3f}, neutral flagged {(score[neutral] >= 0.5).mean():.3f}")
    print(f"emotion: LFW flagged {(found['lfw'][:, 3] >= 0.5).mean():.3f}, UTKFace {(found['utk'][:, 3] >= 0.5).mean():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with lfw, utkface, closed_eyes, masks and emotion")
    parser.add_argument("--models", required=True, help="folder with the reference models")
    parser.add_argument("--cache", required=True, help="folder for landmarks and crops (about 2 GB)")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=("eyes", "occlusion", "emotion"), help="train one of the three again")
    parser.add_argument("--evaluate", action="store_true", help="only measure models/state.onnx")
    options = parser.parse_args()
    everything = collections(options)
    if not options.evaluate:
        train(everything, options)
    evaluate(everything)
