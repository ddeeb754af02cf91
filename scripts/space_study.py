#!/usr/bin/env python3
"""Does another space for the same embeddings miss fewer people? Compares them as they are, without their mean, and without
their mean and with within-person covariance normalization (WCCN, shrunk by 0.7).

    semblance evaluate LFW/images --embeddings lfw.jsonl --json > /dev/null
    semblance evaluate OTHER --embeddings other.jsonl --json > /dev/null
    python3 -m venv venv && venv/bin/pip install numpy
    venv/bin/python scripts/space_study.py lfw.jsonl --other other.jsonl

Each space is learned from one half of the people of LFW and measured on the other half, in four divisions by person, both
ways; FMR and FNMR are by person, and the pair of brothers is left out. `--other` is a set of photos of other people from another
source, each photo a folder of its own: the thresholds of LFW are applied to its pairs. Pairs from cosine 0.6 on are left out
there, because they may be one person. Prints also the operating point of the pack: the cosine at FMR 1e-5 of the embeddings as they
are, its 95 % interval by draws of people, and what it is when one half of the people chooses it and the other half measures FMR.
docs/accuracy.md, "The operating point" and "Another space", has the outcome. Without the file or numpy the study is
reported as skipped.
"""

import argparse

from embeddings import lacks, places, read, unit

RATES = (1e-3, 1e-4, 1e-5)
BROTHERS = ("George_W_Bush", "Jeb_Bush")
SHRINKING = 0.7
LEAST_COSINE = 0.2
HIGH_COSINE = 0.38
SAME_PERSON = 0.6


def spaces(rows, people):
    """By name, what is subtracted and the map after that, learned with each person counted alike."""
    import numpy as np

    counts = np.bincount(people)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, people, rows)
    means = sums / np.maximum(counts, 1)[:, None]
    mean = means[counts > 0].mean(0)
    several = counts[people] > 1
    within = (rows - means[people])[several]
    weights = 1 / (counts[people][several] - 1)
    covariance = (within * weights[:, None]).T @ within / (counts > 1).sum()
    same = np.eye(rows.shape[1])
    shrunk = (1 - SHRINKING) * covariance + SHRINKING * np.trace(covariance) / len(same) * same
    values, vectors = np.linalg.eigh(shrunk)
    return {
        "as they are": (0 * mean, same),
        "without the mean": (mean, same),
        "without the mean, WCCN": (mean, vectors @ np.diag(values**-0.5) @ vectors.T),
    }


def placed(rows, space):
    import numpy as np

    mean, projection = space
    return unit((rows - mean) @ projection).astype(np.float32)


def rates(rows, people, brothers):
    """A function from FMR to the threshold, and one from the threshold to FNMR; both by person."""
    import numpy as np

    order = np.argsort(people, kind="stable")
    rows, people = rows[order], people[order]
    counts = np.bincount(people).astype(float)
    impostors, weights, genuine, owners = [], [], [], []
    for start in range(0, len(rows), 1000):
        cosines = rows[start : start + 1000] @ rows[start:].T
        own, other = people[start : start + 1000, None], people[None, start:]
        later = np.arange(len(cosines))[:, None] < np.arange(cosines.shape[1])[None]
        at, to = np.nonzero(later & (own == other))
        genuine.append(cosines[at, to])
        owners.append(people[start + at])
        related = (own == brothers[0]) & (other == brothers[1]) | (own == brothers[1]) & (other == brothers[0])
        at, to = np.nonzero(later & (own != other) & ~related & (cosines > LEAST_COSINE))
        impostors.append(cosines[at, to])
        weights.append(1 / (counts[people[start + at]] * counts[people[start + to]]))
    impostors, weights, genuine, owners = map(np.concatenate, (impostors, weights, genuine, owners))
    present = (counts > 0).sum()
    pairs = present * (present - 1) / 2 - (counts[brothers[0]] > 0 and counts[brothers[1]] > 0)
    highest = np.argsort(-impostors)
    share = np.cumsum(weights[highest]) / pairs

    def threshold(fmr):
        return impostors[highest][np.searchsorted(share, fmr)]

    def fnmr(cosine):
        missed = np.bincount(owners, genuine < cosine, len(counts))
        all_ = np.bincount(owners, minlength=len(counts))
        return (missed[all_ > 0] / all_[all_ > 0]).mean()

    return threshold, fnmr


