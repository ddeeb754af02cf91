#!/usr/bin/env python3
"""Trains `models/face.onnx` (is it a face, can its template be trusted) and `models/template.onnx` (the same question, asked
of a stored template).

`face.onnx` reads the map that the embedding is made of (SFace's `bn1`, 1024 x 7 x 7): mean and maximum of each channel,
then one weight for each. It gives two numbers from 0 to 1:

  human     an upright human face. Learned from photos of faces against all detections on photos of
            animals and things, on backgrounds, and on turned faces that were given upright landmarks.
  trusted   the template means the person. Learned from the templates themselves: degraded photos whose embedding keeps a
            cosine of TRUSTED or more to that of the same photo before, against those that keep DISTRUSTED or less, and
            against what is no face.

`template.onnx` reads an embedding of 128 numbers, as they are and multiplied by each other, and gives `sound`.

Each output is moved so that its limit, which is chosen on the validation part, is 0.5.

    python face.py --data DATA --cache DIR [--evaluate]
"""

import argparse
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize

from common import MODELS, part
from face_data import COMPARED, collections, random_of, samples

CHANNELS = 1024
# The cosine at a false match rate of 1e-5, by person.
OPERATING_POINT = tomllib.loads((MODELS / "pack.toml").read_text(encoding="utf-8"))["embedder"]["operating_point"]
TRUSTED, DISTRUSTED = 0.6, 0.45
# Faces of different people that are degraded in these ways match each other even where the cosine is 0.55: it must be SURE.
ALIKE, SURE = ("blur", "upper"), 0.75
UPRIGHT, NOT_UPRIGHT = 20.0, 40.0  # degrees between the landmarks and the face
CLEAN = ("lfw", "utk", "closed", "masks", "emotion")
NOTHING = ("noface", "windows", "background")
DEGRADED = ("degraded", "utk_degraded", "other_degraded")
# Degradations whose templates match each other across people: the limit of `trusted` is to refuse them.
HOPELESS = (("negative", 0.0), ("blur", 0.2), ("blur", 0.12), ("upper", 0.45), ("upper", 0.2))
# Degraded faces that are human faces for sure, whether or not their templates are useful.
SURELY_HUMAN = ("lower", "band", "grey", "small", "jpeg")


class Set(NamedTuple):
    """Samples of one collection with a face, or what was taken for one."""

    records: list
    embeddings: np.ndarray
    statistics: np.ndarray
    parts: np.ndarray
    asked: int  # photos, also those on which nothing was found

    def where(self, mask):
        """Some of them."""
        at = np.flatnonzero(mask)
        return Set([self.records[i] for i in at], self.embeddings[at], self.statistics[at], self.parts[at], self.asked)

    def of(self, field):
        """One field of all records."""
        return np.array([record.get(field, np.nan) for record in self.records])


def everything(options):
    """Every collection by name."""
    sets, references = {}, {}
    for name, jobs in collections(options.data).items():
        records, embeddings, statistics = samples(name, jobs, options.cache, references)
        if name == "lfw":
            references = {r["path"]: e for r, e in zip(records, embeddings) if r["found"]}
        there = np.isfinite(embeddings[:, 0])
        parts = np.array([part(record["key"]) for record in records])
        whole = Set(records, embeddings, statistics.astype(np.float32), parts, len(jobs))
        sets[name] = whole.where(there)
    return sets


# ---- Learning -------------------------------------------------------------------------------------


def logistic(rows, labels, weights, decay):
    """Weights and intercept of a logistic regression on standardised numbers."""
    middle, spread = rows.mean(0), rows.std(0)
    # Numbers that hardly ever change say nothing, and would get weights of thousands.
    spread = np.maximum(spread, 0.3 * np.median(spread))
    rows = ((rows - middle) / spread).astype(np.float32)
    weights = weights / weights.sum()

    def loss(p):
        logit = (rows @ p[:-1].astype(np.float32)).astype(np.float64) + p[-1]
        error = (1 / (1 + np.exp(-np.clip(logit, -60, 60))) - labels) * weights
        value = (np.logaddexp(0, np.where(labels > 0, -logit, logit)) * weights).sum()
        slope = (error.astype(np.float32) @ rows).astype(np.float64)
        return value + decay / 2 * p[:-1] @ p[:-1], np.append(slope + decay * p[:-1], error.sum())

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    return found[:-1] / spread, found[-1] - (found[:-1] / spread * middle).sum()


class Lesson:
    """Examples with labels; each group weighs what it is given, however many there are."""

    def __init__(self):
        self.rows, self.labels, self.weights = [], [], []

    def add(self, rows, label, weight):
        """A group of one label."""
        if len(rows):
            self.rows.append(rows)
            self.labels.append(np.full(len(rows), float(label)))
            self.weights.append(np.full(len(rows), weight / len(rows)))

    def learn(self, decay):
        """Weights and intercept."""
        return logistic(np.concatenate(self.rows), np.concatenate(self.labels), np.concatenate(self.weights), decay)


