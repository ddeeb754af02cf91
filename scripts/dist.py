#!/usr/bin/env python3
"""Packs a server that runs on another machine of the same kind, without tools and without a network.

    python3 scripts/dist.py [--binary target/release/semblance] [--output target/dist]

The archive semblance-VERSION-TRIPLE.tar.gz has the program, every model and ONNX Runtime, the documents, the licenses of
all of it, the bill of materials, a systemd unit and install.sh (packaging/). The machine needs glibc and libstdc++ as
Debian 12 and later have them. The same tree and the same program give the same archive.
"""

import argparse
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

sys.dont_write_bytecode = True  # for the import below: the scripts may lie in a read-only folder
sys.path.insert(0, str(Path(__file__).resolve().parent))
import sbom

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "CHANGELOG.md", "SECURITY.md", "docs"]
PACKAGING = ["install.sh", "semblance.service", "semblance.toml"]


def licence_files(folder):
    """The texts that a crate ships under the usual names."""
    names = ("license", "licence", "copying", "notice", "unlicense", "copyright")
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name.lower().startswith(names))


def third_party(target):
    """The license texts of every crate that is linked into the program, and those of ONNX Runtime."""
    linked = sbom.tree(target, "normal,no-proc-macro")
    texts = ["Software inside the program, and beside it in models/fetched. sbom.json lists all of it with hashes.\n"]
    for package in sorted(sbom.metadata(target)["packages"], key=lambda package: (package["name"], package["version"])):
        if (package["name"], package["version"]) not in linked or package["source"] is None:
            continue
        texts.append(f"\n{'=' * 100}\n{package['name']} {package['version']} ({package['license']})\n")
        texts += [file.read_text(encoding="utf-8", errors="replace")
                  for file in licence_files(Path(package["manifest_path"]).parent)]
    texts.append(f"\n{'=' * 100}\nONNX Runtime: models/fetched/onnxruntime-LICENSE, onnxruntime-ThirdPartyNotices.txt\n")
    return "\n".join(texts)


def models(folder):
    """The pack, and the files that it names: nothing else that lies beside them."""
    pack = sbom.toml(REPOSITORY / "models" / "pack.toml")
    runtime = pack["runtime"][sbom.RUNTIMES[sbom.host()]]["file"]
    names = {"pack.toml", "golden.toml", runtime} | {model["file"] for model in pack["model"]}
    names |= {str(file.relative_to(REPOSITORY / "models")) for file in (REPOSITORY / "models" / "fetched").glob("onnxruntime-*")}
    names |= {file.name for file in (REPOSITORY / "models").glob("*.md")}
    for name in sorted(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / "models" / name, folder / name)


def stage(binary, folder):
    """The tree of the archive."""
    target = sbom.host()
    (folder / "bin").mkdir(parents=True)
    shutil.copyfile(binary, folder / "bin" / "semblance")
    os.chmod(folder / "bin" / "semblance", 0o755)
    models(folder / "models")
    (folder / "doc").mkdir()
    for name in DOCUMENTS:
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / "doc" / name)
    for name in PACKAGING:
        shutil.copy(REPOSITORY / "packaging" / name, folder / name)
    shutil.copyfile(REPOSITORY / "LICENSE", folder / "LICENSE")
    (folder / "sbom.json").write_text(json.dumps(sbom.bill(target), indent=1) + "\n", encoding="utf-8")
    (folder / "THIRD-PARTY.txt").write_text(third_party(target), encoding="utf-8")


def pack(folder, archive, time):
    """A tar that depends on names, content and the right to execute only."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            entry = tar.gettarinfo(path, path.relative_to(folder.parent))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = time
            entry.mode = 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644
            with path.open("rb") if path.is_file() else io.BytesIO() as file:
                tar.addfile(entry, file if path.is_file() else None)
    with archive.open("wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=time) as gz:
        gz.write(content.getvalue())


def commit_time():
    """The time of the last commit, so that an archive does not depend on when it is made; 0 without a repository."""
    command = ["git", "log", "-1", "--format=%ct"]
    shown = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return int(shown.stdout.strip() or 0) if shown.returncode == 0 else 0


def main():
    default = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    parser = argparse.ArgumentParser(description="Packs a server for machines of this kind.")
    parser.add_argument("--binary", type=Path, default=default / "release" / "semblance")
    parser.add_argument("--output", type=Path, default=default / "dist", help="the folder of the archive, which is emptied")
    options = parser.parse_args()
    if not options.binary.is_file():
        sys.exit(f"dist: {options.binary} does not exist; run `make setup` first.")
    version = sbom.toml(REPOSITORY / "Cargo.toml")["package"]["version"]
    name = f"semblance-{version}-{sbom.host()}"
    shutil.rmtree(options.output, ignore_errors=True)
    folder = options.output / name
    stage(options.binary, folder)
    archive = options.output / f"{name}.tar.gz"
    pack(folder, archive, commit_time())
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("dist: Python 3.11 or newer is needed.")
    main()
