"""Who a client of the directory is, and how his words are kept from others: binds, TLS, certificates."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.directory_running import (
    ADMIN,
    BASE,
    PASSWORD,
    SECRET,
    SUFFIX,
    Client,
    Running,
    binding,
    running_directory,
)

from lanpost.net.ldap_searches import SearchRules
from lanpost.net.listener import ConnectionLimits
from lanpost.net.login_delays import LoginDelays
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_controls import SYNC_REQUEST_OID, SyncMode, SyncRequest
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_extensions import WHO_AM_I_OID
from lanpost.wire.ldap_messages import (
    BindRequest,
    CompareRequest,
    Control,
    DeleteRequest,
    ExtendedRequest,
    ResultCode,
    Scope,
    SearchRequest,
)
from lanpost.wire.ldap_operations import START_TLS_OID

ALL = SearchRequest(BASE, Scope.ONE, f.Present("objectClass"), ("cn",))
WHO = ExtendedRequest(WHO_AM_I_OID)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_directory(tmp_path_factory.mktemp("directory")) as running:
        running.run(running.chart.bind_many([binding(f"fax{number}") for number in range(1, 4)]))
        running.call(running.directory.enrol, "fax1")
        yield running


def who(client: Client) -> bytes:
    """The answer to Who am I (RFC 4532)."""
    answer: Any = client.ask(WHO)[0].operation
    return bytes(answer.value or b"")


# -- binds


def test_a_bind_makes_somebody_and_a_failed_one_nobody(directory: Running) -> None:
    with directory.client() as client:
        assert who(client) == b""
        assert client.bind() == ResultCode.SUCCESS
        assert who(client) == f"dn:{ADMIN}".encode()
        assert client.bind(f"cn=FAX1,{BASE}", SECRET.encode()) == ResultCode.SUCCESS
        assert who(client) == f"dn:cn=fax1,{BASE}".encode()
        assert client.bind(ADMIN, b"wrong") == ResultCode.INVALID_CREDENTIALS
        assert who(client) == b""  # RFC 4511 §4.2.1
        client.bind()
        assert client.bind("", b"") == ResultCode.SUCCESS
        assert who(client) == b""


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (BindRequest(ADMIN, b""), ResultCode.UNWILLING_TO_PERFORM),  # RFC 4513 §5.1.2
        (BindRequest("no name", b"x"), ResultCode.INVALID_DN_SYNTAX),
        (BindRequest(f"cn=fax2,{BASE}", SECRET.encode()), ResultCode.INVALID_CREDENTIALS),  # not enrolled
        (BindRequest(f"ou=chart,{SUFFIX}", SECRET.encode()), ResultCode.INVALID_CREDENTIALS),
        (BindRequest(f"cn=fax1,{BASE}", b"\xff"), ResultCode.INVALID_CREDENTIALS),
        (BindRequest(ADMIN, PASSWORD, version=2), ResultCode.PROTOCOL_ERROR),
        (BindRequest("", b"", "DIGEST-MD5"), ResultCode.AUTH_METHOD_NOT_SUPPORTED),
        (BindRequest("", b"", "EXTERNAL"), ResultCode.INAPPROPRIATE_AUTHENTICATION),  # no certificate
    ],
)
def test_binds_that_prove_nothing(directory: Running, request_: BindRequest, code: ResultCode) -> None:
    with directory.client() as client:
        client.bind()
        assert client.result(request_)[0] == code
        assert who(client) == b""


def test_a_control_that_matters_and_is_not_known_refuses_bind_and_starttls(directory: Running) -> None:
    critical = [Control("1.2.3.4", critical=True)]
    with directory.client() as client:
        assert client.result(BindRequest(ADMIN, PASSWORD), critical)[0] == ResultCode.UNAVAILABLE_CRITICAL_EXTENSION
        assert who(client) == b""
        refused = client.result(ExtendedRequest(START_TLS_OID), critical)[0]
        assert refused == ResultCode.UNAVAILABLE_CRITICAL_EXTENSION
        assert client.result(BindRequest(ADMIN, PASSWORD), [Control("1.2.3.4")])[0] == ResultCode.SUCCESS


def test_a_terminal_whose_secret_was_replaced_writes_no_more(directory: Running) -> None:
    directory.call(directory.directory.enrol, "fax3", "first")
    with directory.client() as client:
        assert client.bind(f"cn=fax3,{BASE}", b"first") == ResultCode.SUCCESS
        directory.call(directory.directory.enrol, "fax3", "second")
        code, text = client.result(DeleteRequest(f"cn=fax3,{BASE}"))
        assert code == ResultCode.INSUFFICIENT_ACCESS_RIGHTS
        assert "bind again" in text


def test_a_wrong_password_is_answered_late_and_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    delay = 1.0
    with (
        running_directory(tmp_path, delays=LoginDelays(first=delay)) as directory,
        directory.client() as guesser,
        directory.client() as other,
    ):
        began = time.monotonic()
        (asked,) = guesser.send(BindRequest(ADMIN, b"wrong"))
        assert other.bind() == ResultCode.SUCCESS  # from the same host
        assert time.monotonic() - began < delay
        answer = guesser.next()
        assert time.monotonic() - began >= delay
        assert answer is not None
        assert answer.id == asked


# -- secrecy


def test_passwords_cross_foreign_networks_under_tls_only(tmp_path: Path) -> None:
    with running_directory(tmp_path, networks=["10.9.9.0/24"]) as directory:
        with directory.client() as client:
            code, text = client.result(BindRequest(ADMIN, PASSWORD))
            assert code == ResultCode.CONFIDENTIALITY_REQUIRED
            assert "StartTLS" in text
            assert client.bind(ADMIN, b"wrong") == ResultCode.CONFIDENTIALITY_REQUIRED  # which is not told there
            assert client.bind("", b"") == ResultCode.SUCCESS
            client.start_tls(directory.client_tls())
            assert client.bind() == ResultCode.SUCCESS
        with directory.client(tls=directory.client_tls()) as client:
            assert client.bind() == ResultCode.SUCCESS


def test_ldap_ldaps_and_starttls_share_a_port(directory: Running) -> None:
    with directory.client() as plain, directory.client(tls=directory.client_tls()) as encrypted:
        upgraded = directory.client()
        upgraded.start_tls(directory.client_tls())
        answers = [client.names(ALL) for client in (plain, encrypted, upgraded)]
        assert answers == [([f"cn=fax{number},{BASE}" for number in (1, 2, 3)], 0)] * 3
        upgraded.close()


def test_tls_begins_once_and_with_nobody(directory: Running) -> None:
    with directory.client() as client:
        client.bind()
        client.start_tls(directory.client_tls())
        assert who(client) == b""
        # A second one is refused by the server, whatever our own client thinks of it.
        client.socket.sendall(encode_operation(99, ExtendedRequest(START_TLS_OID)))
        client.session.secure = False
        assert b"TLS has begun already" in client.socket.recv(4096)


def test_what_is_injected_in_the_clear_behind_starttls_is_never_done(directory: Running) -> None:
    """Whoever stands in between puts requests of his own in front of what the client encrypts."""
    delete = encode_operation(2, DeleteRequest(f"cn=fax1,{BASE}"))
    bind = encode_operation(3, BindRequest(ADMIN, PASSWORD))
    with directory.client() as client:
        client.session.send(ExtendedRequest(START_TLS_OID))
        client.socket.sendall(client.session.data_to_send() + bind + delete)
        answer = client.next()
        assert answer is not None
        assert answer.id == 1
        client.socket = directory.client_tls().wrap_socket(client.socket)
        assert who(client) == b""  # the answer to a request of before would come first
        assert f"cn=fax1,{BASE}" in client.names(ALL)[0]


def test_what_comes_in_the_clear_after_starttls_ends_the_connection(directory: Running) -> None:
    with directory.client() as client:
        assert client.result(ExtendedRequest(START_TLS_OID))[0] == 0
        client.socket.sendall(encode_operation(2, DeleteRequest(f"cn=fax1,{BASE}")))
        assert client.is_closed()
    with directory.client() as client:
        assert f"cn=fax1,{BASE}" in client.names(ALL)[0]


def test_starttls_waits_for_nothing_that_is_under_way(directory: Running) -> None:
    follow = Control(SYNC_REQUEST_OID, value=SyncRequest(SyncMode.REFRESH_AND_PERSIST).encode())
    with directory.client() as client:
        client.send(ALL, controls=[follow])
        client.socket.sendall(encode_operation(77, ExtendedRequest(START_TLS_OID)))
        received = b""
        while b"operations under way" not in received:  # RFC 4511 §4.14.2
            data = client.socket.recv(4096)
            assert data
            received += data


def test_a_handshake_that_fails_ends_that_connection_alone(directory: Running) -> None:
    with directory.client() as other:
        client = directory.client()
        client.socket.sendall(b"\x16\x03\x01\x00\x05hello")
        assert client.is_closed()
        client.close()
        trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusts_nobody.check_hostname = False
        with pytest.raises(ssl.SSLCertVerificationError):
            directory.client(tls=trusts_nobody)
        assert other.names(ALL)[1] == 0


# -- certificates


def certificate(directory: Running, folder: Path, address: str) -> Path:
    pem = folder / "client.pem"
    pem.write_bytes(directory.authority.issue_client(address, datetime.now(UTC)))
    return pem


@pytest.mark.parametrize("upgraded", [False, True], ids=["LDAPS", "StartTLS"])
def test_a_certificate_proves_who_one_is(directory: Running, tmp_path: Path, upgraded: bool) -> None:
    context = directory.client_tls(certificate=certificate(directory, tmp_path, "fax1@office.lan"))
    with directory.client(tls=None if upgraded else context) as client:
        if upgraded:
            client.start_tls(context)
        assert who(client) == b""  # until it asks for it (RFC 4513 §5.2.3)
        assert client.result(BindRequest("", None, "EXTERNAL"))[0] == ResultCode.SUCCESS
        assert who(client) == f"dn:cn=fax1,{BASE}".encode()
        itself, another = f"dn:CN=fax1,{BASE}".encode(), f"dn:cn=fax2,{BASE}".encode()
        assert client.result(BindRequest("", itself, "external"))[0] == ResultCode.SUCCESS
        for wanted in (another, b"u:fax1", b"dn:no name", b"\xff"):
            assert client.result(BindRequest("", wanted, "EXTERNAL"))[0] == ResultCode.INVALID_CREDENTIALS


@pytest.mark.parametrize("address", ["nobody@office.lan", "fax1@else.where"])
def test_a_certificate_of_somebody_unknown_proves_nothing(directory: Running, tmp_path: Path, address: str) -> None:
    context = directory.client_tls(certificate=certificate(directory, tmp_path, address))
    with directory.client(tls=context) as client:
        assert client.result(BindRequest("", None, "EXTERNAL"))[0] == ResultCode.INVALID_CREDENTIALS


def test_the_certificate_of_a_server_makes_nobody_a_client(directory: Running, tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    pem.write_bytes(directory.authority.issue_server(["127.0.0.1"], datetime.now(UTC)))
    context = directory.client_tls(certificate=pem)
    with pytest.raises((ssl.SSLError, ConnectionError)), directory.client(tls=context) as client:
        client.result(BindRequest("", None, "EXTERNAL"))


# -- who may read


def test_where_strangers_may_not_read_they_see_the_root_and_no_more(tmp_path: Path) -> None:
    with running_directory(tmp_path, rules=SearchRules(anonymous=False)) as directory:
        directory.run(directory.chart.bind(binding("fax1")))
        one = SearchRequest(BASE, Scope.SUBTREE, f.Equals("mail", b"fax1@office.lan"), ("cn",))
        sync = Control(SYNC_REQUEST_OID, value=SyncRequest(SyncMode.REFRESH_ONLY).encode())
        with directory.client() as client:
            for base in ("", "cn=Subschema"):
                assert client.names(SearchRequest(base, Scope.BASE, f.Present("objectClass"))) == ([base], 0)
            refused: tuple[list[str], int] = ([], ResultCode.INSUFFICIENT_ACCESS_RIGHTS)
            assert client.names(SearchRequest("", Scope.SUBTREE, f.Present("objectClass"))) == refused
            assert client.names(ALL) == refused
            assert client.names(one) == refused
            assert client.names(ALL, [sync]) == refused
            compare = CompareRequest(f"cn=fax1,{BASE}", "cn", b"fax1")
            assert client.result(compare)[0] == ResultCode.INSUFFICIENT_ACCESS_RIGHTS
            # As nobody may read, so he may not write; but there he is told how.
            assert client.result(DeleteRequest(f"cn=fax1,{BASE}"))[0] == ResultCode.STRONGER_AUTH_REQUIRED
            client.bind()
            assert client.names(ALL) == ([f"cn=fax1,{BASE}"], 0)
            assert client.names(one) == ([f"cn=fax1,{BASE}"], 0)
            client.bind("", b"")
            assert client.names(one) == refused


def test_one_client_too_many_is_turned_away(tmp_path: Path) -> None:
    with (
        running_directory(tmp_path, limits=ConnectionLimits(total=10, per_client=2)) as directory,
        directory.client() as first,
        directory.client() as second,
    ):
        assert (who(first), who(second)) == (b"", b"")
        third = directory.client()
        assert third.is_closed()
        third.close()
        assert (who(first), who(second)) == (b"", b"")
