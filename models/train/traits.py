#!/usr/bin/env python3
"""Trains `models/traits.onnx`: age, gender, race, pose and utility (crfiqa) from SFace's own map.

SFace runs on every face, and the 1024 x 7 x 7 map before its last layer (tensor `bn1`) knows more of
the face than the 128 numbers that are left of it. A head of one 1 x 1 convolution and two dense layers
reads it, for a fraction of a millisecond.

Labels
  age, gender, race   UTKFace, by file. Age is learnt as a distribution over years (Rothe et al. 2018,
                      "Deep expectation"; Gao et al. 2018, "Age estimation using expectation of label
                      distribution learning"): cross entropy with a Gaussian around the label, and the
                      absolute error of the expectation.
  pose                the 478-point mesh of MediaPipe against its canonical face (teachers.Mesh), on LFW
                      and UTKFace, in the frame of the aligned crop.
  crfiqa              how similar SFace finds a photo, clean or degraded, to the same person's other
                      photos (mean cosine; LFW people with at least two), the idea of SER-FIQ and
                      CR-FIQA (Boutros et al. 2023) with this recogniser's own genuine similarities.

    python traits.py --data DATA --models REFERENCE_MODELS --cache DIR [--epochs 16] [--evaluate]
"""

import argparse
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import common
from common import MODELS, crop, lfw, load, tensor, utk_labels, utkface
from teachers import Mesh, session

SEED = 7
RACES = ("white", "black", "asian", "indian", "other")
YEARS = 101  # 0 to 100
TRUNK = "bn1"
SFACE = MODELS / "fetched/face_recognition_sface_2021dec.onnx"

# ---- What the network is fed ------------------------------------------------------------------


