#!/usr/bin/env bash
# ruamel.yaml 0.19.1: the version that is set for a loader holds for the first document of a stream alone.
#
# Kubernetes reads its manifests as YAML 1.1, where `defaultMode: 0440` is the octal number 288. With `version = (1, 1)`
# the pure loader reads it so in the first document of a file. Each further document, after `---`, is read as YAML 1.2,
# where the same text is the decimal number 440: a check of a file with several objects judges another file than the
# cluster reads. Loading the documents one by one with the version set each time gives 288 throughout.
#
# Prints what it sees; ends with 1 when that changed.
set -euo pipefail
VERSION=0.19.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "ruamel.yaml==$VERSION"

cat > "$work/read.py" << 'EOF'
from ruamel.yaml import YAML

TEXT = "mode: 0440\n"


def reader():
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    return yaml


stream = [document["mode"] for document in reader().load_all(f"{TEXT}---\n{TEXT}---\n{TEXT}")]
one_by_one = [reader().load(TEXT)["mode"] for _ in range(3)]
print(f"as one stream: {stream}; one by one: {one_by_one}")
EOF
echo "ruamel.yaml $VERSION, version = (1, 1), three documents with 0440 (288 in decimal)"
seen=$("$work/venv/bin/python" "$work/read.py")
echo "$seen"
[ "$seen" = "as one stream: [288, 440, 440]; one by one: [288, 288, 288]" ]
