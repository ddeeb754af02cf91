#!/usr/bin/env python3
"""The bill of materials of the server, as CycloneDX 1.6 JSON.

    python3 scripts/sbom.py [--target TRIPLE] [--output target/sbom.json]

Everything that is in the binary or beside it: the crates that are linked (scope `required`), those that only
help to build it (`excluded`), the SQLite that one of them brings, ONNX Runtime with what its notices say is
inside it, and the models of models/pack.toml. Hashes are those of Cargo.lock and of the pack, so the same tree gives
the same bill.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

sys.dont_write_bytecode = True  # for the import below: the scripts may lie in a read-only folder
sys.path.insert(0, str(Path(__file__).resolve().parent))
import notices

REPOSITORY = Path(__file__).resolve().parent.parent
RUNTIMES = {"x86_64-unknown-linux-gnu": "linux-x86_64", "aarch64-unknown-linux-gnu": "linux-aarch64"}
RUNTIMES["aarch64-apple-darwin"] = "macos-aarch64"
SPDX = re.compile(r"[A-Za-z0-9.-]+")  # an identifier of the SPDX list has no blanks


def toml(path):
    import tomllib  # Python 3.11

    return tomllib.loads(path.read_text(encoding="utf-8"))


def host():
    output = subprocess.run(["rustc", "-vV"], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^host: (.+)$", output, re.M)[1]


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout)


def expression(licence):
    """An SPDX expression; crates of old separate alternatives by a slash."""
    return re.sub(r"\s*/\s*", " OR ", licence)


def tree(target, edges):
    """What cargo uses for a plain build: names and versions. (`cargo metadata` adds what the tests turn on.)"""
    command = ["cargo", "tree", "--locked", "--target", target, "--edges", edges, "--prefix", "none", "--format", "{p}"]
    output = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {(name, version[1:]) for name, version in (line.split()[:2] for line in output.splitlines())}


def crate(package, checksum, linked):
    component = {
        "type": "library",
        "bom-ref": f"pkg:cargo/{package['name']}@{package['version']}",
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if linked else "excluded",
        "hashes": [{"alg": "SHA-256", "content": checksum}],
        "licenses": [{"expression": expression(package["license"])}],
        "purl": f"pkg:cargo/{package['name']}@{package['version']}",
    }
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def sqlite(package):
    """The SQLite in libsqlite3-sys: its own version, by which vulnerabilities are listed."""
    source = Path(package["manifest_path"]).parent / "sqlite3" / "sqlite3.c"
    text = source.read_text(encoding="utf-8", errors="replace")
    version = re.search(r'#define SQLITE_VERSION\s+"([^"]+)"', text)[1]
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/sqlite@{version}",
        "name": "sqlite",
        "version": version,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(source.read_bytes()).hexdigest()}],
        "licenses": [{"license": {"id": "blessing"}}],
        "purl": f"pkg:generic/sqlite@{version}",
    }


def inside(component):
    """Software that is inside ONNX Runtime, as its notices list it; they name no versions."""
    licences = [{"license": {"id": name} if SPDX.fullmatch(name) else {"name": name}} for name in component["licences"]]
    part = {"type": "library", "name": component["name"], "scope": "required", "licenses": licences}
    if component["source"]:
        part["externalReferences"] = [{"type": "website", "url": component["source"]}]
    return part


def runtime(pack, target):
    texts = REPOSITORY / "models" / "fetched" / "onnxruntime-ThirdPartyNotices.txt"
    if not texts.is_file():
        sys.exit(f"sbom: {texts} is missing; run `python3 scripts/setup.py`.")
    listed = notices.components(texts.read_text(encoding="utf-8"))
    library = pack["runtime"][RUNTIMES[target]]
    version = re.search(r"\d+\.\d+\.\d+", library["file"])[0]
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/onnxruntime@{version}",
        "name": "onnxruntime",
        "version": version,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": library["sha256"]}],
        "licenses": [{"expression": "MIT"}],
        "purl": f"pkg:generic/onnxruntime@{version}",
        "properties": [{"name": "semblance:file", "value": library["file"]}],
        "components": [inside(component) for component in listed],
    }


def model(entry):
    properties = {"file": entry["file"], "role": entry["role"], "source": entry["source"]}
    properties.update({key: entry[key] for key in ("upstream_sha256", "changes") if key in entry})
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{entry['id']}",
        "name": entry["id"],
        "version": entry["title"],
        "copyright": entry["copyright"],
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        "licenses": [{"expression": entry["licence"]}],
        "properties": [{"name": f"semblance:{key}", "value": value} for key, value in properties.items()],
    }


def bill(target):
    meta, lock, pack = metadata(target), toml(REPOSITORY / "Cargo.lock"), toml(REPOSITORY / "models" / "pack.toml")
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}
    packages = {package["id"]: package for package in meta["packages"]}
    nodes, root = {node["id"]: node for node in meta["resolve"]["nodes"]}, meta["resolve"]["root"]
    named = {(package["name"], package["version"]): at for at, package in packages.items()}
    used = {named[name] for name in tree(target, "normal,build")} - {root}
    linked = {named[name] for name in tree(target, "normal,no-proc-macro")} - {root}
    ref = {at: f"pkg:cargo/{packages[at]['name']}@{packages[at]['version']}" for at in used | {root}}

    components = []
    for at in sorted(used, key=lambda at: ref[at]):
        package = packages[at]
        components.append(crate(package, checksums[package["name"], package["version"]], at in linked))
    beside = [sqlite(package) for at in linked if (package := packages[at])["name"] == "libsqlite3-sys"]
    beside += [runtime(pack, target)] + [model(entry) for entry in pack["model"]]
    dependencies = []
    for at in sorted(used | {root}, key=lambda at: ref[at]):
        needed = {d["pkg"] for d in nodes[at]["deps"] if any(kind["kind"] != "dev" for kind in d["dep_kinds"])}
        needed = {ref[other] for other in needed & used} | {part["bom-ref"] for part in beside if at == root}
        dependencies.append({"ref": ref[at], "dependsOn": sorted(needed)})
    own = packages[root]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ref[root],
                "name": own["name"],
                "version": own["version"],
                "description": own["description"],
                "licenses": [{"expression": own["license"]}],
                "purl": ref[root],
            },
            "properties": [
                {"name": "semblance:target", "value": target},
                {"name": "semblance:pack", "value": pack["name"]},
            ],
        },
        "components": components + beside,
        "dependencies": dependencies + [{"ref": part["bom-ref"], "dependsOn": []} for part in beside],
    }
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    return document


def main():
    parser = argparse.ArgumentParser(description="Writes the bill of materials (CycloneDX 1.6).")
    parser.add_argument("--target", choices=sorted(RUNTIMES), help="default: this machine's")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "target" / "sbom.json")
    options = parser.parse_args()
    document = bill(options.target or host())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{options.output}: {len(document['components'])} components")


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit("sbom: Python 3.11 or newer is needed.")
    main()
