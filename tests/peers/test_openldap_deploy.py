"""deploy/openldap as an administrator puts it to use: who may do what, asked with OpenLDAP's own tools.

Their exit status is LDAP's result code (RFC 4511 appendix A).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.processes import program, run
from bench.slapd_instance import DEPLOY, ENVIRONMENT
from tests.mail_servers import wait_until
from tests.slapd import Slapd, read_ldif

from lanpost.content.directory_schema import ATTRIBUTE_TYPES, OUR_ARC, object_class

pytestmark = pytest.mark.peer
DONE = 0
STRONGER_AUTHENTICATION = 8
OBJECT_CLASS_VIOLATION = 65
NO_SUCH_OBJECT = 32
INVALID_CREDENTIALS = 49
DENIED = 50
UNWILLING = 53
Account = tuple[str, str]
US = ("", "")  # the mail server's
LOCATION = {
    "ipHostNumber": "10.0.0.7",
    "mailHost": "[10.0.0.7]",
    "lanpostPort": "25",
    "lanpostNextHop": "smtp:[10.0.0.7]:25",
    "lanpostUpdated": "20260101000000.123456Z",
    "lanpostExpires": "20360101000000.123456Z",
    "lanpostSource": "agent",
    "lanpostOwner": "fax1@office.lan",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    with Slapd(tls=True, expiry_seconds=1) as slapd:
        yield slapd


@pytest.fixture
def directory(server: Slapd) -> Slapd:
    """With fax1 and fax2 known, and nowhere."""
    for dn in sorted(server.search("(objectClass=device)"), key=len, reverse=True):
        server.must("ldapdelete", dn)
    server.add_terminal("fax1", "one")
    server.add_terminal("fax2", "two")
    return server


@pytest.fixture
def fax1(directory: Slapd) -> Account:
    return directory.dn("fax1"), "one"


@pytest.fixture
def fax2(directory: Slapd) -> Account:
    return directory.dn("fax2"), "two"


def dhcp(directory: Slapd) -> Account:
    return directory.dhcp_dn, directory.dhcp_password


def lease_of(directory: Slapd, name: str) -> str:
    return f"cn=lease,{directory.dn(name)}"


def lease(
    dn: str, address: str, kind: str = "dynamicObject", extra: str = "", location: dict[str, str] = LOCATION
) -> str:
    classes = ("device", "ipHost", "inetLocalMailRecipient", "lanpostTerminal", kind)
    lines = [f"dn: {dn}", *(f"objectClass: {name}" for name in classes), f"cn: {dn[3:].partition(',')[0]}"]
    lines += [f"mailLocalAddress: {address}", f"lanpostKey: {address}", f"lanpostAddress: {address}"]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in location.items()), extra])


def add(directory: Slapd, ldif: str, bind: Account | None) -> int:
    return directory.tool("ldapadd", stdin=ldif, bind=bind).returncode


def modify(directory: Slapd, dn: str, change: str, bind: Account | None, *arguments: str) -> int:
    ldif = f"dn: {dn}\nchangetype: modify\n{change}\n"
    return directory.tool("ldapmodify", *arguments, stdin=ldif, bind=bind).returncode


def replace(directory: Slapd, dn: str, name: str, value: str, bind: Account | None) -> int:
    return modify(directory, dn, f"replace: {name}\n{name}: {value}", bind)


def locate(directory: Slapd, dn: str, bind: Account | None) -> int:
    changes = ["add: objectClass\nobjectClass: ipHost"]
    changes += [f"replace: {name}\n{name}: {value}" for name, value in LOCATION.items()]
    return modify(directory, dn, "\n-\n".join(changes), bind)


def definitions(text: str) -> list[str]:
    """What a schema defines, in either notation, blanks and keywords aside."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\n[ \t]+", " ", text)
    pattern = r"^(?:olc)?(objectidentifier|attributetype|objectclass)(?:e?s)?:? (?=\(|lanpost)(.*)$"
    return [" ".join(match) for match in re.findall(pattern, re.sub(" +", " ", text), re.IGNORECASE | re.MULTILINE)]


