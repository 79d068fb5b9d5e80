"""The CA that terminals pin, and the certificate that is renewed in time."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from lanpost.errors import InvalidAddress, StoreError
from lanpost.model.token import REGISTRAR_NAME
from lanpost.store.authority import CA_LIFETIME, SERVER_LIFETIME, Authority, Names

NOW = datetime.now(UTC)
NAMES = Names("Mail.office.lan", ("10.0.0.2", "2001:db8::2"))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> x509.Certificate:
    """What a client sees that asks for `name`. Raises ssl.SSLError."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(ours, server_side=True).close()
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as tls:
            shown = tls.getpeercert(binary_form=True)
    finally:
        theirs.close()
        thread.join()
    assert shown
    return x509.load_der_x509_certificate(shown)


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.ca_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("name", [REGISTRAR_NAME, "mail.office.lan", "10.0.0.2", "2001:db8::2"])
def test_a_client_that_trusts_the_ca_trusts_the_server_by_each_name(tmp_path: Path, name: str) -> None:
    authority = Authority.open(tmp_path / "tls", NOW)
    shown = handshake(authority.ssl_context(NAMES, NOW), trusting(authority), name)
    assert shown.not_valid_after_utc - NOW > SERVER_LIFETIME - timedelta(days=1)
    assert authority.valid[1] - NOW > CA_LIFETIME - timedelta(days=1)


@pytest.mark.parametrize("name", ["10.0.0.3", "other.office.lan"])
def test_other_names_are_not_trusted(tmp_path: Path, name: str) -> None:
    authority = Authority.open(tmp_path, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.ssl_context(NAMES, NOW), trusting(authority), name)


def test_another_servers_certificate_is_not_trusted(tmp_path: Path) -> None:
    ours, theirs = Authority.open(tmp_path / "a", NOW), Authority.open(tmp_path / "b", NOW)
    assert ours.pin != theirs.pin
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(theirs.ssl_context(NAMES, NOW), trusting(ours), REGISTRAR_NAME)


def test_the_pin_is_the_sha256_of_the_ca_certificate_and_stays(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, NOW)
    assert authority.pin == hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.ca_pem.decode())).hexdigest()
    assert Authority.open(tmp_path, NOW + timedelta(days=5000)).pin == authority.pin


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    Authority.open(tmp_path / "tls", NOW).ssl_context(NAMES, NOW)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "tls").iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o600, ".lock": 0o600}


def test_the_certificate_is_renewed_when_a_third_of_its_life_is_left_and_not_before(tmp_path: Path) -> None:
    begin = NOW - timedelta(days=250)
    authority = Authority.open(tmp_path, begin)
    context = authority.ssl_context(NAMES, begin)
    first = handshake(context, trusting(authority), REGISTRAR_NAME)
    assert not authority.renew(NAMES, begin + timedelta(days=240))
    assert authority.renew(NAMES, NOW)
    authority.load()
    second = handshake(context, trusting(authority), REGISTRAR_NAME)
    assert second.not_valid_after_utc > first.not_valid_after_utc


def test_a_new_address_or_host_name_gets_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, NOW)
    context = authority.ssl_context(NAMES, NOW)
    moved = Names("mail2.office.lan", ("10.9.9.9",))
    assert authority.renew(moved, NOW)
    authority.load()
    handshake(context, trusting(authority), "10.9.9.9")
    handshake(context, trusting(authority), "mail2.office.lan")


def test_an_address_that_went_away_for_a_while_costs_no_certificate(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, NOW)
    authority.ssl_context(NAMES, NOW)
    assert not authority.renew(Names("mail.office.lan"), NOW)


