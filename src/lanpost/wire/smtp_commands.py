"""Arguments of MAIL, RCPT and BDAT: bytes to an Envelope, a Recipient, a size; or the Reply that refuses them.

Lenient in form where old devices are known to be sloppy (a blank behind the colon, no angle brackets), strict in
what it lets through: no control characters, no parameter we did not offer. Never raises.
"""

from __future__ import annotations

import re
from typing import Final

from lanpost.errors import InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import Reply

MAX_ENVID = 100  # characters (RFC 3461 §4.4)
MAX_ORCPT = 500  # characters (RFC 3461 §4.2)
MAX_DIGITS = 20  # of a size (RFC 1870 §4, RFC 3030 §2)

MAIL_SYNTAX = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX = Reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
BDAT_SYNTAX = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]; what follows cannot be told from commands")
TOO_LONG_LIST: Final = 64  # parameters in one command; there are ten

# The path in angle brackets, a source route in front of it left aside (RFC 5321 §3.6.1), or bare up to the blank.
_PATH = (
    rb" ?: *(?:<(?:@[^:<>\"]*:)?(?P<path>(?:\"(?:[^\"\\]|\\.)*\"|[^\"<>\s])*)>|(?P<bare>[^\s<>:\"]+))"
    rb"(?P<parameters>(?: .*)?)\Z"
)
_FROM = re.compile(rb"(?i:FROM)" + _PATH)
_TO = re.compile(rb"(?i:TO)" + _PATH)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00- =\x7f]+))?\Z")  # RFC 5321 §4.1.2
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")  # RFC 3461 §4
_ORCPT = re.compile(r"[A-Za-z0-9-]+;.+\Z")
_BDAT = re.compile(rb"([0-9]{1,20})(?: +((?i:LAST)))?\Z")

_UNSUPPORTED = Reply(555, "5.5.4", "Parameter not supported")
_BAD_PARAMETER = Reply(501, "5.5.4", "Bad parameter")
_NOT_UTF8 = Reply(501, "5.5.2", "Neither ASCII nor UTF-8")
_NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "A mail address that is not ASCII needs MAIL's SMTPUTF8 parameter")
_NO_PARAMETERS: dict[str, str] = {}

Parameters = dict[str, str]


def parse_mail(argument: bytes, default_domain: str) -> Envelope | Reply:
    """What stands behind MAIL, as an envelope without recipients (RFC 5321 §4.1.1.2)."""
    found = _FROM.match(argument)
    if not found:
        return MAIL_SYNTAX
    path, bare, rest = found.group("path", "bare", "parameters")
    parameters = _parameters(rest) if rest else _NO_PARAMETERS
    if isinstance(parameters, Reply):
        return parameters
    smtputf8 = "SMTPUTF8" in parameters
    sender: MailAddress | None = None
    if bare or path:
        parsed = _address(bare or path, default_domain, smtputf8=smtputf8, status="5.1.7")
        if isinstance(parsed, Reply):
            return parsed
        sender = parsed
    return _envelope(sender, parameters) if parameters else Envelope(sender)


def parse_rcpt(argument: bytes, default_domain: str, *, smtputf8: bool) -> Recipient | Reply:
    """What stands behind RCPT (RFC 5321 §4.1.1.3). `smtputf8`: this mail's MAIL announced it."""
    found = _TO.match(argument)
    if not found:
        return RCPT_SYNTAX
    path, bare, rest = found.group("path", "bare", "parameters")
    parameters = _parameters(rest) if rest else _NO_PARAMETERS
    if isinstance(parameters, Reply):
        return parameters
    address = _address(bare or path, default_domain, smtputf8=smtputf8, status="5.1.3")
    if isinstance(address, Reply):
        return address
    return _recipient(address, parameters) if parameters else Recipient(address)


def parse_bdat(argument: bytes) -> tuple[int, bool] | Reply:
    """Octets that follow, and whether they are the last (RFC 3030 §2)."""
    found = _BDAT.match(argument.rstrip(b" "))
    return (int(found[1]), found[2] is not None) if found else BDAT_SYNTAX


def _address(path: bytes, default_domain: str, *, smtputf8: bool, status: str) -> MailAddress | Reply:
    try:
        address = MailAddress.parse(path.decode(), default_domain)
    except InvalidAddress as exc:
        return Reply(553, status, _printable(str(exc)))
    except UnicodeDecodeError:
        return _NOT_UTF8
    if not smtputf8 and address.needs_smtputf8:
        return _NEEDS_SMTPUTF8
    return address


def _parameters(text: bytes) -> Parameters | Reply:
    """Keywords in capitals, each with its value, "" for none."""
    try:
        words = text.decode().split(" ")
    except UnicodeDecodeError:
        return _NOT_UTF8
    parameters: Parameters = {}
    for word in filter(None, words):
        found = _PARAMETER.match(word)
        if not found or len(parameters) == TOO_LONG_LIST:
            return _BAD_PARAMETER
        keyword = found[1].upper()
        if keyword in parameters:
            return Reply(501, "5.5.4", f"{keyword} given twice")
        parameters[keyword] = found[2] or ""
    return parameters


def _envelope(sender: MailAddress | None, parameters: Parameters) -> Envelope | Reply:
    size: int | None = None
    body_8bit = smtputf8 = False
    ret = envid = ""
    for keyword, value in parameters.items():
        match keyword:
            case "SIZE" if value.isdecimal() and value.isascii() and len(value) <= MAX_DIGITS:
                size = int(value)
            case "BODY" if value.upper() in ("7BIT", "8BITMIME"):
                body_8bit = value.upper() == "8BITMIME"
            case "SMTPUTF8" if not value:
                smtputf8 = True
            case "RET" if value.upper() in ("FULL", "HDRS"):
                ret = value.upper()
            case "ENVID" if value and len(value) <= MAX_ENVID and _XTEXT.match(value):
                envid = value
            case "AUTH" if value and _XTEXT.match(value):
                pass  # RFC 4954 §5: to be understood; it is nothing that we would believe
            case "BODY":
                return Reply(555, "5.5.4", "BODY is 7BIT or 8BITMIME here")
            case "SIZE" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH":
                return Reply(501, "5.5.4", f"Bad value of {keyword}")
            case _:
                return _UNSUPPORTED
    return Envelope(sender, (), body_8bit, smtputf8, ret, envid, size)


def _recipient(address: MailAddress, parameters: Parameters) -> Recipient | Reply:
    notify: frozenset[str] = frozenset()
    orcpt = ""
    for keyword, value in parameters.items():
        match keyword:
            case "NOTIFY":
                notify = frozenset(value.upper().split(","))
                if not (notify == {"NEVER"} or notify <= {"SUCCESS", "FAILURE", "DELAY"}):
                    return Reply(501, "5.5.4", "NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY")
            case "ORCPT" if len(value) <= MAX_ORCPT and _ORCPT.match(value):
                orcpt = value
            case "ORCPT":
                return Reply(501, "5.5.4", "Bad value of ORCPT")
            case _:
                return _UNSUPPORTED
    return Recipient(address, notify, orcpt)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
