"""The tools of OpenLDAP against our directory: each of them, with what it can do here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.directory_program import ADMIN, BASE, SUFFIX, DirectoryProgram, entries

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    with DirectoryProgram(tmp_path_factory.mktemp("directory")) as running:
        for number in range(1, 10):
            running.add(f"scan{number}", f"10.0.9.{number}", f"description: floor {number % 3}")
        running.add("färg", "10.0.9.10")
        yield running


def names(found: list[tuple[str, dict[str, list[str]]]]) -> list[str]:
    return [name.partition(",")[0].removeprefix("cn=") for name, _ in found]


# -- ldapsearch


@pytest.mark.parametrize(
    ("base", "scope", "expected"),
    [
        (BASE, "base", [BASE]),
        (f"cn=scan1,{BASE}", "base", [f"cn=scan1,{BASE}"]),
        (f"cn=SCAN1 , OU=Chart, {SUFFIX.upper()}", "base", [f"cn=scan1,{BASE}"]),
        (f"mail=scan1@office.lan,{BASE}", "base", [f"cn=scan1,{BASE}"]),
        (f"cn=scan1,{BASE}", "one", []),
        (f"cn=scan1,{BASE}", "sub", [f"cn=scan1,{BASE}"]),
        (SUFFIX, "base", [SUFFIX]),
        (SUFFIX, "one", [BASE]),
    ],
)
def test_scopes(directory: DirectoryProgram, base: str, scope: str, expected: list[str]) -> None:
    assert [name for name, _ in directory.search("-s", scope, "(objectClass=*)", "1.1", base=base)] == expected


@pytest.mark.parametrize("base", [BASE, SUFFIX, ""])
def test_every_base_above_the_chart_leads_to_all_of_it(directory: DirectoryProgram, base: str) -> None:
    found = directory.search("(lanpostKey=scan*)", "cn", base=base)
    assert sorted(names(found)) == [f"scan{number}" for number in range(1, 10)]


@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        ("(mail=scan1@office.lan)", "1"),
        ("(mailLocalAddress=SCAN1@OFFICE.LAN)", "1"),
        ("(lanpostKey=SCAN1@office.lan)", ""),  # as it is compared, and exactly so
        ("(lanpostKey=scan1@office.lan)", "1"),
        ("(&(objectClass=ipHost)(|(cn=scan2)(cn=scan3))(!(cn=scan3)))", "2"),
        ("(&(cn=s*n1)(mail=*office*))", "1"),
        ("(cn=*can4)", "4"),
        ("(ipHostNumber=10.0.9.5)", "5"),
        ("(description=Floor  2)", "2 5 8"),
        ("(description~=floor 2)", "2 5 8"),
        ("(cn:dn:=scan6)", "6"),
        ("(cn:caseExactMatch:=scan6)", "6"),
        ("(cn:caseExactMatch:=SCAN6)", ""),
        ("(&(lanpostPort>=25)(lanpostPort<=25)(cn=scan7))", "7"),
        ("(&(lanpostUpdated>=20200101000000Z)(cn=scan8))", "8"),
        ("(&(lanpostUpdated<=20200101000000Z)(cn=scan8))", ""),
        ("(unheardof=x)", ""),
        ("(&(cn=scan9)(!(unheardof=x)))", ""),  # undefined, and so is its negation (RFC 4511 §4.5.1.7)
        ("(&(cn=scan9)(&))", "9"),
        ("(&(cn=scan9)(|))", ""),
        (r"(cn=scan\39)", "9"),
        (r"(mail=\2a)", ""),
        ("(2.5.4.3=scan9)", "9"),
    ],
)
def test_filters(directory: DirectoryProgram, searched: str, expected: str) -> None:
    found = directory.search("-s", "one", searched, "cn")
    assert names(found) == [f"scan{number}" for number in expected.split()]


def test_attributes_are_those_asked_for(directory: DirectoryProgram) -> None:
    ((_, all_user),) = directory.search("(cn=scan1)")
    assert all_user["mailHost"] == ["[10.0.9.1]"]
    assert "entryUUID" not in all_user
    ((_, operational),) = directory.search("(cn=scan1)", "+")
    assert operational["entryDN"] == [f"cn=scan1,{BASE}"]
    assert "cn" not in operational
    ((_, both),) = directory.search("(cn=scan1)", "*", "+")
    assert both == all_user | operational
    ((_, types),) = directory.search("-A", "(cn=scan1)", "CN", "2.5.4.13", "unheardof")
    assert types == {"cn": [""], "description": [""]}


def test_pages_hold_together_to_the_whole(directory: DirectoryProgram) -> None:
    printed = directory.tool("ldapsearch", "-x", "-LLL", "-b", BASE, "-E", "pr=3/noprompt", "(cn=scan*)", "cn")
    assert printed.count("# pagedresults: cookie=") == 3
    assert names(entries(printed)) == [f"scan{number}" for number in range(1, 10)]


def test_sorted_both_ways_and_in_pages(directory: DirectoryProgram) -> None:
    searched = ["-x", "-LLL", "-b", BASE, "-E", "sss=description/-cn", "(cn=scan*)", "cn"]
    expected = ["scan9", "scan6", "scan3", "scan7", "scan4", "scan1", "scan8", "scan5", "scan2"]
    printed = directory.tool("ldapsearch", *searched)
    assert names(entries(printed)) == expected
    assert "# sortResult: (0) Success" in printed
    assert names(entries(directory.tool("ldapsearch", "-E", "pr=4/noprompt", *searched))) == expected


def test_limits_of_the_client_are_kept(directory: DirectoryProgram) -> None:
    printed = directory.tool("ldapsearch", "-x", "-LLL", "-b", BASE, "-z", "4", "(cn=*)", "cn", status=4)
    assert len(entries(printed)) == 4
    assert len(directory.search("-z", "10", "-l", "5", "(cn=*)", "cn")) == 10


def test_who_copies_the_chart_has_all_of_it(directory: DirectoryProgram) -> None:
    found = directory.search("-E", "sync=ro", "(cn=scan*)", "cn")
    assert names(found) == [f"scan{number}" for number in range(1, 10)]


def test_who_follows_the_chart_sees_what_comes_changes_and_goes(
    directory: DirectoryProgram, tmp_path: Path
) -> None:
    with (tmp_path / "seen").open("wb") as seen:
        follower = subprocess.Popen(
            ["ldapsearch", "-x", "-H", directory.url, "-b", BASE, "-E", "sync=rp", "(cn=follow*)", "description"],
            stdout=seen,
            stderr=seen,
        )

    def told(*words: str) -> bool:
        text = (tmp_path / "seen").read_text("utf-8")
        return all(word in text for word in words)

    try:
        directory.wait_until(lambda: told("SyncInfo Received"), "the end of the refresh")
        directory.add("follow1", "10.0.8.1")
        directory.wait_until(lambda: told(f"dn: cn=follow1,{BASE}"), "what was added")
        directory.modify("follow1", "replace: description\ndescription: moved")
        directory.wait_until(lambda: told("description: moved"), "what was modified")
        directory.tool("ldapdelete", f"cn=follow1,{BASE}")
        directory.wait_until(lambda: told(" deleted\n"), "what was deleted")
    finally:
        follower.kill()
        follower.wait()


def test_encrypted_from_the_start_or_after_starttls(directory: DirectoryProgram) -> None:
    for words in (["-ZZ"], ["-H", directory.url.replace("ldap:", "ldaps:")]):
        url = words.pop() if "-H" in words else ""
        words = [word for word in words if word != "-H"]
        printed = directory.tool("ldapsearch", "-x", "-LLL", *words, "-b", BASE, "(cn=scan1)", "cn", url=url)
        assert names(entries(printed)) == ["scan1"]


def test_the_root_names_what_there_is(directory: DirectoryProgram) -> None:
    ((_, root),) = directory.search("-s", "base", "(objectClass=*)", "*", "+", base="")
    assert root["namingContexts"] == [SUFFIX]
    assert root["supportedLDAPVersion"] == ["3"]
    assert root["supportedSASLMechanisms"] == ["EXTERNAL"]
    ((_, schema),) = directory.search(
        "-s", "base", "(objectClass=subschema)", "+", base=root["subschemaSubentry"][0]
    )
    assert any("'lanpostTerminal'" in each for each in schema["objectClasses"])


def test_a_base_that_is_not_there(directory: DirectoryProgram) -> None:
    directory.tool("ldapsearch", "-x", "-b", f"cn=nobody,{BASE}", status=32)
    directory.tool("ldapsearch", "-x", "-b", "dc=elsewhere", status=32)
    directory.tool("ldapsearch", "-x", "-b", "no name", status=34)


# -- writing


def test_an_entry_is_added_modified_compared_and_deleted(directory: DirectoryProgram) -> None:
    name = f"cn=new1,{BASE}"
    directory.add("new1", "10.0.8.7", "facsimileTelephoneNumber: +49 30 1234")
    assert directory.lanpost_json("lookup", "new1")["endpoint"] == "10.0.8.7:25"
    directory.modify(
        "new1", "replace: ipHostNumber\nipHostNumber: 10.0.8.8\n-\nreplace: lanpostPort\nlanpostPort: 2525"
    )
    assert directory.lanpost_json("lookup", "new1")["endpoint"] == "10.0.8.8:2525"
    directory.tool("ldapcompare", name, "mailHost:[10.0.8.8]", status=6)
    directory.tool("ldapcompare", name, "facsimileTelephoneNumber:+49301234", status=6)
    directory.tool("ldapcompare", name, "mailHost:[10.0.8.7]", status=5)
    directory.tool("ldapcompare", name, "description:x", status=16)
    directory.modify("new1", "delete: ipHostNumber")
    assert directory.lanpost_json("lookup", "new1")["outcome"] == "hold"
    directory.tool("ldapdelete", name)
    directory.tool("ldapdelete", name, status=32)
    assert directory.search("(cn=new1)") == []


def test_what_is_added_twice_or_below_elsewhere_is_refused(directory: DirectoryProgram) -> None:
    ldif = "dn: cn={},{}\nobjectClass: device\nobjectClass: lanpostTerminal\ncn: scan1\n"
    directory.tool("ldapadd", given=ldif.format("scan1", BASE), status=68)
    directory.tool("ldapadd", given=ldif.format("scan1", SUFFIX), status=53)
    assert "is no attribute here" in directory.tool(
        "ldapadd", given=ldif.format("scan77", BASE) + "unheardof: x\n", status=17
    )


def test_a_rename_is_refused_and_says_what_to_do(directory: DirectoryProgram) -> None:
    printed = directory.tool("ldapmodrdn", f"cn=scan1,{BASE}", "cn=scan99", status=53)
    assert "add another entry and delete this" in printed


def test_a_terminal_moves_itself_and_nobody_else(directory: DirectoryProgram) -> None:
    secret = directory.enrol("own1")
    itself = ["-x", "-D", f"cn=own1,{BASE}", "-w", secret]
    port = directory.settings["delivery"]["endpoint_ports"][0]
    here = f"ipHostNumber: 127.0.0.1\n-\nreplace: lanpostPort\nlanpostPort: {port}"
    directory.modify("own1", f"replace: ipHostNumber\n{here}", *itself)
    assert directory.lanpost_json("lookup", "own1")["endpoint"] == f"127.0.0.1:{port}"
    directory.modify("scan1", f"replace: ipHostNumber\n{here}", *itself, status=50)
    directory.modify("own1", "replace: mail\nmail: scan1@office.lan", *itself, status=53)
    directory.modify("own1", "replace: description\ndescription: mine", *itself, status=50)
    directory.tool("ldapdelete", *itself, f"cn=own1,{BASE}", status=50)
    directory.tool("ldapdelete", "-x", f"cn=own1,{BASE}", status=8)
    directory.modify("own1", "delete: ipHostNumber", *itself)
    assert directory.lanpost_json("lookup", "own1")["outcome"] == "hold"


# -- who one is, and extended operations


def test_who_one_is(directory: DirectoryProgram, tmp_path: Path) -> None:
    secret = directory.enrol("who1")
    for tool, words in (("ldapwhoami", []), ("ldapexop", ["whoami"])):
        assert directory.tool(tool, "-x", *words).strip() == "anonymous"
        assert directory.tool(tool, *words).strip() == f"dn:{ADMIN}"
        itself = ["-x", "-D", f"cn=WHO1,{BASE}", "-w", secret]
        assert directory.tool(tool, *itself, *words).strip() == f"dn:cn=who1,{BASE}"


def test_wrong_passwords_and_none(directory: DirectoryProgram) -> None:
    directory.tool("ldapwhoami", "-x", "-D", ADMIN, "-w", "wrong", status=49)
    directory.tool("ldapwhoami", "-x", "-D", f"cn=nobody,{BASE}", "-w", "wrong", status=49)


def test_a_certificate_proves_who_one_is(
    directory: DirectoryProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "cert1.pem"
    directory.lanpost("ca", "issue", "cert1", "--out", str(pem))
    monkeypatch.setenv("LDAPTLS_CERT", str(pem))
    monkeypatch.setenv("LDAPTLS_KEY", str(pem))
    # Nobody until the terminal is known.
    directory.tool("ldapwhoami", "-Y", "EXTERNAL", "-ZZ", status=49)
    directory.enrol("cert1")
    for words, url in ((["-ZZ"], directory.url), ([], directory.url.replace("ldap:", "ldaps:"))):
        assert f"dn:cn=cert1,{BASE}" in directory.tool("ldapwhoami", "-Y", "EXTERNAL", *words, url=url)


def test_a_lease_is_refreshed(directory: DirectoryProgram) -> None:
    soon = f"{datetime.now(UTC) + timedelta(hours=1):%Y%m%d%H%M%SZ}"
    directory.add("lease1", "10.0.8.9", f"lanpostExpires: {soon}")
    printed = directory.tool("ldapexop", "refresh", f"cn=lease1,{BASE}", "7200")
    assert "newttl=7200" in printed
    ((_, entry),) = directory.search("(cn=lease1)", "entryTtl")
    assert 7100 < int(entry["entryTtl"][0]) <= 7200
    assert "no lease" in directory.tool("ldapexop", "refresh", f"cn=scan1,{BASE}", "7200", status=1)
    directory.tool("ldapexop", "refresh", f"cn=nobody,{BASE}", "7200", status=1)


def test_what_is_not_there_to_be_cancelled_or_done(directory: DirectoryProgram) -> None:
    assert "(119)" in directory.tool("ldapexop", "cancel", "7", status=1)
    assert "(2)" in directory.tool("ldappasswd", "-s", "new", f"cn=scan1,{BASE}", status=1)
    assert "(2)" in directory.tool("ldapexop", "1.2.3.4", status=1)


def test_unknown_controls_matter_only_where_they_are_critical(directory: DirectoryProgram) -> None:
    assert directory.search("-E", "subentries", "(cn=scan1)", "cn")
    directory.tool("ldapsearch", "-x", "-b", BASE, "-E", "!subentries", "(cn=scan1)", status=12)
    directory.tool("ldapdelete", "-e", "!relax", f"cn=scan1,{BASE}", status=12)


def test_who_takes_referrals_for_entries_finds_entries(directory: DirectoryProgram) -> None:
    assert names(directory.search("-e", "!manageDSAit", "(cn=scan1)", "cn")) == ["scan1"]
    directory.tool("ldapcompare", "-e", "!manageDSAit", f"cn=scan1,{BASE}", "cn:scan1", status=6)


def test_urls_that_ldapurl_writes_lead_to_the_entry(directory: DirectoryProgram) -> None:
    host, _, port = directory.url.removeprefix("ldap://").partition(":")
    made = subprocess.run(
        ["ldapurl", "-S", "ldap", "-h", host, "-p", port, "-b", BASE, "-s", "one", "-f", "(cn=scan1)", "-a", "cn"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    taken = subprocess.run(["ldapurl", "-H", made], capture_output=True, text=True, check=True).stdout
    parts = dict(line.split(": ", 1) for line in taken.splitlines() if ": " in line)
    found = directory.search("-s", parts["scope"], parts["filter"], parts["selector"], base=parts["dn"])
    assert found == [(f"cn=scan1,{BASE}", {"cn": ["scan1"]})]


def test_the_log_has_no_error_after_all_this(directory: DirectoryProgram) -> None:
    assert '"level": "error"' not in directory.log()
