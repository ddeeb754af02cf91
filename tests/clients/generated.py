"""Clients generated from /openapi.json, and schemathesis, which tries the server by it. The administration API has its own
document and its own program: generated_admin.py.

    python3 tests/clients/generated.py python|typescript|schemathesis FOLDER

See python_clients.py for what comes in the environment and what is printed.
"""

import contextlib
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


# The generator for Python knows few media types: a picture is bytes, lines are text.
MEDIA_TYPES = {
    "image/jpeg": "application/octet-stream",
    "image/png": "application/octet-stream",
    "application/x-ndjson": "text/plain",
    "application/openmetrics-text": "text/plain",
}


def report(step, good, detail=""):
    print(f"{step}\t{int(good)}\t1\t{'' if good else ' '.join(str(detail).split())[-1500:]}", flush=True)


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=500, **more)


def document(url, path):
    """Stores the document of an API."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        path.write_bytes(answer.read())
    return path


def generate_python(folder, url, package):
    """Generates a Python package without a warning, and makes it importable."""
    config = {"post_hooks": [], "content_type_overrides": MEDIA_TYPES}
    (folder / "generator.json").write_text(json.dumps(config))
    done = run(
        Path(sys.executable).parent / "openapi-python-client", "generate",
        *("--path", document(url, folder / f"{package}.json"), "--config", folder / "generator.json"),
        *("--output-path", folder / package, "--meta", "none", "--overwrite", "--fail-on-warning"),
    )  # fmt: skip
    report("generate", done.returncode == 0, done.stdout + done.stderr)
    sys.path.insert(0, str(folder))


def documented(language, package):
    """The example of docs/clients.md that imports a package, in the names of this run."""
    page = (HERE.parent.parent / "docs" / "clients.md").read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    [block] = [block for block in blocks if re.search(rf"\b{package}[ ./]", block)]
    return block


def documented_python(package, generated, url, names):
    """Runs the documented example with the generated package."""
    program = documented("python", package).replace(f"{package} ", f"{generated} ").replace(f"{package}.", f"{generated}.")
    program = re.sub(r"http://127\.0\.0\.1:\d+", url, program).replace("photo.jpg", os.environ["CLIENT_PROBE"], 1)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(program, "docs/clients.md", "exec"), dict(names))  # noqa: S102
    except Exception as error:  # noqa: BLE001
        return report("documented", False, repr(error))
    return report("documented", bool(output.getvalue().strip()), "it prints nothing")


def documented_typescript(work, package):
    """Stores the documented example beside the generated client: it has to compile."""
    lines = documented("ts", package).replace(f'"./{package}/', '"./client/').splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    names = "appId: string, appKey: string, token: string, photo: Blob"
    rest = [line for line in lines if not line.startswith("import ")]
    program = [*imports, f"export async function documented({names}) {{", *rest, "}"]
    (work / "documented.ts").write_text("\n".join(program))


def photo_file(types, name):
    return types.File(payload=io.BytesIO(Path(os.environ[name]).read_bytes()), file_name="photo.jpg")


def python(folder):
    generate_python(folder, f"{URL}/openapi.json", "generated_client")
    load = importlib.import_module
    types, models = load("generated_client.types"), load("generated_client.models")
    client = load("generated_client").Client(base_url=URL, headers=CREDENTIALS, timeout=30)

    def photo(name):
        return photo_file(types, name)

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
    names = {"app_id": CREDENTIALS["APP-ID"], "app_key": CREDENTIALS["APP-KEY"]}
    documented_python("semblance", "generated_client", URL, names)


def typescript(folder):
    generate_typescript(folder / "typescript", f"{URL}/openapi.json", "generated_client.ts", "semblance")


def generate_typescript(work, url, program, package):
    """Generates a TypeScript client, compiles and runs a program that uses it, and compiles the documented example."""
    modules, node = Path(os.environ["CLIENT_NODE_MODULES"]), shutil.which("node")
    if node is None or not (modules / "@hey-api" / "openapi-ts").exists() or not (modules / "typescript").exists():
        print("@hey-api/openapi-ts", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    work.mkdir(exist_ok=True)
    (work / "node_modules").unlink(missing_ok=True)
    (work / "node_modules").symlink_to(modules, target_is_directory=True)
    done = run(
        node, modules / "@hey-api" / "openapi-ts" / "bin" / "run.js",
        *("-i", document(url, work / "openapi.json"), "-o", work / "client", "-c", "@hey-api/client-fetch"),
        cwd=work,
    )  # fmt: skip
    report("generate", done.returncode == 0, done.stdout + done.stderr)
    shutil.copy(HERE / program, work / "main.ts")
    documented_typescript(work, package)
    (work / "package.json").write_text('{"type": "commonjs"}')
    options = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node"]
    types = ["--lib", "es2022,dom,dom.iterable", "--types", "node"]
    done = run(node, modules / "typescript" / "bin" / "tsc", *options, *types, "--outDir", work / "built",
               work / "main.ts", work / "documented.ts", cwd=work)
    report("compile", done.returncode == 0, done.stdout + done.stderr)
    done = run(node, work / "built" / "main.js")
    report("run", done.returncode == 0, done.stdout + done.stderr)
    print(done.stdout, end="")


def schemathesis(folder):
    try_server(folder / "schemathesis", URL, "/openapi.json", "schemathesis.toml", CREDENTIALS)


def try_server(folder, url, path, config, headers):
    """Tries a server by its document."""
    folder.mkdir(exist_ok=True)
    examples = QUICK_EXAMPLES if os.environ.get("CLIENT_QUICK") else EXAMPLES
    headers = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    done = run(
        Path(sys.executable).parent / "schemathesis", "--config-file", HERE / config,
        *("run", document(f"{url}{path}", folder / "openapi.json"), "--url", url),
        *("--max-examples", examples, "--seed", "1", "--no-color", *headers),
        cwd=folder,
    )  # fmt: skip
    (folder / "schemathesis.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)
    tested = re.search(r"Tested:\s+(\d+)", done.stdout) or re.search(r"(\d+) generated", done.stdout)
    report("schemathesis", done.returncode == 0 and tested is not None, "see above")


if __name__ == "__main__":
    {"python": python, "typescript": typescript, "schemathesis": schemathesis}[sys.argv[1]](Path(sys.argv[2]))