def others(rows, space, thresholds):
    """The share of pairs of different people that reach each threshold."""
    import numpy as np

    raw, mapped = rows @ rows.T, placed(rows, space)
    cosines = (mapped @ mapped.T)[np.triu(raw < SAME_PERSON, 1)]
    return [(cosines >= threshold).mean() for threshold in thresholds]


def operating_point(rows, people, brothers):
    """Prints the cosine at FMR 1e-5 by person, its interval, and the FMR of each half at the cosine that the other half chose."""
    import numpy as np

    counts = np.bincount(people).astype(float)
    first, second, cosines = [], [], []
    for start in range(0, len(rows), 1000):
        block = rows[start : start + 1000] @ rows.T
        at, to = np.nonzero((block > HIGH_COSINE) & (people[start : start + 1000, None] < people[None]))
        first.append(people[start + at])
        second.append(people[to])
        cosines.append(block[at, to])
    first, second, cosines = map(np.concatenate, (first, second, cosines))
    highest = np.argsort(-cosines)
    first, second, cosines = first[highest], second[highest], cosines[highest]
    votes = ~(np.isin(first, brothers) & np.isin(second, brothers)) / (counts[first] * counts[second])

    def share(draws):
        """FMR at each of the cosines when people are drawn so many times."""
        pairs = (draws.sum() ** 2 - (draws**2).sum()) / 2
        return np.cumsum(votes * draws[first] * draws[second]) / pairs

    at = lambda draws: cosines[np.searchsorted(share(draws), 1e-5)]
    everyone, generator = np.ones(len(counts)), np.random.default_rng(1)
    drawn = lambda: np.bincount(generator.integers(0, len(counts), len(counts)), minlength=len(counts)).astype(float)
    low, high = np.percentile([at(drawn()) for _ in range(1000)], [2.5, 97.5])
    print(f"\ncosine at FMR 1e-5 by person: {at(everyone):.4f} ({low:.4f} to {high:.4f})")
    for _ in range(5):
        half = (generator.permutation(len(counts)) < len(counts) // 2).astype(float)
        for choose in (half, 1 - half):
            reached = share(1 - choose)[np.searchsorted(-cosines, -at(choose), side="right") - 1]
            print(f"chosen by one half: {at(choose):.4f}; FMR of the other half: {reached:.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("embeddings", help="of LFW, from `semblance evaluate --embeddings`")
    parser.add_argument("--other", help="of another set, each photo a folder of its own")
    options = parser.parse_args()
    if lacks("space_study.py", *filter(None, [options.embeddings, options.other])):
        return
    import numpy as np

    lines, rows = read(options.embeddings)
    people, names = places(lines)
    brothers = [names.index(name) for name in BROTHERS]
    found = {}
    for seed in range(4):
        first = np.isin(people, np.random.default_rng(seed).permutation(len(names))[: len(names) // 2])
        for learn in (first, ~first):
            for name, space in spaces(rows[learn], people[learn]).items():
                threshold, fnmr = rates(placed(rows[~learn], space), people[~learn], brothers)
                found.setdefault(name, []).append([(threshold(rate), fnmr(threshold(rate))) for rate in RATES])
    print("| space | " + " | ".join(f"FMR {rate:.0e}: cosine, FNMR" for rate in RATES) + " |\n|---|" + "---|" * len(RATES))
    for name, draws in found.items():
        print(f"| {name} | " + " | ".join(f"{t:.3f}, {fnmr:.2%}" for t, fnmr in np.mean(draws, 0)) + " |")
    operating_point(rows.astype(np.float32), people, brothers)
    if options.other:
        _, other = read(options.other)
        print(f"\n{len(other)} photos of other people: share of pairs that reach LFW's threshold")
        print("| space | " + " | ".join(f"FMR {rate:.0e} on LFW" for rate in RATES) + " |\n|---|" + "---|" * len(RATES))
        for name, space in spaces(rows, people).items():
            thresholds = np.mean(found[name], 0)[:, 0]
            print(f"| {name} | " + " | ".join(f"{share:.1e}" for share in others(other, space, thresholds)) + " |")


if __name__ == "__main__":
    main()