def not_upright(set_):
    return (set_.of("kind") == "turned") & (set_.of("tilt") > NOT_UPRIGHT)


def human_lesson(sets, chosen="train", leave_out=None):
    """What `human` learns from. `leave_out` are keys of photos without a face that are kept for a test."""
    lesson = Lesson()
    for name in CLEAN:
        set_ = sets[name].where(sets[name].parts == chosen)
        lesson.add(set_.statistics, 1, 1.0)
    for name in DEGRADED:
        set_ = sets[name].where(sets[name].parts == chosen)
        kind, strength = set_.of("kind"), set_.of("strength")
        sure = np.isin(kind, SURELY_HUMAN) | (kind == "turned") & (set_.of("tilt") < UPRIGHT)
        sure |= (kind == "cut") & (strength < 0.35) | (kind == "blur") & (strength < 0.15)
        lesson.add(set_.statistics[sure], 1, 0.5)
        lesson.add(set_.statistics[not_upright(set_)], 0, 0.5)
        lesson.add(set_.statistics[kind == "negative"], 0, 0.3)
    for name in NOTHING:
        set_ = sets[name].where(sets[name].parts == chosen if leave_out is None else ~np.isin(sets[name].of("key"), leave_out))
        lesson.add(set_.statistics, 0, 2.0 if name == "noface" else 1.0)
    return lesson


def trusted_lesson(sets, chosen="train"):
    """What `trusted` learns from."""
    lesson = Lesson()
    for name in CLEAN:
        weight = 2.0 if name == "closed" else 1.0
        lesson.add(sets[name].statistics[sets[name].parts == chosen], 1, weight)
    for name in DEGRADED:
        set_ = sets[name].where(sets[name].parts == chosen)
        genuine, alike = set_.of("genuine"), np.isin(set_.of("kind"), ALIKE)
        share = 1.0 if name == "degraded" else 0.3
        lesson.add(set_.statistics[(genuine >= TRUSTED) & ~(alike & (genuine < SURE))], 1, 1.0)
        lesson.add(set_.statistics[(genuine <= DISTRUSTED) & ~alike], 0, 3.0 * share)
        lesson.add(set_.statistics[alike & (genuine < SURE)], 0, 4.0 * share)
    for name in NOTHING:
        lesson.add(sets[name].statistics[sets[name].parts == chosen], 0, 0.5)
    return lesson


def sound_rows(embeddings):
    """An embedding's numbers, and their products."""
    upper = np.triu_indices(embeddings.shape[1])
    return np.hstack([embeddings, (embeddings[:, :, None] * embeddings[:, None, :])[:, upper[0], upper[1]]])


def half(set_):
    """Faces of which a half is covered or beyond the edge of the photo."""
    kind, strength = set_.of("kind"), set_.of("strength")
    return (kind == "upper") | (kind == "cut") & (strength >= 0.4)


def sound_lesson(sets, chosen="train"):
    """What `sound` learns from."""
    lesson = Lesson()
    for name in CLEAN:
        lesson.add(sound_rows(sets[name].embeddings[sets[name].parts == chosen]), 1, 1.0)
    for name in DEGRADED:
        set_ = sets[name].where(sets[name].parts == chosen)
        turned = (set_.of("kind") == "turned") & (set_.of("tilt") >= 50)
        lesson.add(sound_rows(set_.embeddings[turned]), 0, 1.0)
        lesson.add(sound_rows(set_.embeddings[half(set_)]), 0, 0.7)
        lesson.add(sound_rows(set_.embeddings[set_.of("kind") == "negative"]), 0, 0.3)
    for name in NOTHING:
        lesson.add(sound_rows(sets[name].embeddings[sets[name].parts == chosen]), 0, 0.6)
    return lesson


def compared(sets, name, which):
    """The samples of a degradation for the people of a part."""
    return sets[f"{name}-{which}"]


def label(kind, strength):
    return f"{kind}-{strength:g}"


# ---- Limits -----------------------------------------------------------------------------------------


def pairs_above(embeddings, cosine=OPERATING_POINT):
    """(pairs, pairs of at least that cosine) of samples of different people, one each."""
    cosines = embeddings @ embeddings.T
    upper = np.triu_indices(len(embeddings), 1)
    return len(upper[0]), int((cosines[upper] >= cosine).sum())


def interval(count, total):
    """95 % interval of a share (Wilson)."""
    if total == 0:
        return 0.0, 1.0
    z, p = 1.96, count / total
    middle, width = p + z * z / (2 * total), z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, (middle - width) / (1 + z * z / total)), (middle + width) / (1 + z * z / total)


