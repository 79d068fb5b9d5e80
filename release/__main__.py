"""`make dist`: lanpost.pyz and its SHA-256, built from this checkout."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
from pathlib import Path

from lanpost.content.sshsig import NAMESPACE
from lanpost.store.archive_file import publisher_signature_of
from release.archive_file import build
from release.wheels import wheels

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/make-dist", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "lanpost.pyz", metavar="FILE")
    parser.add_argument("--version", default="", help="what the file calls itself; for trials of an upgrade")
    parser.add_argument("--cache", type=Path, default=ROOT / ".make" / "wheels", metavar="DIR")
    parser.add_argument(
        "--sign", default="", metavar="KEY", help="your SSH key: writes FILE.publisher.sig beside it (ssh-keygen)"
    )
    options = parser.parse_args()
    content = build(ROOT, wheels(ROOT / "requirements" / "dist.txt", options.cache), options.version)
    output: Path = options.output
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_name(f".{output.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.replace(output)
    digest = hashlib.sha256(content).hexdigest()
    output.with_name(f"{output.name}.sha256").write_text(f"{digest}  {output.name}\n", "ascii")
    if options.sign:
        _sign(output, options.sign)
    print(f"{output}: {len(content):,} octets, SHA-256 {digest}")


def _sign(file: Path, key: str) -> None:
    with file.open("rb") as content:
        made = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", key],
            stdin=content,
            stdout=subprocess.PIPE,
            check=True,
        )
    publisher_signature_of(file).write_bytes(made.stdout)


if __name__ == "__main__":
    main()