def test_both_notations_of_the_schema_say_the_same() -> None:
    (one, other) = (
        [line.lower() for line in definitions((DEPLOY / name).read_text("utf-8"))]
        for name in ("lanpost.schema", "lanpost-schema.ldif")
    )
    assert len(one) == 14  # an arc and its two branches, ten attributes, one class
    assert one == other


def test_it_knows_every_attribute_that_our_own_directory_tells() -> None:
    """A replica in OpenLDAP stands still at the first entry that has another."""
    text = " ".join(definitions((DEPLOY / "lanpost.schema").read_text("utf-8"))).replace("\n", " ")
    found = re.findall(
        r"\( lanpostAttribute:(\d+) NAME '(\w+)' DESC '[^']*' EQUALITY (\w+) .*?SYNTAX (\S+)( SINGLE-VALUE)? \)",
        text,
    )
    assert found == [
        (kind.oid.rpartition(".")[2], kind.name, kind.rule.equality, kind.syntax, " SINGLE-VALUE" * kind.single)
        for kind in ATTRIBUTE_TYPES
        if kind.oid.startswith(OUR_ARC)
    ]
    ours = object_class("lanpostTerminal")
    (may,) = re.findall(r"\( lanpostClass:1 .* MAY \( (.*?) \)", text)
    assert ours is not None
    assert sorted(may.split(" $ ")) == sorted(ours.may)


def test_the_schema_loads_from_slapd_conf(tmp_path: Path) -> None:
    if not program("slaptest"):
        pytest.skip("slaptest not installed: scripts/install-peers")
    file = tmp_path / "slapd.conf"
    stock = (f"/etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson", "nis", "misc"))
    file.write_text("".join(f"include {path}\n" for path in (*stock, DEPLOY / "lanpost.schema")), "utf-8")
    assert "succeeded" in run([program("slaptest") or "slaptest", "-u", "-f", file])


def test_a_running_slapd_publishes_it(server: Slapd) -> None:
    schema = server.search("(objectClass=subschema)", "objectClasses", base="cn=Subschema", scope="base")
    assert any("'lanpostTerminal'" in line for line in schema["cn=Subschema"]["objectClasses"])
    root = server.search("(objectClass=*)", "+", base="dc=office,dc=lan", scope="base")
    assert root


