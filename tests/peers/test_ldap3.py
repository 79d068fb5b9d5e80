"""ldap3 against our directory: all that it can do here, reading the root and the schema as it does by itself."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ldap3
import pytest
from ldap3.core import exceptions
from tests.directory_program import ADMIN, BASE, PASSWORD, SUFFIX, DirectoryProgram
from tests.program import HOST, PATIENCE

from lanpost.store.authority import Authority

pytestmark = pytest.mark.peer
MANY = 600


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    with DirectoryProgram(tmp_path_factory.mktemp("directory")) as running:
        for number in range(1, 10):
            running.add(f"scan{number}", f"10.0.9.{number}", f"description: floor {number % 3}")
        rows = "".join(f"many{number},10.1.{number // 250}.{number % 250 + 1}\n" for number in range(MANY))
        file = running.folder / "many.csv"
        file.write_text(f"address,endpoint\n{rows}", "ascii")
        running.lanpost("chart", "import", str(file))
        yield running


def server(directory: DirectoryProgram, **options: Any) -> ldap3.Server:
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(directory.ca_file), **options.pop("tls", {}))
    return ldap3.Server(HOST, directory.port, tls=tls, connect_timeout=PATIENCE, **options)


# Its thread that reads goes on for ever, as fast as it can, once a connection with a time limit is closed.
ASYNC = {"client_strategy": ldap3.ASYNC, "receive_timeout": None}


@contextmanager
def connected(
    directory: DirectoryProgram, *who: str, at: ldap3.Server | None = None, start_tls: bool = False, **options: Any
) -> Iterator[ldap3.Connection]:
    """Bound as `who`, DN and password; as nobody without. ldap3 knows our schema, and raises what we refuse."""
    options = {"raise_exceptions": True, "receive_timeout": int(PATIENCE), **options}
    connection = ldap3.Connection(at or server(directory, get_info=ldap3.ALL), *who, **options)
    try:
        connection.open(read_server_info=False)
        if start_tls:
            connection.start_tls(read_server_info=False)
        connection.bind()
        yield connection
    finally:
        connection.unbind()


@pytest.fixture(scope="module")
def admin(directory: DirectoryProgram) -> Iterator[ldap3.Connection]:
    with connected(directory, ADMIN, PASSWORD) as connection:
        yield connection


@pytest.fixture(scope="module")
def anybody(directory: DirectoryProgram) -> Iterator[ldap3.Connection]:
    with connected(directory) as connection:
        yield connection


def found(connection: ldap3.Connection) -> list[str]:
    """Names of the entries that the last search told."""
    return [entry["dn"].partition(",")[0].removeprefix("cn=") for entry in connection.response if "dn" in entry]


def search(connection: ldap3.Connection, text: str, base: str = BASE, **options: Any) -> list[str]:
    connection.search(base, text, **options)
    return found(connection)


# -- who one is


def test_who_one_is(directory: DirectoryProgram, admin: ldap3.Connection, anybody: ldap3.Connection) -> None:
    secret = directory.enrol("own3")
    assert admin.extend.standard.who_am_i() == f"dn:{ADMIN}"
    assert not anybody.extend.standard.who_am_i()
    with connected(directory, f"CN=own3,{BASE}", secret) as terminal:
        assert terminal.extend.standard.who_am_i() == f"dn:cn=own3,{BASE}"
        terminal.rebind(ADMIN, PASSWORD)
        assert terminal.extend.standard.who_am_i() == f"dn:{ADMIN}"


def test_wrong_passwords_and_ways_that_are_not_offered(directory: DirectoryProgram) -> None:
    for who in ((ADMIN, "wrong"), (f"cn=nobody,{BASE}", "wrong")):
        with pytest.raises(exceptions.LDAPInvalidCredentialsResult), connected(directory, *who):
            pass
    digest = {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.DIGEST_MD5}
    with (
        pytest.raises(exceptions.LDAPAuthMethodNotSupportedResult, match="EXTERNAL is"),
        connected(directory, sasl_credentials=(None, "a", "b", None), **digest),
    ):
        pass


@pytest.mark.parametrize("way", ["StartTLS", "LDAPS"])
def test_a_certificate_proves_who_one_is(directory: DirectoryProgram, tmp_path: Path, way: str) -> None:
    name = f"cert-{way.lower()}"
    directory.enrol(name)
    now = datetime.now(UTC)
    pem = tmp_path / "own.pem"
    pem.write_bytes(Authority.open(directory.folder / "data/tls", now).issue_client(f"{name}@office.lan", now))
    shown = {"local_certificate_file": str(pem), "local_private_key_file": str(pem)}
    at = server(directory, tls=shown, use_ssl=way == "LDAPS")
    options = {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL}
    with connected(directory, at=at, start_tls=way == "StartTLS", **options) as terminal:
        assert terminal.extend.standard.who_am_i() == f"dn:cn={name},{BASE}"


def test_starttls_in_the_midst_of_a_session(directory: DirectoryProgram) -> None:
    with connected(directory, at=server(directory)) as connection:
        assert search(connection, "(cn=scan1)") == ["scan1"]
        assert connection.start_tls(read_server_info=False)
        assert connection.tls_started
        assert search(connection, "(cn=scan1)") == ["scan1"]


# -- what it reads by itself


def test_it_reads_the_root_and_the_schema(anybody: ldap3.Connection) -> None:
    told, schema = anybody.server.info, anybody.server.schema
    assert told.naming_contexts == [SUFFIX]
    assert told.supported_ldap_versions == ["3"]
    assert told.supported_sasl_mechanisms == ["EXTERNAL"]
    assert told.vendor_name == ["lanpost"]
    offered = {oid for oid, *_ in (*told.supported_controls, *told.supported_extensions)}
    assert {"1.2.840.113556.1.4.319", "1.3.6.1.4.1.4203.1.11.3"} <= offered
    terminal = schema.object_classes["lanpostTerminal"]
    assert terminal.kind == "AUXILIARY"
    assert "facsimileTelephoneNumber" in terminal.may_contain
    assert schema.attribute_types["lanpostPort"].single_value
    named = {name for each in schema.object_classes.values() for name in (*each.must_contain, *each.may_contain)}
    assert [name for name in named if name not in schema.attribute_types] == []


def test_values_come_as_the_schema_says_they_are(anybody: ldap3.Connection) -> None:
    anybody.search(BASE, "(cn=scan1)", attributes=["cn", "lanpostPort", "lanpostUpdated", "mailHost", "+"])
    (entry,) = anybody.entries
    assert entry.lanpostPort.value == 25
    assert abs((datetime.now(UTC) - entry.lanpostUpdated.value).total_seconds()) < 600
    assert entry.mailHost.value == "[10.0.9.1]"
    assert entry.entry_raw_attributes["entryDN"] == [f"cn=scan1,{BASE}".encode()]


def test_it_refuses_an_attribute_that_the_schema_does_not_know(anybody: ldap3.Connection) -> None:
    with pytest.raises(exceptions.LDAPAttributeError):
        search(anybody, "(cn=scan1)", attributes=["unheardof"])


# -- searches


@pytest.mark.parametrize(
    ("base", "scope", "expected"),
    [
        (f"cn=scan1,{BASE}", ldap3.BASE, [f"cn=scan1,{BASE}"]),
        (SUFFIX, ldap3.LEVEL, [BASE]),
        (f"cn=scan1,{BASE}", ldap3.LEVEL, []),
        (f"cn=scan1,{BASE}", ldap3.SUBTREE, [f"cn=scan1,{BASE}"]),
        (SUFFIX, ldap3.BASE, [SUFFIX]),
    ],
)
def test_scopes(anybody: ldap3.Connection, base: str, scope: str, expected: list[str]) -> None:
    anybody.search(base, "(objectClass=*)", scope)
    assert [entry["dn"] for entry in anybody.response] == expected


@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        ("(mailLocalAddress=SCAN1@office.lan)", "1"),
        ("(&(objectClass=ipHost)(|(cn=scan2)(cn=scan3))(!(cn=scan3)))", "2"),
        ("(cn=s*n*4)", "4"),
        ("(description~=floor 2)", "2 5 8"),
        ("(&(lanpostPort>=25)(lanpostPort<=25)(cn=scan7))", "7"),
        ("(cn:caseExactMatch:=scan6)", "6"),
        ("(cn:dn:=scan6)", "6"),
        (r"(cn=scan\39)", "9"),
        ("(&(cn=scan*)(facsimileTelephoneNumber=*))", ""),
    ],
)
def test_filters(anybody: ldap3.Connection, searched: str, expected: str) -> None:
    assert search(anybody, searched) == [f"scan{number}" for number in expected.split()]


def test_a_base_that_is_not_there(anybody: ldap3.Connection) -> None:
    with pytest.raises(exceptions.LDAPNoSuchObjectResult) as refused:
        search(anybody, "(cn=*)", f"cn=nobody,{BASE}")
    assert refused.value.dn == BASE


def test_pages_hold_together_to_the_whole(anybody: ldap3.Connection) -> None:
    paged = anybody.extend.standard.paged_search
    told = paged(BASE, "(cn=many*)", attributes=["cn"], paged_size=100, generator=True)
    names = [entry["attributes"]["cn"][0] for entry in told]
    assert sorted(names) == sorted(f"many{number}" for number in range(MANY))
    anybody.search(BASE, "(cn=many*)", paged_size=100)
    page = anybody.result["controls"]["1.2.840.113556.1.4.319"]["value"]
    assert len(found(anybody)) == 100
    assert page["cookie"]


def test_limits_of_the_client_are_kept(anybody: ldap3.Connection) -> None:
    assert len(search(anybody, "(cn=many*)", size_limit=4)) == 4
    assert anybody.result["description"] == "sizeLimitExceeded"
    assert len(search(anybody, "(cn=scan*)", size_limit=9, time_limit=5)) == 9


def test_many_searches_at_once_on_one_connection(directory: DirectoryProgram) -> None:
    with connected(directory, **ASYNC) as connection:
        asked = {number: connection.search(BASE, f"(cn=many{number})") for number in range(200)}
        told = {number: connection.get_response(message)[0] for number, message in asked.items()}
    assert {number: [entry["dn"] for entry in each] for number, each in told.items()} == {
        number: [f"cn=many{number},{BASE}"] for number in asked
    }


def test_a_search_is_abandoned_and_the_connection_goes_on(directory: DirectoryProgram) -> None:
    with connected(directory, **ASYNC) as connection:
        for _ in range(20):
            connection.abandon(connection.search(BASE, "(cn=*a*)"))
        response, result = connection.get_response(connection.search(BASE, "(cn=scan1)"))
    assert [entry["dn"] for entry in response] == [f"cn=scan1,{BASE}"]
    assert result["description"] == "success"


# -- writing


def test_an_entry_is_added_modified_compared_and_deleted(
    directory: DirectoryProgram, admin: ldap3.Connection
) -> None:
    name = f"cn=new3,{BASE}"
    admin.add(name, ["device", "lanpostTerminal", "ipHost"], {"ipHostNumber": "10.0.8.7", "cn": "new3"})
    assert directory.lanpost_json("lookup", "new3")["endpoint"] == "10.0.8.7:25"
    admin.modify(
        name,
        {
            "ipHostNumber": [(ldap3.MODIFY_REPLACE, ["10.0.8.8"])],
            "telephoneNumber": [(ldap3.MODIFY_ADD, ["+49 30 1", "+49 30 2"]), (ldap3.MODIFY_DELETE, ["+49301"])],
        },
    )
    assert directory.lanpost_json("lookup", "new3")["endpoint"] == "10.0.8.8:25"
    assert admin.compare(name, "mailHost", "[10.0.8.8]")
    assert not admin.compare(name, "telephoneNumber", "+49 30 1")
    with pytest.raises(exceptions.LDAPNoSuchAttributeResult):
        admin.compare(name, "description", "x")
    with pytest.raises(exceptions.LDAPEntryAlreadyExistsResult):
        admin.add(name, ["device", "lanpostTerminal"], {"cn": "new3"})
    admin.delete(name)
    assert search(admin, "(cn=new3)") == []
    with pytest.raises(exceptions.LDAPNoSuchObjectResult):
        admin.delete(name)


def test_its_abstraction_layer_changes_an_entry(directory: DirectoryProgram, admin: ldap3.Connection) -> None:
    directory.add("layer3", "10.0.8.20")
    classes = ldap3.ObjectDef(["device", "ipHost", "lanpostTerminal"], admin)
    reader = ldap3.Reader(admin, classes, BASE, "cn: layer3")
    reader.search()
    writable = ldap3.Writer.from_cursor(reader)
    writable[0].ipHostNumber = "10.0.8.21"
    writable[0].description = "by the stairs"
    assert writable.commit()
    assert directory.lanpost_json("lookup", "layer3")["endpoint"] == "10.0.8.21:25"
    assert search(admin, "(description=By the Stairs)") == ["layer3"]


def test_a_rename_is_refused_and_says_what_to_do(admin: ldap3.Connection) -> None:
    with pytest.raises(exceptions.LDAPUnwillingToPerformResult) as refused:
        admin.modify_dn(f"cn=scan1,{BASE}", "cn=scan99")
    assert "add another entry and delete this" in refused.value.message


def test_a_terminal_moves_itself_and_nobody_else(directory: DirectoryProgram, anybody: ldap3.Connection) -> None:
    secret = directory.enrol("self3")
    port = directory.settings["delivery"]["endpoint_ports"][0]
    here = {
        "ipHostNumber": [(ldap3.MODIFY_REPLACE, [HOST])],
        "lanpostPort": [(ldap3.MODIFY_REPLACE, [str(port)])],
    }
    with connected(directory, f"cn=self3,{BASE}", secret) as terminal:
        terminal.modify(f"cn=self3,{BASE}", here)
        with pytest.raises(exceptions.LDAPInsufficientAccessRightsResult):
            terminal.modify(f"cn=scan1,{BASE}", here)
        with pytest.raises(exceptions.LDAPInsufficientAccessRightsResult):
            terminal.delete(f"cn=self3,{BASE}")
    assert directory.lanpost_json("lookup", "self3")["endpoint"] == f"{HOST}:{port}"
    with pytest.raises(exceptions.LDAPStrongerAuthRequiredResult, match="bind first"):
        anybody.delete(f"cn=self3,{BASE}")


def test_the_log_has_no_error_after_all_this(directory: DirectoryProgram) -> None:
    assert '"level": "error"' not in directory.log()
