"""No code path of lanpost asks DNS, /etc/hosts or anything else for the address of a name."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "lanpost"
RESOLVING = {  # by method or function name; each takes, or may take, a host name
    *("getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"),
    *("create_connection", "open_connection", "create_server", "start_server", "create_datagram_endpoint"),
    *("connect", "connect_ex", "sock_connect", "sock_sendto"),
    *(
        "urlopen",
        "urlretrieve",
        "SMTP",
        "SMTP_SSL",
        "LMTP",
        "POP3",
        "POP3_SSL",
        "HTTPConnection",
        "HTTPSConnection",
    ),
}
ALLOWED = {  # why a name cannot be resolved there all the same
    ("net/dial.py", "connect_ex"): "an address that inet_pton has taken",
    ("net/registrar_access.py", "getaddrinfo"): "AI_NUMERICHOST",
    ("net/registrar_access.py", "sock_connect"): "what AI_NUMERICHOST gave",
    ("net/ldap_registration.py", "connect"): "an IP literal of a DirectoryUrl, by registrar_access",
    ("net/ldap_servers.py", "connect"): "net/ldap_connection.py, which dials by net/dial.py",
    ("net/ldap_follower.py", "connect"): "net/ldap_servers.py",
    ("net/greeting.py", "sock_connect"): "own addresses, as the kernel lists them",
    ("net/address_watch.py", "getaddrinfo"): "AI_NUMERICHOST",
    ("net/port_holders.py", "getaddrinfo"): "AI_NUMERICHOST",
    ("app/first_stage.py", "create_connection"): "IP addresses at which a directory says that it listens",
    ("net/address_watch.py", "connect"): "what AI_NUMERICHOST gave",
    ("net/own_addresses.py", "connect"): "two literals of the module's own",
    ("net/control.py", "connect"): "a UNIX socket",
    ("store/sqlite.py", "connect"): "a file",
    ("store/chart_staging.py", "connect"): "a temporary database",
    ("net/pop3_client.py", "POP3"): "an Endpoint's IP literal",
    ("app/demo.py", "SMTP"): "the demonstration's own literal",
    ("app/demo.py", "POP3"): "the demonstration's own literal",
    ("app/demo.py", "create_connection"): "the demonstration's own literals",
}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""), node


def is_given_a_socket(call: ast.Call) -> bool:
    """`create_connection(factory, sock=...)`: connected already, no host is named."""
    keywords = {keyword.arg for keyword in call.keywords}
    return "sock" in keywords and "host" not in keywords and len(call.args) <= 1


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_what_could_resolve_a_name_is_called_only_where_it_cannot(file: Path) -> None:
    module = file.relative_to(SOURCE).as_posix()
    found = {name for name, call in calls(file) if name in RESOLVING and not is_given_a_socket(call)}
    unknown = {name for name in found if (module, name) not in ALLOWED}
    assert not unknown, f"{module} calls {unknown}: dial literals by net/dial.py, or give the reason in ALLOWED"


def test_flags_keep_getaddrinfo_from_looking_up() -> None:
    for (module, name), reason in ALLOWED.items():
        if reason == "AI_NUMERICHOST":
            source = (SOURCE / module).read_text("utf-8")
            assert source.count(f"{name}(") == 1, f"{module}: look at each use"
            assert "AI_NUMERICHOST" in source


# Sends one mail to an endpoint and fails to send another, while every look-up that Python sees is forbidden.
SENDS = """
import asyncio, socket, sys

LOOPS = sys.argv[1]

def forbid(event, arguments):
    if event.startswith("socket.get"):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(forbid)
from lanpost.errors import DeliveryError, InvalidEndpoint
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.net.smtp_out import SmtpSender

class Content:
    size_octets = None
    def __init__(self):
        self.chunks = [b"Subject: x\\r\\n\\r\\nx\\r\\n"]
    async def read(self):
        return self.chunks.pop() if self.chunks else b""

async def serve(reader, writer):
    writer.write(b"220 x\\r\\n")
    while line := await reader.readline():
        if line == b"DATA\\r\\n":
            writer.write(b"354 go\\r\\n")
            await reader.readuntil(b"\\r\\n.\\r\\n")
        writer.write(b"250 ok\\r\\n")
        if line == b"QUIT\\r\\n":
            break
    writer.close()

async def main():
    to = Envelope(None, (Recipient(MailAddress.parse("fax1@name.that.must.not.be.asked.for")),))
    sender = SmtpSender("mail.office.lan")
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        listening = socket.socket(family)
        listening.bind((host, 0))
        server = await asyncio.start_server(serve, sock=listening)
        port = listening.getsockname()[1]
        (outcome,) = await sender.send(Endpoint(host, port), to, Content())
        assert outcome.reply.code == 250
        await sender.close()
        sender = SmtpSender("mail.office.lan")
        server.close()
        for refused, error in ((host, DeliveryError), ("localhost", InvalidEndpoint), ("x.lan", InvalidEndpoint)):
            try:
                await sender.send(Endpoint(refused, port), to, Content())
            except error:
                continue
            raise AssertionError(refused)

if LOOPS == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
print("sent")
"""


def send_in_a_process(loop: str, *before: str) -> None:
    # With HOME given Python need not ask the user database, which is asked the same way as DNS.
    environment = {"PYTHONPATH": str(SOURCE.parent), "HOME": "/nonexistent"}
    python = [*before, sys.executable, "-c", SENDS, loop]
    done = subprocess.run(python, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.stdout.endswith("sent\n"), done.stderr[-3000:]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_python_sees_no_look_up_while_mail_is_sent(loop: str) -> None:
    send_in_a_process(loop)


@pytest.mark.peer
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_kernel_sees_no_look_up_while_mail_is_sent(loop: str, tmp_path: Path) -> None:
    """libuv looks names up behind Python's back: the C library would read its files, or ask port 53."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    send_in_a_process(loop, strace, "-f", "-e", "trace=openat,connect,sendto,sendmmsg", "-o", str(trace))
    seen = trace.read_text("utf-8", "replace")
    assert "connect(" in seen
    for sign in (
        "resolv.conf",
        "/etc/hosts",
        "gai.conf",
        "host.conf",
        "htons(53)",
        "nscd",
        "libnss_dns",
        "resolve1",
    ):
        assert sign not in seen