class TestTheTerminalsOwnEntry:
    def test_it_says_where_it_is_and_that_it_is_nowhere(self, directory: Slapd, fax1: Account) -> None:
        assert locate(directory, fax1[0], fax1) == DONE
        found = directory.search("(ipHostNumber=10.0.0.7)")[fax1[0]]
        assert {name: found[name] for name in LOCATION} == {name: [value] for name, value in LOCATION.items()}
        changes = ["delete: objectClass\nobjectClass: ipHost", *(f"delete: {name}" for name in LOCATION)]
        assert modify(directory, fax1[0], "\n-\n".join(changes), fax1) == DONE

    def test_an_ipv6_address_with_its_zone(self, directory: Slapd, fax1: Account) -> None:
        assert locate(directory, fax1[0], fax1) == DONE
        assert replace(directory, fax1[0], "ipHostNumber", "fe80::7%eth0", fax1) == DONE
        assert replace(directory, fax1[0], "mailHost", "[IPv6:fe80::7%eth0]", fax1) == DONE
        assert replace(directory, fax1[0], "lanpostNextHop", "smtp:[fe80::7%eth0]:25", fax1) == DONE
        assert replace(directory, fax1[0], "lanpostNextHop", "smtp:[IPv6:2001:db8::7]:25", fax1) == DONE

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("lanpostNextHop", "smtp:[mail.example.com]:25"),
            ("lanpostNextHop", "smtp:mail.example.com"),
            ("lanpostNextHop", "local:root"),
            ("lanpostNextHop", "smtp:[10.0.0.7]:25 local:root"),
            ("mailHost", "mail.example.com"),
            ("mailHost", "[mail.example.com]"),
            ("ipHostNumber", "mail.example.com"),
        ],
    )
    def test_where_it_is_is_an_ip_address(self, directory: Slapd, fax1: Account, name: str, value: str) -> None:
        assert locate(directory, fax1[0], fax1) == DONE
        assert replace(directory, fax1[0], name, value, fax1) == DENIED

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mail", "boss@office.lan"),
            ("mailLocalAddress", "fax2@office.lan"),
            ("mailRoutingAddress", "fax2@office.lan"),
            ("lanpostKey", "fax2@office.lan"),
            ("lanpostAddress", "fax2@office.lan"),
            ("description", "x"),
            ("facsimileTelephoneNumber", "1"),
            ("userPassword", "three"),
            ("objectClass", "lanpostTerminal"),
        ],
    )
    def test_it_changes_nothing_else_of_itself(
        self, directory: Slapd, fax1: Account, name: str, value: str
    ) -> None:
        assert replace(directory, fax1[0], name, value, fax1) == DENIED
        assert modify(directory, fax1[0], f"replace: {name}\n{name}: {value}", fax1, "-e", "!relax") == DENIED

    def test_it_becomes_nothing_else(self, directory: Slapd, fax1: Account) -> None:
        change = "add: objectClass\nobjectClass: ieee802Device"
        assert modify(directory, fax1[0], change, fax1) == DENIED
        assert modify(directory, fax1[0], "delete: objectClass\nobjectClass: lanpostTerminal", fax1) == DENIED
        assert directory.tool("ldapdelete", fax1[0], bind=fax1).returncode == DENIED
        assert "Insufficient access" in directory.tool("ldappasswd", "-s", "three", bind=fax1).stdout

    def test_it_adds_no_terminals(self, directory: Slapd, fax1: Account) -> None:
        ldif = f"dn: {directory.dn('fax3')}\nobjectClass: device\ncn: fax3\n"
        assert add(directory, ldif, fax1) == DENIED

    def test_it_leaves_other_entries_alone(self, directory: Slapd, fax1: Account, fax2: Account) -> None:
        assert locate(directory, fax2[0], fax1) == DENIED
        assert locate(directory, fax2[0], fax2) == DONE
        for name, value in LOCATION.items():
            assert replace(directory, fax2[0], name, value, fax1) == DENIED, name
        assert replace(directory, fax2[0], "userPassword", "x", fax1) == DENIED
        assert directory.tool("ldapdelete", fax2[0], bind=fax1).returncode == DENIED
        for above in (directory.base, directory.suffix, directory.dhcp_dn, directory.bind_dn):
            assert replace(directory, above, "description", "x", fax1) == DENIED, above


