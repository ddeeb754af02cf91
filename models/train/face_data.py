"""Faces, degraded faces and things that are not faces, as `face.py` learns from them.

A sample is what the server would embed: the photo is degraded first, then the face is found on it (finder.py), aligned
and embedded. Kept of each: its embedding, statistics of SFace's map, and how it came about. What the detector does not
find, the server refuses by itself; it is no sample, but it is counted.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from common import load, part
from finder import Embedder, Finder, Seen

# Statistics of each of the map's 1024 channels, in this order.
STATISTICS = ("mean", "max")
SHARD = 400


class Job(NamedTuple):
    """One photo and what is done to it."""

    group: str  # which collection
    path: str
    key: str  # person or file: what splits must keep together
    kind: str  # `clean`, or how it is degraded
    strength: float  # see `degrade`; NaN: drawn at random
    number: int = 0  # distinguishes jobs of one photo and kind


def random_of(*parts):
    """A generator that depends on the parts only."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def turned(picture, degrees):
    """The photo turned clockwise about its middle, whole, on black; and the matrix that did it."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (round(width * cos + height * sin), round(width * sin + height * cos))
    matrix[:, 2] += (np.array(size) - [width, height]) / 2
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR), matrix


def moved(seen, matrix):
    """Landmarks through a 2 x 3 matrix."""
    return seen.landmarks @ matrix[:, :2].T + matrix[:, 2]


def painted(picture, seen, top, bottom, sides, colour):
    """A band across the face, from `top` to `bottom`: 0 is the line of the eyes, 1 that of the mouth."""
    eyes, mouth = seen.landmarks[:2].mean(0), seen.landmarks[3:].mean(0)
    across = seen.landmarks[1] - seen.landmarks[0]
    across = across / np.hypot(*across)
    middle = (eyes + mouth) / 2
    half = across * seen.eyes * sides
    down = mouth - eyes
    corners = [middle + down * (top - 0.5) - half, middle + down * (top - 0.5) + half]
    corners += [middle + down * (bottom - 0.5) + half, middle + down * (bottom - 0.5) - half]
    out = picture.copy()
    cv2.fillPoly(out, [np.round(corners).astype(np.int32)], tuple(int(c) for c in colour))
    return out


def jpeg(picture, quality):
    """The photo through JPEG."""
    _, coded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1])


# How a photo with a known face is degraded, with the range that a random strength is drawn from.
KINDS = {
    "turned": (15, 345),  # degrees clockwise
    "negative": (0, 0),
    "blur": (0.08, 0.45),  # sigma in eye distances
    "upper": (0.15, 0.8),  # covered from above the forehead down to here: 0 eyes, 1 mouth
    "lower": (0.2, 0.7),  # covered from here down
    "band": (0.15, 0.4),  # sunglasses of this height
    "small": (12, 40),  # pixels of the face's width, enlarged again
    "jpeg": (2, 12),  # quality
    "cut": (0.1, 0.55),  # share of the face beyond the photo's edge
    "noise": (20, 90),  # grey levels
    "dark": (2, 6),  # halvings of the light
    "grey": (0, 0),
}

FREQUENT = ("turned", "blur", "upper", "negative", "small")


def degrade(picture, seen, kind, strength, random):
    """The degraded photo, and where the face's landmarks went."""
    if kind in ("clean", "window"):
        return picture, seen.landmarks
    if kind == "turned":
        out, matrix = turned(picture, strength)
        return out, moved(seen, matrix)
    if kind == "negative":
        return 255 - picture, seen.landmarks
    if kind == "blur":
        return cv2.GaussianBlur(picture, (0, 0), strength * seen.eyes), seen.landmarks
    if kind in ("upper", "lower", "band"):
        colour = random.choice([np.zeros(3), np.full(3, random.integers(30, 255)), random.integers(0, 256, 3)])
        if random.random() < 0.5:
            colour = np.zeros(3) if kind != "lower" else random.choice([[235, 235, 240], [120, 170, 210], [20, 20, 20]])
        span = {"upper": (-1.6, strength), "lower": (strength, 1.9), "band": (-strength, strength)}[kind]
        return painted(picture, seen, *span, 1.25 if kind != "band" else 0.95, colour), seen.landmarks
    if kind == "small":
        factor = strength / seen.box[2]
        height, width = picture.shape[:2]
        small = cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), seen.landmarks
    if kind == "jpeg":
        return jpeg(picture, strength), seen.landmarks
    if kind == "cut":
        x, y, width, height = seen.box
        side = random.integers(4)
        left = max(0, round(x + strength * width)) if side == 0 else 0
        right = round(x + width * (1 - strength)) if side == 1 else picture.shape[1]
        top = max(0, round(y + strength * height)) if side == 2 else 0
        bottom = round(y + height * (1 - strength)) if side == 3 else picture.shape[0]
        return np.ascontiguousarray(picture[top:bottom, left:right]), seen.landmarks - [left, top]
    if kind == "noise":
        return np.clip(picture + random.normal(0, strength, picture.shape), 0, 255).astype(np.uint8), seen.landmarks
    if kind == "dark":
        return (picture * 0.5**strength).astype(np.uint8), seen.landmarks
    if kind == "grey":
        grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return grey, seen.landmarks
    raise ValueError(kind)


