#!/usr/bin/env python3
"""Trains `models/defects.onnx`: flare, and geometric distortion, from the face and its surroundings.

Self-supervision: clean photos are degraded with a known strength before the face is cut out, and the
network learns the strength, in units of what a person notices (1). Flare: a veil of light, sources
with halos, streaks and ghosts. Distortion: stretching, barrel and pincushion (radial polynomial),
and the perspective of a camera very close to a rough three-dimensional face. The landmarks move with
the warp, as a detector's would. What only resembles a defect is shown as clean: bright backgrounds,
over-exposure, blur, side light, little contrast, compression.

Blur and compression blocks are computed by formulas instead (docs/quality.md).

    python defects.py --data DATA --cache DIR [--evaluate]
"""

import argparse
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import common
from common import MODELS, auc, crop, faces, lfw, load, tensor, utk_labels, utkface

SEED = 17
SIDE, FIELD = 96, 1.8
OUTPUTS = ["flare", "distortion"]
FLARES = ("veil", "source", "streaks")
WARPS = ("stretch", "barrel", "pincushion", "near")


# ---- Flare --------------------------------------------------------------------------------------


def flare(picture, kind, strength, random):
    """Light where none belongs; strength 1 lifts the darkest parts of the face by about 20 %."""
    h, w = picture.shape[:2]
    x, y = np.meshgrid(np.linspace(0, 1, w, dtype=np.float32), np.linspace(0, 1, h, dtype=np.float32))
    tint = random.uniform([0.9, 0.8, 0.6], [1.0, 1.0, 1.0]).astype(np.float32)
    light = np.zeros((h, w), np.float32)
    if kind == "veil":  # scattered light, stronger to one side
        turn = random.uniform(0, 2 * np.pi)
        ramp = (x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn)
        light += 0.20 * strength * (1 + random.uniform(0, 0.8) * ramp)
    else:
        # A source near the face: in the picture or just outside of it.
        angle, away = random.uniform(0, 2 * np.pi), random.uniform(0.15, 0.65)
        cx, cy = 0.5 + away * np.cos(angle), 0.5 + away * np.sin(angle)
        distance = np.hypot(x - cx, y - cy)
        light += strength * (0.09 + 0.35 * np.exp(-distance / random.uniform(0.12, 0.35)))
        light += min(strength, 1.5) * 0.9 * np.exp(-((distance / random.uniform(0.03, 0.10)) ** 2))
        if kind == "streaks":
            rays, turn = random.integers(2, 7), random.uniform(0, np.pi)
            bearing = np.arctan2(y - cy, x - cx)
            light += strength * 0.4 * np.abs(np.cos(rays * bearing / 2 + turn)) ** 40 * np.exp(-distance / 0.4)
        for _ in range(random.integers(0, 4)):  # ghosts on the line through the middle
            at = random.uniform(-1.2, 0.9)
            gx, gy = 0.5 - at * (cx - 0.5), 0.5 - at * (cy - 0.5)
            size = random.uniform(0.03, 0.1)
            ghost = 1 / (1 + np.exp((np.hypot(x - gx, y - gy) - size) / 0.008))
            light += strength * random.uniform(0.05, 0.2) * ghost
    # Scattered light adds to what the sensor counts, so it is added to linear light (sRGB, about 2.2).
    linear = (picture.astype(np.float32) / 255) ** 2.2
    added = light[:, :, None] * tint
    out = (linear * (1 - 0.25 * np.clip(added, 0, 1)) + 0.5 * added**1.4) ** (1 / 2.2)
    return np.clip(255 * out, 0, 255).astype(np.uint8)


# ---- Distortion ---------------------------------------------------------------------------------


