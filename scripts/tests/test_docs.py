"""Tests of scripts/docs.py, and that the documents of this repository are current."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import docs


class Settings(unittest.TestCase):
    def test_each_section_is_a_table(self):
        table = docs.settings_table(
            '# A comment.\nlisten = "x" # address\n\n[tls] # for HTTPS\ncert = "" # a file; "a" or "b"\nhsts_s = 5\n'
        )
        self.assertIn('| `listen` | `"x"` | address |', table)
        self.assertIn("### `[tls]`\n\nFor HTTPS.\n", table)
        self.assertIn('| `tls.cert` |  | a file; "a" or "b" |', table)
        self.assertIn("| `tls.hsts_s` | `5` |  |", table)

    def test_a_line_that_is_not_understood_is_an_error(self):
        with self.assertRaises(docs.OutdatedError):
            docs.settings_table("[tls]\ncert = '''\n")


class Measures(unittest.TestCase):
    def test_each_row_is_a_line(self):
        rows = '    /// Strength of blur\n    Blur, "blur", "blur", Score, Below;\n'
        line = "| `blur` | `blur` | `score` | below the limit | Strength of blur |\n"
        self.assertTrue(docs.measures_table(rows).endswith(line))
        with self.assertRaises(docs.OutdatedError):
            docs.measures_table("")


class Imports(unittest.TestCase):
    def test_each_room_is_a_row(self):
        table = docs.import_table(
            '# A comment.\n[[room]]\nname = "api"\nmay_import = ["domain", "store"]\nwhy = "HTTP."\n\n'
            '[[room]]\nname = "domain"\nmay_import = []\nwhy = "Rules."\n'
        )
        self.assertIn("| `api` | `domain`, `store` | HTTP. |\n| `domain` | nothing of ours | Rules. |\n", table)

    def test_a_room_without_a_reason_is_an_error(self):
        with self.assertRaises(docs.OutdatedError):
            docs.import_table('[[room]]\nname = "api"\nmay_import = []\n')


class References(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        for name in ["docs", "src", "tests/it/store", "target"]:
            (self.root / name).mkdir(parents=True)
        (self.root / "docs/a.md").write_text("# One thing\n[b](b.md) [here](#one-thing) [web](https://example.org)\n")
        (self.root / "docs/b.md").write_text("[a](a.md#one-thing)\n![plot](p.svg)\n")
        (self.root / "docs/p.svg").write_text("<svg/>")
        (self.root / "docs/SUMMARY.md").write_text("[A](a.md)\n- [B](b.md)\n")
        (self.root / "tests/it/store.rs").write_text("fn a_row_does_not_open() {}\n")
        (self.root / "tests/it/store/outbox.rs").write_text("fn leases() {}\n")
        (self.root / "src/key.rs").write_text("#[tokio::test]\nasync fn wiped() {}\n")

    def test_links_that_resolve_are_fine(self):
        self.assertEqual(docs.broken_links(self.root), [])

    def test_a_link_to_nothing_is_reported(self):
        (self.root / "docs/b.md").write_text("[a](c.md) [a](a.md#another-thing)\n")
        self.assertEqual(
            docs.broken_links(self.root),
            ["docs/b.md: c.md does not exist", "docs/b.md: a.md#another-thing: no such heading"],
        )

    def test_a_page_that_the_summary_lacks_is_reported(self):
        self.assertEqual(docs.missing_pages(self.root), [])
        (self.root / "docs/c.md").write_text("")
        self.assertEqual(docs.missing_pages(self.root), ["docs/SUMMARY.md does not list docs/c.md"])

    def test_a_test_that_does_not_exist_is_reported(self):
        rows = "| a | b | `store::*::a_row_does_not_open`, `store::outbox::*`, `key` (unit), `SOME_VARIABLE` |\n"
        (self.root / "SECURITY.md").write_text(rows)
        self.assertEqual(docs.missing_tests(self.root), [])
        (self.root / "SECURITY.md").write_text("| a | b | `store::a_column_opens`, `lock` (unit), `index::*` |\n")
        self.assertEqual(len(docs.missing_tests(self.root)), 3)

    def test_the_book_has_the_pages_and_their_pictures(self):
        docs.make_book(self.root)
        book = self.root / "target/book-src"
        self.assertEqual((book / "SUMMARY.md").read_text(), "[A](docs/a.md)\n- [B](docs/b.md)\n")
        self.assertTrue((book / "docs/p.svg").is_file())


class Here(unittest.TestCase):
    def test_the_documents_of_this_repository_are_current(self):
        self.assertEqual(docs.main(["--check"]), 0)


if __name__ == "__main__":
    unittest.main()
