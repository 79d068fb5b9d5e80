"""People's mailboxes: one Maildir each, so that Dovecot, mutt and Python read the same folders.

    mailboxes/anna@office.lan/{tmp,new,cur}     mail with LF line ends, octets in the file name
    mailboxes/anna@office.lan/lanpost.lock      held by the POP3 session that has it open
    mailboxes/%removed/...                      mailboxes of people who were removed: kept, not delivered to

Several processes may use one folder at once. A mail is reported done only when it lies in `new` with file and
folder on disk. Raises StoreError, StoreFull, StoreBusy; `deliver` raises nothing, its Future does.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore

from lanpost.content.mailbox_notice import nearly_full
from lanpost.errors import StoreBusy, StoreError
from lanpost.model.address import MailAddress
from lanpost.store.files import store_error, sync_folder, write_new_file
from lanpost.store.line_ends import ToDisk
from lanpost.store.mailbox_usage import MailboxUsage, held
from lanpost.store.maildir_names import folder_name, fresh_unique
from lanpost.store.maildir_session import MaildirSession
from lanpost.store.shared_sync import SharedSync

THREADS = 4  # deliveries written at once; each waits for the disk most of its time
MAX_WAITING = 1000  # deliveries handed over and not done: each keeps its content in memory
REMOVED = "%removed"  # no address key is encoded to a name that begins so
WARNED_FILE = "lanpost-warned"  # the owner has been told that the mailbox is nearly full
WARN_AGAIN_BELOW = 0.9  # of the warning's threshold: the mailbox was tidied up in between


class MaildirMailboxes:
    """Satisfies Mailboxes; opens sessions; makes and removes mailboxes. Safe from several threads."""

    def __init__(
        self,
        folder: Path,
        *,
        domain: str,
        quota: int,
        warning: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open, and make if need be, all mailboxes under `folder`; that of postmaster@domain is always there.

        `quota` in octets for each mailbox, `warning` in percent of it, `clock` in seconds since the epoch.
        """
        self._folder = folder
        self._domain = domain
        self._quota = quota
        self._warn_above = quota * warning // 100
        self._clock = clock
        self._postmaster = MailAddress.parse(f"postmaster@{domain}")
        self._usage = MailboxUsage(quota)
        self._syncs = SharedSync()
        self._room = BoundedSemaphore(MAX_WAITING)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="maildir")
        self.create(self._postmaster)

    def has(self, address: MailAddress) -> bool:
        """That person has a mailbox here; true at once when another process has made it."""
        try:
            os.stat(f"{self._folder}/{folder_name(address.key)}")  # noqa: PTH116 - a third of Path's time
        except OSError:
            return False
        return True

    def is_permanent(self, address: MailAddress) -> bool:
        """It cannot be removed: the postmaster's, where reports go (RFC 5321 §4.5.1)."""
        return address == self._postmaster

    def create(self, address: MailAddress) -> bool:
        """Make a mailbox, durably; one that was set aside is there again, with its mail. False: there was one."""
        target = self._maildir(address)
        try:
            if target.is_dir():
                return False
            _make_folder(self._folder)
            aside = self._folder / REMOVED / target.name
            if aside.is_dir():
                aside.rename(target)
            else:
                self._make_maildir(target)
            sync_folder(self._folder)
        except OSError as error:
            raise store_error(error, f"the mailbox of {address} cannot be made") from None
        return True

    def remove(self, address: MailAddress, *, delete_mail: bool = False) -> bool:
        """End a mailbox: no mail is taken for it any more. Its mail is set aside, or deleted for good.

        `delete_mail` also deletes what was set aside before. False: there was nothing.
        """
        if self.is_permanent(address):
            raise StoreError(f"{address} is where reports go: its mailbox always stays")
        maildir = self._maildir(address)
        aside = self._folder / REMOVED / maildir.name
        try:
            there = maildir.is_dir()
            if there:
                _make_folder(aside.parent)
                maildir.rename(aside)
                sync_folder(self._folder)
                self._usage.forget(maildir)
            if delete_mail and aside.is_dir():
                there = True
                shutil.rmtree(aside)
        except OSError as error:
            raise store_error(error, f"the mailbox of {address} cannot be removed") from None
        return there

    def held(self, address: MailAddress) -> tuple[int, int]:
        """Mails and octets in a mailbox now."""
        try:
            return held(self._maildir(address))
        except OSError as error:
            raise self._error(error, address) from None

    def open_session(self, address: MailAddress) -> MaildirSession:
        """The mailbox for one reader. StoreBusy: another session, in whatever process, has it."""
        maildir = self._maildir(address)
        return MaildirSession(maildir, str(address), partial(self._usage.forget, maildir))

    def deliver(self, address: MailAddress, content: Iterable[bytes]) -> Future[None]:
        """Store one mail durably; `content` has CRLF lines and is read in another thread.

        The Future raises StoreFull, StoreBusy when too many wait already, StoreError otherwise; and whatever
        `content` itself raises.
        """
        if not self._room.acquire(blocking=False):
            return _failed(StoreBusy("too many mails wait for the disk, try again later"))
        try:
            # Named now, not in the thread: mails are numbered as they were handed over.
            future = self._pool.submit(self._deliver, address, fresh_unique(self._clock()), content)
        except RuntimeError:
            self._room.release()
            return _failed(StoreError("the mailboxes are being closed"))
        future.add_done_callback(lambda _: self._room.release())
        return future

    def close(self) -> None:
        """Finish what was handed over. Idempotent."""
        self._pool.shutdown()

    def _maildir(self, address: MailAddress) -> Path:
        return self._folder / folder_name(address.key)

    def _deliver(self, address: MailAddress, unique: str, content: Iterable[bytes]) -> None:
        maildir = self._maildir(address)
        try:
            self._usage.check(maildir)
            used = self._put(maildir, unique, content, limited=True)
        except OSError as error:
            raise self._error(error, address) from None
        self._warn(address, maildir, used)

    def _put(self, maildir: Path, unique: str, content: Iterable[bytes], *, limited: bool) -> int:
        """One mail into `new`. Returns octets held then; 0 where they are not limited."""
        fresh = maildir / "tmp" / unique
        text = ToDisk()
        write_new_file(fresh, text.convert(content))
        final = maildir / "new" / f"{unique},S={text.size_octets},W={text.wire_octets}"
        used = 0
        try:
            if limited:
                used = self._usage.add(maildir, text.size_octets, partial(fresh.rename, final))
            else:
                fresh.rename(final)
            self._syncs.sync(final.parent)
        except BaseException:
            # Not reported as done, so the sender tries again: it must not be there twice.
            fresh.unlink(missing_ok=True)
            final.unlink(missing_ok=True)
            raise
        return used

    def _warn(self, address: MailAddress, maildir: Path, used: int) -> None:
        """Tell the owner once that the mailbox is nearly full. A failure costs the warning, never the mail."""
        marker = maildir / WARNED_FILE
        with suppress(OSError):
            if used <= self._warn_above * WARN_AGAIN_BELOW:
                marker.unlink(missing_ok=True)
            elif used > self._warn_above:
                try:
                    marker.touch(mode=0o600, exist_ok=False)
                except FileExistsError:
                    return
                moment = self._clock()
                notice = nearly_full(
                    address,
                    self._domain,
                    used,
                    self._quota,
                    secrets.token_hex(8),
                    datetime.fromtimestamp(moment, UTC),
                )
                self._put(maildir, fresh_unique(moment), (notice,), limited=False)

    def _make_maildir(self, target: Path) -> None:
        half = self._folder / f"%fresh-{secrets.token_hex(8)}"
        for part in ("tmp", "new", "cur"):
            _make_folder(half / part)
        try:
            half.rename(target)
        except OSError:
            shutil.rmtree(half)
            if not target.is_dir():  # else another process was quicker
                raise

    def _error(self, error: OSError, address: MailAddress) -> StoreError:
        if isinstance(error, FileNotFoundError) and not self.has(address):
            return StoreError(f"there is no mailbox of {address} here")
        return store_error(error, f"the mailbox of {address}")


def _make_folder(folder: Path) -> None:
    """A private folder of whoever owns the one around it: what root makes, the server must be able to write."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            around = folder.parent.stat()
            os.chown(folder, around.st_uid, around.st_gid)


def _failed(error: StoreError) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(error)
    return future
