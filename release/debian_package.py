"""`make deb`: lanpost_VERSION_all.deb out of dist/lanpost.pyz; the same bytes from the same file and time.

What is fixed in it lies in release/debian; unit files, manual page, completions and the list of settings are what
the program in the file says.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from lanpost.app.default_file import default_file
from lanpost.app.settings import Settings
from lanpost.content.archive import BUNDLE, MANIFEST, SBOM, Machine, read_manifest
from lanpost.content.systemd_units import ROLES, unit, unit_name
from lanpost.store.archive_file import publisher_signature, publisher_signature_of
from lanpost.store.installation import BY_HAND, PACKAGED
from lanpost.store.program_build import room_for
from lanpost.store.program_file import FILE_NAME

ROOT = Path(__file__).resolve().parent.parent
FIXED = Path(__file__).with_name("debian")
MAINTAINER = "The lanpost developers <lanpost@example.org>"
TYPICAL = Machine((3, 11), "x86_64", (2, 36))  # Debian 12, for what postinst will add to the installed size
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
_DOC = "usr/share/doc/lanpost"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/make-deb", description=__doc__.partition(":")[0])
    parser.add_argument("--archive", type=Path, default=ROOT / "dist" / FILE_NAME, metavar="FILE")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR")
    options = parser.parse_args()
    print(build(options.archive, options.output, _time(), _maintainer()))


def build(archive: Path, output: Path, time: int, maintainer: str = MAINTAINER) -> Path:
    """The package, written into a folder. `time`: of everything in it, seconds since 1970."""
    with zipfile.ZipFile(archive) as content:
        manifest = read_manifest(content.read(MANIFEST))
        sbom = json.loads(content.read(BUNDLE + SBOM))
        beside = {
            name.removeprefix(BUNDLE): content.read(name) for name in content.namelist() if name.startswith(BUNDLE)
        }
    version = debian_version(manifest.version)
    files = _texts(archive) | _documentation(beside)
    files[f"{_DOC}/copyright"] = _copyright(sbom, maintainer, beside["licences/lanpost/LICENSE"].decode())
    files[f"{_DOC}/changelog.gz"] = _changelog(version, time, maintainer)
    oldest, newest = min(manifest.pythons), max(manifest.pythons)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name, text in files.items():
            _write(tree / name, text)
        (tree / PACKAGED[1:]).mkdir(parents=True)
        shutil.copyfile(archive, tree / PACKAGED[1:] / FILE_NAME)
        (tree / PACKAGED[1:] / FILE_NAME).chmod(0o755)
        if signature := publisher_signature(archive):
            _write(publisher_signature_of(tree / PACKAGED[1:] / FILE_NAME), signature.encode())
        (tree / "usr/bin").mkdir()
        (tree / "usr/bin/lanpost").symlink_to("../lib/lanpost/current/bin/lanpost")
        control = (
            (FIXED / "control")
            .read_text("utf-8")
            .format(
                version=version,
                maintainer=maintainer,
                kilobytes=(_size(tree) + room_for(archive, manifest.wheels_for(TYPICAL)).octets) // 1024,
                oldest="{}.{}".format(*oldest),
                beyond=f"{newest[0]}.{newest[1] + 1}",
            )
        )
        _write(tree / "DEBIAN/control", control.encode())
        for name in (*SCRIPTS, "conffiles", "triggers"):
            _write(tree / "DEBIAN" / name, (FIXED / name).read_bytes(), 0o755 if name in SCRIPTS else 0o644)
        for path in (tree, *tree.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (time, time), follow_symlinks=False)
        output.mkdir(parents=True, exist_ok=True)
        package = output / f"lanpost_{version}_all.deb"
        subprocess.run(
            # gzip: its output is one, whatever the number of processors. Most is wheels, compressed already.
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(package)],
            env=os.environ | {"SOURCE_DATE_EPOCH": str(time)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return package


def _size(tree: Path) -> int:
    """Beside the archive: the room for what is put together counts it already."""
    return sum(path.lstat().st_size for path in tree.rglob("*") if path.name != FILE_NAME and not path.is_dir())


def debian_version(version: str) -> str:
    """A version of ours (PEP 440) so that dpkg sorts it as we do: 0.2.0rc1 is before 0.2.0."""
    found = re.fullmatch(
        r"(?P<release>[\d.]+)(?P<pre>(?:a|b|rc)\d+)?(?:\.(?P<post>post\d+))?(?:\.(?P<dev>dev\d+))?(?:\+(?P<local>.+))?",
        version,
    )
    if not found:
        raise ValueError(f"{version!r} is no version")
    return (
        found["release"]
        + (f"~{found['pre']}" if found["pre"] else "")
        + (f".{found['post']}" if found["post"] else "")
        + (f"{'~' if found['pre'] or found['post'] else '~~'}{found['dev']}" if found["dev"] else "")
        + (f"+{found['local']}" if found["local"] else "")
    )


def _texts(archive: Path) -> dict[str, bytes]:
    """What Debian expects of a service's package, by its place."""
    domain = Settings().domain
    files = {f"usr/lib/systemd/system/{unit_name(role)}": unit(role, "/usr/bin/lanpost").encode() for role in ROLES}
    files["etc/lanpost/lanpost.toml"] = (
        (FIXED / "lanpost.toml").read_text("utf-8").format(domain=json.dumps(domain)).encode()
    )
    files[f"{_DOC}/examples/lanpost.toml"] = default_file(domain).encode()
    files["usr/share/lintian/overrides/lanpost"] = (FIXED / "lintian-overrides").read_bytes()
    files[f"{_DOC}/README.Debian"] = (FIXED / "README.Debian").read_bytes()
    page = _said_by(archive, "man-page").replace(BY_HAND.encode(), PACKAGED.encode())
    files["usr/share/man/man1/lanpost.1.gz"] = gzip.compress(page, 9, mtime=0)
    for shell, place in (
        ("bash", "bash-completion/completions/lanpost"),
        ("zsh", "zsh/vendor-completions/_lanpost"),
        ("fish", "fish/vendor_completions.d/lanpost.fish"),
    ):
        files[f"usr/share/{place}"] = _said_by(archive, "completion", shell)
    return files