def statistics(inner):
    """Mean and maximum of each channel: 2048 numbers."""
    flat = inner.reshape(len(inner), -1)
    return np.concatenate([flat.mean(1), flat.max(1)])


def angle_between(found, true):
    """Degrees between two sets of landmarks' lines of the eyes."""
    a, b = found[1] - found[0], true[1] - true[0]
    return float(abs(np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))))


class Maker:
    """Makes samples of jobs."""

    def __init__(self, references):
        cv2.setNumThreads(1)
        self.finder, self.embedder = Finder(), Embedder()
        self.references = references  # embeddings of photos as they are, by path
        self.last = (None,) * 5

    def clean(self, job):
        """Photo, face and embedding before anything is done; remembered for the next job of the same photo."""
        if self.last[0] != job.path:
            picture = load(job.path)
            seen = self.finder.main(picture, central=job.group != "noface")
            embedding, inner = self.references.get(job.path), None
            if seen is not None and (embedding is None or job.kind == "clean"):
                embedding, inner, _ = self.embedder(picture, seen.landmarks)
            self.last = (job.path, picture, seen, embedding, inner)
        return self.last[1:]

    def __call__(self, job):
        """A list of (record, embedding, statistics)."""
        random = random_of(job.path, job.kind, job.strength, job.number)
        if job.group in ("noface", "background"):
            return self.nothing(job, random)
        picture, seen, reference, inner = self.clean(job)
        record = job._asdict()
        if seen is None:
            return [({**record, "found": False, "reference": False}, None, None)]
        strength = job.strength
        if np.isnan(strength) and job.kind in KINDS:
            strength = float(random.uniform(*KINDS[job.kind]))
        record["strength"] = strength
        degraded, true = degrade(picture, seen, job.kind, strength, random)
        found = seen if job.kind == "clean" else self.finder.main(degraded, central=job.kind not in ("cut",))
        if found is None:
            return [({**record, "found": False, "reference": True}, None, None)]
        embedding = reference
        if job.kind != "clean":
            embedding, inner, _ = self.embedder(degraded, found.landmarks)
        away = np.hypot(*(found.landmarks.mean(0) - true.mean(0))) / seen.eyes
        record.update(
            found=True,
            reference=True,
            score=found.score,
            eyes=found.eyes,
            tilt=angle_between(found.landmarks, true),
            away=float(away),
            genuine=float(embedding @ reference),
        )
        return [(record, embedding, statistics(inner))]

    def nothing(self, job, random):
        """Detections on pictures without a face."""
        picture = load(job.path)
        steps = None
        if job.kind == "turned":
            picture, _ = turned(picture, job.strength)
            steps = {("wide", 0.0), ("fine", 0.0)} if job.strength % 90 == 0 else {("wide", 0.0)}
        if job.kind == "window":
            height, width = picture.shape[:2]
            side = int(random.uniform(0.12, 0.7) * min(height, width))
            x, y = random.integers(0, width - side + 1), random.integers(0, height - side + 1)
            if job.group == "background":
                seen = self.clean(job)[1]
                if seen is None or overlaps(seen, x, y, side):
                    return []
            picture = np.ascontiguousarray(picture[y : y + side, x : x + side])
            if random.random() < 0.6:
                picture, _ = turned(picture, random.uniform(0, 360))
            steps = {("wide", 0.0)} if random.random() < 0.5 else {("wide", 0.25)}
        strict = self.finder.detector["score"]
        candidates = self.finder.search(picture, steps, least=0.3 if job.kind == "turned" else 0.12)
        samples = []
        for seen in candidates[:2]:
            confirmed = self.finder.confirm(picture, seen, loose=True)
            if confirmed.eyes < 8 and job.kind != "window":
                continue
            again = self.finder.confirm(picture, seen) if seen.score >= strict else None
            embedding, inner, _ = self.embedder(picture, confirmed.landmarks)
            record = {
                **job._asdict(),
                "found": again is not None and again.eyes >= self.finder.faces["min_eye_distance"],
                "reference": False,
                "score": confirmed.score,
                "searched": seen.score,
                "area": float(seen.box[2] * seen.box[3]),
                "eyes": confirmed.eyes,
            }
            samples.append((record, embedding, statistics(inner)))
        return samples