class TestLeases:
    @pytest.fixture
    def dn(self, directory: Slapd, fax1: Account) -> str:
        """Of a lease that fax1 has made."""
        dn = lease_of(directory, "fax1")
        assert add(directory, lease(dn, "fax1@office.lan"), fax1) == DONE
        return dn

    def test_a_terminal_makes_changes_renews_and_ends_its_own(
        self, directory: Slapd, fax1: Account, dn: str
    ) -> None:
        assert list(directory.search("(&(mailLocalAddress=FAX1@office.lan)(mailHost=*))")) == [dn]
        assert replace(directory, dn, "ipHostNumber", "10.0.0.8", fax1) == DONE
        assert replace(directory, dn, "mailLocalAddress", "FAX1@office.lan", fax1) == DONE
        renewed = directory.tool("ldapexop", "refresh", dn, "7200", bind=fax1)
        assert renewed.stdout.strip() == "newttl=7200"
        assert directory.tool("ldapdelete", dn, bind=fax1).returncode == DONE

    def test_it_bears_the_address_of_its_terminal_and_no_other(self, directory: Slapd, fax1: Account) -> None:
        dn = lease_of(directory, "fax1")
        assert add(directory, lease(dn, "fax2@office.lan"), fax1) == DENIED
        for name in ("mailLocalAddress", "lanpostKey", "lanpostAddress"):
            stolen = re.sub(f"(?m)^{name}: .*$", f"{name}: fax2@office.lan", lease(dn, "fax1@office.lan"))
            assert add(directory, stolen, fax1) == DENIED, name
        two = lease(dn, "fax1@office.lan", extra="mailLocalAddress: fax2@office.lan")
        assert add(directory, two, fax1) == DENIED
        assert directory.tool("ldapadd", "-e", "!relax", stdin=two, bind=fax1).returncode == DENIED
        assert add(directory, lease(dn, "fax1@office.lan", extra="mail: fax2@office.lan"), fax1) == DENIED
        assert not directory.search("(objectClass=dynamicObject)")

    @pytest.mark.parametrize("name", ["mailLocalAddress", "lanpostKey", "lanpostAddress"])
    @pytest.mark.parametrize("value", ["fax2@office.lan", "fax2@office.lan] | [fax1@office.lan"])
    def test_nor_later(self, directory: Slapd, fax1: Account, dn: str, name: str, value: str) -> None:
        assert replace(directory, dn, name, value, fax1) == DENIED
        assert modify(directory, dn, f"add: {name}\n{name}: {value}", fax1) == DENIED
        assert modify(directory, dn, f"replace: {name}\n{name}: {value}", fax1, "-e", "!relax") == DENIED

    def test_nor_by_being_renamed(self, directory: Slapd, fax1: Account, dn: str) -> None:
        for name in ("cn=other", "mailLocalAddress=fax2@office.lan", "cn=lease+lanpostKey=fax2@office.lan"):
            assert directory.tool("ldapmodrdn", dn, name, bind=fax1).returncode == UNWILLING, name
        moved = directory.tool("ldapmodrdn", "-s", directory.dn("fax2"), dn, "cn=lease", bind=fax1)
        assert moved.returncode == UNWILLING

    def test_it_is_a_lease_and_nothing_else(self, directory: Slapd, fax1: Account) -> None:
        dn = lease_of(directory, "fax1")
        assert add(directory, lease(dn, "fax1@office.lan", kind="top"), fax1) == DENIED
        assert add(directory, lease(f"cn=more,{fax1[0]}", "fax1@office.lan"), fax1) == DENIED
        password = "objectClass: simpleSecurityObject\nuserPassword: x"
        assert add(directory, lease(dn, "fax1@office.lan", extra=password), fax1) == DENIED
        named = lease(dn, "fax1@office.lan", location=LOCATION | {"mailHost": "[mail.example.com]"})
        assert add(directory, named, fax1) == DENIED

    def test_it_stays_one(self, directory: Slapd, fax1: Account, dn: str) -> None:
        change = "delete: objectClass\nobjectClass: dynamicObject"
        assert modify(directory, dn, change, fax1) != DONE
        assert modify(directory, dn, change, fax1, "-e", "!relax") != DONE
        assert add(directory, lease(f"cn=lease,{dn}", "fax1@office.lan"), fax1) == DENIED

    def test_others_leave_it_alone(self, directory: Slapd, fax2: Account, dn: str) -> None:
        for name, value in LOCATION.items():
            assert replace(directory, dn, name, value, fax2) == DENIED, name
        assert directory.tool("ldapdelete", dn, bind=fax2).returncode == DENIED
        assert "Insufficient access" in directory.tool("ldapexop", "refresh", dn, "60", bind=fax2).stdout
        assert "authentication required" in directory.tool("ldapexop", "refresh", dn, "60", bind=None).stdout
        assert directory.search("(objectClass=dynamicObject)")[dn]["ipHostNumber"] == ["10.0.0.7"]

    def test_nobody_makes_one_for_another(self, directory: Slapd, fax1: Account) -> None:
        dn = lease_of(directory, "fax2")
        assert add(directory, lease(dn, "fax2@office.lan"), fax1) == DENIED
        assert add(directory, lease(dn, "fax1@office.lan"), fax1) == DENIED
        assert add(directory, lease(dn, "fax2@office.lan"), None) == STRONGER_AUTHENTICATION

    def test_it_lasts_a_day_unless_told_otherwise(self, directory: Slapd, dn: str) -> None:
        assert 86000 < int(directory.search("(cn=lease)", "entryTtl")[dn]["entryTtl"][0]) <= 86400

    def test_it_expires_and_the_terminal_stays_known(self, directory: Slapd, fax1: Account, dn: str) -> None:
        directory.must("ldapexop", "refresh", dn, "1")
        wait_until(lambda: not directory.search("(cn=lease)"), "the lease to expire", directory.log)
        assert modify(directory, dn, "replace: lanpostPort\nlanpostPort: 25", fax1) == NO_SUCH_OBJECT
        assert directory.tool("ldapwhoami", bind=fax1).returncode == DONE

    def test_a_modify_makes_it_last_as_long_again(self, directory: Slapd, fax1: Account, dn: str) -> None:
        directory.must("ldapexop", "refresh", dn, "100")

        def expires() -> str:
            return directory.search("(cn=lease)", "entryExpireTimestamp")[dn]["entryExpireTimestamp"][0]

        before = expires()

        def is_later() -> bool:
            assert replace(directory, dn, "lanpostUpdated", "20260101000001Z", fax1) == DONE
            return expires() > before

        wait_until(is_later, "a Modify to re-arm the lease", directory.log)
        assert int(directory.search("(cn=lease)", "entryTtl")[dn]["entryTtl"][0]) <= 100

    def test_what_was_static_stays_so(self, directory: Slapd, fax1: Account) -> None:
        change = "add: objectClass\nobjectClass: dynamicObject"
        assert modify(directory, fax1[0], change, None) == STRONGER_AUTHENTICATION
        assert modify(directory, fax1[0], change, fax1) != DONE
        assert modify(directory, fax1[0], change, US) == OBJECT_CLASS_VIOLATION


