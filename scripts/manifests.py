#!/usr/bin/env python3
"""Reads the YAML files of operators, and checks the Kubernetes manifests against the schemas of the Kubernetes API.

    python3 scripts/manifests.py --prepare    fetch what it needs (scripts/manifests.txt) into .cache/manifests
    python3 scripts/manifests.py [FILE...]    check the files, by default packaging/kubernetes; exit with 1 if one is wrong

A field that the schema does not have, a value of another type, a missing field, a kind or version of the API that does not
exist and a key that is there twice are errors. Every version of Kubernetes in the package is asked. The schemas are files
of a package, so no cluster and no network is needed. What cannot be fetched is reported as skipped.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import skipped

REPOSITORY = Path(__file__).resolve().parent.parent
PINS = Path(__file__).resolve().parent / "manifests.txt"
CACHE = REPOSITORY / ".cache" / "manifests"
MANIFESTS = REPOSITORY / "packaging" / "kubernetes"
SCHEMAS = CACHE / "kubernetes_validate" / "kubernetes-json-schema"
DEFINITION = "definition:"


class Missing(Exception):
    """The packages are not here."""


def is_prepared():
    mark = CACHE / PINS.name
    return mark.is_file() and mark.read_bytes() == PINS.read_bytes()


def prepare():
    """Fetches the packages. Without them, what needs them is skipped."""
    if is_prepared():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:",
           "--timeout", "20", "--retries", "2", "--upgrade", "--target", str(CACHE), "--requirement", str(PINS)]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(pip, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        (CACHE / PINS.name).write_bytes(PINS.read_bytes())
        print("manifests: the schemas of Kubernetes: fetched")
    else:
        print(f"manifests: the packages cannot be fetched: {done.stderr.strip()[-500:]}", file=sys.stderr)


def _import(name):
    if not is_prepared():
        raise Missing("scripts/manifests.txt is not fetched; run `python3 scripts/manifests.py --prepare`")
    if str(CACHE) not in sys.path:
        sys.path.insert(0, str(CACHE))
    return __import__(name, fromlist=["_"])


def load(text):
    """The documents of a YAML text, as Kubernetes and Compose read them: YAML 1.1, where 0440 is octal."""
    # One document at a time: the library takes every further one of a file for YAML 1.2.
    documents = []
    for part in re.split(r"^---[ \t]*(?:#.*)?$", text, flags=re.M):
        reader = _import("ruamel.yaml").YAML(typ="safe", pure=True)
        reader.version = (1, 1)
        documents += reader.load_all(part)
    return [document for document in documents if document is not None]


def versions():
    """The versions of Kubernetes whose schemas are here, oldest first."""
    names = [path.name.removeprefix("v").removesuffix("-local-strict") for path in SCHEMAS.glob("v*-local-strict")]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


class Api:
    """The objects that one version of Kubernetes knows. In its strict schemas an unknown field is an error."""

    def __init__(self, version):
        self.version, self.folder = version, SCHEMAS / f"v{version}-local-strict"
        definitions = self._schema("_definitions.json")["$defs"]
        self.definitions = {DEFINITION + name: schema for name, schema in definitions.items()}

    def _schema(self, name):
        # Each definition is a document of its own here: the library searches the whole document for each reference to a part.
        text = (self.folder / name).read_text(encoding="utf-8")
        return json.loads(re.sub(r'"(?:/api/_definitions\.json)?#/\$defs/', f'"{DEFINITION}', text))

    def faults(self, document):
        """What is wrong with an object: the path of the field, and the reason."""
        jsonschema = _import("jsonschema")
        if not isinstance(document, dict) or not {"apiVersion", "kind"} <= document.keys():
            return ["it is not an object of Kubernetes: apiVersion or kind is missing"]
        group, _, version = str(document["apiVersion"]).rpartition("/")
        group = f"{group.partition('.')[0]}-" if group else ""
        file = self.folder / f"{str(document['kind']).lower()}-{group}{version}.json"
        if not file.is_file():
            return [f"there is no {document['kind']} of {document['apiVersion']}"]
        schema = self._schema(file.name)
        resolver = jsonschema.RefResolver(schema["$id"], schema, self.definitions)
        errors = jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(document)
        return [f"{'.'.join(map(str, error.absolute_path)) or 'the object'}: {error.message}" for error in errors]


def faults(documents, apis):
    """The faults of some objects; one that several versions find is listed once."""
    found = {}
    for document in documents:
        metadata = document.get("metadata") if isinstance(document, dict) else None
        name = f"{document.get('kind')} {metadata.get('name')}" if isinstance(metadata, dict) else "an object"
        for api in apis:
            for fault in api.faults(document):
                found.setdefault(f"{name}: {fault}", []).append(api.version)
    spans = {fault: names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" for fault, names in found.items()}
    return [f"{fault} (Kubernetes {span})" for fault, span in spans.items()]


def kustomized(folder):
    """What the kustomization of a folder makes, or None where no program makes it."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
            if done.returncode != 0:
                raise ValueError(done.stderr.strip())
            return done.stdout
    return None


def check(paths):
    """The faults of files, each with its file, and how many objects were checked."""
    yaml_error = _import("ruamel.yaml.error").YAMLError
    apis, found, count = [Api(version) for version in versions()], [], 0
    texts = {str(path): path.read_text(encoding="utf-8") for path in paths if path.name != "kustomization.yaml"}
    for path in (path for path in paths if path.name == "kustomization.yaml"):
        try:
            texts[str(path)] = kustomized(path.parent)
        except ValueError as error:
            found.append(f"{path}: {error}")
    for name, text in texts.items():
        if text is None:
            skipped.add("manifests", [f"{Path(name).name} is not built: neither kubectl nor kustomize is here"])
            print(f"SKIPPED: manifests: {name}: neither kubectl nor kustomize is here")
            continue
        try:
            documents = load(text)
        except yaml_error as error:
            found.append(f"{name}: {error}")
            continue
        count += len(documents)
        found += [f"{name}: {fault}" for fault in faults(documents, apis)]
    return found, count


def main():
    parser = argparse.ArgumentParser(description="Checks Kubernetes manifests against the schemas of the Kubernetes API.")
    parser.add_argument("--prepare", action="store_true", help="fetch what this needs, check nothing")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: packaging/kubernetes")
    options = parser.parse_args()
    if options.prepare:
        prepare()
        return
    try:
        found, count = check(options.files or sorted(MANIFESTS.glob("*.yaml")))
    except Missing as reason:
        skipped.add("manifests", [str(reason)])
        print(f"SKIPPED: manifests: {reason}")
        return
    if found:
        sys.exit("\n".join(found))
    first, *_, last = versions()
    print(f"manifests: {count} objects are objects of Kubernetes {first} to {last}")


if __name__ == "__main__":
    main()
