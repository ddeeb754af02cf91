#!/usr/bin/env python3
"""Trains `models/deepfake.onnx`: is the face in this photo its own, or was it put there or made?

Self-blended images (Shiohara and Yamasaki, CVPR 2022): a real photo is blended with a changed copy of
itself through a mask of the face or a part of it, which leaves the traces every swap leaves (edges of
the blend, two histories of resampling, colour and sharpness) and nothing else to learn from. Beside
them: swaps between people, and faces drawn again (shrunk, smoothed, with the grid of an up-sampling
network). Genuine and forged photos go through the same compression, resizing and noise afterwards.
One kind of swap (Poisson blending) is never trained on.

    python deepfake.py --data DATA --models REFERENCE_MODELS --cache DIR [--evaluate]
"""

import argparse
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import common
from common import MODELS, TEMPLATE, auc, crop, faces, lfw, load, similarity, tensor, utk_labels, utkface
from teachers import session

SEED = 19
SIDE, FIELD = 128, 1.3
TRAINED = ("self-blended", "swapped", "redrawn")
UNSEEN = ("poisson",)

# The outline of a face and its parts in the frame of the aligned face (112 pixels).
OUTLINES = (
    np.array([[17, 40], [35, 28], [56, 26], [77, 28], [95, 40], [96, 65], [90, 90], [76, 108], [56, 114], [36, 108],
              [22, 90], [16, 65]], float),  # brow to chin
    np.array([[17, 40], [35, 32], [56, 32], [77, 32], [95, 40], [94, 62], [80, 80], [56, 84], [32, 80], [18, 62]], float),
    np.array([[30, 62], [56, 58], [82, 62], [88, 84], [76, 104], [56, 110], [36, 104], [24, 84]], float),  # lower half
    np.array([[24, 40], [52, 42], [52, 62], [24, 62]], float),  # an eye
    np.array([[60, 42], [88, 40], [88, 62], [60, 62]], float),
    np.array([[34, 82], [56, 80], [78, 82], [78, 102], [56, 106], [34, 102]], float),  # the mouth
)


# ---- Forgeries ----------------------------------------------------------------------------------


def mask_of(shape, landmarks, random):
    """A soft mask of the face or a part of it, in pixels of the photo: 0 to 1."""
    outline = OUTLINES[random.choice(6, p=[0.42, 0.18, 0.16, 0.06, 0.06, 0.12])]
    points = outline + random.normal(0, 3.0, outline.shape)
    points = (points - points.mean(0)) * random.uniform(0.85, 1.12) + points.mean(0)
    matrix = similarity(TEMPLATE, landmarks)
    points = points @ matrix[:, :2].T + matrix[:, 2]
    out = np.zeros(shape[:2], np.float32)
    hull = cv2.convexHull(points.astype(np.float32))
    cv2.fillPoly(out, [np.round(hull).astype(np.int32)], 1.0, lineType=cv2.LINE_AA)
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))
    if random.random() < 0.5:  # a ragged edge
        x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
        move = [cv2.resize(random.normal(0, 0.06 * eyes, (8, 8)).astype(np.float32), shape[1::-1], interpolation=2) for _ in "xy"]
        out = cv2.remap(out, x + move[0], y + move[1], cv2.INTER_LINEAR)
    soft = eyes * random.uniform(0.015, 0.22)
    out = cv2.GaussianBlur(out, (0, 0), soft)
    if random.random() < 0.5:  # eroded before it was softened again
        out = cv2.GaussianBlur(np.clip((out - 0.3) / 0.5, 0, 1), (0, 0), eyes * random.uniform(0.01, 0.1))
    return np.clip(out, 0, 1) * random.choice([0.5, 0.75, 1.0, 1.0, 1.0])