def lowest(values, share):
    """The highest limit that refuses at most this share of the values."""
    ordered = np.sort(values)
    return float(ordered[int(share * len(ordered))])


def between(good, bad, share):
    """A point between the highest bad values (but one in twenty) and the lowest good ones (but one in a thousand)."""
    low, high = lowest(bad, 0.95), lowest(good, 0.001)
    return low + share * (high - low)


def human_limit(sets, human):
    """Chosen on the validation part: upright faces against false detections."""
    chosen = lambda names: np.concatenate([human(sets[name].where(sets[name].parts == "validate")) for name in names])
    return between(chosen(("lfw", "utk", "closed")), chosen(NOTHING), 0.4)


def trusted_limit(sets, trusted):
    """Chosen on the validation part: faces as they are against those that are degraded so that pairs match."""
    chosen = [trusted(sets[name].where(sets[name].parts == "validate")) for name in ("lfw", "utk", "closed")]
    degraded = [trusted(compared(sets, "validate", label(*one))) for one in COMPARED if one in HOPELESS]
    return between(np.concatenate(chosen), np.concatenate(degraded), 0.65)


# ---- The networks -------------------------------------------------------------------------------------


def save(nodes, name, shape, outputs, constants, file):
    """Writes a model with one input and checks it. `outputs` are names and how many numbers each has."""
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count]) for name, count in outputs]
    constants = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, Path(file).stem, given, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    Path(file).write_bytes(model.SerializeToString())
    print(f"{file}: {Path(file).stat().st_size} bytes")


# The logits are outputs as well: on the built-in input of the self-check both probabilities saturate at 0 or 1.