def warp(picture, landmarks, kind, strength, random):
    """The photo through another lens; strength 1 is what a person notices: 15 % of stretching, 8 % of
    displacement at the corner of a square of four eye distances, a camera 35 cm from the face."""
    h, w = picture.shape[:2]
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))
    middle = landmarks.mean(0)
    x, y = np.meshgrid(np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64))
    grid = np.stack([x, y], 2)
    if kind == "stretch":
        by = 1 + 0.15 * strength
        factor = np.array([by, 1.0] if random.random() < 0.5 else [1.0, by])
        factor /= np.sqrt(factor.prod())
        there = lambda p: (p - middle) * factor + middle
        back = (grid - middle) / factor + middle
    else:
        centre = middle + random.normal(0, 0.5 * eyes, 2)
        reach = 2 * np.sqrt(2) * eyes  # the corner of that square
        if kind == "near":
            # A paraboloid for a head, a bump for a nose; seen from so near that depth magnifies.
            distance = 0.063 * 8.5 / max(strength, 1e-3)  # metres, eyes 6.3 cm apart; 1 is about 0.5 m
            depth = lambda p: 0.063 * (
                1.1 * (1 - np.minimum(((p - middle) ** 2).sum(-1) / (2.2 * eyes) ** 2, 1))
                + 0.3 * np.exp(-((p - landmarks[2]) ** 2).sum(-1) / (0.25 * eyes) ** 2)
            )
            zoom = lambda p: (distance + 0.03) / (distance + 0.03 + 0.07 - depth(p))
            there = lambda p: middle + (p - middle) * zoom(p)[..., None]
            back = grid
            for _ in range(4):  # the inverse, by fixed point
                back = middle + (grid - middle) / zoom(back)[..., None]
        else:
            sign = -1 if kind == "barrel" else 1
            k = sign * 0.08 * strength / reach**2
            there = lambda p: centre + (p - centre) * (1 + k * ((p - centre) ** 2).sum(-1))[..., None]
            back = grid
            for _ in range(6):
                back = centre + (grid - centre) / (1 + k * ((back - centre) ** 2).sum(-1))[..., None]
    x, y = back[:, :, 0].astype(np.float32), back[:, :, 1].astype(np.float32)
    out = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    landmarks = there(landmarks)
    # A lens fills the picture: no curved black edge may reveal it.
    inside = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    return filled(out, landmarks, inside)


def filled(picture, landmarks, inside):
    """The picture without what is not `inside`, as far as it can be done around the face."""
    h, w = picture.shape[:2]
    low, high = landmarks.min(0) - 6, landmarks.max(0) + 6
    edges = np.array([0.0, 0.0, w, h])  # left, top, right, bottom
    goal = np.array([low[0], low[1], high[0], high[1]])
    for _ in range(60):
        left, top, right, bottom = edges.astype(int)
        sides = inside[top:bottom, left], inside[top, left:right], inside[top:bottom, right - 1], inside[bottom - 1, left:right]
        bad = np.array([not side.all() for side in sides])
        if not bad.any():
            break
        edges = np.clip(edges + bad * 0.04 * (goal - edges), 0, [w, h, w, h])
    left, top, right, bottom = edges.astype(int)
    return picture[top:bottom, left:right], landmarks - [left, top]


def narrowed(picture, landmarks, random):
    """Sometimes a part of the photo only, the face in it: not everybody leaves room around a face."""
    if random.random() < 0.4:
        return picture, landmarks
    h, w = picture.shape[:2]
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))
    low = landmarks.min(0) - eyes * random.uniform(0.5, 2.5, 2)
    high = landmarks.max(0) + eyes * random.uniform(0.5, 2.5, 2)
    x0, y0 = np.maximum(0, low).astype(int)
    x1, y1 = np.minimum([w, h], high).astype(int)
    return picture[y0:y1, x0:x1], landmarks - [x0, y0]


# ---- Data ---------------------------------------------------------------------------------------


def usual(picture, random):
    """What is no defect here."""
    out = picture.astype(np.float32)
    kind = random.integers(6)
    if kind == 0:
        out = out * random.uniform(0.35, 1.5)
    elif kind == 1:
        turn = np.linspace(random.uniform(0.4, 1), random.uniform(0.8, 1.3), out.shape[1])
        out = out * turn[None, :: random.choice([1, -1]), None]
    elif kind == 2:
        out = 128 + (out - 128) * random.uniform(0.7, 1.3)
    if random.random() < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.4, 2.5))
    if random.random() < 0.3:
        out = out + random.normal(0, random.uniform(1, 10), out.shape)
    out = np.clip(out * random.uniform(0.93, 1.07, 3), 0, 255).astype(np.uint8)
    if random.random() < 0.5:
        out = cv2.imdecode(cv2.imencode(".jpg", out, [1, int(random.uniform(25, 95))])[1], cv2.IMREAD_COLOR)
    return out


