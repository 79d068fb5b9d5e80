"""The spool alone: mails made durable per second, beside one file and one fsync a mail, in the same run.

`python -m bench.spool [--quick]`. Both are asked the same way, by so many senders who each wait for their mail to
be durable before they put the next, and each mail is removed afterwards, as after its delivery. One file a mail
is how Postfix queues: written, fsynced, renamed, unlinked; its folder is not fsynced there, so that file's name is
left to the file system, while the journal promises it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient
from lanpost.store.files import write_new_file
from lanpost.store.spool import JournalSpool

SIZES = (1024, 4096, 100 * 1024)  # octets of a mail
SENDERS = (1, 20)
ROUNDS = 5
SECONDS = 1.5  # of each round

Put = Callable[[str, list[bytes]], Awaitable[None]]


def mail_of(mail_id: str, size: int) -> QueuedMail:
    who = Recipient(MailAddress.parse("fax1@office.lan"))
    return QueuedMail(
        mail_id, Envelope(MailAddress.parse("a@office.lan"), (who,)), 0.0, size, (QueuedRecipient(who),)
    )


async def rate(put: Put, size: int, senders: int, seconds: float) -> float:
    """Mails per second."""
    content = [b"x" * 78 + b"\r\n"] * (size // 80)
    end = time.perf_counter() + seconds
    count = 0

    async def send(sender: int) -> None:
        nonlocal count
        number = 0
        while time.perf_counter() < end:
            number += 1
            await put(f"{sender}-{number}", [b"".join(content)])
            count += 1

    start = time.perf_counter()
    await asyncio.gather(*map(send, range(senders)))
    return count / (time.perf_counter() - start)


async def journal_round(folder: Path, size: int, senders: int, seconds: float) -> tuple[float, float]:
    """Mails per second, and syncs per mail."""
    spool = JournalSpool(folder)
    puts = 0

    async def put(mail_id: str, content: list[bytes]) -> None:
        nonlocal puts
        await asyncio.wrap_future(spool.put(mail_of(mail_id, size), content))
        puts += 1
        spool.remove(mail_id)

    found = await rate(put, size, senders, seconds)
    spool.close()
    return found, spool.commits / puts


async def files_round(folder: Path, size: int, senders: int, seconds: float) -> float:
    """Mails per second."""
    active = folder / "active"
    active.mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()

    def store(path: Path, content: list[bytes]) -> None:
        write_new_file(path, content)
        path.rename(active / path.name).unlink()

    with ThreadPoolExecutor(senders) as pool:

        async def put(mail_id: str, content: list[bytes]) -> None:
            await loop.run_in_executor(pool, store, folder / mail_id, content)

        return await rate(put, size, senders, seconds)


def main(words: list[str] | None = None) -> int:
    """Print the table; status 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.spool")
    parser.add_argument("--quick", action="store_true", help="one short round each")
    parser.add_argument("--folder", default="/var/tmp", help="on a real disk (%(default)s)")
    given = parser.parse_args(words or [])
    rounds, seconds = (1, 0.3) if given.quick else (ROUNDS, SECONDS)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="lanpost-bench-") as folder:
        print(f"in {given.folder}, {os.cpu_count()} cores, medians of {rounds} rounds, taken in turn")
        print(f"{'size':>7} {'senders':>8} {'journal/s':>10} {'files/s':>9} {'ratio':>6} {'syncs/mail':>11}")
        for size in SIZES:
            for senders in SENDERS:
                journal, files, syncs = [], [], []
                for _ in range(rounds):
                    found, each = asyncio.run(journal_round(Path(folder) / "spool", size, senders, seconds))
                    journal.append(found)
                    syncs.append(each)
                    files.append(asyncio.run(files_round(Path(folder) / "files", size, senders, seconds)))
                ours, theirs = statistics.median(journal), statistics.median(files)
                print(
                    f"{size:>7} {senders:>8} {ours:>10.0f} {theirs:>9.0f} {ours / theirs:>6.2f}"
                    f" {statistics.median(syncs):>11.3f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
