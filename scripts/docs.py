#!/usr/bin/env python3
"""Keeps generated tables in the documents current, and checks that what the documents refer to exists.

    python3 scripts/docs.py            write the generated tables
    python3 scripts/docs.py --check    exit with 1 if a table is outdated or a reference is broken
    python3 scripts/docs.py --book     copy the pages to target/book-src, where mdbook builds a book of them

Generated: the settings table of docs/configuration.md (from src/settings/default.toml), the measures of docs/quality.md
(from src/domain/measure.rs). Checked: relative links, the list of pages in docs/SUMMARY.md, and the tests
that SECURITY.md names.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class OutdatedError(Exception):
    """A document that cannot be generated or refers to something that does not exist."""


def between(text, name, table):
    """Replaces what stands between the marks of a generated part."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise OutdatedError(f"the marks of {name} are missing")
    return f"{head}{begin}{table}{end}{tail}"


def settings_table(text):
    """The settings of default.toml as Markdown, one table per section."""
    rows, section, about = [], "", ""
    sections = [("", "", rows)]
    for line in text.splitlines():
        head = re.match(r"\[(\w+)\]\s*(?:#\s*(.*))?$", line)
        if head:
            section, about = head.group(1), head.group(2) or ""
            rows = []
            sections.append((section, about, rows))
            continue
        entry = re.match(r"(\w+)\s*=\s*(\"[^\"]*\"|\[[^\]]*\]|[\w.]+)\s*(?:#\s*(.*))?$", line)
        if entry:
            key, value, meaning = entry.groups()
            name = f"{section}.{key}" if section else key
            shown = "" if value == '""' else f"`{value}`"
            rows.append((name, shown, (meaning or "").replace("|", "\\|")))
        elif line.strip() and not line.startswith("#"):
            raise OutdatedError(f"src/settings/default.toml: cannot read {line!r}")
    out = []
    for name, about, rows in sections:
        if name:
            out.append(f"\n### `[{name}]`\n\n" + (f"{about[0].upper()}{about[1:]}.\n\n" if about else ""))
        if rows:
            out.append("| Setting | Default | Meaning |\n|---|---|---|\n")
        out.extend(f"| `{key}` | {value} | {meaning} |\n" for key, value, meaning in rows)
    return "".join(out)


def measures_table(text):
    """The rows of src/domain/measure.rs as Markdown."""
    row = r"/// (.+)\n\s+\w+, \"(\w+)\", \"(\w+)\", (\w+), (\w+);"
    good = {"AtLeast": "at least the limit", "Below": "below the limit", "Within": "within the limits"}
    out = ["| Older layout, settings, pack | Newer layout | Reported as | Fine | Meaning |\n|---|---|---|---|---|\n"]
    for meaning, name, newer, reported, fine in re.findall(row, text):
        out.append(f"| `{name}` | `{newer}` | `{reported.lower()}` | {good[fine]} | {meaning} |\n")
    if len(out) == 1:
        raise OutdatedError("src/domain/measure.rs has no rows")
    return "".join(out)


def import_table(text):
    """The rooms, what they may import and why, as Markdown."""
    out = ["| Room | May import | Why |\n|---|---|---|\n"]
    for block in text.split("[[room]]")[1:]:
        name = re.search(r'^name = "(\w+)"$', block, re.MULTILINE)
        imports = re.search(r"^may_import = \[([^\]]*)\]$", block, re.MULTILINE)
        why = re.search(r'^why = "(.*)"$', block, re.MULTILINE)
        if not (name and imports and why):
            raise OutdatedError(f"tests/it/imports.toml: cannot read {block.strip()!r}")
        rooms = ", ".join(f"`{room}`" for room in re.findall(r'"(\w+)"', imports.group(1)))
        out.append(f"| `{name.group(1)}` | {rooms or 'nothing of ours'} | {why.group(1)} |\n")
    return "".join(out)


GENERATED = [
    ("docs/quality.md", "measures", "src/domain/measure.rs", measures_table),
    ("docs/configuration.md", "settings", "src/settings/default.toml", settings_table),
    ("ARCHITECTURE.md", "imports", "tests/it/imports.toml", import_table),
]


def generate(root):
    """(file, its text as it must be) of each generated document."""
    return [
        (root / file, between((root / file).read_text("utf-8"), name, table((root / source).read_text("utf-8"))))
        for file, name, source, table in GENERATED
    ]


def documents(root):
    """Every Markdown file of the project."""
    skipped = {"target", ".cache", ".git", "node_modules", "data"}
    files = (file for file in root.rglob("*.md") if not skipped & set(file.relative_to(root).parts))
    return sorted(files)


