#!/usr/bin/env python3
"""Checks `semblance calibrate` on people whom it has not seen: does the realised FPIR lie in the interval that it prints?

    semblance evaluate LFW/images --embeddings lfw.jsonl
    python3 -m venv venv && venv/bin/pip install numpy
    venv/bin/python scripts/calibration_study.py lfw.jsonl [--people 1000] [--draws 20] [--samples 1] [--binary FILE]

Each draw enrolls people at random in a new data folder (their first photos) and calibrates for a target FPIR, twice: as
they are, and with the pairs that the command lists as too similar left out. Then the first photo of every other person is
searched for in that gallery (own size), and in the gallery of all other people (the size that `--gallery-size` names):
the share that reaches the printed threshold is the realised FPIR. Prints a table for docs/calibrate.md, and fails if fewer
than 17 of 20 draws at their own size lie in the interval. Without the file or numpy the check is reported as skipped.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import skipped

REPOSITORY = Path(__file__).resolve().parent.parent
LEAST_SHARE = 17 / 20


def read_people(path):
    """The embeddings of each person, in the order of the photos, people by name."""
    people = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            people.setdefault(row["person"], []).append((row["photo"], row["embedding"]))
    return [[embedding for _, embedding in sorted(people[name])] for name in sorted(people)]


def draws(count, people, number):
    """The places of the enrolled people and of the others, for each draw; the same at every run."""
    for seed in range(number):
        places = list(range(count))
        random.Random(seed).shuffle(places)
        yield places[:people], places[people:]


def lines(places, people, samples, tag):
    """A gallery as `gallery import` reads it."""
    for place in places:
        rows = people[place][:samples]
        listed = [{"sampleId": str(uuid.uuid4()), "model": tag, "embedding": row} for row in rows]
        yield json.dumps({"templateId": f"p{place:05}", "samples": listed})


class Gallery:
    """A data folder with one application."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, Path(folder)
        self.run("app", "create", "study")

    def run(self, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEMBLANCE_")}
        command = [str(self.binary), *arguments, "--data", str(self.folder / "data"), "--models", str(REPOSITORY / "models")]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout

    def fill(self, text):
        file = self.folder / "gallery.ndjson"
        file.write_text("\n".join(text) + "\n", encoding="utf-8")
        self.run("gallery", "import", str(file))

    def calibrate(self, target, size, relatives=()):
        arguments = ["calibrate", "--json", "--target-fpir", str(target), "--gallery-size", str(size)]
        if relatives:
            file = self.folder / "relatives"
            file.write_text("".join("\t".join(pair) + "\n" for pair in relatives), encoding="utf-8")
            arguments += ["--relatives", str(file)]
        return json.loads(self.run(*arguments))


def vectors(numpy, people, samples):
    """Matrices with one row a person: the first sample, each further one, and the mean. A person who has fewer samples has the
    first one in place of the others, which adds no comparison."""
    unit = lambda rows: (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype(numpy.float32)
    each = [unit(numpy.array([(person[:samples] + [person[0]] * samples)[at] for person in people])) for at in range(samples)]
    return [*each, unit(numpy.array([numpy.mean(person[:samples], axis=0) for person in people]))]


def realised(numpy, matrices, probes, enrolled, cosine):
    """The share of first samples that match another person; a person who is both is not compared with himself or herself."""
    matched = 0
    for start in range(0, len(probes), 512):
        rows = matrices[0][probes[start : start + 512]]
        block = numpy.max([rows @ matrix[enrolled].T for matrix in matrices], axis=0)
        same = numpy.equal.outer(numpy.array(probes[start : start + 512]), numpy.array(enrolled))
        block[same] = -1
        matched += int((block.max(axis=1) >= cosine).sum())
    return matched / len(probes)


def measure(report, share):
    """A row: the threshold, the realised FPIR, and whether it lies in the printed interval. `share(cosine)`: the realised FPIR."""
    threshold = report["proposed"]["threshold"]
    rate, interval = share(threshold["cosine"]), threshold["fpir"]
    return {
        "cosine": threshold["cosine"],
        "realised": rate,
        "low": interval["low"],
        "high": interval["high"],
        "inside": interval["low"] <= rate <= interval["high"],
        "p": report["source"]["p_value"],
        "listed": len(report["outliers"]),
    }


def summary(title, rows):
    """A line of the table."""
    of = lambda key: [row[key] for row in rows]
    rates, cosines = of("realised"), of("cosine")
    return (
        f"| {title} | {statistics.mean(cosines):.3f} +- {statistics.pstdev(cosines):.3f} | {100 * statistics.mean(rates):.2f} % "
        f"({100 * min(rates):.2f} to {100 * max(rates):.2f} %) | {100 * statistics.mean(of('low')):.2f} to "
        f"{100 * statistics.mean(of('high')):.2f} % | {sum(of('inside'))} of {len(rows)} | "
        f"{sum(p < 0.01 for p in of('p'))} | {sum(of('listed'))} |"
    )


def study(options, numpy, people):
    matrices = vectors(numpy, people, options.samples)
    pack = (REPOSITORY / "models" / "pack.toml").read_text(encoding="utf-8")
    tag = re.search(r'^tag = "(.+)"', pack, re.MULTILINE)[1]
    rows = {}
    for number, (enrolled, others) in enumerate(draws(len(people), options.people, options.draws)):
        with tempfile.TemporaryDirectory() as folder:
            gallery = Gallery(options.binary, folder)
            gallery.fill(lines(enrolled, people, options.samples, tag))
            own = lambda cosine: realised(numpy, matrices, others, enrolled, cosine)
            larger = lambda cosine: realised(numpy, matrices, others, others, cosine)
            for size, share in ((options.people, own), (len(others) - 1, larger)):
                report = gallery.calibrate(options.target, size)
                listed = [pair["template_ids"] for pair in report["outliers"]]
                without = gallery.calibrate(options.target, size, listed) if listed else report
                rows.setdefault((size, "as it is"), []).append(measure(report, share))
                rows.setdefault((size, "listed pairs left out"), []).append(measure(without, share))
        print(f"draw {number + 1} of {options.draws}", file=sys.stderr)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", type=Path, help="what `semblance evaluate DIR --embeddings FILE` wrote")
    parser.add_argument("--people", type=int, default=1000, help="people of a gallery")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1, help="samples of a person at most; probes are first photos")
    parser.add_argument("--target", type=float, default=0.01)
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    options = parser.parse_args()
    try:
        import numpy
    except ImportError:
        numpy = None
    reasons = [] if options.embeddings.is_file() else [f"there is no file {options.embeddings.name} with embeddings"]
    reasons += [] if numpy else ["numpy is not installed"]
    if reasons:
        skipped.add("calibration study", reasons)
        print("\n".join(f"SKIPPED: {reason}" for reason in reasons), file=sys.stderr)
        return 0
    rows = study(options, numpy, read_people(options.embeddings))
    print(f"{options.draws} draws of {options.people} people, target FPIR {100 * options.target:g} %\n")
    print("| gallery, pairs | threshold (cosine) | realised FPIR, mean (range) | interval, mean | inside | p < 0.01 | pairs listed |")
    print("|---|---|---|---|---|---|---|")
    for (size, kind), of in rows.items():
        print(summary(f"{size} people, {kind}", of))
    inside = sum(row["inside"] for row in rows[options.people, "as it is"])
    if inside < LEAST_SHARE * options.draws:
        print(f"the realised FPIR lies in the interval in {inside} of {options.draws} draws only", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
