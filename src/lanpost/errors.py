"""Every exception that lanpost raises on purpose.

LanpostError
  InvalidValue (ValueError)      a text that cannot be what it should be
    InvalidAddress, InvalidEndpoint, InvalidBinding, InvalidDetails
    InvalidName                  no distinguished name of a directory
    InvalidFilter                no search filter of a directory
    InvalidArchive               a lanpost.pyz that cannot be used, or not here
  ConfigurationError             file, key, value and remedy
  LocalProtocolError             our own caller broke a session's order: a bug, it propagates
  LdapProtocolError              what an LDAP peer sent cannot be read: caught in the session, never beyond it
    InvalidLdapValue             in a message whose frame is sound: that message alone is answered so
  ContentAborted                 the mail's sender left before its end
  DirectoryError                 a directory did not do what it was asked
    DirectoryRefused             it said no, ours to a client or another to us; knows the result code
    DirectoryUnreachable         no connection, or it broke, or no answer in time
      DirectoryUntrusted         its certificate is not vouched for
  DeliveryError                  an attempt failed; knows whether for good
  PrinterError                   a printer did not take a document; knows whether for good
  StoreError                     a file or database of ours cannot be used
    StoreFull                    no room left: 452 4.3.1
    StoreBusy                    somebody else holds it
  ServerNotRunning               nobody answers at the server's control socket
  ChartUnavailable               the inquiry got no answer: never read as "no such address"
    CertificateUnknown           nobody vouches for the server's certificate, or it is not the one pinned
  RegistrationRefused            knows its HTTP status
  RegistrarUnreachable           a terminal got no usable answer; knows whether for want of an address or route
  RegistrarUntrusted             whoever answered is not the registrar that the terminal's token pins
  InstallationError              the program cannot be installed, rolled back or removed here
    ServiceFailed                a service does not come up; knows the last lines of its log
  DiscoveryUnavailable           no DNS-SD here: no library, or no multicast
  PushFailed                     lanpost could not be put on one machine
"""

from __future__ import annotations


class LanpostError(Exception):
    """The root: `str()` says what is wrong and, where there is one, the remedy."""


class InvalidValue(LanpostError, ValueError):
    """A text that cannot be read as what it should be."""


class InvalidAddress(InvalidValue):
    """Not a mail address (RFC 5321 §4.1.2, RFC 6531 §3.3)."""


class InvalidEndpoint(InvalidValue):
    """Not an IP literal with a port."""


class InvalidBinding(InvalidValue):
    """Fields of a binding that contradict each other."""


class InvalidDetails(InvalidValue):
    """Not what an address book may say of an entry."""


class InvalidName(InvalidValue):
    """Not a distinguished name (RFC 4514)."""


class InvalidFilter(InvalidValue):
    """Not a search filter (RFC 4515)."""


class InvalidArchive(InvalidValue):
    """A `lanpost.pyz` whose manifest cannot be read, or that holds nothing for this machine."""


class InvalidProof(InvalidValue):
    """Not a proof of who is at an endpoint."""


class InvalidFax(InvalidValue):
    """Not a fax that can be read or written here. To SMTP: 554 5.6.1, at the end of the content."""


class InvalidRefresh(InvalidValue):
    """Not a refresh request, or more than one can hold."""


class ConfigurationError(LanpostError):
    """A setting that cannot be used. `str()` names file, key, value and remedy."""


class LocalProtocolError(LanpostError):
    """Our own caller used a session out of order."""


class LdapProtocolError(LanpostError):
    """An LDAP peer's octets are no message (RFC 4511 §5.1): the connection is over. Sessions catch it."""


class InvalidLdapValue(LdapProtocolError):
    """A value in an LDAP message says nothing, but the message's frame is sound (RFC 4511 §4.1.1).

    `code` is the result to answer with (protocolError); `message_id` and `tag` say what is to be answered.
    """

    def __init__(self, text: str, *, code: int = 2) -> None:
        super().__init__(text)
        self.code = code
        self.message_id = 0
        self.tag = 0


class ContentAborted(LanpostError):
    """The mail will never be complete: its sender left, or it was refused half way."""


class DirectoryError(LanpostError):
    """A directory did not do what it was asked."""


class DirectoryRefused(DirectoryError):
    """An LDAP server, ours or another, refuses an operation. `code` is that of RFC 4511 appendix A.

    `referrals`: where it sends us; `matched`: of a name that names nothing, the part that names something.
    """

    def __init__(self, text: str, *, code: int, referrals: tuple[str, ...] = (), matched: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.referrals = referrals
        self.matched = matched


class DirectoryUnreachable(DirectoryError):
    """There is no connection, or it broke, or no answer came in time (`timed_out`): nobody knows what was done."""

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class DirectoryUntrusted(DirectoryUnreachable):
    """Whoever answered showed a certificate that nobody trusted vouches for. Nothing secret was said."""


class DeliveryError(LanpostError):
    """An attempt failed before the endpoint gave a verdict on each recipient."""

    def __init__(self, text: str, *, permanent: bool, status: str) -> None:
        super().__init__(text)
        self.permanent = permanent
        self.status = status  # RFC 3463, as "4.4.1"

    def again(self) -> DeliveryError:
        """The same for somebody else who waited: an exception is raised once."""
        return DeliveryError(str(self), permanent=self.permanent, status=self.status)


class WrongMachine(DeliveryError):
    """Whoever answers at the endpoint is not the terminal that is bound there: it has moved. Never for good."""

    def __init__(self, text: str) -> None:
        super().__init__(text, permanent=False, status="4.7.0")

    def again(self) -> WrongMachine:
        return WrongMachine(str(self))


class PrinterError(LanpostError):
    """A printer did not take a document, or nobody answered there."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class StoreError(LanpostError):
    """A file or database of ours cannot be used."""


class StoreFull(StoreError):
    """No room left. To SMTP: 452 4.3.1."""


class StoreBusy(StoreError):
    """Somebody else holds it: another session, another process."""


class ServerNotRunning(LanpostError):
    """Nobody answers at the server's control socket."""


class ChartUnavailable(LanpostError):
    """The chart did not answer the inquiry. To SMTP: 451 4.4.3, or the spool."""


class CertificateUnknown(ChartUnavailable):
    """Nobody vouches for the certificate of an HTTPS server, or it is another than the one pinned."""


class RegistrationRefused(LanpostError):
    """The registrar refused. `http_status` is for the API's problem details (RFC 9457)."""

    def __init__(self, text: str, *, http_status: int) -> None:
        super().__init__(text)
        self.http_status = http_status


class RegistrarUnreachable(LanpostError):
    """The registrar gave the terminal no answer, or cannot serve it now.

    `no_way`: no address or no route here. `answered`: it is where we asked, and unwell. `retry_after`: seconds
    before which it does not want to be asked again; 0: it said nothing of that.
    """

    def __init__(
        self, text: str, *, no_way: bool = False, answered: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(text)
        self.no_way = no_way
        self.answered = answered
        self.retry_after = retry_after


class RegistrarUntrusted(LanpostError):
    """Whoever answered could not prove that it is the registrar which the enrolment token pins."""


class DiscoveryUnavailable(LanpostError):
    """Services cannot be told of or looked for on the link."""


class InstallationError(LanpostError):
    """The program cannot be installed, rolled back or removed on this machine; says what to do."""


class ServiceFailed(InstallationError):
    """A service was started and does not come up. `log`: its last lines."""

    def __init__(self, text: str, log: str = "") -> None:
        super().__init__(text)
        self.log = log


class PushFailed(LanpostError):
    """lanpost could not be put on another machine, which is as it was. `str()` says why, not which one."""
