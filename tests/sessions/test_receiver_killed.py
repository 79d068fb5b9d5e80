"""A terminal that loses its power: what it answered 250 is there, whole, and nothing else is."""

from __future__ import annotations

import os
import re
import smtplib
import subprocess
import sys
import threading
from pathlib import Path

import lanpost
from lanpost.app import enrolment
from lanpost.app.enrolment import Enrolment
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(lanpost.__file__).parent.parent)}
TOKEN = EnrolmentToken(("https://127.0.0.1:9",), "0" * 64, MailAddress.parse("fax1@office.lan"), "s3cret")
ROUNDS, MAILS_PER_ROUND, SENDERS = 3, 25, 4
BODY = "0123456789abcdef" * 4 + "\r\n"


def start(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """An agent that receives, and the port that it found."""
    config = folder / "lanpost.toml"
    config.write_text(
        'data = "data"\n[agent]\nreceive = "mail"\nlisten = ["127.0.0.1:0"]\n[log]\nformat = "json"\n'
    )
    agent = subprocess.Popen(
        [sys.executable, "-m", "lanpost", "agent", "--config", config],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert agent.stderr
    for line in agent.stderr:
        if found := re.search(r"127\.0\.0\.1:(\d+)", line) if "taking mail" in line else None:
            return agent, int(found[1])
    raise AssertionError("the agent takes no mail")


def send_until_killed(port: int, name: str, answered: list[str], enough: threading.Event) -> None:
    try:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="sender", timeout=10) as client:
            for number in range(10_000):
                text = f"Subject: {name}-{number}\r\n\r\n" + BODY * (1 + number % 3 * 3000)
                client.sendmail("anna@office.lan", ["fax1@office.lan"], text)
                answered.append(f"{name}-{number}")
                if len(answered) >= MAILS_PER_ROUND:
                    enough.set()
    except (OSError, smtplib.SMTPException):
        enough.set()


def test_what_was_answered_250_survives_sigkill(tmp_path: Path) -> None:
    enrolment.save(enrolment.agent_folder(tmp_path / "data"), Enrolment(TOKEN))
    promised: set[str] = set()
    for turn in range(ROUNDS):
        agent, port = start(tmp_path)
        answered: list[str] = []
        enough = threading.Event()
        senders = [
            threading.Thread(target=send_until_killed, args=(port, f"{turn}-{number}", answered, enough))
            for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        assert enough.wait(30)
        agent.kill()
        for sender in senders:
            sender.join(30)
        agent.wait(10)
        assert agent.stderr
        agent.stderr.close()
        assert len(answered) >= MAILS_PER_ROUND
        promised |= set(answered)
    found = []
    for file in (tmp_path / "data" / "mail" / "new").iterdir():
        text = file.read_text()
        assert f",S={len(text)}," in file.name
        subject = re.search(r"^Subject: (.*)$", text, re.MULTILINE)
        assert subject
        repeats = 1 + int(subject[1].rpartition("-")[2]) % 3 * 3000
        assert text.endswith("\n\n" + BODY.replace("\r", "") * repeats)
        found.append(subject[1])
    assert len(found) == len(set(found))
    assert promised <= set(found)
