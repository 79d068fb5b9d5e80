"""Takes over the spools of workers that are no more, when a server is started with fewer of them."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import structlog

from lanpost.store.spool import JournalSpool

log = structlog.get_logger()


def adopt(into: JournalSpool, spools: Path, workers: int) -> None:
    """Move every mail of `spools/N`, N at least `workers`, into the spool `into`. Raises StoreError.

    A mail is durable here before it is forgotten there; killed in between, the next start does the rest.
    """
    for folder in sorted(spools.iterdir()):
        if not folder.name.isdigit() or int(folder.name) < workers:
            continue
        with closing(JournalSpool(folder)) as orphan:
            mails = list(orphan.mails())
            for mail in mails:
                if into.get(mail.id) is None:
                    into.put(mail, list(orphan.content(mail.id).result())).result()
                orphan.remove(mail.id)
        log.info("spool of a former worker taken over", folder=str(folder), mails=len(mails))
        if not any(path.is_dir() for path in folder.iterdir()):  # what was damaged is kept for the administrator
            shutil.rmtree(folder)