def sface():
    """SFace with its inner map as an output, on one thread."""
    import onnx

    model = onnx.load(str(SFACE))
    if not any(output.name == TRUNK for output in model.graph.output):
        model.graph.output.append(onnx.helper.make_tensor_value_info(TRUNK, 1, [1, 1024, 7, 7]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def degraded(picture, random):
    """The aligned face after one or two things that spoil photos, at a random strength."""
    out = picture
    for kind in random.choice(6, size=random.integers(1, 3), replace=False):
        strength = random.uniform(0, 1)
        if kind == 0:  # defocus
            out = cv2.GaussianBlur(out, (0, 0), 0.3 + 4 * strength)
        elif kind == 1:  # few pixels
            small = int(112 * (1 - 0.88 * strength))
            out = cv2.resize(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), (112, 112))
        elif kind == 2:  # sensor noise
            noise = random.normal(0, 2 + 45 * strength, out.shape)
            out = np.clip(out + noise, 0, 255).astype(np.uint8)
        elif kind == 3:  # dark, or too bright
            gain = 2.0 ** (random.choice([-4.5, 1.8]) * strength)
            out = np.clip(out * gain, 0, 255).astype(np.uint8)
        elif kind == 4:  # something before the face
            out = out.copy()
            size = int(20 + 60 * strength)
            x, y = random.integers(-10, 112 - size // 2, 2)
            colour = random.integers(0, 256, 3)
            out[max(y, 0) : y + size, max(x, 0) : x + size] = colour
        else:  # compression
            quality = int(60 - 57 * strength)
            _, coded = cv2.imencode(".jpg", out[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
            out = cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1]
    return out


# Variants of a face: itself, its mirror image, and degraded copies (for crfiqa and robustness).
CLEAN, MIRROR, DEGRADED_1, DEGRADED_2 = range(4)


def _features(job):
    """Features, embeddings and poses of some faces in the given variants."""
    faces, variants, models = job
    cv2.setNumThreads(1)
    trunk, mesh = sface(), Mesh(models)
    name = trunk.get_inputs()[0].name
    maps, embeddings, poses = [], [], []
    for face in faces:
        picture = load(face.path)
        random = np.random.default_rng(int.from_bytes(face.key.encode()[-6:] + face.path.encode()[-6:], "big"))
        jitter = random.normal(0, 0.02 * face.eyes, face.landmarks.shape)
        points, present, pose = mesh(picture, face.landmarks)
        rows = []
        for variant in variants:
            landmarks = face.landmarks if variant == CLEAN else face.landmarks + jitter
            turn = common.similarity(landmarks, common.TEMPLATE)
            angle = np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))
            aligned = crop(picture, landmarks, 112)
            there = pose - [0, 0, angle]
            if variant == MIRROR:
                aligned, there = aligned[:, ::-1], there * [1, -1, -1]
            elif variant in (DEGRADED_1, DEGRADED_2):
                aligned = degraded(aligned, random)
            embedding, inner = trunk.run(["fc1", TRUNK], {name: tensor([aligned])})
            rows.append((inner[0].astype(np.float16), embedding[0], there if present > 0.5 else there * np.nan))
        maps.append([row[0] for row in rows])
        embeddings.append([row[1] for row in rows])
        poses.append([row[2] for row in rows])
    return np.array(maps), np.array(embeddings, np.float32), np.array(poses, np.float32)


def features(name, faces, variants, options):
    """(maps [N, V, 1024, 7, 7] float16, embeddings [N, V, 128], poses [N, V, 3]), computed once."""
    folder = Path(options.cache) / "traits"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}-{what}.npy" for what in ("maps", "embeddings", "poses")]
    if not files[-1].exists():
        pieces = np.array_split(np.arange(len(faces)), max(1, len(faces) // 200))
        jobs = [([faces[i] for i in piece], variants, options.models) for piece in pieces]
        shape = (len(faces), len(variants), 1024, 7, 7)
        maps = np.lib.format.open_memmap(files[0], "w+", np.float16, shape)
        rest = []
        with multiprocessing.Pool(options.processes) as pool:
            at = 0
            for inner, *other in pool.imap(_features, jobs):
                maps[at : at + len(inner)] = inner
                rest.append(other)
                at += len(inner)
                print(f"{name}: {at} of {len(faces)}", flush=True)
        np.save(files[1], np.concatenate([r[0] for r in rest]))
        np.save(files[2], np.concatenate([r[1] for r in rest]))
    return tuple(np.load(file) for file in files)


def everything(options):
    """All faces and their features."""
    utk = [face for face in utkface(options.data, options.cache) if utk_labels(face)]
    # LFW: people with at least two photos, at most five of each.
    people = {}
    for face in lfw(options.data, options.cache):
        people.setdefault(face.key, []).append(face)
    known = [face for photos in people.values() if len(photos) > 1 for face in photos[:5]]
    return (
        (utk, *features("utk", utk, (CLEAN, MIRROR), options)),
        (known, *features("lfw", known, (CLEAN, DEGRADED_1, DEGRADED_2), options)),
    )


# ---- The network --------------------------------------------------------------------------------


def network():
    import torch
    from torch import nn

    class Head(nn.Module):
        """From the map to one vector."""

        def __init__(self, channels, width):
            super().__init__()
            self.reduce = nn.Sequential(nn.Conv2d(1024, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())
            self.dense = nn.Sequential(
                nn.Dropout(0.4), nn.Linear(49 * channels, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3)
            )

        def forward(self, x):
            return self.dense(self.reduce(x).flatten(1))

    class Traits(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.BatchNorm2d(1024)
            self.person, self.photo = Head(64, 192), Head(32, 128)
            self.age, self.male, self.race = nn.Linear(192, YEARS), nn.Linear(192, 1), nn.Linear(192, len(RACES))
            self.pose, self.utility = nn.Linear(128, 3), nn.Linear(128, 1)
            # What turns a predicted mean cosine into the reported score; set after training.
            self.register_buffer("bend", torch.tensor([0.0, 1.0]))

        def raw(self, features):
            x = self.scale(features)
            person, photo = self.person(x), self.photo(x)
            return self.age(person), self.male(person), self.race(person), self.pose(photo), self.utility(photo)

        def forward(self, features):
            age, male, race, pose, utility = self.raw(features)
            years = torch.arange(YEARS, dtype=torch.float32)
            age = (age.softmax(1) * years).sum(1, keepdim=True)
            score = torch.sigmoid(self.bend[0] + self.bend[1] * utility)
            return age, male.sigmoid(), race.softmax(1), 30 * pose, score

    return Traits()


OUTPUTS = ["age", "male", "race", "pose", "crfiqa"]

# ---- Training -----------------------------------------------------------------------------------


def utilities(faces, embeddings):
    """For each face and variant the mean cosine to the same person's other clean photos, else NaN."""
    unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    people = {}
    for at, face in enumerate(faces):
        people.setdefault(face.key, []).append(at)
    out = np.full(embeddings.shape[:2], np.nan, np.float32)
    for rows in people.values():
        for at in rows:
            others = [row for row in rows if row != at]
            if others:
                out[at] = (unit[at] @ unit[others, CLEAN].T).mean(1)
    return out


def examples(sets):
    """One row an example: which set, face and variant, its part, and its labels (NaN: none)."""
    rows, labels = [], []
    for number, (faces, _, embeddings, poses) in enumerate(sets):
        utility = utilities(faces, embeddings) if number == 1 else np.full(embeddings.shape[:2], np.nan)
        for at, face in enumerate(faces):
            age, gender, race = utk_labels(face) if number == 0 else (np.nan,) * 3
            for variant in range(poses.shape[1]):
                male = 1 - gender if not age < 3 else np.nan  # not recognizable, as the labels show
                rows.append((number, at, variant, {"train": 0, "validate": 1, "test": 2}[face.part]))
                labels.append((age, male, race, *poses[at, variant], utility[at, variant]))
    return np.array(rows), np.array(labels, np.float32)


def train(sets, options):
    import torch
    from torch.nn import functional as F

    common.seed(SEED)
    torch.set_num_threads(options.processes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, labels = examples(sets)
    counts = np.bincount(labels[(rows[:, 3] == 0) & (rows[:, 0] == 0), 2].astype(int), minlength=len(RACES))
    weights = torch.tensor((counts.sum() / counts) ** 0.5, dtype=torch.float32, device=device)
    weights /= weights.mean()
    net = network().to(device)
    chosen = np.flatnonzero(rows[:, 3] == 0)
    # Every epoch sees each face of UTKFace twice for once of LFW's: labels are dearer than poses.
    chosen = np.concatenate([chosen, chosen[rows[chosen, 0] == 0]])
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    batch = 256
    steps = options.epochs * (len(chosen) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    years = torch.arange(YEARS, dtype=torch.float32, device=device)
    random = np.random.default_rng(SEED)
    for epoch in range(options.epochs):
        net.train()
        random.shuffle(chosen)
        total = np.zeros(5)
        for at in range(len(chosen) // batch):
            ids = np.sort(chosen[at * batch : (at + 1) * batch])
            maps = np.stack([sets[n][1][i, v] for n, i, v, _ in rows[ids]]).astype(np.float32)
            x, y = torch.from_numpy(maps).to(device), torch.from_numpy(labels[ids]).to(device)
            age, male, race, pose, utility = net.raw(x)
            known = ~torch.isnan(y)
            losses = []
            has = known[:, 0]
            target = torch.softmax(-((years - y[has, :1]) ** 2) / (2 * 2.5**2), 1)
            expected = (age[has].softmax(1) * years).sum(1)
            losses.append(F.cross_entropy(age[has], target) + 0.1 * F.l1_loss(expected, y[has, 0]))
            has = known[:, 1]
            smooth = 0.02 + 0.96 * y[has, 1]
            losses.append(2 * F.binary_cross_entropy_with_logits(male[has, 0], smooth))
            has = known[:, 2]
            losses.append(F.cross_entropy(race[has], y[has, 2].long(), weights, label_smoothing=0.05))
            has = known[:, 3]
            losses.append(8 * F.smooth_l1_loss(pose[has], y[has, 3:6] / 30, beta=0.1))
            has = known[:, 6]
            losses.append(8 * F.smooth_l1_loss(utility[has, 0], y[has, 6], beta=0.1))
            loss = sum(part for part in losses if torch.isfinite(part))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += [float(part.detach()) for part in losses]
        print(f"epoch {epoch + 1}: " + " ".join(f"{v:.3f}" for v in total / (len(chosen) // batch)), flush=True)
    net = net.cpu().eval()
    bend(net, sets[1])
    balance(net, sets[0], counts)
    common.export(net, (torch.zeros(1, 1024, 7, 7),), MODELS / "traits.onnx", ["features"], OUTPUTS)


# The score at the 4th percentile of clean photos (the limit), and at the median.
LIMIT, USUAL = 0.57, 0.70


def bend(net, wild):
    """Sets the curve from predicted cosine to score, on the validation people."""
    import torch

    faces, maps, *_ = wild
    ids = [at for at, face in enumerate(faces) if face.part == "validate"]
    with torch.no_grad():
        raw = [net.raw(torch.from_numpy(maps[at, CLEAN][None].astype(np.float32)))[4].item() for at in ids]
    low, middle = np.percentile(raw, [4, 50])
    logit = lambda p: np.log(p / (1 - p))
    slope = (logit(USUAL) - logit(LIMIT)) / (middle - low)
    net.bend.copy_(torch.tensor([logit(LIMIT) - slope * low, slope]))


def balance(net, utk, counts):
    """Moves the logits of race against their frequency in training (Menon et al. 2021, "Long-tail learning
    via logit adjustment"), as far as serves the mean of the classes on the validation faces best."""
    import torch

    faces, maps, *_ = utk
    ids = [at for at, face in enumerate(faces) if face.part == "validate"]
    labels = np.array([utk_labels(faces[at])[2] for at in ids])
    with torch.no_grad():
        logits = np.concatenate([net.raw(torch.from_numpy(maps[at, CLEAN][None].astype(np.float32)))[2] for at in ids])
    prior = np.log(counts / counts.sum())

    def recall(share):
        predicted = (logits - share * prior).argmax(1)
        return np.mean([(predicted[labels == race] == race).mean() for race in range(len(RACES))])

    share = max(np.arange(0, 1.05, 0.1), key=recall)
    print(f"race: logits moved by {share:.1f} of the log frequency")
    with torch.no_grad():
        net.race.bias -= torch.from_numpy(share * prior).float()


# ---- Measuring ----------------------------------------------------------------------------------


def run(maps, variant=CLEAN):
    """What the exported network says of every face: one array an output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(MODELS / "traits.onnx"), options)
    found = [net.run(OUTPUTS, {"features": one[variant][None].astype(np.float32)}) for one in maps]
    return [np.concatenate(output) for output in zip(*found)]


def yardstick(faces, options):
    """Embeddings by an unrelated recogniser, computed once."""
    file = Path(options.cache) / "traits/mbf.npy"
    if not file.exists():
        net = session(options.models, "emb_mbf_espressif")
        name = net.get_inputs()[0].name
        rows = [net.run(None, {name: (tensor([crop(load(f.path), f.landmarks, 112)]) - 127.5) / 127.5})[0] for f in faces]
        rows = np.concatenate(rows)
        np.save(file, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return np.load(file)


def evaluate(sets, options):
    """Prints the figures of the model card, on the test part only."""
    (utk, utk_maps, _, _), (wild, wild_maps, _, wild_poses) = sets
    ids = np.array([at for at, face in enumerate(utk) if face.part == "test"])
    labels = np.array([utk_labels(utk[at]) for at in ids])
    age, male, race, _, _ = run(utk_maps[ids])
    grown = labels[:, 0] >= 14
    right = (male[:, 0] < 0.5) == (labels[:, 1] == 1)
    print(f"gender, 14 and older: {right[grown].mean():.4f} of {grown.sum()}; all ages {right.mean():.4f}")
    for number, name in enumerate(RACES):
        mine = grown & (labels[:, 2] == number)
        print(f"  {name}: {right[mine].mean():.4f} of {mine.sum()}")
    error = np.abs(age[:, 0] - labels[:, 0])
    adult = (labels[:, 0] >= 18) & (labels[:, 0] <= 65)
    print(f"age: MAE {error[adult].mean():.2f} for 18 to 65 ({adult.sum()}), {error.mean():.2f} for all")
    for low, high in ((0, 5), (6, 12), (13, 17), (18, 29), (30, 44), (45, 65), (66, 116)):
        mine = (labels[:, 0] >= low) & (labels[:, 0] <= high)
        print(f"  {low} to {high}: {error[mine].mean():.2f} of {mine.sum()}")
    predicted = race.argmax(1)
    recalls = [(predicted[labels[:, 2] == number] == number).mean() for number in range(len(RACES))]
    print(f"race: balanced {np.mean(recalls):.4f}, plain {(predicted == labels[:, 2]).mean():.4f}; four without other "
          f"{np.mean(recalls[:4]):.4f}")
    for number, name in enumerate(RACES):
        mine = labels[:, 2] == number
        print(f"  {name} ({mine.sum()}): " + " ".join(f"{(predicted[mine] == n).mean():.3f}" for n in range(len(RACES))))

    ids = np.array([at for at, face in enumerate(wild) if face.part == "test"])
    pose = run(wild_maps[ids])[3]
    known = np.isfinite(wild_poses[ids, CLEAN, 0])
    away = np.abs(pose - wild_poses[ids, CLEAN])[known].mean(0)
    print(f"pose on {known.sum()} LFW photos: MAE pitch {away[0]:.2f}, yaw {away[1]:.2f}, roll {away[2]:.2f}")

    unit, score = yardstick(wild, options), run(wild_maps)[4][:, 0]
    keys = np.array([face.key for face in wild])
    test = np.array([face.part == "test" for face in wild])
    print(f"crfiqa below {LIMIT}: {(score[test] < LIMIT).mean():.4f} of {test.sum()} LFW photos; percentiles "
          + " ".join(f"{v:.3f}" for v in np.percentile(score[test], [1, 5, 25, 50, 75, 95, 99])))
    _, whose = np.unique(keys, return_inverse=True)
    for name, who in (("held-out people", np.flatnonzero(test)), ("all people (most were trained on)", np.arange(len(wild)))):
        cosine = unit[who] @ unit[who].T
        same = whose[who][:, None] == whose[who][None, :]
        i, j = np.triu_indices(len(who), 1)
        genuine, impostor = same[i, j], ~same[i, j]
        limit = np.quantile(cosine[i, j][impostor], 1 - 1e-4)
        pairs, poorer = cosine[i, j][genuine], np.minimum(score[who][i], score[who][j])[genuine]
        print(f"crfiqa, {name}: {len(pairs)} genuine pairs, FNMR at FMR 1e-4 {100 * (pairs < limit).mean():.2f} %")
        for drop in (1, 2, 5, 10):
            kept = poorer >= np.quantile(score[who], drop / 100)
            print(f"  without the worst {drop} %: {100 * (pairs[kept] < limit).mean():.2f} % of {kept.sum()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with lfw and utkface")
    parser.add_argument("--models", required=True, help="folder with the reference models")
    parser.add_argument("--cache", required=True, help="folder for landmarks and features (about 8 GB)")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--evaluate", action="store_true", help="only measure models/traits.onnx")
    options = parser.parse_args()
    sets = everything(options)
    if not options.evaluate:
        train(sets, options)
    evaluate(sets, options)
