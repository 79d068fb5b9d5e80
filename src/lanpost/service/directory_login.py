"""Who may be somebody in the directory: the administrator, and terminals with their secrets or certificates.

Raises DirectoryRefused; StoreError where it cannot be told now.
"""

from __future__ import annotations

from dataclasses import dataclass

from lanpost.content.directory_entry import address_named
from lanpost.errors import InvalidName, InvalidValue
from lanpost.model.account import Terminal
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.service.credentials import Credential
from lanpost.service.directory_changes import refused
from lanpost.service.directory_tree import Tree
from lanpost.service.ports import Accounts
from lanpost.wire.ldap_messages import ResultCode


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection is of. Neither administrator nor terminal: anybody."""

    name: str = ""  # distinguished
    terminal: Terminal | None = None
    is_administrator: bool = False

    @property
    def is_anybody(self) -> bool:
        return self.terminal is None and not self.is_administrator


ANYBODY = Identity()


class DirectoryLogin:
    """`administrator_sha256`: of each secret that `cn=admin,SUFFIX` binds with."""

    def __init__(self, tree: Tree, accounts: Accounts, administrator_sha256: tuple[bytes, ...]) -> None:
        self._tree = tree
        self._accounts = accounts
        self._administrator_sha256 = administrator_sha256

    def simple(self, name: str, password: bytes) -> Identity:
        """By name and password. 49 wrong, 34 no name, 53 a name without a password (RFC 4513 §5.1.2)."""
        if not name and not password:
            return ANYBODY
        if not password:
            raise refused("a name without a password proves nothing", ResultCode.UNWILLING_TO_PERFORM)
        try:
            named = DistinguishedName.parse(name)
        except InvalidName as error:
            raise refused(str(error), ResultCode.INVALID_DN_SYNTAX) from None
        credential = Credential(password.decode("utf-8", "surrogateescape"))
        if named == self._tree.admin:
            if any(credential.proves(each) for each in self._administrator_sha256):
                return Identity(str(self._tree.admin), is_administrator=True)
            raise _wrong()
        address = self._tree.place(name).address
        terminal = self._accounts.terminal(address) if address is not None else None
        if terminal is None or not credential.proves_terminal(terminal):
            raise _wrong()
        return Identity(self._tree.entry_name(terminal.address), terminal)

    def certificate(self, name: str) -> Identity:
        """By a certificate, verified already, that names this mail address or `cn` (SASL EXTERNAL).

        49 no such terminal.
        """
        try:
            terminal = self._accounts.terminal(address_named(name, self._tree.domain))
        except InvalidValue:
            terminal = None
        if terminal is None:
            raise _wrong()
        return Identity(self._tree.entry_name(terminal.address), terminal)

    def still(self, identity: Identity) -> bool:
        """It has not been removed or given another secret since."""
        terminal = identity.terminal
        return terminal is None or self._accounts.terminal(terminal.address) == terminal


def _wrong() -> Exception:
    return refused("wrong name or password", ResultCode.INVALID_CREDENTIALS)
