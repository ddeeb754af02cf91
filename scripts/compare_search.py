#!/usr/bin/env python3
"""Times exact search beside FAISS, usearch and pgvector, in one run, over the same vectors.

    pip install numpy faiss-cpu usearch 'psycopg[binary]'
    python3 scripts/compare_search.py [--embeddings EXPORT] [--templates 1000000] [--dimension 128]

`semblance bench search` makes the vectors (with the statistics of a real export when one is given, random
ones otherwise), searches them and leaves them in a folder; each rival then gets the same vectors and the
same probes, one at a time, on one thread. Printed are median milliseconds of a search for the single best,
for people of the gallery (mated) and for others, and on how many of all probes the best one differs from
FAISS's exact IndexFlatIP. Ours is run again after the rivals, because a shared machine's speed drifts.

What cannot be imported is left out and named. pgvector is measured where SEMBLANCE_TEST_POSTGRES_URL
points to a server that has it (`python3 scripts/postgres.py run -- python3 scripts/compare_search.py ...`).
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
KINDS = ("mated", "non_mated")


def timed(search, probes, most):
    """Milliseconds of each search, and what it found."""
    times, found = [], []
    for probe in probes[:most]:
        start = time.perf_counter()
        best = search(probe)
        times.append(1000 * (time.perf_counter() - start))
        found.append(int(best))
    return statistics.median(times), found


def faiss_index(vectors, kind):
    import faiss

    faiss.omp_set_num_threads(1)
    dimension = vectors.shape[1]
    if kind == "flat":
        index = faiss.IndexFlatIP(dimension)
    else:
        index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:100_000])
    index.add(vectors)
    return lambda probe: index.search(probe[None], 1)[1][0, 0]


def usearch_exact(vectors):
    from usearch.index import MetricKind, search

    return lambda probe: search(vectors, probe[None], 1, MetricKind.IP, exact=True, threads=1).keys.reshape(-1)[0]


@contextlib.contextmanager
def pgvector(vectors):
    import psycopg

    with psycopg.connect(os.environ["SEMBLANCE_TEST_POSTGRES_URL"], autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS compared")
        connection.execute(f"CREATE TABLE compared (id int, embedding vector({vectors.shape[1]}))")
        with connection.cursor().copy("COPY compared FROM STDIN") as copy:
            for at, row in enumerate(vectors):
                copy.write_row((at, "[" + ",".join(map(repr, row.tolist())) + "]"))
        connection.execute("SET max_parallel_workers_per_gather = 0")

        def best(probe):
            text = "[" + ",".join(map(repr, probe.tolist())) + "]"
            query = "SELECT id FROM compared ORDER BY embedding <#> %s::vector LIMIT 1"
            return connection.execute(query, (text,)).fetchone()[0]

        yield best
        connection.execute("DROP TABLE compared")


def ours(options, folder):
    command = [str(options.binary), "bench", "search", "--json", "--templates", str(options.templates)]
    command += ["--dimension", str(options.dimension), "--probes", str(options.probes), "--waiting", options.waiting]
    command += ["--embeddings", str(options.embeddings)] if options.embeddings else []
    command += ["--save", str(folder)] if folder else []
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, help="what `semblance gallery export` wrote, of real people")
    parser.add_argument("--templates", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=128, help="of random vectors")
    parser.add_argument("--probes", type=int, default=500, help="of each kind")
    parser.add_argument("--timed", type=int, default=60, help="probes of each kind that a rival is timed with")
    parser.add_argument("--waiting", default="0", help="numbers of waiting searches whose rate is measured")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    options = parser.parse_args()
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        report = ours(options, folder)
        dimension = report["dimension"]
        read = lambda name: np.fromfile(folder / f"{name}.f32", np.float32).reshape(-1, dimension)
        vectors, probes = read("gallery"), {kind: read(kind) for kind in KINDS}
        answers = json.loads((folder / "answers.json").read_text())
        found = {kind: [int(hits[0]) for hits in answers[kind]] for kind in KINDS}
        truth = {}
        rows = []

        def rival(name, make):
            try:
                with contextlib.ExitStack() as stack:
                    search = make(vectors)
                    search = stack.enter_context(search) if hasattr(search, "__enter__") else search
                    row, differ = {}, 0
                    for kind in KINDS:
                        row[kind], _ = timed(search, probes[kind], options.timed)
                        if name == "FAISS IndexFlatIP":  # the yardstick answers every probe
                            truth[kind] = timed(search, probes[kind], options.probes)[1]
                        here = timed(search, probes[kind], options.timed)[1]
                        differ += sum(a != b for a, b in zip(here, truth.get(kind, here)))
                    rows.append((name, row, f"{differ} of {2 * min(options.timed, options.probes)}"))
            except (ImportError, KeyError) as missing:
                print(f"left out: {name} ({missing})", file=sys.stderr)

        rival("FAISS IndexFlatIP", lambda all: faiss_index(all, "flat"))
        rival("FAISS IndexScalarQuantizer, 8 bit", lambda all: faiss_index(all, "quantised"))
        rival("usearch, exact", usearch_exact)
        rival("pgvector, sequential scan", pgvector)
        again = ours(options, None)
        differ = sum(a != b for kind in KINDS for a, b in zip(found[kind], truth.get(kind, [])))
        for name, one in (("Semblance", report), ("Semblance, once more", again)):
            row = {kind: one[kind]["p50_ms"] for kind in KINDS}
            rows.append((name, row, f"{differ} of {sum(map(len, truth.values()))}"))

    print(f"{options.templates} x {dimension}, {report['vectors']}; one thread; median ms a search\n")
    print("| | mated | non-mated | best one differs from IndexFlatIP's |\n|---|---|---|---|")
    for name, row, differ in rows:
        print(f"| {name} | {row['mated']:.2f} | {row['non_mated']:.2f} | {differ} |")
    flat = next((row for name, row, _ in rows if name == "FAISS IndexFlatIP"), None)
    if flat:
        slower = {kind: max(report[kind]["p50_ms"], again[kind]["p50_ms"]) for kind in KINDS}
        ratios = ", ".join(f"{kind} {flat[kind] / slower[kind]:.1f}" for kind in KINDS)
        print(f"\nIndexFlatIP takes so many times as long as the slower of our two runs: {ratios}")
    out = io.StringIO()
    json.dump({key: value for key, value in report.items() if key not in KINDS}, out)
    print(f"\n{out.getvalue()}")
    for kind in KINDS:
        print(f"{kind}: {json.dumps(report[kind])}")


if __name__ == "__main__":
    main()
