"""Who is it? One answer for SMTP AUTH and POP3: a person by password, a terminal by its secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from lanpost.errors import InvalidAddress, StoreBusy, StoreError
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.reply import Reply
from lanpost.service.credentials import Credential
from lanpost.service.passwords import Passwords
from lanpost.service.ports import Accounts

Result = TypeVar("Result")

AT_ONCE = 2  # argon2 computations; each takes a core and 64 MiB
MAX_WAITING = 64  # logins that wait for one; more are asked to come again
REMEMBERED_SECONDS = 900.0  # a mail program that polls every minute costs one argon2 in a quarter of an hour
MAX_REMEMBERED = 1024  # right passwords, as keyed hashes

SUCCEEDED = Reply(235, "2.7.0", "Authentication succeeded")
REFUSED = Reply(535, "5.7.8", "Authentication credentials invalid")  # RFC 4954 §6
IMPOSSIBLE = Reply(454, "4.7.0", "Temporary authentication failure, try again later")


class Authenticator:
    """Checks logins against the accounts. To be used from one event loop; raises StoreError."""

    def __init__(
        self,
        accounts: Accounts,
        default_domain: str,
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_domain` completes a login that is a bare name; `clock` in seconds."""
        self._accounts = accounts
        self._domain = default_domain
        self._passwords = passwords or Passwords()
        self._clock = clock
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")
        self._waiting = 0
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()  # keyed hash -> until when

    async def verify(self, login: str, password: str) -> User | Terminal | None:
        """Whose login and password these are; None: nobody's.

        StoreError: it cannot be told now; StoreBusy where too many wait.
        """
        try:
            address = MailAddress.parse(login, self._domain)
        except InvalidAddress:
            return None
        user = self._accounts.user(address)
        if user is None:
            terminal = self._accounts.terminal(address)
            if terminal is not None:
                return terminal if Credential(password).proves_terminal(terminal) else None
        return await self._verify_person(user, password)

    async def verify_user(self, login: str, password: str) -> User | None:
        """The same for POP3: only people have mailboxes."""
        account = await self.verify(login, password)
        return account if isinstance(account, User) else None

    async def reply(
        self, login: str, password: str, proved: Callable[[User | Terminal], object] = lambda _: None
    ) -> Reply:
        """The same as SMTP's answer to AUTH; never raises StoreError. `proved` is told who it is."""
        try:
            account = await self.verify(login, password)
        except StoreError:
            return IMPOSSIBLE
        if account is None:
            return REFUSED
        proved(account)
        return SUCCEEDED

    def close(self) -> None:
        """Finish what is being computed. Idempotent."""
        self._threads.shutdown()

    async def _verify_person(self, user: User | None, password: str) -> User | None:
        stored = user.password_hash if user else ""
        # The stored hash is part of what is remembered: a changed password, or a user made anew, is another entry.
        mark = hmac.digest(self._key, f"{stored}\0{password}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        if user is not None and self._remembers(mark):
            return user
        if not await self._in_thread(partial(self._passwords.verify, stored, password)) or user is None:
            return None
        self._remember(mark)
        if self._passwords.is_outdated(stored):
            # Whether it can be written is no matter of this login.
            with suppress(StoreError):
                await self._in_thread(partial(self._renew, user, password))
        return user

    def _renew(self, user: User, password: str) -> None:
        fresh = self._passwords.hash(password)
        # Read again: in the meantime the user may have been removed, or changed the password.
        if self._accounts.user(user.address) == user:
            self._accounts.put_user(replace(user, password_hash=fresh))

    def _remembers(self, mark: bytes) -> bool:
        until = self._remembered.get(mark)
        return until is not None and self._clock() < until

    def _remember(self, mark: bytes) -> None:
        self._remembered.pop(mark, None)
        self._remembered[mark] = self._clock() + REMEMBERED_SECONDS
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= MAX_WAITING:
            raise StoreBusy("too many people log in at the same time, try again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
