"""Clients generated from /openapi.json, and schemathesis, which tries the server by it.

    python3 tests/clients/generated.py python|typescript|schemathesis FOLDER

See python_clients.py for what comes in the environment and what is printed.
"""

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
URL = os.environ["CLIENT_URL"]
TEMPLATE = os.environ["CLIENT_TEMPLATE"]
CREDENTIALS = {"APP-ID": os.environ["CLIENT_APP_ID"], "APP-KEY": os.environ["CLIENT_APP_KEY"]}
NOT_INSTALLED = 77

# Examples of each operation, and of the quick form.
EXAMPLES, QUICK_EXAMPLES = 50, 5


def report(step, good, detail=""):
    print(f"{step}\t{int(good)}\t1\t{'' if good else ' '.join(str(detail).split())[-1500:]}", flush=True)


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=500, **more)


def document(folder):
    with urllib.request.urlopen(f"{URL}/openapi.json", timeout=30) as answer:
        (folder / "openapi.json").write_bytes(answer.read())
    return folder / "openapi.json"


def python(folder):
    (folder / "generator.json").write_text(json.dumps({"post_hooks": []}))
    package = folder / "generated_client"
    done = run(
        Path(sys.executable).parent / "openapi-python-client", "generate", "--path", document(folder),
        *("--config", folder / "generator.json", "--output-path", package, "--meta", "none", "--overwrite"),
    )  # fmt: skip
    report("generate", done.returncode == 0, done.stdout + done.stderr)
    sys.path.insert(0, str(folder))
    load = importlib.import_module
    types, models = load("generated_client.types"), load("generated_client.models")
    client = load("generated_client").Client(base_url=URL, headers=CREDENTIALS, timeout=30)

    def photo(name):
        return types.File(payload=io.BytesIO(Path(os.environ[name]).read_bytes()), file_name="photo.jpg")

    add, identify = load("generated_client.api.vendor.add"), load("generated_client.api.vendor.identify")
    enrolled = add.sync(
        client=client,
        body=models.AddFilesBody(photo=photo("CLIENT_ENROL"), template_id=TEMPLATE),
        replace=True,
        check_liveness=True,
    )
    report("enrol", isinstance(enrolled, models.EnrolledReply) and enrolled.result.template_id == TEMPLATE, enrolled)
    found = identify.sync(
        client=client, body=models.IdentifyFilesBody(photo=photo("CLIENT_PROBE")), candidates=2, check_deepfake=False
    )
    report("identify", isinstance(found, models.IdentifiedReply) and found.result.template_id == TEMPLATE, found)
    refused = identify.sync(
        client=client.with_headers({"APP-KEY": "wrong"}), body=models.IdentifyFilesBody(photo=photo("CLIENT_PROBE"))
    )
    report("refused", isinstance(refused, models.Error) and refused.result.code == 401, refused)


def typescript(folder):
    modules, node = Path(os.environ["CLIENT_NODE_MODULES"]), shutil.which("node")
    if node is None or not (modules / "@hey-api" / "openapi-ts").exists() or not (modules / "typescript").exists():
        print("@hey-api/openapi-ts", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    work = folder / "typescript"
    work.mkdir(exist_ok=True)
    (work / "node_modules").unlink(missing_ok=True)
    (work / "node_modules").symlink_to(modules, target_is_directory=True)
    done = run(
        node, modules / "@hey-api" / "openapi-ts" / "bin" / "run.js",
        *("-i", document(folder), "-o", work / "client", "-c", "@hey-api/client-fetch"),
        cwd=work,
    )  # fmt: skip
    report("generate", done.returncode == 0, done.stdout + done.stderr)
    shutil.copy(HERE / "generated_client.ts", work / "main.ts")
    (work / "package.json").write_text('{"type": "commonjs"}')
    options = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node"]
    types = ["--lib", "es2022,dom,dom.iterable", "--types", "node"]
    done = run(node, modules / "typescript" / "bin" / "tsc", *options, *types, "--outDir", work / "built",
               work / "main.ts", cwd=work)
    report("compile", done.returncode == 0, done.stdout + done.stderr)
    done = run(node, work / "built" / "main.js")
    report("run", done.returncode == 0, done.stdout + done.stderr)
    print(done.stdout, end="")


def schemathesis(folder):
    examples = QUICK_EXAMPLES if os.environ.get("CLIENT_QUICK") else EXAMPLES
    done = run(
        Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml",
        *("run", document(folder), "--url", URL, "--max-examples", examples, "--seed", "1", "--no-color"),
        *("-H", f"APP-ID: {CREDENTIALS['APP-ID']}", "-H", f"APP-KEY: {CREDENTIALS['APP-KEY']}"),
        cwd=folder,
    )  # fmt: skip
    (folder / "schemathesis.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)
    tested = re.search(r"Tested:\s+(\d+)", done.stdout) or re.search(r"(\d+) generated", done.stdout)
    report("schemathesis", done.returncode == 0 and tested is not None, "see above")


if __name__ == "__main__":
    {"python": python, "typescript": typescript, "schemathesis": schemathesis}[sys.argv[1]](Path(sys.argv[2]))
