"""OpenLDAP keeps a replica of our directory (syncrepl, refreshAndPersist), as deploy/openldap/README.md says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench.slapd_instance import DEPLOY
from tests.directory_program import BASE, PASSWORD, DirectoryProgram, entries, run_tool
from tests.mail_servers import wait_until
from tests.slapd_of_a_file import FileSlapd

pytestmark = pytest.mark.peer
FARG = {"färg": "[10.0.7.99]"}  # of every chart here


class Replica:
    """An OpenLDAP that copies `directory`: the README's lines, at this machine's paths."""

    def __init__(self, directory: DirectoryProgram) -> None:
        self.directory = directory
        text = (DEPLOY / "README.md").read_text("utf-8")
        (block,) = re.findall(r"^```\n(database mdb\n.*?)```", text, re.DOTALL | re.MULTILINE)
        for theirs, here in (
            ("/var/lib/ldap", "{folder}/data"),
            ("ldap://192.0.2.5", directory.url),
            ("the administrator's", PASSWORD),
            ("/etc/ldap/lanpost-ca.pem", str(directory.ca_file)),
            ("10 +", "1 +"),  # seconds until it tries again
        ):
            assert theirs in block
            block = block.replace(theirs, here)
        self.slapd = FileSlapd(block, modules=("back_mdb",))

    def chart(self) -> dict[str, str]:
        """Name and mailHost of every entry, "" for those that have none."""
        words = ["-x", "-LLL", "-o", "ldif_wrap=no", "-H", self.slapd.url, "-b", BASE, "-s", "one", "mailHost"]
        printed = run_tool("ldapsearch", words).stdout
        return {
            name.partition(",")[0].removeprefix("cn="): "".join(entry.get("mailHost", ()))
            for name, entry in entries(printed)
        }

    def becomes(self, expected: dict[str, str]) -> None:
        """Wait until that is what it has."""
        wait_until(
            lambda: self.chart() == FARG | expected,
            f"{expected} in the replica",
            lambda: f"{self.chart()}\n{self.slapd.log()[-4000:]}",
        )


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DirectoryProgram]:
    with DirectoryProgram(tmp_path) as running:
        running.add("fax1", "10.0.7.1", "description: by the stairs")
        running.add("fax2", "10.0.7.2")
        running.enrol("fax3")
        running.add("färg", "10.0.7.99", "description: på våningen", "facsimileTelephoneNumber: +46 8 1")
        yield running


def test_it_follows_every_change_and_catches_up_after_either_was_away(directory: DirectoryProgram) -> None:
    replica = Replica(directory)
    with replica.slapd as slapd:
        replica.becomes({"fax1": "[10.0.7.1]", "fax2": "[10.0.7.2]", "fax3": ""})
        directory.add("fax4", "10.0.7.4")
        directory.modify("fax1", "replace: ipHostNumber\nipHostNumber: 10.0.7.11")
        directory.tool("ldapdelete", f"cn=fax2,{BASE}")
        replica.becomes({"fax1": "[10.0.7.11]", "fax3": "", "fax4": "[10.0.7.4]"})

        directory.stop()
        directory.lanpost("chart", "remove", "fax4")
        directory.lanpost("chart", "set", "fax3", "10.0.7.3:25")
        directory.start()
        replica.becomes({"fax1": "[10.0.7.11]", "fax3": "[10.0.7.3]"})
        directory.add("fax5", "10.0.7.5")
        replica.becomes({"fax1": "[10.0.7.11]", "fax3": "[10.0.7.3]", "fax5": "[10.0.7.5]"})

        slapd.stop()
        directory.tool("ldapdelete", f"cn=fax3,{BASE}")
        directory.modify("fax1", "delete: ipHostNumber\n-\nreplace: description\ndescription: upstairs")
        directory.add("fax6", "10.0.7.6")
        slapd.start()
        replica.becomes({"fax1": "", "fax5": "[10.0.7.5]", "fax6": "[10.0.7.6]"})
        for name in ("fax1", "färg"):
            assert same_entry(replica, name) == same_entry(replica, name, of_ours=True)
        directory.tool("ldapdelete", f"cn=fax5,{BASE}")
        replica.becomes({"fax1": "", "fax6": "[10.0.7.6]"})
    assert '"level": "error"' not in directory.log()


def same_entry(replica: Replica, name: str, *, of_ours: bool = False) -> dict[str, list[str]]:
    """All that is told of an entry, but for what each server notes for itself."""
    url = replica.directory.url if of_ours else replica.slapd.url
    words = ["-x", "-LLL", "-o", "ldif_wrap=no", "-H", url, "-b", BASE, f"(cn={name})", "*", "entryUUID"]
    ((_, found),) = entries(run_tool("ldapsearch", words).stdout)
    return found


def test_a_lease_that_ends_ends_there_too(directory: DirectoryProgram) -> None:
    directory.add("fax9", "10.0.7.9", f"lanpostExpires: {datetime.now(UTC) + timedelta(seconds=4):%Y%m%d%H%M%SZ}")
    replica = Replica(directory)
    with replica.slapd:
        known = {"fax1": "[10.0.7.1]", "fax2": "[10.0.7.2]", "fax3": ""}
        replica.becomes(known | {"fax9": "[10.0.7.9]"})
        replica.becomes(known | {"fax9": ""})
