#!/usr/bin/env python3
"""Several photos a person: which comparison of a probe with them misses the fewest people at the same rate of false alarms?

    semblance evaluate LFW/images --embeddings lfw.jsonl --json > /dev/null
    python3 -m venv venv && venv/bin/pip install numpy
    venv/bin/python scripts/samples_study.py lfw.jsonl [--photos 3] [--wrong] [--draws 20]

In each draw everyone with more photos than `--photos` is enrolled with that many of them, drawn at random; the other photos of
these people, and one photo of each other person, are searched for. The rules:

  best        the highest cosine to a sample (the rule before)
  mean        the cosine to the mean of the samples, of unit length
  best, mean  the highest cosine to a sample or to their mean (the rule of the index)
  weighted    as `best, mean`, the mean weighted by the `crfiqa` of the photos
  average     the mean of the cosines to the samples

Prints, for each FPIR, the FNIR by person and its difference to `best` in points, with the 95 % interval of 1000 draws of
people, paired; and the rates at the operating point of the pack. Fails unless `best, mean` is better than `best` beyond its
interval at FPIR 1 % (without `--wrong`). Without the file or numpy the check is reported as skipped.
"""

import argparse
import sys

from embeddings import lacks, operating_point, places, read, unit

FPIRS = (0.1, 0.03, 0.01, 0.003)
BOOTSTRAPS = 1000


def scores(probes, enrolled, quality):
    """By rule, the cosine of each probe to each person; `enrolled` is people x photos x numbers, `quality` people x photos."""
    import numpy as np

    each = np.stack([probes @ enrolled[:, photo].T for photo in range(enrolled.shape[1])])
    best, mean = each.max(0), probes @ unit(enrolled.mean(1)).T
    weighted = probes @ unit((enrolled * quality[..., None]).mean(1)).T
    return {
        "best": best,
        "mean": mean,
        "best, mean": np.maximum(best, mean),
        "weighted": np.maximum(best, weighted),
        "average": each.mean(0),
    }


def draw(embeddings, people, crfiqa, photos, wrong, generator):
    """Yields (rule, limit, misses by person, FPIR): the limit is an FPIR, or None at the operating point."""
    import numpy as np

    drawn = [generator.permutation(np.nonzero(people == person)[0]) for person in range(people.max() + 1)]
    many = [person for person, own in enumerate(drawn) if len(own) > photos]
    first = np.array([drawn[person][:photos] for person in many])
    enrolled, quality = embeddings[first], crfiqa[first]
    mated = np.concatenate([drawn[person][photos:] for person in many])
    owner = np.concatenate([np.full(len(drawn[person]) - photos, at) for at, person in enumerate(many)])
    others = np.array([own[0] for own in drawn if len(own) <= photos])
    if wrong:
        others = generator.permutation(others)
        enrolled[:, -1], quality[:, -1] = embeddings[others[: len(many)]], crfiqa[others[: len(many)]]
        others = others[len(many) :]
    in_force = operating_point()
    genuine, impostors = (scores(embeddings[probes], enrolled, quality) for probes in (mated, others))
    for rule in genuine:
        own = genuine[rule][np.arange(len(owner)), owner]
        first = genuine[rule].argmax(1) == owner
        highest = np.sort(impostors[rule].max(1))[::-1]
        limits = {fpir: highest[int(fpir * len(highest))] for fpir in FPIRS} | {None: in_force}
        for limit, cosine in limits.items():
            missed = ~first | (own <= cosine)
            by_person = np.full(people.max() + 1, np.nan)
            by_person[many] = np.bincount(owner, missed) / np.bincount(owner)
            yield rule, limit, by_person, (highest > cosine).mean()


def paired(difference):
    """The mean of a difference by person, and the 95 % interval of its mean under draws of people."""
    import numpy as np

    generator = np.random.default_rng(1)
    size = len(difference)
    means = [difference[generator.integers(0, size, size)].mean() for _ in range(BOOTSTRAPS)]
    return 100 * difference.mean(), *(100 * np.percentile(means, [2.5, 97.5]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("embeddings", help="the file of `semblance evaluate --embeddings`")
    parser.add_argument("--photos", type=int, default=3, help="photos that each person is enrolled with (3)")
    parser.add_argument("--wrong", action="store_true", help="the last photo of each person is of someone else")
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    if lacks("samples_study.py", options.embeddings):
        return
    import numpy as np

    rows, embeddings = read(options.embeddings)
    data = embeddings.astype(np.float32), places(rows)[0], np.array([row["crfiqa"] for row in rows])
    found = {}
    for seed in range(options.draws):
        for rule, limit, misses, fpir in draw(*data, options.photos, options.wrong, np.random.default_rng(seed)):
            found.setdefault((limit, rule), []).append((misses, fpir))
    enrolled = ~np.isnan(found[None, "best"][0][0])
    print(f"{enrolled.sum()} people with {options.photos} photos each, {(~enrolled).sum()} who are not enrolled")
    print("\n| FPIR | rule | FNIR | difference to `best`, points | 95 % interval |\n|---|---|---|---|---|")
    better = False
    for (limit, rule), draws in found.items():
        misses = np.mean([by_person[enrolled] for by_person, _ in draws], 0)
        base = np.mean([by_person[enrolled] for by_person, _ in found[limit, "best"]], 0)
        change, low, high = paired(misses - base)
        fpir = np.mean([fpir for _, fpir in draws])
        place = f"{limit:.1%}" if limit else f"operating point: {fpir:.2%}"
        print(f"| {place} | {rule} | {misses.mean():.3%} | {change:+.3f} | {low:+.3f} to {high:+.3f} |")
        better = better or (limit == 0.01 and rule == "best, mean" and high < 0)
    if not better and not options.wrong:
        sys.exit("`best, mean` is not better than `best` at FPIR 1 %")


if __name__ == "__main__":
    main()