def export_face(human, trusted, file):
    """Both outputs as one network over SFace's map."""
    weights = np.stack([human[0], trusted[0]], 1).astype(np.float32)
    constants = {"weights": weights, "biases": np.array([human[1], trusted[1]], np.float32)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["features"], ["mean"]),
        helper.make_node("GlobalMaxPool", ["features"], ["max"]),
        helper.make_node("Concat", ["mean", "max"], ["both"], axis=1),
        helper.make_node("Flatten", ["both"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weights", "biases"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["chances"]),
        helper.make_node("Split", ["chances"], ["human", "trusted"], axis=1),
    ]
    save(nodes, "features", [1, CHANNELS, 7, 7], [("human", 1), ("trusted", 1), ("logits", 2)], constants, file)


def export_sound(sound, file):
    """x Q x + l x + b of an embedding x."""
    weights, bias = sound
    square = np.zeros((128, 128))
    square[np.triu_indices(128)] = weights[128:]
    constants = {
        "products": ((square + square.T) / 2).astype(np.float32),
        "numbers": weights[:128][None].astype(np.float32),
        "bias": np.array([bias], np.float32),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["embedding", "products"], ["mixed"]),
        helper.make_node("Add", ["mixed", "numbers"], ["slopes"]),
        helper.make_node("Mul", ["slopes", "embedding"], ["terms"]),
        helper.make_node("ReduceSum", ["terms", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["sound"]),
    ]
    save(nodes, "embedding", [1, 128], [("sound", 1), ("logit", 1)], constants, file)


# ---- What it is worth -----------------------------------------------------------------------------------


def report(sets, human, trusted, sound):
    """Prints the figures of the cards and of docs/accuracy.md, on the test part."""
    passes = lambda set_: (human(set_) >= 0) & (trusted(set_) >= 0)
    print("\n| photos | found | human | accepted |\n|---|---|---|---|")
    for name in CLEAN:
        groups = sorted({record["group"] for record in sets[name].records})
        for group in groups:
            set_ = sets[name].where((sets[name].parts == "test") & (sets[name].of("group") == group))
            print(f"| {group} | {len(set_.records)} | {int((human(set_) >= 0).sum())} | {int(passes(set_).sum())} |")
    for name in NOTHING:
        set_ = sets[name].where(sets[name].parts == "test")
        print(f"| {name} | {len(set_.records)} | {int((human(set_) >= 0).sum())} | {int(passes(set_).sum())} |")
    everywhere = sets["noface"].where(sets["noface"].of("found") == 1)
    passed = sorted({r["path"][-16:] for r, p in zip(everywhere.records, passes(everywhere)) if p})
    print("photos without a face that pass in some turn, the ones trained on among them:", passed)

    print("\n| degraded alike | asked | found | accepted | pairs | matches | FMR | 95 % | without the check |\n|" + "---|" * 9)
    for kind, strength in COMPARED:
        set_ = compared(sets, "test", label(kind, strength))
        kept = set_.where(passes(set_))
        pairs, matches = pairs_above(kept.embeddings)
        low, high = interval(matches, pairs)
        all_pairs, all_matches = pairs_above(set_.embeddings)
        print(
            f"| {kind} {strength:g} | {set_.asked} | {len(set_.records)} | {len(kept.records)} | {pairs} | {matches} "
            f"| {matches / max(pairs, 1):.1e} | {low:.1e} to {high:.1e} | {all_matches / all_pairs:.1e} |"
        )

    print("\nsound, test part: share below the limit")
    for name in CLEAN:
        values = sound(sets[name].where(sets[name].parts == "test"))
        print(f"  {name}: {(values < 0).mean():.4f} of {len(values)}")
    rates = {}
    clean = np.concatenate([sound(sets[n].where(sets[n].parts == "test")) for n in ("lfw", "utk", "closed")])
    rates["honest_listed"] = (clean < 0).mean()
    turned = [compared(sets, "test", label("turned", degrees)) for degrees in (90.0, 180.0)]
    turned = np.concatenate([sound(set_.where(set_.of("tilt") >= 50)) for set_ in turned])
    rates["turned_found"] = (turned < 0).mean()
    rates["halved_found"] = (sound(compared(sets, "test", label("upper", 0.45))) < 0).mean()
    nothing = sets["noface"].where((sets["noface"].parts == "test") & (sets["noface"].of("found") == 1))
    rates["no_face_found"] = (sound(nothing) < 0).mean()
    negative = compared(sets, "test", label("negative", 0.0))
    print(f"  negatives: {(sound(negative) < 0).mean():.3f} of {len(negative.records)}")
    print(f"  no face: {len(nothing.records)}; turned: {len(turned)}; rates", {k: round(float(v), 4) for k, v in rates.items()})


def cross_validate(sets, shift):
    """How many photos without a face pass when the network has seen none of them: five folds of the 232 files."""
    set_ = sets["noface"]
    fold = np.array([int(random_of(key, "fold").integers(5)) for key in set_.of("key")])
    passed, photos, upright = set(), set(set_.of("key")), set()
    for number in range(5):
        kept = set(set_.of("key")[fold == number])
        weights, bias = human_lesson(sets, leave_out=list(kept)).learn(DECAY)
        mine = set_.where((fold == number) & (set_.of("found") == 1))
        above = mine.statistics @ weights + bias - shift >= 0
        passed |= set(mine.of("key")[above])
        upright |= set(mine.of("key")[above & (mine.of("strength") == 0)])
    print(f"\nfive folds: of {len(photos)} photos with a detection {len(passed)} pass in some turn, {len(upright)} as they are:")
    print(sorted(passed))


DECAY, TRUSTED_DECAY = 3e-3, 3e-2
SOUND_DECAY = 3e-2


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="folder with the labelled photos")
    parser.add_argument("--cache", required=True, help="folder for what is computed once")
    parser.add_argument("--evaluate", action="store_true", help="only measure the networks that are there")
    options = parser.parse_args()
    sets = everything(options)
    faces, templates = MODELS / "face.onnx", MODELS / "template.onnx"
    if not options.evaluate:
        weights, bias = human_lesson(sets).learn(DECAY)
        limit = human_limit(sets, lambda set_: set_.statistics @ weights + bias)
        human = (weights, bias - limit)
        weights, bias = trusted_lesson(sets).learn(TRUSTED_DECAY)
        lowered = trusted_limit(sets, of((weights, bias)))
        trusted = (weights, bias - lowered)
        print(f"limits on the logits: human {limit:.2f}, trusted {lowered:.2f}")
        export_face(human, trusted, faces)
        weights, bias = sound_lesson(sets).learn(SOUND_DECAY)
        raw = lambda name: sound_rows(sets[name].embeddings[sets[name].parts == "validate"]) @ weights + bias
        bias -= lowest(np.concatenate([raw(name) for name in ("lfw", "utk", "closed")]), 0.01)
        export_sound((weights, bias), templates)
        cross_validate(sets, limit)
    human, trusted, sound = measured(faces, templates)
    report(sets, human, trusted, sound)


def of(learnt):
    """A function from a set to logits."""
    weights, bias = learnt
    return lambda set_: set_.statistics @ weights + bias


def measured(faces, templates):
    """The logits of `human`, `trusted` and `sound` from the files, so that what is reported is what is shipped."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(faces)).graph.initializer}
    human, trusted = [(stored["weights"][:, i], stored["biases"][i]) for i in range(2)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(templates), options, providers=["CPUExecutionProvider"])
    one = lambda row: float(session.run(["sound"], {"embedding": row[None]})[0][0, 0])
    return of(human), of(trusted), lambda set_: np.array([one(row) for row in set_.embeddings]) - 0.5


if __name__ == "__main__":
    main()