def _make(job):
    """Crops and strengths (flare, distortion) of faces; a plan is (what, strength) or "raw"."""
    some, plans, seed = job
    cv2.setNumThreads(1)
    random = np.random.default_rng(seed)
    crops = []
    for face, (what, strength) in zip(some, plans):
        picture, landmarks = load(face.path), face.landmarks
        if what != "raw":
            zoom = random.uniform(0.55, 1.0)
            picture = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
            landmarks = landmarks * zoom
        if what in WARPS and strength > 0:
            picture, landmarks = warp(picture, landmarks, what, strength, random)
        if what != "raw":
            picture, landmarks = narrowed(picture, landmarks, random)
        if what in FLARES and strength > 0:
            picture = flare(picture, what, strength, random)
        if what != "raw":
            picture = usual(picture, random)
            landmarks = landmarks + random.normal(0, 0.012 * np.hypot(*(landmarks[1] - landmarks[0])), (5, 2))
        crops.append(crop(picture, landmarks, SIDE, FIELD))
    return np.array(crops)


def made(name, some, plans, options):
    folder = Path(options.cache) / "defects"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.npy"
    if not file.exists():
        pieces = np.array_split(np.arange(len(some)), max(1, len(some) // 100))
        jobs = [([some[i] for i in p], [plans[i] for i in p], [SEED, len(name), n]) for n, p in enumerate(pieces)]
        with multiprocessing.Pool(options.processes) as pool:
            np.save(file, np.concatenate(pool.map(_make, jobs, chunksize=1)))
        print(f"{name}: {len(some)}", flush=True)
    return np.load(file)


def people(options):
    data, cache = Path(options.data), options.cache
    bare = faces(data / "masks/without_mask", cache, person=lambda file: "bare/" + file)
    return lfw(data, cache), [face for face in utkface(data, cache) if utk_labels(face)], bare


def of(some, part, count, seed):
    chosen = [face for face in some if face.part == part]
    order = np.random.default_rng(seed).permutation(len(chosen))
    return [chosen[order[i % len(order)]] for i in range(count)]


def target(strength):
    """What a strength should be called: 0.02 for none, one half at three quarters of what is noticed."""
    return 1 / (1 + np.exp(-7 * (np.asarray(strength) - 0.75)))


# ---- The network --------------------------------------------------------------------------------


def network():
    import torch
    from torch import nn

    def block(a, b, stride=1):
        return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    def trunk():
        return nn.Sequential(
            block(3, 16, 2), block(16, 24), block(24, 40, 2), block(40, 40), block(40, 64, 2), block(64, 64),
            block(64, 96, 2), nn.Flatten(), nn.Dropout(0.35), nn.Linear(96 * 36, 1),
        )  # fmt: skip

    class Defects(nn.Module):
        def __init__(self):
            super().__init__()
            self.flare, self.distortion = trunk(), trunk()
            # Move the logits so that the limits are the operating points; set after training.
            self.register_buffer("shift", torch.zeros(2))

        def logits(self, scene):
            x = (scene - 127.5) / 64
            # Distortion is a matter of shape: it is looked for in grey.
            grey = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
            return torch.cat([self.flare(x), self.distortion(grey)], 1)

        def forward(self, scene):
            found = (self.logits(scene) + self.shift).sigmoid()
            return found[:, 0:1], found[:, 1:2]

    return Defects()


LIMITS = (0.5, 0.85)
FLAGGED = 0.02  # of clean validation photos


def train(options):
    import torch
    from torch.nn import functional as F

    wild, utk, bare = people(options)
    some = of(wild, "train", options.size * 3 // 4, 1) + of(utk, "train", options.size // 5, 2)
    some += of(bare, "train", options.size - len(some), 3)
    random = np.random.default_rng(SEED)
    plans = []
    for _ in some:
        what = (*FLARES, *WARPS, "usual")[random.choice(8, p=[0.13, 0.13, 0.09, 0.15, 0.12, 0.06, 0.12, 0.20])]
        plans.append((what, 0.0 if what == "usual" else 2.6 * random.random() ** 1.2))
    crops = made("train", some, plans, options)
    strengths = np.array([[s if what in FLARES else 0.0, s if what in WARPS else 0.0] for what, s in plans])
    targets = target(strengths).astype(np.float32)
    common.seed(SEED)
    torch.set_num_threads(options.processes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = network().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    batch = 128
    steps = options.epochs * (len(crops) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    for epoch in range(options.epochs):
        net.train()
        order, losses = random.permutation(len(crops)), []
        for at in range(len(crops) // batch):
            ids = order[at * batch : (at + 1) * batch]
            pictures = crops[ids][:, :, ::-1] if random.random() < 0.5 else crops[ids]
            x = torch.from_numpy(tensor(pictures)).to(device)
            loss = F.binary_cross_entropy_with_logits(net.logits(x), torch.from_numpy(targets[ids]).to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: {np.mean(losses):.4f}", flush=True)
    net = net.cpu().eval()
    clean = of(wild, "validate", 800, 4) + of(utk, "validate", 400, 5)
    raw = made("validate-raw", clean, [("raw", 0.0)] * len(clean), options)
    with torch.no_grad():
        logits = torch.cat([net.logits(piece) for piece in torch.from_numpy(tensor(raw)).split(64)]).numpy()
    limits = np.array(LIMITS)
    net.shift.copy_(torch.from_numpy(np.log(limits / (1 - limits)) - np.quantile(logits, 1 - FLAGGED, axis=0)))
    common.export(net, (torch.zeros(1, 3, SIDE, SIDE),), MODELS / "defects.onnx", ["scene"], OUTPUTS)


# ---- Measuring ----------------------------------------------------------------------------------


def run(crops):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(MODELS / "defects.onnx"), options)
    return np.array([[v[0, 0] for v in net.run(OUTPUTS, {"scene": tensor([one])})] for one in crops])


def evaluate(options):
    """Prints the figures of the model card, on the test part only."""
    wild, utk, bare = people(options)
    clean = {"LFW": of(wild, "test", 1200, 6), "UTKFace": of(utk, "test", 1200, 7), "masks/without_mask": of(bare, "test", 230, 8)}
    scores = {}
    for name, some in clean.items():
        scores[name] = run(made("test-raw-" + name.split("/")[0], some, [("raw", 0.0)] * len(some), options))
        print(f"{name}: flagged {len(some)} clean photos: flare {(scores[name][:, 0] >= LIMITS[0]).mean():.4f}, distortion "
              f"{(scores[name][:, 1] >= LIMITS[1]).mean():.4f}; medians {np.median(scores[name], axis=0).round(3)}")
    races = np.array([utk_labels(face)[2] for face in clean["UTKFace"]])
    for n, race in enumerate(("white", "black", "asian", "indian", "other")):
        mine = scores["UTKFace"][races == n]
        print(f"  {race}: flare {(mine[:, 0] >= LIMITS[0]).mean():.3f}, distortion {(mine[:, 1] >= LIMITS[1]).mean():.3f}")
    steps = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5)
    some = of(wild, "test", 150, 9)
    for number, kinds in enumerate((FLARES, WARPS)):
        base = run(made("test-usual", some, [("usual", 0.0)] * len(some), options))[:, number]
        for kind in kinds:
            found = [run(made(f"test-{kind}-{s}", some, [(kind, s)] * len(some), options))[:, number] for s in steps]
            print(f"{OUTPUTS[number]} {kind}: strength " + ", ".join(
                f"{s}: mean {f.mean():.3f} found {(f >= LIMITS[number]).mean():.2f} AUC {auc(f, scores['LFW'][:, number]):.3f}"
                for s, f in zip(steps, found)))
        print(f"{OUTPUTS[number]}: other changes of the photo flagged {(base >= LIMITS[number]).mean():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with lfw, utkface and masks")
    parser.add_argument("--models", help="not used: this network has no teacher")
    parser.add_argument("--cache", required=True, help="folder for landmarks and crops")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--size", type=int, default=14000, help="photos to train on")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--evaluate", action="store_true", help="only measure models/defects.onnx")
    options = parser.parse_args()
    if not options.evaluate:
        train(options)
    evaluate(options)
