"""Looks for new mail in a mailbox by POP3 (RFC 1939), at an IP address; deletes nothing. Blocks: for a thread.

The password goes over TLS alone, except to this machine itself.
"""

from __future__ import annotations

import contextlib
import ipaddress
import poplib
import ssl

from lanpost.errors import LanpostError
from lanpost.model.endpoint import Endpoint

PATIENCE = 10.0  # seconds for any answer
MAX_MAILS = 200  # the newest ones, of one look


class MailboxUnreachable(LanpostError):
    """No mail could be read; `for_good`: trying again will not help."""

    def __init__(self, text: str, *, for_good: bool = False) -> None:
        super().__init__(text)
        self.for_good = for_good


class Pop3Mailbox:
    """One mailbox; each mail is given out once. `trust` vouches for the server; None: the system's authorities."""

    def __init__(self, endpoint: Endpoint, user: str, password: str, trust: ssl.SSLContext | None = None) -> None:
        self.endpoint = endpoint
        self._user = user
        self._password = password
        self._trust = trust
        self._seen: set[str] = set()

    def new_mails(self) -> list[bytes]:
        """What has come since the last call. Raises MailboxUnreachable."""
        try:
            client = poplib.POP3(self.endpoint.host, self.endpoint.port, timeout=PATIENCE)
        except (OSError, poplib.error_proto) as error:
            raise MailboxUnreachable(f"{self.endpoint}: no POP3: {_words(error)}") from None
        try:
            return self._look(client)
        except ssl.SSLError as error:
            text = f"{self.endpoint}: its certificate is not vouched for ({error.reason}); name its authority in "
            raise MailboxUnreachable(text + "fax.ca_file", for_good=True) from None
        except (OSError, EOFError, poplib.error_proto) as error:
            raise MailboxUnreachable(f"{self.endpoint}: POP3 broke off: {_words(error)}") from None
        finally:
            with contextlib.suppress(OSError):  # a handshake that failed has closed the socket under it
                client.close()

    def _look(self, client: poplib.POP3) -> list[bytes]:
        self._secure(client)
        try:
            client.user(self._user)
            client.pass_(self._password)
        except poplib.error_proto as error:
            text = f"{self.endpoint}: {self._user} may not log in: {_words(error)}"
            raise MailboxUnreachable(text, for_good=b"IN-USE" not in str(error).encode()) from None
        names = [line.decode("ascii", "replace").split(" ", 1) for line in client.uidl()[1]]
        mails = []
        for number, name in names[-MAX_MAILS:]:
            if name not in self._seen:
                mails.append(b"\r\n".join(client.retr(int(number))[1]))
                self._seen.add(name)
        client.quit()
        return mails

    def _secure(self, client: poplib.POP3) -> None:
        here = ipaddress.ip_address(self.endpoint.host).is_loopback
        if "STLS" in client.capa() and not (here and self._trust is None):
            client.stls(self._trust or ssl.create_default_context())
        elif not here:
            text = f"{self.endpoint} offers no TLS, and the password must not cross the network in the clear"
            raise MailboxUnreachable(text, for_good=True)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