class TestAccounts:
    def test_the_dhcp_servers_says_where_any_terminal_is(self, directory: Slapd, fax1: Account) -> None:
        account = dhcp(directory)
        assert locate(directory, directory.dn("fax2"), account) == DONE
        dn = lease_of(directory, "fax1")
        assert add(directory, lease(dn, "fax1@office.lan"), account) == DONE
        assert replace(directory, dn, "ipHostNumber", "10.0.0.9", account) == DONE
        assert directory.tool("ldapexop", "refresh", dn, "60", bind=account).returncode == DONE
        assert directory.tool("ldapdelete", dn, bind=account).returncode == DONE

    def test_the_dhcp_servers_says_nothing_else(self, directory: Slapd, fax1: Account) -> None:
        account = dhcp(directory)
        for name in ("mail", "mailLocalAddress", "lanpostKey", "userPassword", "description"):
            assert replace(directory, fax1[0], name, "x@office.lan", account) == DENIED, name
        assert add(directory, lease(lease_of(directory, "fax1"), "fax2@office.lan"), account) == DENIED
        assert directory.tool("ldapdelete", fax1[0], bind=account).returncode == DENIED

    def test_the_mail_servers_writes_all_below_the_chart(self, directory: Slapd) -> None:
        dn = lease_of(directory, "fax1")
        directory.add(lease(dn, "fax1@office.lan"))
        directory.must("ldapexop", "refresh", dn, "60")
        directory.must("ldapdelete", dn)
        assert replace(directory, directory.dn("fax1"), "mail", "f@office.lan", US) == DONE
        assert replace(directory, directory.dn("fax1"), "userPassword", "x", US) == DONE
        assert directory.tool("ldapwhoami", bind=(directory.dn("fax1"), "x")).returncode == DONE
        directory.must("ldapdelete", directory.dn("fax1"))

    def test_the_mail_servers_writes_nothing_else(self, directory: Slapd) -> None:
        assert replace(directory, directory.suffix, "description", "x", US) == DENIED
        assert replace(directory, directory.dhcp_dn, "userPassword", "x", US) == DENIED
        assert directory.tool("ldapdelete", directory.base, bind=US).returncode == DENIED

    def test_the_mail_servers_sees_more_than_500_entries(self, directory: Slapd, fax1: Account) -> None:
        more = (f"dn: cn=p{n},{directory.base}\nobjectClass: device\ncn: p{n}\n" for n in range(500))
        directory.add("\n".join(more))
        assert len(directory.search()) > 500
        seen = directory.tool("ldapsearch", "-LLL", "-b", directory.base, "1.1", bind=fax1)
        assert seen.returncode == 4  # sizeLimitExceeded: the first 500 are there
        assert seen.stdout.count("dn: ") == 500


