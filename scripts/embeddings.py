"""The file of `semblance evaluate --embeddings`, and what the studies of it share."""

import importlib.util
import json
import tomllib
from pathlib import Path

import skipped

REPOSITORY = Path(__file__).resolve().parent.parent


def lacks(check, *files):
    """Whether a study cannot run, because numpy or a file is missing; that is reported as skipped."""
    reasons = [] if importlib.util.find_spec("numpy") else ["numpy is not installed"]
    reasons += [f"{file} does not exist" for file in files if not Path(file).exists()]
    skipped.add(check, reasons)
    return bool(reasons)


def read(path):
    """The lines of the file, and the embeddings of unit length in the same order."""
    import numpy as np

    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return rows, unit(np.array([row["embedding"] for row in rows]))


def unit(rows):
    """Rows of unit length; the last axis has the numbers."""
    import numpy as np

    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def places(rows):
    """The place of the person of each row, and the names by place."""
    import numpy as np

    names = sorted({row["person"] for row in rows})
    place = {name: at for at, name in enumerate(names)}
    return np.array([place[row["person"]] for row in rows]), names


def operating_point():
    """The cosine of similarity 0.75, as the pack has it."""
    pack = tomllib.loads((REPOSITORY / "models" / "pack.toml").read_text(encoding="utf-8"))
    return pack["embedder"]["operating_point"]
