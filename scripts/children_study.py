#!/usr/bin/env python3
"""How often photos of two different people match, by age: small children look alike to the network.

    mkdir each && for photo in UTKFACE/*.jpg; do d=each/$(basename "$photo" .jpg); mkdir "$d"; ln -s "$photo" "$d"; done
    semblance evaluate each --embeddings utkface.jsonl --json --draws 10 > /dev/null
    python3 -m venv venv && venv/bin/pip install numpy
    venv/bin/python scripts/children_study.py utkface.jsonl

The age is the number before the first `_` of a name, as in UTKFace. Every pair of photos within an age band counts, except those
from cosine 0.8 on, which may show one person; others of one person may be left, so the rates are upper bounds. Intervals of 95 % by
draws of photos. Prints the table of docs/accuracy.md, "Children". Without the file or numpy the study is reported as skipped.
"""

import argparse

from embeddings import lacks, operating_point, read

AGES = ((1, 1), (2, 2), (3, 5), (6, 8), (9, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 116))
SAME_PERSON = 0.8
DRAWS = 200


def band(embeddings, threshold):
    """FMR with its interval, the number of pairs, and the median cosine."""
    import numpy as np

    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, 1.0)
    counted = cosines < SAME_PERSON
    matched = counted & (cosines >= threshold)
    generator, size = np.random.default_rng(1), len(embeddings)
    rates = []
    for _ in range(DRAWS):
        times = np.bincount(generator.integers(0, size, size), minlength=size).astype(np.float32)
        rates.append((times @ matched @ times) / (times @ counted @ times))
    low, high = np.percentile(rates, [2.5, 97.5])
    return matched.sum() / counted.sum(), low, high, int(counted.sum()) // 2, float(np.median(cosines[counted]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("embeddings", help="of `semblance evaluate --embeddings`, each photo a folder of its own")
    options = parser.parse_args()
    if lacks("children_study.py", options.embeddings):
        return
    import numpy as np

    rows, embeddings = read(options.embeddings)
    embeddings, ages = embeddings.astype(np.float32), np.array([int(row["person"].split("_")[0]) for row in rows])
    print("| age by label | photos | pairs | median cosine | FMR at the operating point |\n|---|---|---|---|---|")
    for low_age, high_age in AGES:
        own = embeddings[(ages >= low_age) & (ages <= high_age)]
        fmr, low, high, pairs, median = band(own, operating_point())
        name = str(low_age) if low_age == high_age else f"{low_age} to {high_age}"
        print(f"| {name} | {len(own)} | {pairs} | {median:.2f} | {fmr:.2g} ({low:.2g} to {high:.2g}) |")


if __name__ == "__main__":
    main()
