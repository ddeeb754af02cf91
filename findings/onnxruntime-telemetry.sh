#!/usr/bin/env bash
# The official builds of ONNX Runtime carry a telemetry client from 1.29.0 on, and it is on by default.
#
# Installs onnxruntime 1.28.0 and 1.31.1 into a temporary folder and runs a model of one Identity node with each, with
# a fresh HOME. Nothing is sent: each run ends before the client's first upload (about 8 seconds after the start).
# Exits with 1 when the behaviour is another than the one this script states. Linux, x86_64 or aarch64.
set -euo pipefail

python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
changed=0

expect() { # what, expected, found
    if [ "$2" = "$3" ]; then
        printf 'as stated   %s: %s\n' "$1" "${3:-none}"
    else
        printf 'CHANGED     %s: %s, stated was %s\n' "$1" "${3:-none}" "${2:-none}"
        changed=1
    fi
}

cat > "$scratch/run.py" << 'PROGRAM'
import onnxruntime

def field(number, content):  # a length-delimited field of protobuf
    return bytes([number << 3 | 2, len(content)]) + content

shape = field(2, field(1, bytes([8, 1])))  # one dimension of size 1
value = lambda name: field(1, name) + field(2, field(1, bytes([8, 1]) + shape))  # a tensor of floats
node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
graph = field(1, node) + field(2, b"graph") + field(11, value(b"x")) + field(12, value(b"y"))
model = bytes([8, 8]) + field(7, graph) + field(8, bytes([16, 17]))  # IR 8, opset 17
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
assert session.run(None, {"x": __import__("numpy").ones(1, "float32")})[0].tolist() == [1.0]
PROGRAM

left() { # version, then variables: runs the model, prints the files that appeared in HOME and TMPDIR
    local packages=$scratch/$1 world
    world=$(mktemp -d -p "$scratch")
    mkdir "$world/home" "$world/tmp"
    env -i PATH="$PATH" HOME="$world/home" TMPDIR="$world/tmp" PYTHONPATH="$packages" PYTHONDONTWRITEBYTECODE=1 \
        "${@:2}" "$python" "$scratch/run.py" >&2
    (cd "$world" && find . -type f ! -name '*-wal' ! -name '*-shm' | sort | tr '\n' ' ' | sed 's/ $//')
}

for version in 1.28.0 1.31.1; do
    "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: --target "$scratch/$version" \
        "onnxruntime==$version" "numpy<3"
    library=$(find "$scratch/$version/onnxruntime/capi" -name 'libonnxruntime.so*' | head -n 1)
    printf '\nonnxruntime %s, %s\n' "$version" "$(basename "$library")"
    hosts=$(grep -aoE '[a-z.]+\.events\.data\.microsoft\.com' "$library" | sort -u | tr '\n' ' ' | sed 's/ $//' || true)
    folder=./home/.cache/Microsoft/DeveloperTools/.onnxruntime
    if [ "$version" = 1.28.0 ]; then
        expect "collector's host in the library" "" "$hosts"
        expect "files it leaves" "" "$(left "$version")"
    else
        expect "collector's host in the library" "mobile.events.data.microsoft.com" "$hosts"
        expect "files it leaves" "$folder/deviceid $folder/onnxruntime.db ./tmp/.ses" "$(left "$version")"
        expect "with ORT_DISABLE_TELEMETRY=1" "" "$(left "$version" ORT_DISABLE_TELEMETRY=1)"
        expect "with CI=true" "" "$(left "$version" CI=true)"
    fi
done

if [ "$changed" = 1 ]; then
    printf '\nThe behaviour has changed.\n'
    exit 1
fi
printf '\nONNX Runtime 1.31.1 leaves a device id and an event database unless ORT_DISABLE_TELEMETRY=1 or a variable of a\n'
printf 'CI is set, so a test of it under CI proves nothing. 1.28.0 has no telemetry client.\n'
