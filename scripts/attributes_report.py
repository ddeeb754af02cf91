#!/usr/bin/env python3
"""How often the estimates of age, gender and race are wrong, by group: the tables of docs/attributes.md.

    python3 scripts/attributes_report.py UTKFACE [--binary target/release/semblance]

UTKFACE is the folder of the data set, whose file names are its labels (AGE_GENDER_RACE_STAMP.jpg). Only photos that the network
was neither trained nor chosen with are counted, as models/train/common.py divides them (by file, because the set names no
people). The photos are analyzed by the server's own engine. Shares have the 95 % interval of Wilson, mean errors that of 1000
draws of photos. Without the folder or the program the report is reported as skipped.
"""

import argparse
import json
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import skipped

REPOSITORY = Path(__file__).resolve().parent.parent
GENDERS = ("male", "female")
RACES = ("white", "black", "asian", "indian", "other")
AGES = ((0, 5), (6, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 74), (75, 116))
BATCH = 500
DRAWS = 1000
Z95 = 1.959964


class Photo(NamedTuple):
    """The labels of a photo, and what the server estimated."""

    age: int
    gender: str
    race: str
    estimated_age: float
    estimated_gender: str
    estimated_race: str


def labels(path):
    """(age, gender, race) by the name of a file; None where it lacks one."""
    try:
        age, gender, race = (int(part) for part in path.name.split("_")[:3])
        return age, GENDERS[gender], RACES[race]
    except (ValueError, IndexError):
        return None


def is_held_out(path):
    """As `part` of models/train/common.py: 2 in 10 files are only reported on."""
    return int(sha256(f"utk/{path.name}".encode()).hexdigest()[:8], 16) % 10 < 2


def analyzed(binary, paths):
    """The photos whose face was found, and the reasons for the others with their numbers."""
    photos, reasons = [], {}
    for start in range(0, len(paths), BATCH):
        command = [binary, "analyze", "--json", "--faces", "central", "--models", REPOSITORY / "models"]
        done = subprocess.run([*command, *paths[start : start + BATCH]], stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):  # 1: some photos have no face
            sys.exit(f"semblance analyze ended with {done.returncode}")
        for line in map(json.loads, done.stdout.splitlines()):
            estimated = line.get("result", {}).get("demography")
            if estimated:
                photos.append(Photo(*labels(Path(line["photo"])), estimated["age"], estimated["gender"], estimated["race"]))
            else:
                reason = line.get("result", {}).get("info", "no estimate")
                reasons[reason] = reasons.get(reason, 0) + 1
    return photos, reasons


def share(count, total):
    """A share with its interval, and the counts."""
    if total == 0:
        return "no photos"
    rate, z = count / total, Z95
    middle, width = rate + z * z / (2 * total), z * (rate * (1 - rate) / total + z * z / (4 * total * total)) ** 0.5
    low, high = (middle - width) / (1 + z * z / total), (middle + width) / (1 + z * z / total)
    return f"{rate:.1%} ({max(low, 0):.1%} to {min(high, 1):.1%}), {count} of {total}"


def mean_error(photos):
    """The mean error of the age with its interval."""
    errors = [abs(photo.estimated_age - photo.age) for photo in photos]
    if len(errors) < 2:
        return "too few photos"
    generator = random.Random(1)
    means = sorted(sum(generator.choices(errors, k=len(errors))) / len(errors) for _ in range(DRAWS))
    return f"{sum(errors) / len(errors):.1f} ({means[DRAWS // 40]:.1f} to {means[-DRAWS // 40 - 1]:.1f})"


def groups(photos):
    """(name, photos) of everyone, and of each age, gender and race by label."""
    yield "all", photos
    for low, high in AGES:
        yield f"age {low} to {high}", [photo for photo in photos if low <= photo.age <= high]
    for gender in GENDERS:
        yield gender, [photo for photo in photos if photo.gender == gender]
    for race in RACES:
        yield race, [photo for photo in photos if photo.race == race]
    for race in RACES:
        for gender in GENDERS:
            yield f"{race}, {gender}", [photo for photo in photos if (photo.race, photo.gender) == (race, gender)]


def report(photos):
    print("| group by label | photos | age: mean error, years | off by more than 15 years | gender wrong | race wrong |")
    print("|---|---|---|---|---|---|")
    for name, members in groups(photos):
        off = sum(abs(photo.estimated_age - photo.age) > 15 for photo in members)
        gender = sum(photo.estimated_gender != photo.gender for photo in members)
        race = sum(photo.estimated_race != photo.race for photo in members)
        total = len(members)
        cells = [mean_error(members), *(share(count, total) for count in (off, gender, race))]
        print(f"| {name} | {total} | " + " | ".join(cells) + " |")
    print("\n| label, estimated as | " + " | ".join(RACES) + " |\n|---|" + "---|" * len(RACES))
    for label in RACES:
        members = [photo for photo in photos if photo.race == label]
        print(f"| {label} | " + " | ".join(str(sum(p.estimated_race == race for p in members)) for race in RACES) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("photos", type=Path, help="the folder of UTKFace")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    options = parser.parse_args()
    if missing := [path for path in (options.photos, options.binary) if not path.exists()]:
        return skipped.add("attributes report", [f"{path.name} does not exist" for path in missing])
    paths = sorted(path for path in options.photos.glob("*.jpg") if labels(path) and is_held_out(path))
    photos, reasons = analyzed(options.binary, paths)
    print(f"{len(paths)} photos, {len(photos)} with a face; without: {reasons or 'none'}\n")
    report(photos)


if __name__ == "__main__":
    main()
