"""Takes over the spools of workers that are no more, when a server is started with fewer of them."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import structlog

from lanpost.errors import StoreError
from lanpost.store.spool import JournalSpool

log = structlog.get_logger()


def adopt(into: JournalSpool, spools: Path, workers: int) -> None:
    """Move every mail of `spools/N`, N at least `workers`, into the spool `into`.

    A mail is durable here before it is forgotten there; killed in between, the next start does the rest. So it does
    with what cannot be moved now, for want of room say: that stays where it is, and keeps no server from starting.
    """
    for folder in sorted(spools.iterdir()):
        if not folder.name.isdigit() or int(folder.name) < workers:
            continue
        try:
            moved = _move_all(folder, into)
        except StoreError as error:
            log.error(
                "mail of a former worker waits",
                folder=str(folder),
                reason=str(error),
                remedy="mend that and start the server again, or give `workers` the former number",
            )
            continue
        log.info("spool of a former worker taken over", folder=str(folder), mails=moved)
        if not any(path.is_dir() for path in folder.iterdir()):  # what was damaged is kept for the administrator
            shutil.rmtree(folder)


def _move_all(folder: Path, into: JournalSpool) -> int:
    """How many there were. StoreError: at the first that cannot be moved."""
    with closing(JournalSpool(folder)) as orphan:
        mails = list(orphan.mails())
        for mail in mails:
            if into.get(mail.id) is None:
                into.put(mail, list(orphan.content(mail.id).result())).result()
            orphan.remove(mail.id)
    return len(mails)
