"""The people who have a mailbox here: added, listed, given a password, removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lanpost.app.inquiry import now, open_mailboxes
from lanpost.app.settings import Settings
from lanpost.errors import InvalidAddress, InvalidValue
from lanpost.model.account import User
from lanpost.model.address import MailAddress
from lanpost.service.passwords import Passwords
from lanpost.service.ports import Accounts, Clock
from lanpost.store import formats
from lanpost.store.accounts import SqliteAccounts
from lanpost.store.maildir import MaildirMailboxes


@dataclass(frozen=True, slots=True)
class Person:
    """A user and what the mailbox holds."""

    user: User
    mails: int
    octets: int


class People:
    """Users and their mailboxes, kept in step. Raises InvalidValue with the remedy, and StoreError."""

    def __init__(
        self, accounts: Accounts, mailboxes: MaildirMailboxes, domain: str, clock: Clock, passwords: Passwords
    ) -> None:
        self._accounts = accounts
        self._mailboxes = mailboxes
        self._domain = domain
        self._clock = clock
        self._passwords = passwords

    def free_address(self, text: str) -> MailAddress:
        """The address, where a person can be added under it."""
        address = MailAddress.parse(text, self._domain)
        if address.is_literal:
            raise InvalidAddress(f"{address}: an IP address is a place, not a person; write NAME@{self._domain}")
        if self._accounts.terminal(address) is not None:
            raise InvalidAddress(
                f"{address} is a terminal's address; choose another, or `lanpost terminal remove {address}` first"
            )
        if self._accounts.user(address) is not None:
            raise InvalidAddress(
                f"{address} is there already; `lanpost user password {address}` sets a new password"
            )
        return address

    def known_address(self, text: str) -> MailAddress:
        """The address of a person who is here."""
        return self._user(text).address

    def add(self, text: str, password: str) -> Person:
        """A new person with a mailbox; mail kept from a removed one of that address is there again."""
        address = self.free_address(text)
        user = User(address, self._passwords.hash(password), self._clock())
        self._mailboxes.create(address)  # first: nobody may log in and find no mailbox
        self._accounts.put_user(user)
        return self._person(user)

    def set_password(self, text: str, password: str) -> MailAddress:
        """The former password is worth nothing from now on."""
        user = self._user(text)
        self._accounts.put_user(replace(user, password_hash=self._passwords.hash(password)))
        return user.address

    def remove(self, text: str, *, delete_mail: bool) -> MailAddress:
        """No login and no mail any more; what is in the mailbox is kept unless told otherwise.

        With `delete_mail` also for somebody who was removed before. The postmaster's mailbox stays.
        """
        address = MailAddress.parse(text, self._domain)
        found = self._accounts.remove_user(address)
        if not self._mailboxes.is_permanent(address):
            found = self._mailboxes.remove(address, delete_mail=delete_mail) or found
        if not found:
            raise _unknown(address)
        return address

    def everybody(self) -> Iterator[Person]:
        """All of them, by address."""
        return map(self._person, self._accounts.users())

    def _person(self, user: User) -> Person:
        mails, octets = self._mailboxes.held(user.address) if self._mailboxes.has(user.address) else (0, 0)
        return Person(user, mails, octets)

    def _user(self, text: str) -> User:
        address = MailAddress.parse(text, self._domain)
        user = self._accounts.user(address)
        if user is None:
            raise _unknown(address)
        return user


def _unknown(address: MailAddress) -> InvalidValue:
    return InvalidValue(f"{address} is no user here; `lanpost user list` shows who is")


@contextmanager
def open_people(settings: Settings) -> Iterator[People]:
    """The people of this server's data folder; while the server runs, too."""
    formats.require(settings.data)
    mailboxes = open_mailboxes(settings)
    try:
        accounts = SqliteAccounts(settings.data / "accounts.sqlite3")
        try:
            yield People(accounts, mailboxes, settings.domain, now, Passwords())
        finally:
            accounts.close()
    finally:
        mailboxes.close()
