"""A mailbox on a disk that is really full: a small one, mounted for a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lanpost

DELIVER = """
import sys
from pathlib import Path
from lanpost.errors import StoreFull
from lanpost.model.address import MailAddress
from lanpost.store.maildir import MaildirMailboxes

anna = MailAddress.parse("anna@office.lan")
mailboxes = MaildirMailboxes(Path(sys.argv[1]) / "mailboxes", domain="office.lan", quota=10**9, warning=90)
mailboxes.create(anna)
maildir = Path(sys.argv[1]) / "mailboxes" / "anna@office.lan"
delivered = 0
while True:
    try:
        mailboxes.deliver(anna, [b"x" * 9998 + b"\\r\\n"] * 3).result(30)
    except StoreFull as error:
        assert "the disk is full" in str(error), error
        break
    delivered += 1
assert 5 < delivered < 20, delivered
assert list((maildir / "tmp").iterdir()) == []
session = mailboxes.open_session(anna)
assert list(session.sizes()) == [30_000] * delivered
session.delete(range(2))
session.close()
mailboxes.deliver(anna, [b"there is room again\\r\\n"]).result(30)
assert mailboxes.held(anna)[0] == delivered - 1
mailboxes.close()
print("well")
"""


def test_nothing_half_is_left_and_deleting_makes_room(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a small disk can be mounted only by root, with unshare")
    script = tmp_path / "deliver.py"
    script.write_text(DELIVER)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=400k tmpfs "$1" || exit 77; exec "$2" "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", str(disk), sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(lanpost.__file__).parent.parent)},
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.stdout == "well\n", done.stderr
