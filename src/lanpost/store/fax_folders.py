"""The folder of faxes: each becomes a folder of its own, which is there whole or not at all.

    FOLDER/20261127-113055-ID/        mail.eml fax.tif fax.pdf page-001.png ... fax.json
    FOLDER/.work/ID/                  one that is being received
    FOLDER/.work/todo/NAME.json       what is still to be done with a fax

A fax is reported stored only when its files, their names, and what is to be done with it are on disk. One process
uses a folder at a time; its caller sees to that. Raises StoreError; the Futures bring StoreFull and StoreError.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from lanpost.store.files import replace_file, store_error, sync_folder, write_new_file
from lanpost.store.maildir_drop import IncomingMail
from lanpost.store.writing_thread import WritingThread

Result = TypeVar("Result")

WORK, TODO = ".work", "todo"
MAIL_FILE = "mail.eml"


class FaxFolders:
    """Where faxes go. One thread writes, so what one fax hands over stays in order."""

    def __init__(self, folder: Path) -> None:
        """Open it, made if need be; what a former process left half made is removed."""
        self.folder = folder
        self._work = folder / WORK
        self._todo = self._work / TODO
        try:
            self._todo.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder)
            for left in self._work.iterdir():
                if left.name != TODO:
                    shutil.rmtree(left)
            for file in self._todo.iterdir():
                # Written before its fax got its name; or its fax was removed since.
                if file.suffix != ".json" or not (folder / file.stem).is_dir():
                    file.unlink()
        except OSError as error:
            raise store_error(error, str(folder)) from None
        self._writer = WritingThread(folder, "faxes")

    def free_octets(self) -> int:
        """Room left on its disk. Raises StoreError."""
        try:
            found = os.statvfs(self.folder)
        except OSError as error:
            raise store_error(error, str(self.folder)) from None
        return found.f_bavail * found.f_frsize

    def receive(self, name: str) -> IncomingFax:
        """A mail begins that will be the fax of that name."""
        return IncomingFax(self, name)

    def todos(self) -> dict[str, bytes]:
        """What is still to be done, by the fax's name, the oldest first."""
        try:
            return {file.stem: file.read_bytes() for file in sorted(self._todo.glob("*.json"))}
        except OSError as error:
            raise store_error(error, str(self._todo)) from None

    def write_todo(self, name: str, todo: bytes) -> Future[None]:
        """Replace what is still to be done with a fax."""
        return self.submit(lambda: replace_file(self._todo / f"{name}.json", todo))

    def remove_todo(self, name: str) -> Future[None]:
        """All is done with a fax."""
        return self.submit(lambda: (self._todo / f"{name}.json").unlink(missing_ok=True))

    def submit(self, action: Callable[[], Result]) -> Future[Result]:
        """Have the writing thread do something; OSErrors of it come as StoreError. For IncomingFax only."""
        return self._writer.submit(action)

    def close(self) -> None:
        """Finish what was handed over. Idempotent."""
        self._writer.close()


class IncomingFax:
    """One fax on its way in: `write`, `finish_mail`; then whoever decodes it fills `work`; `keep` or `discard`.

    Satisfies Drop.
    """

    def __init__(self, folders: FaxFolders, name: str) -> None:
        self.name = name
        self.work = folders.folder / WORK / name  # exists once the mail is complete
        self.spill_folder = folders.folder / WORK
        self._folders = folders
        self._mail = IncomingMail(self)

    @property
    def size_octets(self) -> int:
        """Of the mail, as it has come so far."""
        return self._mail.size_octets

    def write(self, chunk: bytes) -> Future[None] | None:
        """More content: CRLF lines, dot-stuffed. A Future: hand over no more until it is done."""
        return self._mail.write(chunk)

    def finish_mail(self, head: bytes) -> Future[None]:
        """The mail is complete: on disk in `work`, with `head` (trace fields) on top."""
        return self._mail.finish(head)

    def keep(self, todo: bytes) -> Future[Path]:
        """Make it a fax, durably, and what is to be done with it (b"": nothing). Its folder."""

        def rename() -> Path:
            folders = self._folders
            final = folders.folder / self.name
            sync_folder(self.work)
            if todo:
                replace_file(folders.folder / WORK / TODO / f"{self.name}.json", todo)
            try:
                self.work.rename(final)
                sync_folder(folders.folder)
            except BaseException:
                # Not reported as done, so the sender tries again: it must not be there twice.
                shutil.rmtree(final, ignore_errors=True)
                raise
            return final

        return self._folders.submit(rename)

    def discard(self) -> Future[None]:
        """Forget it; done when nothing of it is left. Idempotent."""
        self._mail.discard()
        return self._folders.submit(lambda: shutil.rmtree(self.work, ignore_errors=True))

    def submit(self, action: Callable[[], Result]) -> Future[Result]:
        return self._folders.submit(action)

    def put(self, chunks: Iterator[bytes]) -> None:
        self.work.mkdir(mode=0o700)
        write_new_file(self.work / MAIL_FILE, chunks)
