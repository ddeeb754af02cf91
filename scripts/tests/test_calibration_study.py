"""The study of `semblance calibrate`: what it enrolls, what it counts, and that it reports what it skips."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import calibration_study as study


def report(cosine, low, high):
    threshold = {"cosine": cosine, "fpir": {"value": 0.01, "low": low, "high": high}}
    return {"proposed": {"threshold": threshold}, "source": {"p_value": 0.5}, "outliers": [{}, {}]}


class Study(unittest.TestCase):
    def test_people_are_read_in_order_and_drawn_without_overlap(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "e.jsonl")
            rows = [("b", 2, [3]), ("a", 1, [1]), ("b", 1, [2])]
            file.write_text("".join(json.dumps(dict(zip(("person", "photo", "embedding"), row))) + "\n" for row in rows))
            self.assertEqual(study.read_people(file), [[[1]], [[2], [3]]])
        for enrolled, others in study.draws(50, 20, 3):
            self.assertEqual((len(enrolled), sorted(enrolled + others)), (20, list(range(50))))
        self.assertEqual(list(study.draws(50, 20, 3)), list(study.draws(50, 20, 3)))

    def test_a_line_is_a_template_with_the_first_samples(self):
        (line,) = study.lines([1], [[[1.0]], [[2.0], [3.0], [4.0]]], 2, "m")
        line = json.loads(line)
        self.assertEqual(line["templateId"], "p00001")
        self.assertEqual([(s["model"], s["embedding"]) for s in line["samples"]], [("m", [2.0]), ("m", [3.0])])

    def test_a_realised_rate_outside_of_the_interval_is_counted(self):
        inside = study.measure(report(0.5, 0.001, 0.02), lambda cosine: 0.02 * cosine)
        outside = study.measure(report(0.4, 0.001, 0.02), lambda _: 0.021)
        self.assertEqual((inside["realised"], inside["inside"], outside["inside"]), (0.01, True, False))
        self.assertIn("| 1 of 2 | 0 | 4 |", study.summary("x", [inside, outside]))

    def test_a_missing_file_is_reported_as_skipped(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(SCRIPTS / "calibration_study.py"), str(Path(folder, "none.jsonl"))]
            environment = {**os.environ, "CARGO_TARGET_DIR": folder}
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment)
            self.assertEqual(done.returncode, 0)
            self.assertIn("SKIPPED: there is no file none.jsonl", done.stderr)
            self.assertIn("calibration study: there is no file", Path(folder, "skipped-tests.txt").read_text())


if __name__ == "__main__":
    unittest.main()
