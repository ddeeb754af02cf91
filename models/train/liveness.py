#!/usr/bin/env python3
"""Trains `models/liveness.onnx`: is this a photo of a person, or of a picture of one?

No corpus of real attacks may be shipped with or is at hand, so attacks are simulated: a photo of LFW is
shown on a screen or printed, that thing is held into another scene, and a second camera takes it. Live
photos go through the same second camera (resizing, blur, noise, white balance, sharpening, JPEG), so
that none of that distinguishes them; what is left are the traces of the first reproduction and the
surroundings: pixel grids and moire, halftone dots, paper, glare, bezels, edges, hands.

Two crops, as the best single-photo methods use (Yang, Li et al., Silent-Face-Anti-Spoofing): a tight
one (field 1.2) for texture and a wide one (field 2.6) for surroundings. Some kinds of attack are never
trained on; the model card reports the error on each kind (ISO/IEC 30107-3: APCER, BPCER).

    python liveness.py --data DATA --models REFERENCE_MODELS --cache DIR [--evaluate]
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
from teachers import session

SEED = 13
SIDE = 96
TIGHT, WIDE = 1.2, 2.6
CANVAS = 256
TRAINED = ("screen", "phone", "tablet", "print", "photo")
UNSEEN = ("monitor", "cutout", "glossy")


# ---- Cameras ------------------------------------------------------------------------------------


def jpeg(picture, quality):
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def camera(picture, random, strength=1.0):
    """What any camera and its software do to a scene."""
    out = picture.astype(np.float32)
    if random.random() < 0.5:
        out = cv2.GaussianBlur(out, (0, 0), random.uniform(0.3, 1.1) * strength)
    if random.random() < 0.1:
        length = int(random.integers(2, 5))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), random.uniform(0, 180), 1)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        out = cv2.filter2D(out, -1, kernel / max(kernel.sum(), 1e-3))
    out = 255 * np.clip(out / 255, 0, 1) ** random.uniform(0.75, 1.35)
    out *= random.uniform(0.7, 1.2) * random.uniform(0.92, 1.08, 3)
    if random.random() < 0.7:
        grain = random.normal(0, random.uniform(0.5, 7), out.shape).astype(np.float32)
        if random.random() < 0.5:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.7) * 2
        out += grain
    if random.random() < 0.3:
        out += random.uniform(0.2, 0.9) * (out - cv2.GaussianBlur(out, (0, 0), 1.2))
    out = np.clip(out, 0, 255).astype(np.uint8)
    if random.random() < 0.4:
        zoom = random.uniform(0.55, 0.95)
        small = cv2.resize(out, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, out.shape[1::-1], interpolation=int(random.choice([1, 2])))
    return jpeg(out, random.uniform(45, 96)) if random.random() < 0.85 else out


# ---- Attacks ------------------------------------------------------------------------------------


def smooth(random, shape, cells, spread):
    """A soft random field."""
    field = random.normal(0, spread, (cells, cells)).astype(np.float32)
    return cv2.resize(field, shape[1::-1], interpolation=cv2.INTER_CUBIC)


def on_screen(picture, random):
    """The photo as light from a display: its pixels, its black, its glow."""
    size, factor = picture.shape[0], int(random.integers(2, 4))
    pitch = random.uniform(0.6, 1.3 if factor == 2 else 1.0)  # display pixels to one of the photo
    shown = cv2.resize(picture, None, fx=pitch, fy=pitch, interpolation=cv2.INTER_AREA if pitch < 1 else 1)
    big = np.kron(shown, np.ones((factor, factor, 1), np.uint8)).astype(np.float32)
    h, w = big.shape[:2]
    grid = np.ones((h, w, 3), np.float32)
    x, y = np.arange(w) % factor, np.arange(h) % factor
    depth = random.uniform(0.1, 0.75)
    if random.random() < 0.7 and factor >= 3:  # stripes of red, green, blue
        for channel in range(3):
            grid[:, :, channel] *= np.where(x * 3 // factor == channel, 1.0, 1 - depth)[None]
    grid *= np.where(x == factor - 1, 1 - depth / 2, 1.0)[None, :, None]
    grid *= np.where(y == factor - 1, 1 - depth, 1.0)[:, None, None]
    big *= grid / grid.mean()
    big = 255 * np.clip(big / 255, 0, 1) ** random.uniform(0.8, 1.2)
    big = big * random.uniform(0.75, 1.05) * random.uniform([0.88, 0.95, 0.97], [1.02, 1.04, 1.18])
    big += random.uniform(0, 22)
    return np.clip(big, 0, 255).astype(np.uint8), h / size


def printed(picture, random, dots=True):
    """The photo as ink on paper: less colour, dots, fibres, shading."""
    size = picture.shape[0]
    factor = 2
    big = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=1).astype(np.float32)
    grey = big.mean(2, keepdims=True)
    big = grey + (big - grey) * random.uniform(0.45, 1.0)
    big = random.uniform(15, 55) + big * random.uniform(0.62, 0.85)
    if dots and random.random() < 0.75:
        h, w = big.shape[:2]
        x, y = np.meshgrid(np.arange(w), np.arange(h))
        period, depth = random.uniform(2.2, 6.0), random.uniform(4, 32)
        for channel in range(3):
            turn = random.uniform(0, np.pi)
            u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
            big[:, :, channel] += depth * np.cos(2 * np.pi * u / period) * np.cos(2 * np.pi * v / period)
        if random.random() < 0.3:  # lines of an ink-jet
            big += depth * 0.7 * np.cos(2 * np.pi * y / random.uniform(3, 9))[:, :, None]
    fibre = cv2.GaussianBlur(random.normal(0, 1, big.shape[:2]).astype(np.float32), (0, 0), random.uniform(0.6, 2))
    big += (fibre * random.uniform(2, 14))[:, :, None]
    big *= (1 + smooth(random, big.shape, int(random.integers(2, 5)), 0.12))[:, :, None]
    return np.clip(big, 0, 255).astype(np.uint8), float(factor)


def glare(picture, random, strength):
    h, w = picture.shape[:2]
    out = picture.astype(np.float32)
    for _ in range(random.integers(1, 3)):
        spot = np.zeros((h, w), np.float32)
        centre = (int(random.uniform(0, w)), int(random.uniform(0, h)))
        axes = (int(w * random.uniform(0.04, 0.3)), int(h * random.uniform(0.02, 0.2)))
        cv2.ellipse(spot, centre, axes, random.uniform(0, 180), 0, 360, 1.0, -1)
        spot = cv2.GaussianBlur(spot, (0, 0), w * random.uniform(0.01, 0.09))
        out += spot[:, :, None] * random.uniform(40, 200) * strength * random.uniform(0.85, 1.0, 3)
    return np.clip(out, 0, 255).astype(np.uint8)


def framed(thing, points, random, left, top, right, bottom, colour):
    """A border around the picture: a bezel, a margin of paper."""
    out = cv2.copyMakeBorder(thing, top, bottom, left, right, cv2.BORDER_CONSTANT, value=[int(v) for v in colour])
    return out, points + [left, top]


def attack(kind, picture, landmarks, scene, random):
    """The photo reproduced and taken again in another scene: (CANVAS-sized picture, landmarks)."""
    side = max(picture.shape[:2])
    if random.random() < 0.5:
        picture = jpeg(picture, random.uniform(60, 95))
    if kind in ("screen", "phone", "tablet", "monitor"):
        thing, zoom = on_screen(picture, random)
    else:
        thing, zoom = printed(picture, random, dots=kind != "photo" or random.random() < 0.3)
    points = landmarks * zoom
    size = thing.shape[0]
    dark = random.uniform(0, 45) * np.ones(3) if random.random() < 0.75 else random.uniform(170, 240) * np.ones(3)
    share = lambda low, high: int(size * random.uniform(low, high))
    if kind == "screen":  # nothing but the screen, close up
        fill = random.uniform(1.0, 1.5)
    elif kind == "phone":
        thing, points = framed(thing, points, random, share(0.01, 0.05), share(0.04, 0.18), share(0.01, 0.05), share(0.04, 0.18), dark)
        fill = random.uniform(0.72, 1.05)
    elif kind == "tablet":
        edge = share(0.04, 0.1)
        thing, points = framed(thing, points, random, edge, edge, edge, edge, dark)
        fill = random.uniform(0.75, 1.1)
    elif kind == "monitor":  # never trained on: a window on a desktop, refresh bands
        bar = np.full((share(0.05, 0.09), thing.shape[1], 3), random.uniform(120, 240), np.uint8)
        thing, points = np.vstack([bar, thing]), points + [0, bar.shape[0]]
        thing, points = framed(thing, points, random, share(0.1, 0.5), share(0.05, 0.3), share(0.1, 0.5), share(0.1, 0.3), random.integers(0, 256, 3))
        rows = np.arange(thing.shape[0]) / thing.shape[0]
        bands = 1 + random.uniform(0.05, 0.3) * np.sin(2 * np.pi * (random.uniform(1, 5) * rows + random.random()))
        thing = np.clip(thing * bands[:, None, None], 0, 255).astype(np.uint8)
        fill = random.uniform(0.95, 1.3)
    else:
        white = random.uniform(195, 250) * np.array([1, 1, random.uniform(0.9, 1.02)])
        if random.random() < 0.7 and kind != "cutout":
            edge = share(0.02, 0.15)
            thing, points = framed(thing, points, random, edge, edge, edge, edge, white)
        fill = random.uniform(0.75, 1.3)
    if kind == "glossy":  # never trained on: curved and shining
        h, w = thing.shape[:2]
        x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
        bend = w * random.uniform(0.03, 0.09) * np.sin(np.pi * x / w)
        thing = cv2.remap(thing, x, (y + bend).astype(np.float32), cv2.INTER_LINEAR, borderValue=(230, 230, 230))
        points = points - np.stack([np.zeros(5), w * 0.06 * np.sin(np.pi * points[:, 0] / w)], 1)
        thing = glare(thing, random, 1.2)
    elif random.random() < 0.35:
        thing = glare(thing, random, random.uniform(0.2, 0.8))

    h, w = thing.shape[:2]
    zoom = CANVAS * fill / max(h, w)
    # The face stays in view: the thing is moved so that it lies somewhere in the middle.
    middle = points.mean(0)
    goal = CANVAS / 2 + random.normal(0, 10, 2)
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    turn = np.radians(random.normal(0, 6))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * zoom
    there = (corners - middle) @ matrix.T + goal + random.normal(0, 0.03 * CANVAS, (4, 2))
    tilt = cv2.getPerspectiveTransform(corners, there.astype(np.float32))
    if random.random() < 0.6:
        thing = cv2.GaussianBlur(thing, (0, 0), random.uniform(0.2, 0.55) / zoom)
    seen = cv2.warpPerspective(thing, tilt, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR)
    alpha = np.full((h, w), 1.0, np.float32)
    if kind == "cutout":  # never trained on: only the head was cut out
        alpha[:] = 0
        eyes = np.hypot(*(points[1] - points[0]))
        cv2.ellipse(alpha, tuple(map(int, middle + [0, -0.15 * eyes])), (int(1.25 * eyes), int(1.75 * eyes)), 0, 0, 360, 1.0, -1)
    alpha = cv2.warpPerspective(alpha, tilt, (CANVAS, CANVAS))[:, :, None]
    back = cv2.resize(scene, (CANVAS, CANVAS)).astype(np.float32)
    if random.random() < 0.5:
        back = cv2.GaussianBlur(back, (0, 0), random.uniform(0.5, 4))
    out = back * (1 - alpha) + seen * alpha
    if kind in ("phone", "tablet", "print", "photo") and random.random() < 0.5:  # fingers that hold it
        skin = np.array([170, 125, 100]) * random.uniform(0.45, 1.3)
        for corner in there[random.permutation(4)[: random.integers(1, 3)]]:
            inward = (goal - corner) / max(np.hypot(*(goal - corner)), 1)
            for finger in range(random.integers(1, 4)):
                start = corner + [random.uniform(-12, 12), finger * random.uniform(9, 16)]
                end = start + inward * random.uniform(18, 40)
                cv2.line(out, tuple(map(int, start)), tuple(map(int, end)), (skin * random.uniform(0.9, 1.1)).tolist(),
                         int(random.uniform(9, 16)), cv2.LINE_AA)
    points = cv2.perspectiveTransform(points[None].astype(np.float32), tilt)[0].astype(np.float64)
    return np.clip(out, 0, 255).astype(np.uint8), points


# ---- Data ---------------------------------------------------------------------------------------


def narrowed(picture, landmarks, random):
    """Sometimes a part of the photo only, the face in it: not everybody leaves room around a face."""
    if random.random() < 0.5:
        return picture, landmarks
    h, w = picture.shape[:2]
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))
    low, high = landmarks.min(0) - eyes * random.uniform(0.6, 2.5, 2), landmarks.max(0) + eyes * random.uniform(0.6, 2.5, 2)
    x0, y0 = np.maximum(0, low).astype(int)
    x1, y1 = np.minimum([w, h], high).astype(int)
    return picture[y0:y1, x0:x1], landmarks - [x0, y0]


def two_crops(picture, landmarks):
    return np.stack([crop(picture, landmarks, SIDE, TIGHT), crop(picture, landmarks, SIDE, WIDE)])


def _make(job):
    """Pairs of crops: for each face a live one (kind "live") or an attack of a kind."""
    some, kinds, scenes, seed = job
    cv2.setNumThreads(1)
    random = np.random.default_rng(seed)
    out = []
    for face, kind in zip(some, kinds):
        picture, landmarks = load(face.path), face.landmarks
        if kind == "raw":
            out.append(two_crops(picture, landmarks))
            continue
        if kind == "live":
            size = random.uniform(0.75, 1.1)
            picture = cv2.resize(picture, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
            landmarks = landmarks * size
        else:
            scene = load(scenes[random.integers(len(scenes))])
            picture, landmarks = attack(kind, picture, landmarks, scene, random)
        picture = camera(picture, random)
        picture, landmarks = narrowed(picture, landmarks, random)
        out.append(two_crops(picture, landmarks + random.normal(0, 0.6, (5, 2))))
    return np.array(out)


def made(name, some, kinds, scenes, options):
    """Crops [N, 2, SIDE, SIDE, 3], computed once."""
    folder = Path(options.cache) / "liveness"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.npy"
    if not file.exists():
        pieces = np.array_split(np.arange(len(some)), max(1, len(some) // 100))
        jobs = [([some[i] for i in p], [kinds[i] for i in p], scenes, [SEED, len(name), n]) for n, p in enumerate(pieces)]
        with multiprocessing.Pool(options.processes) as pool:
            np.save(file, np.concatenate(pool.map(_make, jobs, chunksize=1)))
        print(f"{name}: {len(some)}", flush=True)
    return np.load(file, mmap_mode="r")


def of(some, part, count, seed):
    """Faces of a part, in a random order, again and again until there are enough."""
    chosen = [face for face in some if face.part == part]
    order = np.random.default_rng(seed).permutation(len(chosen))
    return [chosen[order[i % len(order)]] for i in range(count)]


def collections(options):
    data, cache = Path(options.data), options.cache
    bare = faces(data / "masks/without_mask", cache, person=lambda file: "bare/" + file)
    wide = lfw(data, cache)
    close = [face for face in utkface(data, cache) if utk_labels(face)] + bare
    return wide, close


def dataset(part, options, live, attacks):
    """(crops, is live) of a part."""
    wide, close = collections(options)
    scenes = [face.path for face in wide if face.part == part]
    kinds = [TRAINED[i % len(TRAINED)] for i in range(attacks)]
    people = of(wide, part, live * 2 // 3, 1) + of(close, part, live // 3, 2)
    lives = made(f"{part}-live", people, ["live"] * len(people), scenes, options)
    victims = of(wide, part, attacks * 4 // 5, 3) + of(close, part, attacks // 5, 4)
    fakes = made(f"{part}-attacks", victims, kinds[: len(victims)], scenes, options)
    return lives, fakes


# ---- The network --------------------------------------------------------------------------------


def network():
    import torch
    from torch import nn

    def block(a, b, stride=1):
        return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    class Branch(nn.Module):
        """Colour and its fine detail (what a 3 x 3 mean leaves), to one vector."""

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                block(6, 16, 2), block(16, 24), block(24, 40, 2), block(40, 40), block(40, 64, 2), block(64, 64),
                block(64, 96, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3),
            )  # fmt: skip

        def forward(self, x):
            x = (x - 127.5) / 64
            fine = x - nn.functional.avg_pool2d(x, 3, 1, 1)
            return self.layers(torch.cat([x, 4 * fine], 1))

    class Liveness(nn.Module):
        def __init__(self):
            super().__init__()
            self.tight, self.wide = Branch(), Branch()
            self.last = nn.Sequential(nn.Linear(768, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
            # Moves the logit so that the documented threshold is the operating point; set after training.
            self.register_buffer("shift", torch.zeros(1))

        def logit(self, tight, wide):
            return self.last(torch.cat([self.tight(tight), self.wide(wide)], 1))

        def forward(self, tight, wide):
            return (self.logit(tight, wide) + self.shift).sigmoid()

    return Liveness()


LIMIT = 0.75
REJECTED = 0.03  # of live validation photos below the limit


def train(options):
    import torch
    from torch.nn import functional as F

    lives, fakes = dataset("train", options, options.size, options.size * 5 // 4)
    common.seed(SEED)
    torch.set_num_threads(options.processes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = network().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    batch, total = 128, len(lives) + len(fakes)
    steps = options.epochs * (total // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    random = np.random.default_rng(SEED)
    for epoch in range(options.epochs):
        net.train()
        order, losses = random.permutation(total), []
        for at in range(total // batch):
            ids = order[at * batch : (at + 1) * batch]
            pairs = np.stack([lives[i] if i < len(lives) else fakes[i - len(lives)] for i in ids])
            if random.random() < 0.5:
                pairs = pairs[:, :, :, ::-1]
            y = torch.from_numpy((ids < len(lives)).astype(np.float32)).to(device)
            x = torch.from_numpy(np.ascontiguousarray(pairs.transpose(0, 1, 4, 2, 3), np.float32)).to(device)
            x = x * (0.8 + 0.4 * torch.rand(len(ids), 1, 3, 1, 1, device=device))
            loss = F.binary_cross_entropy_with_logits(net.logit(x[:, 0], x[:, 1])[:, 0], 0.02 + 0.96 * y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: {np.mean(losses):.4f}", flush=True)
    net = net.cpu().eval()
    wide, close = collections(options)
    people = of(wide, "validate", 600, 5) + of(close, "validate", 600, 6)
    raw = made("validate-raw", people, ["raw"] * len(people), [], options)
    with torch.no_grad():
        x = torch.from_numpy(np.array(raw, np.float32).transpose(0, 1, 4, 2, 3))
        logits = torch.cat([net.logit(piece[:, 0], piece[:, 1]) for piece in x.split(64)]).numpy()
    net.shift.fill_(float(np.log(LIMIT / (1 - LIMIT)) - np.quantile(logits, REJECTED)))
    example = (torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE))
    common.export(net, example, MODELS / "liveness.onnx", ["tight", "wide"], ["liveness"])


# ---- Measuring ----------------------------------------------------------------------------------


def run(pairs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(MODELS / "liveness.onnx"), options)
    return np.array([net.run(None, {"tight": tensor([p[0]]), "wide": tensor([p[1]])})[0][0, 0] for p in pairs])


class Teacher:
    """MiniFASNet (Apache-2.0): the mean of both networks' class 1."""

    def __init__(self, models):
        self.nets = [(session(models, "liveness_minifasnet_v2_27"), 2.7), (session(models, "liveness_minifasnet_v1se_40"), 4.0)]

    def __call__(self, face):
        picture = load(face.path)
        h, w = picture.shape[:2]
        x, y, bw, bh = face.box
        found = []
        for net, zoom in self.nets:
            zoom = min(zoom, (h - 1) / bh, (w - 1) / bw)
            half = np.array([bw, bh]) * zoom / 2
            centre = np.clip([x + bw / 2, y + bh / 2], half, np.array([w - 1, h - 1]) - half)
            (x0, y0), (x1, y1) = (centre - half).astype(int), (centre + half).astype(int)
            seen = cv2.resize(picture[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1], (80, 80))[:, :, ::-1]
            found.append(net.run(None, {"input": tensor([seen])})[0][0, 1])
        return float(np.mean(found))