def changed(picture, random):
    """A copy with another history: colour, light, sharpness, resampling, compression."""
    out = picture.astype(np.float32)
    done = False
    while not done:
        if random.random() < 0.5:
            out = out * random.uniform(0.82, 1.18, 3) + random.uniform(-14, 14, 3)
            done = True
        if random.random() < 0.35:
            out = 255 * np.clip(out / 255, 0, 1) ** random.uniform(0.75, 1.35)
            done = True
        if random.random() < 0.3:
            hsv = cv2.cvtColor(np.clip(out, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
            hsv = hsv * random.uniform([1, 0.65, 1], [1, 1.4, 1]) + [random.uniform(-6, 6), 0, 0]
            out = cv2.cvtColor(np.clip(hsv, 0, [179, 255, 255]).astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
            done = True
        if random.random() < 0.5:
            kind = random.integers(3)
            if kind == 0:
                out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.5, 1.6))
            elif kind == 1:
                zoom = random.uniform(0.4, 0.85)
                small = cv2.resize(out, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
                out = cv2.resize(small, out.shape[1::-1], interpolation=int(random.choice([0, 1, 2])))
            else:
                out = out + random.uniform(0.5, 1.5) * (out - cv2.GaussianBlur(out, (0, 0), 1.0))
            done = True
    out = np.clip(out, 0, 255).astype(np.uint8)
    if random.random() < 0.25:
        out = cv2.imdecode(cv2.imencode(".jpg", out, [1, int(random.uniform(30, 85))])[1], cv2.IMREAD_COLOR)
    return out


def moved(picture, landmarks, random):
    """A little beside itself."""
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))
    middle = landmarks.mean(0)
    matrix = cv2.getRotationMatrix2D(tuple(middle), random.normal(0, 1.5), random.uniform(0.96, 1.04))
    matrix[:, 2] += random.normal(0, 0.035 * eyes, 2)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def recoloured(source, target, mask):
    """The source in the target's colours, by mean and spread where the mask is (Reinhard et al. 2001)."""
    where = mask > 0.5
    if where.sum() < 20:
        return source
    a = cv2.cvtColor(source, cv2.COLOR_RGB2LAB).astype(np.float32)
    b = cv2.cvtColor(target, cv2.COLOR_RGB2LAB).astype(np.float32)
    a = (a - a[where].mean(0)) / (a[where].std(0) + 1e-3) * b[where].std(0) + b[where].mean(0)
    return cv2.cvtColor(np.clip(a, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def redrawn(picture, random):
    """As a network with up-sampling layers would draw it: few details, a faint grid."""
    zoom = random.uniform(0.3, 0.75)
    small = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        small = cv2.bilateralFilter(small, 5, random.uniform(10, 40), 3)
    out = cv2.resize(small, picture.shape[1::-1], interpolation=int(random.choice([1, 2]))).astype(np.float32)
    h, w = out.shape[:2]
    for period in random.choice([2, 4, 8], size=random.integers(1, 3), replace=False):
        tile = random.normal(0, random.uniform(0.5, 4.0), (period, period, 1)).astype(np.float32)
        out += np.tile(tile, (h // period + 1, w // period + 1, 1))[:h, :w]
    if random.random() < 0.4:
        out += random.uniform(0.3, 1.0) * (out - cv2.GaussianBlur(out, (0, 0), 1.2))
    return np.clip(out, 0, 255).astype(np.uint8)


def forged(kind, picture, landmarks, other, random):
    """The photo with its face forged; `other` is another person's (picture, landmarks)."""
    mask = mask_of(picture.shape, landmarks, random)
    if kind in ("swapped", "poisson"):
        matrix = similarity(other[1], landmarks)
        source = cv2.warpAffine(other[0], matrix, picture.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        if kind == "poisson":
            whole = OUTLINES[0] @ similarity(TEMPLATE, landmarks)[:, :2].T + similarity(TEMPLATE, landmarks)[:, 2]
            hard = np.zeros(picture.shape[:2], np.uint8)
            cv2.fillPoly(hard, [np.round(whole).astype(np.int32)], 255)
            hard[:2], hard[-2:], hard[:, :2], hard[:, -2:] = 0, 0, 0, 0
            x, y, w, h = cv2.boundingRect(hard)
            try:
                return cv2.seamlessClone(source, picture, hard, (x + w // 2, y + h // 2), cv2.NORMAL_CLONE)
            except cv2.error:
                pass
        if random.random() < 0.8:
            source = recoloured(source, picture, mask)
        if random.random() < 0.4:
            source = changed(source, random)
    elif kind == "redrawn":
        source = redrawn(picture, random)
        if random.random() < 0.5:
            source = moved(source, landmarks, random)
    else:
        # Either the copy or the rest of the photo has another history.
        source = moved(changed(picture, random), landmarks, random)
        if random.random() < 0.35:
            source, picture = picture, source
    mask = mask[:, :, None]
    return np.clip(picture * (1 - mask) + source * mask, 0, 255).astype(np.uint8)


def camera(picture, random):
    """What happens to any photo on its way: resizing, noise, compression."""
    out = picture
    if random.random() < 0.4:
        zoom = random.uniform(0.7, 1.15)
        out = cv2.resize(out, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else 1)
    else:
        zoom = 1.0
    out = out.astype(np.float32)
    if random.random() < 0.4:
        out *= random.uniform(0.8, 1.2) * random.uniform(0.95, 1.05, 3)
    if random.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.3, 0.9))
    if random.random() < 0.3:
        out += random.normal(0, random.uniform(0.5, 5), out.shape)
    out = np.clip(out, 0, 255).astype(np.uint8)
    if random.random() < 0.7:
        out = cv2.imdecode(cv2.imencode(".jpg", out, [1, int(random.uniform(45, 97))])[1], cv2.IMREAD_COLOR)
    return out, zoom


# ---- Data ---------------------------------------------------------------------------------------


def _make(job):
    some, others, kinds, sizes, seed = job
    cv2.setNumThreads(1)
    crops = []
    for number, (face, other, kind, size) in enumerate(zip(some, others, kinds, sizes)):
        picture, landmarks = load(face.path), face.landmarks
        if size:  # eyes so many pixels apart
            zoom = min(1.0, size / face.eyes)
            picture = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
            landmarks = landmarks * zoom
        random = np.random.default_rng([*seed, number])
        if kind not in ("raw", "genuine"):
            picture = forged(kind, picture, landmarks, (load(other.path), other.landmarks), random)
        if kind != "raw":
            picture, zoom = camera(picture, np.random.default_rng([*seed, number, 1]))
            landmarks = landmarks * zoom + random.normal(0, 0.01 * face.eyes, (5, 2))
        crops.append(crop(picture, landmarks, SIDE, FIELD))
    return np.array(crops)


def made(name, some, kinds, options, sizes=None):
    """Crops of faces, genuine or forged; computed once. Swaps take the face of the next one."""
    folder = Path(options.cache) / "deepfake"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.npy"
    if not file.exists():
        others = some[1:] + some[:1]
        sizes = sizes or [0] * len(some)
        pieces = np.array_split(np.arange(len(some)), max(1, len(some) // 100))
        jobs = [
            ([some[i] for i in p], [others[i] for i in p], [kinds[i] for i in p], [sizes[i] for i in p], [SEED, n])
            for n, p in enumerate(pieces)
        ]
        with multiprocessing.Pool(options.processes) as pool:
            np.save(file, np.concatenate(pool.map(_make, jobs, chunksize=1)))
        print(f"{name}: {len(some)}", flush=True)
    return np.load(file)


def people(options):
    data, cache = Path(options.data), options.cache
    bare = faces(data / "masks/without_mask", cache, person=lambda file: "bare/" + file)
    return lfw(data, cache), [face for face in utkface(data, cache) if utk_labels(face)] + bare


def of(some, part, count, seed):
    chosen = [face for face in some if face.part == part]
    order = np.random.default_rng(seed).permutation(len(chosen))
    return [chosen[order[i % len(order)]] for i in range(count)]


# ---- The network --------------------------------------------------------------------------------


def bank():
    """Small filters that see no brightness: differences of first and second order, and what finer
    predictors leave (after Fridrich & Kodovsky 2012, "Rich models for steganalysis")."""
    across = np.zeros((5, 5), np.float32)
    across[2, 1:4] = [-1, 0, 1]
    second = np.zeros((5, 5), np.float32)
    second[2, 1:4] = [1, -2, 1]
    third = np.zeros((5, 5), np.float32)
    third[2] = [1, -4, 6, -4, 1]
    square = np.zeros((5, 5), np.float32)
    square[1:4, 1:4] = [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
    wide = np.array(
        [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]], np.float32
    )
    slope = np.zeros((5, 5), np.float32)
    slope[1:4, 1:4] = [[0, 0, 1], [0, -2, 0], [1, 0, 0]]
    all = [across, across.T, second, second.T, third, third.T, square, wide, slope, slope[:, ::-1]]
    return np.stack([one / np.sqrt((one * one).sum()) for one in all])


FINE, COARSE = 10, 8  # filters on the brightness as it is, and on half of it (the first of the bank)
CHROMA = 4  # filters on each of two differences of colours
MAPS = FINE + COARSE + 2 * CHROMA + 3


def network():
    import torch
    from torch import nn

    def block(a, b, stride=1):
        return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    class Deepfake(nn.Module):
        """How much fine detail there is where, in logarithms against the rest of the face; a part with
        another history stands out in that."""

        def __init__(self):
            super().__init__()
            filters = torch.from_numpy(bank())[:, None]
            self.register_buffer("fine", filters[:FINE])
            self.register_buffer("coarse", filters[:COARSE])
            self.register_buffer("chroma", filters[[2, 3, 6, 0]].repeat(2, 1, 1, 1))
            self.head = nn.Sequential(
                nn.BatchNorm2d(MAPS), block(MAPS, 48, 2), block(48, 64), block(64, 96, 2), block(96, 96),
                nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.35), nn.Linear(96 * 16, 1),
            )  # fmt: skip
            # Bends the logit so that the documented threshold is the operating point; set after training.
            self.register_buffer("shift", torch.zeros(1))

        def maps(self, face):
            """N x MAPS x 32 x 32: energies behind each filter, and the colours."""
            pool, conv = nn.functional.avg_pool2d, nn.functional.conv2d
            red, green, blue = face[:, 0:1], face[:, 1:2], face[:, 2:3]
            grey = 0.299 * red + 0.587 * green + 0.114 * blue
            fine = pool(conv(grey, self.fine, padding=2).square(), 4)
            coarse = pool(conv(pool(grey, 2), self.coarse, padding=2).square(), 2)
            colours = torch.cat([blue - grey, red - grey], 1)
            chroma = pool(conv(colours, self.chroma, padding=2, groups=2).square(), 4)
            energy = (torch.cat([fine, coarse, chroma], 1) + 0.25).log()
            energy = energy - energy.mean((2, 3), keepdim=True)
            return torch.cat([energy, pool((face - 127.5) / 64, 4)], 1)

        def forward(self, face):
            return (self.head(self.maps(face)) + self.shift).sigmoid()

    return Deepfake()


LIMIT = 0.9
REJECTED = 0.03  # of genuine validation photos below the limit


def train(options):
    import torch
    from torch.nn import functional as F

    wild, close = people(options)
    some = of(wild, "train", options.size * 2 // 3, 1) + of(close, "train", options.size // 3, 2)
    random = np.random.default_rng(SEED)
    order = random.permutation(len(some))
    some = [some[i] for i in order]
    real = made("train-genuine", some, ["genuine"] * len(some), options)
    rounds = []
    for number in range(options.rounds):  # more than one forgery of each, as there is one camera for both
        kinds = list(random.choice(TRAINED, size=len(some), p=[0.6, 0.25, 0.15]))
        rounds.append(made(f"train-forged-{number}", some[number:] + some[:number], kinds, options))
    common.seed(SEED)
    torch.set_num_threads(options.processes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = network().to(device)

    def mapped(crops):
        """The maps of crops and of their mirror images, which nothing in training changes."""
        out = []
        with torch.no_grad():
            for at in range(0, len(crops), 100):
                for pictures in (crops[at : at + 100], crops[at : at + 100, :, ::-1]):
                    out.append(net.maps(torch.from_numpy(tensor(pictures)).to(device)).half().cpu())
        both = torch.cat(out[0::2]), torch.cat(out[1::2])
        return both

    real, rounds = mapped(real), [mapped(crops) for crops in rounds]
    count = len(real[0])
    optimizer = torch.optim.AdamW(net.head.parameters(), lr=3e-3, weight_decay=0.03)
    batch = 64
    steps = options.epochs * (count // (batch // 2))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    y = torch.tensor([0.97] * (batch // 2) + [0.03] * (batch // 2), device=device)
    for epoch in range(options.epochs):
        net.train()
        order, losses = random.permutation(count), []
        number = epoch % len(rounds)
        for at in range(count // (batch // 2)):
            # A photo and its forgery together: they differ only in the forgery.
            rows = order[at * (batch // 2) : (at + 1) * (batch // 2)]
            side = int(random.random() < 0.5)
            x = torch.cat([real[side][rows], rounds[number][side][(rows - number) % count]]).float().to(device)
            loss = F.binary_cross_entropy_with_logits(net.head(x)[:, 0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: {np.mean(losses):.4f}", flush=True)
    net = net.cpu().eval()
    some = of(wild, "validate", 800, 3) + of(close, "validate", 800, 4)
    raw = made("validate-raw", some, ["raw"] * len(some), options)
    with torch.no_grad():
        logits = torch.cat([net.head(net.maps(piece)) for piece in torch.from_numpy(tensor(raw)).split(64)]).numpy()
    net.shift.fill_(float(np.log(LIMIT / (1 - LIMIT)) - np.quantile(logits, REJECTED)))
    common.export(net, (torch.zeros(1, 3, SIDE, SIDE),), MODELS / "deepfake.onnx", ["face"], ["deepfake"])


# ---- Measuring ----------------------------------------------------------------------------------


def run(crops):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(MODELS / "deepfake.onnx"), options)
    return np.array([net.run(None, {"face": tensor([one])})[0][0, 0] for one in crops])


def evaluate(options):
    """Prints the figures of the model card, on the test part only."""
    wild, close = people(options)
    live = {
        "LFW": of(wild, "test", 1500, 5),
        "UTKFace": of([f for f in close if f.key.startswith("utk")], "test", 1500, 6),
        "masks/without_mask": [f for f in close if f.key.startswith("bare") and f.part == "test"],
    }
    widths, scores = [], []
    for name, some in live.items():
        found = run(made("test-raw-" + name.split("/")[0], some, ["raw"] * len(some), options))
        print(f"false alarms at {LIMIT} on {name}: {(found < LIMIT).mean():.4f} of {len(some)}")
        if name == "UTKFace":
            races = np.array([utk_labels(face)[2] for face in some])
            print("  by race: " + ", ".join(
                f"{race} {(found[races == n] < LIMIT).mean():.3f}"
                for n, race in enumerate(("white", "black", "asian", "indian", "other"))))
        widths += [face.box[2] for face in some]
        scores.append(found)
    widths, scores = np.array(widths), np.concatenate(scores)
    for low, high in ((0, 80), (80, 110), (110, 150), (150, 10_000)):
        mine = (widths >= low) & (widths < high)
        print(f"false alarms, box {low} to {high} pixels wide: {(scores[mine] < LIMIT).mean():.4f} of {mine.sum()}")
    for source, some in (("LFW", of(wild, "test", 500, 7)), ("UTKFace", of(close, "test", 500, 8))):
        real = run(made(f"test-genuine-{source}", some, ["genuine"] * len(some), options))
        print(f"{source}: genuine through the same camera flagged {(real < LIMIT).mean():.4f}")
        for kind in TRAINED + UNSEEN:
            found = run(made(f"test-{kind}-{source}", some, [kind] * len(some), options))
            print(f"  {kind}{' (never trained on)' if kind in UNSEEN else ''}: AUC {auc(real, found):.4f}, found {(found < LIMIT).mean():.3f}")
    some = of(wild, "test", 250, 9)
    for size in (12, 16, 20, 24, 32, 40):
        real = run(made(f"size-real-{size}", some, ["raw"] * 250, options, [size] * 250))
        found = run(made(f"size-fake-{size}", some, ["self-blended"] * 250, options, [size] * 250))
        print(f"eyes {size} pixels apart: AUC {auc(real, found):.4f}, genuine flagged {(real < LIMIT).mean():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with lfw, utkface and masks")
    parser.add_argument("--models", help="not used: this network has no teacher")
    parser.add_argument("--cache", required=True, help="folder for landmarks and crops (about 3 GB)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2, help="forgeries of each photo")
    parser.add_argument("--size", type=int, default=4500, help="photos to train on")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--evaluate", action="store_true", help="only measure models/deepfake.onnx")
    options = parser.parse_args()
    if not options.evaluate:
        train(options)
    evaluate(options)