class TestReading:
    def test_anybody_reads_all_but_passwords(self, directory: Slapd, fax1: Account) -> None:
        for bind in (None, fax1, US, dhcp(directory)):
            seen = directory.tool("ldapsearch", "-LLL", "-b", directory.suffix, "(mail=*)", bind=bind)
            assert "mailLocalAddress: fax2@office.lan" in seen.stdout
            assert "userPassword" not in seen.stdout
        compared = directory.tool("ldapcompare", fax1[0], "userPassword:one", bind=None)
        assert compared.returncode == DENIED

    def test_nobody_where_so_configured(self) -> None:
        changes = (DEPLOY / "no-anonymous.ldif").read_text("utf-8")
        with Slapd(changes=changes) as closed:
            closed.add_terminal("fax1", "one")
            unnamed = closed.tool("ldapsearch", "-b", closed.base, "(mail=*)", bind=None)
            assert "authentication required" in unnamed.stdout
            assert "mail:" not in unnamed.stdout
            named = closed.tool("ldapsearch", "-b", closed.base, "(mail=*)", bind=(closed.dn("fax1"), "one"))
            assert "mail: fax1@office.lan" in named.stdout
            assert closed.tool("ldapsearch", "-b", "", "-s", "base", "+", bind=None).returncode == DONE


