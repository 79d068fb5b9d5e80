"""The whole program on a disk that is full: refused for now, nothing lost, well again when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import in_ci
from tests.program import Program
from tests.terminals import Terminals, subjects

DISK = 6_000_000  # octets
MAIL = 100_000  # octets of each
TAKEN = (250, b"")
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 77; shift 2; exec "$@"'


def on_small_disk(folder: Path, free_disk: str) -> Program:
    """Its data are on a disk that only it sees; the chart is elsewhere, so that commands reach it."""
    data = folder / "data"
    data.mkdir()
    within: list[str | Path] = ["unshare", "--mount", "sh", "-c", MOUNT, "sh", str(DISK), data]
    reason = ""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        reason = "only root can mount a disk, with unshare"
    elif (tried := subprocess.run([*within, "true"], capture_output=True, text=True, check=False)).returncode:
        reason = tried.stderr.strip()
    if reason and in_ci():
        pytest.fail(f"no small disk, which CI does not take: {reason}")
    elif reason:
        pytest.skip(f"no small disk can be mounted here: {reason}")
    settings = {
        "chart": {"url": f"sqlite:{folder}/chart.sqlite3"},
        "limits": {"free_disk": free_disk},
        "delivery": {"first_retry": "100ms", "last_retry": "300ms"},
    }
    return Program(folder, settings, within)


def on_disk(program: Program, name: str) -> Path:
    """A file of the server's data as the server sees it."""
    assert program.process
    return Path(f"/proc/{program.process.pid}/root{program.folder}/data/{name}")


def send(program: Program, to: str, subject: str, size: int = MAIL) -> tuple[int, bytes]:
    """The code and enhanced status by which the mail was taken or refused."""
    content = f"From: anna@office.lan\r\nSubject: {subject}\r\n\r\n" + ("x" * 98 + "\r\n") * (size // 100)
    with program.smtp() as client:
        client.ehlo()
        code, text = client.mail("anna@office.lan")
        if code == 250:
            code, text = client.rcpt(to)
        if code == 250:
            code, text = client.data(content)
        return (code, text[:5]) if code != 250 else TAKEN


@pytest.mark.parametrize("free_disk", ["2MB", "1B"], ids=["room kept back", "to the last octet"])
def test_spooled_mail_on_a_full_disk(tmp_path: Path, terminals: Terminals, free_disk: str) -> None:
    with on_small_disk(tmp_path, free_disk) as program:
        off, on = program.new_endpoint(), program.new_endpoint()
        alive = terminals.listen(on)
        program.bind("off", off)
        program.bind("on", on)
        taken = []
        for number in range(DISK // MAIL + 1):
            code = send(program, "off", f"mail {number}")
            if code[0] != 250:
                break
            taken.append(f"mail {number}")
        assert code == (452, b"4.3.1")
        assert len(taken) > 10
        # It is asked again and again, and says the same; small mail that needs no disk may pass.
        for number in range(5):
            assert send(program, "off", f"in vain {number}") == (452, b"4.3.1")
        small = send(program, "on", "small", size=100)
        assert small in (TAKEN, (452, b"4.3.1"))
        # The terminal comes, its mail goes, and that makes room.
        returns = terminals.listen(off)
        program.bind("off", off)
        program.wait_until(lambda: len(returns.mails) >= len(taken), "the mails that were taken")
        program.wait_until(lambda: send(program, "on", "well again") == TAKEN, "room", 10)
        assert sorted(subjects(returns.mails)) == sorted(taken)
        assert subjects(alive.mails) == ["small"] * (small[0] == 250) + ["well again"]
        program.wait_until(lambda: "mail received" in program.log(), "a line in the log")
        assert "Traceback" not in program.log()


def test_room_made_by_hand_is_used_at_once(tmp_path: Path, terminals: Terminals) -> None:
    with on_small_disk(tmp_path, "2MB") as program:
        program.lanpost("chart", "import", str(terminals_csv(tmp_path, "held")))
        filler = on_disk(program, "filler")
        filler.write_bytes(bytes(DISK * 3 // 4))
        program.wait_until(lambda: send(program, "held", "x") == (452, b"4.3.1"), "the full disk")
        assert "free space" in program.log()
        filler.unlink()
        program.wait_until(lambda: send(program, "held", "x") == TAKEN, "room", 10)


def terminals_csv(folder: Path, *names: str) -> Path:
    file = folder / "terminals.csv"
    file.write_text("address,endpoint\n" + "".join(f"{name},\n" for name in names))
    return file


def test_mailbox_mail_on_a_full_disk(tmp_path: Path) -> None:
    """Neither half a mail in the mailbox, nor one that its sender was told is not there."""
    with on_small_disk(tmp_path, "1B") as program:
        # A command outside would not see the disk: the folder is what makes a mailbox.
        for part in ("new", "cur", "tmp"):
            on_disk(program, f"mailboxes/bert@office.lan/{part}").mkdir(parents=True)
        taken = 0
        while (code := send(program, "bert", f"mail {taken}")) == TAKEN:
            taken += 1
        assert code == (452, b"4.3.1")
        assert taken > 10
        folder = on_disk(program, "mailboxes/bert@office.lan")
        stored = list((folder / "new").iterdir())
        assert len(stored) == taken
        assert min(file.stat().st_size for file in stored) > MAIL * 0.98  # kept with LF
        assert list((folder / "tmp").iterdir()) == []
        for file in stored[:5]:
            file.unlink()
        program.wait_until(lambda: send(program, "bert", "well again") == TAKEN, "room", 10)