def _documentation(beside: dict[str, bytes]) -> dict[str, bytes]:
    files = {}
    for name, text in beside.items():
        kind, _, rest = name.partition("/")
        if kind == "documentation":
            files[f"{_DOC}/html/{rest}"] = text
        elif kind == "licences" and not rest.startswith("lanpost/"):
            files[f"{_DOC}/{name}"] = text
    files[f"{_DOC}/{SBOM}"] = beside[SBOM]
    return files


def _copyright(sbom: dict[str, Any], maintainer: str, licence: str) -> bytes:
    libraries = [f"  {each['name']} {each['version']}: {_licences(each)}" for each in sbom["components"]]
    title, years, *text = [part.strip() for part in licence.split("\n\n")]
    assert title == "MIT License", "release/debian/copyright calls it Expat"
    found = re.search(r"\d{4}(?:-\d{4})?", years)
    assert found
    expat = "\n .\n".join(textwrap.indent(part, " ") for part in text)
    fixed = (FIXED / "copyright").read_text("utf-8")
    return fixed.format(maintainer=maintainer, libraries="\n".join(libraries), years=found[0], expat=expat).encode()


def _licences(component: dict[str, Any]) -> str:
    """The SPDX expression of a library in the SBOM."""
    return " and ".join(
        each.get("expression") or each["license"].get("id") or each["license"]["name"]
        for each in component["licenses"]
    )


def _changelog(version: str, time: int, maintainer: str) -> bytes:
    """Debian's form of CHANGELOG.md's first section, the one that this package is of."""
    section = re.split(r"^## .*$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1]
    entries = [" ".join(entry.split()) for entry in re.split(r"^- ", section, flags=re.MULTILINE)[1:]]
    lines = [f"lanpost ({version}) unstable; urgency=medium", ""]
    for entry in entries:
        lines += textwrap.wrap(
            entry.replace("`", ""), 78, initial_indent="  * ", subsequent_indent="    ", break_long_words=False
        )
    date = format_datetime(datetime.fromtimestamp(time, UTC))
    lines += ["", f" -- {maintainer}  {date}", ""]
    return gzip.compress("\n".join(lines).encode(), 9, mtime=0)


def _said_by(archive: Path, *words: str) -> bytes:
    said = subprocess.run([sys.executable, str(archive), *words], stdout=subprocess.PIPE, check=True).stdout
    if b"Needs libraries" in said:
        raise ValueError(f"lanpost {' '.join(words)} is not whole: this Python lacks libraries of lanpost's")
    return said


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _time() -> int:
    """SOURCE_DATE_EPOCH, else that of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    return int(subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True))


def _maintainer() -> str:
    """As `dch` has it: $DEBFULLNAME and $DEBEMAIL."""
    if email := os.environ.get("DEBEMAIL"):
        return f"{os.environ.get('DEBFULLNAME', 'lanpost')} <{email}>"
    return MAINTAINER


if __name__ == "__main__":
    main()
