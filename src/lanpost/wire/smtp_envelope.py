"""An envelope as the commands that carry it: MAIL and RCPT with what the peer offers (RFC 5321 §4.1.1.2, §4.1.1.3).

Raises LocalProtocolError where an address or parameter would break out of its command.
"""

from __future__ import annotations

from collections.abc import Container

from lanpost.errors import LocalProtocolError
from lanpost.model.envelope import Envelope, Recipient


def commands(envelope: Envelope, offered: Container[str], size: int | None, *, with_utf8: bool) -> list[str]:
    """MAIL and a RCPT for each recipient. `size` in octets; None: the envelope's, if it has one."""
    with_dsn = "DSN" in offered
    return [
        _mail(envelope, offered, envelope.size if size is None else size, with_utf8),
        *[_rcpt(recipient, with_dsn) for recipient in envelope.recipients],
    ]


def needs_smtputf8(envelope: Envelope, content: bytes | None) -> bool:
    """RFC 6531 §3.4: also without addresses beyond ASCII, since header fields may hold them."""
    if any(recipient.address.needs_smtputf8 for recipient in envelope.recipients):
        return True
    if envelope.sender is not None and envelope.sender.needs_smtputf8:
        return True
    return envelope.smtputf8 and (content is None or not content.isascii())


def encoded(text: str, count: int) -> bytes:
    """Commands as bytes: exactly `count` lines, whatever the addresses and parameters in them hold."""
    if text.count("\n") != count or text.count("\r") != count:
        raise LocalProtocolError(f"a line end inside a command: {text[:200]!r}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(f"a command that is not Unicode: {text[:200]!r}") from None


def _mail(envelope: Envelope, offered: Container[str], size: int | None, with_utf8: bool) -> str:
    command = f"MAIL FROM:<{envelope.sender if envelope.sender is not None else ''}>"
    if size is not None and "SIZE" in offered:  # RFC 1870 §5
        command += f" SIZE={size}"
    # Without the offer 8-bit content goes as it is: every server of these days is clean.
    if (envelope.body_8bit or with_utf8) and "8BITMIME" in offered:
        command += " BODY=8BITMIME"
    if with_utf8:
        command += " SMTPUTF8"
    if "DSN" in offered:  # RFC 3461 §4.3, §4.4
        if envelope.ret:
            command += f" RET={envelope.ret}"
        if envelope.envid:
            command += f" ENVID={envelope.envid}"
    return command + "\r\n"


def _rcpt(recipient: Recipient, with_dsn: bool) -> str:
    command = f"RCPT TO:<{recipient.address}>"
    if with_dsn and recipient.notify:  # RFC 3461 §4.1
        command += f" NOTIFY={','.join(sorted(recipient.notify))}"
    if with_dsn and recipient.orcpt:  # RFC 3461 §4.2
        command += f" ORCPT={recipient.orcpt}"
    return command + "\r\n"
