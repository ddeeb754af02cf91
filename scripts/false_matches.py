#!/usr/bin/env python3
"""Measures the false match curve of the embedding model, `embedder.false_matches` in models/pack.toml.

    python3 -m venv venv && venv/bin/pip install numpy
    semblance gallery import ONE_PHOTO_A_PERSON --layout files --faces central --guard off
    semblance gallery export people.ndjson
    venv/bin/python scripts/false_matches.py people.ndjson

Every template must be another person. One sample of each counts, so that each person has the same weight: in all pairs
of LFW two brothers make most of the false matches at 1e-5, because both have very many photos. Prints the share of all
pairs of different people, and the cosine that this share reaches, down to the rate of a hundred pairs: fewer are
mostly label errors, twins and sisters.
"""

import argparse
import json
import sys

import numpy


def embeddings(path):
    """The first sample of each template, as rows."""
    with open(path, encoding="utf-8") as lines:
        templates = [json.loads(line) for line in lines if line.strip()]
    if len(templates) < 2:
        sys.exit(f"{path}: needs two templates or more, has {len(templates)}")
    models = {template["samples"][0]["model"] for template in templates}
    if len(models) > 1:
        sys.exit(f"{path}: embeddings of several models: {', '.join(sorted(models))}")
    rows = numpy.array([template["samples"][0]["embedding"] for template in templates], dtype=numpy.float32)
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def cosines(rows, least):
    """The number of all pairs, and the cosines of those from `least` on, highest first."""
    found = []
    for start in range(0, len(rows), 512):
        block = rows[start : start + 512] @ rows[start:].T
        # Each pair once: the row's number is below the column's.
        block = block[numpy.triu(numpy.ones(block.shape, dtype=bool), k=1)]
        found.append(block[block >= least])
    return len(rows) * (len(rows) - 1) // 2, numpy.sort(numpy.concatenate(found))[::-1]


def curve(pairs, found):
    """(rate, cosine) from 1e-3 on, as long as a hundred pairs reach it."""
    points = []
    for power in range(3, 12):
        count = round(pairs * 10.0**-power)
        if count < 100 or count > len(found):
            break
        points.append((10.0**-power, float(found[count - 1])))
    return points


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("export", help="what `semblance gallery export` wrote")
    rows = embeddings(parser.parse_args().export)
    pairs, found = cosines(rows, 0.25)
    print(f"{len(rows)} people, {pairs} pairs")
    for rate, cosine in curve(pairs, found):
        print(f"[{rate:.0e}, {cosine:.3f}]")


if __name__ == "__main__":
    main()