def anchors(text):
    """The anchors of a document's headings, as the common forges make them."""
    heads = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(root):
    """Relative links whose file or heading does not exist."""
    broken = []
    for file in documents(root):
        text = re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            aim = file if not path else (file.parent / path).resolve()
            name = file.relative_to(root)
            if not aim.exists():
                broken.append(f"{name}: {target} does not exist")
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text("utf-8")):
                broken.append(f"{name}: {target}: no such heading")
    return broken


def listed(root):
    """The pages of the summary, relative to the root."""
    links = re.findall(r"\]\(([^)]+)\)", (root / "docs/SUMMARY.md").read_text("utf-8"))
    return [(root / "docs" / link).resolve().relative_to(root.resolve()) for link in links]


def missing_pages(root):
    """Pages of docs/ that the summary does not list."""
    pages = {file.relative_to(root) for file in (root / "docs").glob("*.md")} - {Path("docs/SUMMARY.md")}
    return [f"docs/SUMMARY.md does not list {page}" for page in sorted(pages - set(listed(root)))]


def make_book(root):
    """Copies the pages, and the pictures and files that they link to, to where mdbook reads them.

    mdbook takes pages from one folder only, and copies everything that lies in it. The copy has the folders of the
    repository, so links between pages stay right.
    """
    book = root / "target/book-src"
    shutil.rmtree(book, ignore_errors=True)
    files = set(listed(root))
    for page in list(files):
        for target in re.findall(r"\]\(([^)\s#]+)", (root / page).read_text("utf-8")):
            aim = (root / page.parent / target).resolve()
            if not re.match(r"[a-z]+:", target) and aim.is_file() and aim.is_relative_to(root.resolve()):
                files.add(aim.relative_to(root.resolve()))
    for file in sorted(files):
        (book / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, book / file)
    summary = (root / "docs/SUMMARY.md").read_text("utf-8")
    pages = iter(listed(root))
    moved = re.sub(r"\]\([^)]+\)", lambda _: f"]({next(pages).as_posix()})", summary)
    (book / "SUMMARY.md").write_text(moved, "utf-8")
    print(f"target/book-src: {len(files)} files; now run mdbook build")


def missing_tests(root):
    """Tests that SECURITY.md names and that do not exist."""
    missing = []
    rows = [line for line in (root / "SECURITY.md").read_text("utf-8").splitlines() if line.startswith("|")]
    for row in rows:
        proof = row.rstrip("|").rpartition("|")[2]
        for name, unit in re.findall(r"`([^`]+)`( \(unit\))?", proof):
            if "/" in name:
                exists = (root / name).exists()
            elif "::" not in name and not unit:
                continue  # a variable or a command
            else:
                exists = has_unit_tests(root, name) if unit else has_test(root, name)
            if not exists:
                missing.append(f"SECURITY.md names the test {name}, which does not exist")
    return missing


def sources_of(base, module):
    """The files of a module and of everything below it."""
    return [file for file in [base / f"{module}.rs", *(base / module).rglob("*.rs")] if file.is_file()]


def has_unit_tests(root, name):
    """Whether a module of src has tests."""
    module = name.removesuffix("::*").replace("::", "/")
    return any(re.search(r"#\[(tokio::)?test", file.read_text("utf-8")) for file in sources_of(root / "src", module))


def has_test(root, name):
    """Whether a path such as a::b::test, a::*::test or a::* stands for a test below tests/it."""
    parts = name.split("::")
    module = []
    while parts and "*" not in parts[0] and sources_of(root / "tests/it", "/".join([*module, parts[0]])):
        module.append(parts.pop(0))
    files = sources_of(root / "tests/it", "/".join(module)) if module else []
    if not parts or parts == ["*"]:
        return bool(files)
    pattern = re.compile(r"\bfn " + re.escape(parts[-1]).replace(r"\*", r"\w*") + r"\(")
    return any(pattern.search(file.read_text("utf-8")) for file in files)


def main(arguments=None, root=ROOT):
    """Writes or checks; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is outdated")
    parser.add_argument("--book", action="store_true", help="copy the pages to target/book-src for mdbook")
    options = parser.parse_args(arguments)
    faults = []
    for file, text in generate(root):
        if file.read_text("utf-8") == text:
            continue
        if options.check:
            faults.append(f"{file.relative_to(root)} is outdated: run python3 scripts/docs.py")
        else:
            file.write_text(text, "utf-8")
            print(f"{file.relative_to(root)}: written")
    faults += broken_links(root) + missing_pages(root) + missing_tests(root)
    for fault in faults:
        print(fault, file=sys.stderr)
    if options.book:
        make_book(root)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