class TestLoggingIn:
    @pytest.mark.parametrize("url", ["url", "ldaps_url"])
    @pytest.mark.parametrize(
        ("name", "unit", "dn"),
        [
            ("fax1", "", "cn=fax1,ou=chart,dc=office,dc=lan"),
            ("fax1@office.lan", "", "cn=fax1@office.lan,ou=chart,dc=office,dc=lan"),
            ("mailserver", "accounts", "cn=mailserver,dc=office,dc=lan"),
            ("dhcp", "accounts", "cn=dhcp,dc=office,dc=lan"),
            ("mailserver", "", "cn=mailserver,ou=chart,dc=office,dc=lan"),  # a terminal with that name
            ("admin", "accounts", "cn=admin,ou=accounts"),  # nobody
        ],
    )
    def test_with_a_certificate(self, directory: Slapd, url: str, name: str, unit: str, dn: str) -> None:
        arguments = ("-ZZ",) if url == "url" else ()
        certificate = directory.certificate(name, unit)
        done = directory.tool("ldapwhoami", *arguments, url=getattr(directory, url), certificate=certificate)
        assert done.stdout.strip() == f"dn:{dn}"

    def test_with_a_certificate_it_has_the_terminals_rights(self, directory: Slapd) -> None:
        certificate = directory.certificate("fax1")

        def change(name: str) -> int:
            change = f"dn: {directory.dn(name)}\nchangetype: modify\nreplace: lanpostPort\nlanpostPort: 25\n"
            return directory.tool("ldapmodify", "-ZZ", stdin=change, certificate=certificate).returncode

        assert change("fax1") == DONE
        assert change("fax2") == DENIED

    def test_a_strangers_certificate_is_not_taken(self, directory: Slapd) -> None:
        with Slapd(tls=True) as other:
            done = directory.tool("ldapwhoami", "-ZZ", certificate=other.certificate("fax1"))
        assert done.returncode != DONE

    def test_root_over_the_socket_may_everything(self, directory: Slapd, fax1: Account) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root is root")
        change = "changetype: modify\nreplace: description\ndescription: x\n"
        for dn in (fax1[0], directory.dhcp_dn, directory.suffix):
            assert directory.as_root("ldapmodify", stdin=f"dn: {dn}\n{change}").returncode == DONE, dn
        assert directory.as_root("ldapsearch", "-b", "cn=config", "-s", "base").returncode == DONE

    def test_a_wrong_password(self, directory: Slapd, fax1: Account) -> None:
        assert directory.tool("ldapwhoami", bind=(fax1[0], "two")).returncode == INVALID_CREDENTIALS

    def test_accounts_have_no_password_until_they_are_given_one(self, directory: Slapd, fax1: Account) -> None:
        passwords = re.findall(r"(?m)^userPassword: (.*)$", (DEPLOY / "base.ldif").read_text("utf-8"))
        assert passwords == ["{CRYPT}*"] * 2
        assert replace(directory, fax1[0], "userPassword", passwords[0], US) == DONE
        for password in ("*", "{CRYPT}*", "one"):
            done = directory.tool("ldapwhoami", bind=(fax1[0], password))
            assert done.returncode == INVALID_CREDENTIALS

    def test_from_elsewhere_a_password_is_taken_over_tls_only(self, abroad: Slapd) -> None:
        account = (abroad.bind_dn, abroad.password)
        assert abroad.tool("ldapwhoami", bind=account).returncode == INVALID_CREDENTIALS
        assert abroad.tool("ldapwhoami", "-ZZ", bind=account).returncode == DONE
        assert abroad.tool("ldapwhoami", bind=account, url=abroad.ldaps_url).returncode == DONE
        assert abroad.tool("ldapwhoami", bind=account, url=abroad.ldapi_url).returncode == DONE

    @pytest.fixture
    def abroad(self) -> Iterator[Slapd]:
        """At an address of this machine that is not of its loopback: the tools then come from there too."""
        found = re.findall(r"inet (\S+)/\d+ .*scope global", run(["ip", "-4", "-o", "addr"]))
        if not found:
            pytest.skip("this machine has no address but the loopback's")
        with Slapd(host=found[0], tls=True) as slapd:
            yield slapd


class TestVariants:
    @pytest.mark.parametrize("syncprov", [True, False])
    def test_without_leases_the_terminal_writes_its_own_entry(self, syncprov: bool) -> None:
        with Slapd(dds=False, syncprov=syncprov) as directory:
            dn = directory.add_terminal("fax1", "one")
            assert locate(directory, dn, (dn, "one")) == DONE
            assert add(directory, lease(f"cn=lease,{dn}", "fax1@office.lan"), (dn, "one")) != DONE
            root = directory.search("(objectClass=*)", "+", base="", scope="base")
            assert root

    def test_it_says_whether_it_has_leases(self, server: Slapd) -> None:
        root = server.must("ldapsearch", "-LLL", "-b", "", "-s", "base", "dynamicSubtrees")
        assert read_ldif(root)[""]["dynamicSubtrees"] == [server.suffix]
        with Slapd(dds=False) as other:
            assert "dynamicSubtrees: " not in other.must("ldapsearch", "-LLL", "-b", "", "-s", "base", "+")

    def test_it_lives_through_a_crash_and_a_hang(self) -> None:
        with Slapd() as directory:
            dn = directory.add_terminal("fax1", "one")
            assert add(directory, lease(f"cn=lease,{dn}", "fax1@office.lan"), (dn, "one")) == DONE
            directory.kill()
            assert directory.tool("ldapwhoami").returncode == 255  # nobody there
            directory.start()
            assert len(directory.search("(mailLocalAddress=fax1@office.lan)")) == 2
            directory.pause()
            with pytest.raises(subprocess.TimeoutExpired):
                run(["ldapwhoami", "-x", "-H", directory.url], env=ENVIRONMENT, timeout=0.3)
            directory.resume()
            assert directory.tool("ldapwhoami").returncode == DONE