def overlaps(seen: Seen, x, y, side):
    """Whether a square window holds more than a little of a face."""
    width = min(seen.box[0] + seen.box[2], x + side) - max(seen.box[0], x)
    height = min(seen.box[1] + seen.box[3], y + side) - max(seen.box[1], y)
    return max(width, 0) * max(height, 0) > 0.03 * seen.box[2] * seen.box[3]


def samples(name, jobs, cache, references=None):
    """(records, embeddings, statistics) of the jobs: made once, kept in files of some hundred jobs each. A record without a
    face (`found` false where there was a photo of one) has a row of NaN."""
    folder = Path(cache) / "face" / name
    folder.mkdir(parents=True, exist_ok=True)
    maker = None
    records, embeddings, statistics_ = [], [], []
    for at in range(0, len(jobs), SHARD):
        piece = jobs[at : at + SHARD]
        digest = hashlib.sha256(repr(piece).encode()).hexdigest()[:12]
        file = folder / f"{at // SHARD:04d}-{digest}.npz"
        if not file.exists():
            maker = maker or Maker(references or {})
            made = [sample for job in piece for sample in maker(job)]
            nothing = (np.full(128, np.nan), np.full(2048, np.nan))
            rows = [(r, *(nothing if e is None else (e, s))) for r, e, s in made]
            np.savez(
                file.with_suffix(".part.npz"),
                records=json.dumps([r for r, _, _ in rows]),
                embeddings=np.array([e for _, e, _ in rows], np.float32).reshape(-1, 128),
                statistics=np.array([s for _, _, s in rows], np.float16).reshape(-1, 2048),
            )
            file.with_suffix(".part.npz").rename(file)
            print(f"{name}: {at + len(piece)} of {len(jobs)}", flush=True)
        kept = np.load(file)
        records += json.loads(str(kept["records"]))
        embeddings.append(kept["embeddings"])
        statistics_.append(kept["statistics"])
    return records, np.concatenate(embeddings), np.concatenate(statistics_)


# ---- The collections ------------------------------------------------------------------------------

# The degradations that pairs of people are compared under (docs/accuracy.md).
COMPARED = (
    ("turned", 180.0),
    ("negative", 0.0),
    ("blur", 0.2),
    ("upper", 0.45),
    ("small", 24.0),
    ("jpeg", 5.0),
    ("turned", 90.0),
    ("blur", 0.12),
    ("blur", 0.08),
    ("upper", 0.2),
)
COMPARED_PEOPLE = {"test": 1000, "validate": 300}
TURNS = tuple(range(0, 360, 30))


def collections(data):
    """The jobs of every collection, by name."""
    data = Path(data)
    nan = float("nan")
    people = {}
    for path in sorted((data / "lfw/images").rglob("*.jpg")):
        people.setdefault("lfw/" + path.parent.name, []).append(str(path))

    def files(group, folder, most, pattern="*"):
        found = [p for p in (data / folder).glob(pattern) if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
        keys = {p: f"{group}/{p.relative_to(data / folder)}" for p in found}
        found.sort(key=lambda p: hashlib.sha256(keys[p].encode()).digest())
        return [Job(group, str(p), keys[p], "clean", 0.0) for p in found[:most]]

    def one_kind_each(jobs):
        kinds = sorted(KINDS)
        weight = np.array([3.0 if kind in FREQUENT else 1.0 for kind in kinds])
        return [
            job._replace(kind=str(random_of(job.key, "kind").choice(kinds, p=weight / weight.sum())), strength=nan)
            for job in jobs
        ]

    lfw = [Job("lfw", photos[0], key, "clean", 0.0) for key, photos in people.items()]
    noface = sorted(files("noface", "noface", None), key=lambda job: job.path)
    out = {"lfw": lfw}
    out["noface"] = [job._replace(kind="turned", strength=float(t)) for job in noface for t in TURNS]
    out["closed"] = files("closed", "closed_eyes", None)
    out["utk"] = files("utk", "utkface", 2500)
    out["masks"] = files("masked", "masks/with_mask", 600) + files("unmasked", "masks/without_mask", 300)
    out["degraded"] = one_kind_each([job for job in lfw if part(job.key) == "train"][:3000])
    chosen = {name: [job for job in lfw if part(job.key) == name][:most] for name, most in COMPARED_PEOPLE.items()}
    for kind, strength in COMPARED:
        for name, jobs in chosen.items():
            out[f"{name}-{kind}-{strength:g}"] = [job._replace(kind=kind, strength=strength) for job in jobs]
    out["windows"] = [job._replace(kind="window", strength=nan, number=n) for job in noface for n in range(6)]
    out["utk_degraded"] = one_kind_each(out["utk"][:600])
    out["other_degraded"] = one_kind_each(out["closed"][:300] + out["masks"][:200])
    out["background"] = [
        job._replace(group="background", kind="window", strength=nan, number=n) for job in lfw[:600] for n in range(2)
    ]
    out["emotion"] = files("emotion", "emotion", 300, "*/*")
    return out