def evaluate(options):
    """Prints the figures of the model card, on the test part only."""
    wide, close = collections(options)
    scenes = [face.path for face in wide if face.part == "test"]
    live = {
        "LFW": of(wide, "test", 1500, 7),
        "UTKFace": of([f for f in close if f.key.startswith("utk")], "test", 1500, 8),
        "masks/without_mask": [f for f in close if f.key.startswith("bare") and f.part == "test"],
    }
    scores = {}
    for name, people in live.items():
        pairs = made("test-raw-" + name.split("/")[0], people, ["raw"] * len(people), [], options)
        scores[name] = run(pairs)
        print(f"BPCER at {LIMIT} on {name}: {(scores[name] < LIMIT).mean():.4f} of {len(people)}")
        if name == "UTKFace":
            races = np.array([utk_labels(face)[2] for face in people])
            print("  by race: " + ", ".join(
                f"{race} {(scores[name][races == n] < LIMIT).mean():.3f}"
                for n, race in enumerate(("white", "black", "asian", "indian", "other"))))
    bona_fide = np.concatenate(list(scores.values()))
    for kind in TRAINED + UNSEEN:
        people = of(wide, "test", 250, [9, len(kind)])
        found = run(made(f"test-{kind}", people, [kind] * len(people), scenes, options))
        print(f"APCER at {LIMIT}, {kind}{' (never trained on)' if kind in UNSEEN else ''}: {(found >= LIMIT).mean():.4f} "
              f"of {len(found)}; AUC against all live {auc(bona_fide, found):.4f}")
    retaken = of(wide, "test", 300, 10)
    found = run(made("test-live", retaken, ["live"] * 300, scenes, options))
    print(f"BPCER at {LIMIT}, LFW through a second camera: {(found < LIMIT).mean():.4f} of 300")
    teacher = Teacher(options.models)
    judged = np.array([teacher(face) for face in live["LFW"][:600]])
    print(f"teacher: rejects {(judged < 0.6).mean():.3f} of 600 LFW photos; both accept {((judged >= 0.6) & (scores['LFW'][:600] >= LIMIT)).mean():.3f}")
    for folder in ("spoof/live", "spoof/attack"):
        some = faces(Path(options.data) / folder, options.cache)
        for face in some:
            score = run(made("sample-" + Path(face.path).stem, [face], ["raw"], [], options))[0]
            print(f"{folder} {Path(face.path).name}: {score:.3f}, teacher {teacher(face):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with lfw, utkface, masks and spoof")
    parser.add_argument("--models", required=True, help="folder with the reference models")
    parser.add_argument("--cache", required=True, help="folder for landmarks and crops (about 2 GB)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=6000, help="live photos to train on; attacks: a quarter more")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--evaluate", action="store_true", help="only measure models/liveness.onnx")
    options = parser.parse_args()
    if not options.evaluate:
        train(options)
    evaluate(options)
