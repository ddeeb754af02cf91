"""Images are pinned to digests, also those that are pinned already."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import pin_images  # noqa: E402

DIGEST = "sha256:" + "ab" * 32
OLD = "sha256:" + "cd" * 32


class Pinned(unittest.TestCase):
    def test_every_image_gets_the_digest_of_its_tag(self):
        text = f"FROM rust:1-bookworm AS build\nFROM debian:12@{OLD}\n    image: postgres:17-alpine # why\n    image: semblance\n"
        asked = []

        def find(tag):
            asked.append(tag)
            return DIGEST

        self.assertEqual(
            pin_images.pinned(text, find),
            f"FROM rust:1-bookworm@{DIGEST} AS build\nFROM debian:12@{DIGEST}\n"
            f"    image: postgres:17-alpine@{DIGEST} # why\n    image: semblance\n",
        )
        self.assertEqual(asked, ["rust:1-bookworm", "debian:12", "postgres:17-alpine"])

    def test_our_files_have_images_to_pin(self):
        root = Path(pin_images.__file__).resolve().parent.parent
        for name, count in [("Dockerfile", 2), ("docker-compose.yml", 1)]:
            self.assertEqual(len(pin_images.IMAGE.findall((root / name).read_text())), count, name)


if __name__ == "__main__":
    unittest.main()