def test_a_certificate_that_another_process_renewed_is_loaded(tmp_path: Path) -> None:
    begin = NOW - timedelta(days=300)
    one, other = Authority.open(tmp_path, begin), Authority.open(tmp_path, begin)
    context = one.ssl_context(NAMES, begin)
    renewed = handshake(other.ssl_context(NAMES, NOW), trusting(other), REGISTRAR_NAME)
    assert one.renew(NAMES, NOW)
    one.load()
    assert handshake(context, trusting(one), REGISTRAR_NAME) == renewed


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_server_certificate_is_made_anew(tmp_path: Path, content: bytes) -> None:
    authority = Authority.open(tmp_path, NOW)
    (tmp_path / "server.pem").write_bytes(content)
    handshake(authority.ssl_context(NAMES, NOW), trusting(authority), REGISTRAR_NAME)


def test_a_host_name_that_no_certificate_can_hold_is_left_out(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, NOW)
    odd = Names("bad_name!", ("fe80::1%eth0",))
    handshake(authority.ssl_context(odd, NOW), trusting(authority), REGISTRAR_NAME)
    assert not authority.renew(odd, NOW)


def test_more_addresses_than_a_certificate_holds_are_no_reason_to_renew_for_ever(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, NOW)
    crowd = Names("", [f"10.0.{n >> 8}.{n & 255}" for n in range(1000)])
    authority.ssl_context(crowd, NOW)
    assert not authority.renew(crowd, NOW)


@pytest.mark.parametrize("name", ["ca.pem", "ca.key"])
def test_a_damaged_authority_is_never_replaced_in_silence(tmp_path: Path, name: str) -> None:
    Authority.open(tmp_path, NOW)
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="restore"):
        Authority.open(tmp_path, NOW)


def test_a_ca_with_another_ones_key_is_refused(tmp_path: Path) -> None:
    Authority.open(tmp_path / "a", NOW)
    Authority.open(tmp_path / "b", NOW)
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(StoreError, match="not the key"):
        Authority.open(tmp_path / "a", NOW)


def test_a_start_that_died_between_key_and_certificate_is_made_good(tmp_path: Path) -> None:
    Authority.open(tmp_path, NOW)
    (tmp_path / "ca.pem").unlink()
    authority = Authority.open(tmp_path, NOW)
    handshake(authority.ssl_context(NAMES, NOW), trusting(authority), REGISTRAR_NAME)


def test_a_ca_near_its_end_says_what_to_do(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, NOW)
    with pytest.raises(StoreError, match="new token"):
        authority.renew(NAMES, NOW + CA_LIFETIME - timedelta(days=30))


def start(folder: Path, begin: Any, pins: Any) -> None:
    begin.wait()
    authority = Authority.open(folder, NOW)
    authority.ssl_context(NAMES, NOW)
    pins.put(authority.pin)


def test_processes_that_start_at_once_make_one_ca(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    begin, pins = spawn.Barrier(3), spawn.Queue()
    processes = [spawn.Process(target=start, args=(tmp_path / "tls", begin, pins)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {pins.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert found == {Authority.open(tmp_path / "tls", NOW).pin}


def test_a_directory_servers_certificate_is_for_its_addresses_and_makes_no_registrar(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "tls", NOW)
    pem = authority.issue_server(["10.0.0.5", "2001:db8::5", "10.0.0.5"], NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_pem))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == ["10.0.0.5", "2001:db8::5"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    key = serialization.load_pem_private_key(pem, None)
    assert key.public_key() == certificate.public_key()


def test_a_terminals_certificate_bears_its_address_and_the_name_of_its_entry(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "tls", NOW)
    certificate = x509.load_pem_x509_certificate(authority.issue_client("fax1@office.lan", NOW, "fax1"))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_pem))
    assert certificate.subject.rfc4514_string() == "CN=fax1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == ["fax1@office.lan"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_an_address_that_no_certificate_can_bear_is_refused(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "tls", NOW)
    with pytest.raises(InvalidAddress, match="64 characters fit"):
        authority.issue_client(f"{'ü' * 30}@{'x' * 40}.lan", NOW)
    authority.issue_client(f"{'u' * 30}@{'x' * 40}.lan", NOW)
