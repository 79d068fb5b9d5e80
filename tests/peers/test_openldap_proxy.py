"""OpenLDAP as a proxy before our directory (back-ldap): clients that know one server reach ours through it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from tests.directory_program import ADMIN, BASE, PASSWORD, SUFFIX, DirectoryProgram, entries, run_tool
from tests.directory_running import Client
from tests.program import HOST
from tests.slapd_of_a_file import FileSlapd

from lanpost.wire.ldap_filter_text import parse_filter
from lanpost.wire.ldap_messages import Scope, SearchEntry, SearchRequest

pytestmark = pytest.mark.peer
PROXY = """
database ldap
suffix {suffix}
uri {url}
rebind-as-user yes
"""
US = ("-x", "-D", ADMIN, "-w", PASSWORD)
CLIENTS = 20
SEARCHES = 50  # of each client, all at once


@dataclass
class Proxied:
    directory: DirectoryProgram
    proxy: FileSlapd

    def tool(self, name: str, *words: str, given: str = "", status: int = 0) -> str:
        """A program of ldap-utils that knows the proxy alone. What it printed."""
        done = run_tool(name, ["-H", self.proxy.url, *words], given=given)
        printed = done.stdout + done.stderr
        assert done.returncode == status, f"{name} {' '.join(words)}: status {done.returncode}: {printed}"
        return printed

    def search(self, *words: str) -> list[tuple[str, dict[str, list[str]]]]:
        return entries(self.tool("ldapsearch", "-x", "-LLL", "-o", "ldif_wrap=no", "-b", BASE, *words))


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with DirectoryProgram(tmp_path_factory.mktemp("directory")) as directory:
        for number in range(1, 10):
            directory.add(f"scan{number}", f"10.0.9.{number}")
        text = PROXY.format(suffix=SUFFIX, url=directory.url)
        with FileSlapd(text, modules=("back_ldap",)) as proxy:
            yield Proxied(directory, proxy)


def modified(name: str, host: str) -> str:
    return f"dn: cn={name},{BASE}\nchangetype: modify\nreplace: ipHostNumber\nipHostNumber: {host}\n"


def test_searches_reach_ours(proxied: Proxied) -> None:
    for words in (["(cn=scan1)"], ["(cn=scan1)", "*", "+"], ["(&(cn=s*n*)(!(mailHost=[10.0.9.2])))", "mail"]):
        assert proxied.search(*words) == proxied.directory.search(*words)
    assert len(proxied.search("-s", "one", "(objectClass=device)", "1.1")) == 9
    proxied.tool("ldapsearch", "-x", "-b", f"cn=nobody,{BASE}", status=32)
    proxied.tool("ldapsearch", "-x", "-b", BASE, "-z", "2", "(cn=scan*)", "cn", status=4)


def test_pages_and_an_order_pass_through(proxied: Proxied) -> None:
    printed = proxied.tool("ldapsearch", "-x", "-LLL", "-b", BASE, "-E", "pr=4/noprompt", "(cn=scan*)", "cn")
    assert printed.count("# pagedresults: cookie=") == 3
    assert len(entries(printed)) == 9
    found = proxied.search("-E", "sss=-cn", "(cn=scan*)", "cn")
    assert [name for name, _ in found] == [f"cn=scan{number},{BASE}" for number in range(9, 0, -1)]


def test_who_one_is_passes_through(proxied: Proxied) -> None:
    secret = proxied.directory.enrol("own7")
    assert proxied.tool("ldapwhoami", *US).strip() == f"dn:{ADMIN}"
    proxied.tool("ldapwhoami", "-x", "-D", ADMIN, "-w", "wrong", status=49)
    own = ("-x", "-D", f"cn=own7,{BASE}", "-w", secret)
    assert proxied.tool("ldapwhoami", *own).strip() == f"dn:cn=own7,{BASE}"
    printed = proxied.tool("ldapmodify", *own, given=modified("scan1", HOST), status=50)
    assert "may change its own binding and nobody else's" in printed


def test_writing_passes_through(proxied: Proxied) -> None:
    proxied.tool("ldapmodify", *US, given=modified("scan3", "10.0.9.33"))
    assert proxied.directory.lanpost_json("lookup", "scan3")["endpoint"] == "10.0.9.33:25"
    name = f"cn=new7,{BASE}"
    classes = "".join(f"objectClass: {each}\n" for each in ("device", "ipHost", "lanpostTerminal"))
    proxied.tool("ldapadd", *US, given=f"dn: {name}\n{classes}cn: new7\nipHostNumber: 10.0.9.70\n")
    proxied.tool("ldapcompare", "-x", name, "mailHost:[10.0.9.70]", status=6)
    printed = proxied.tool("ldapmodrdn", *US, name, "cn=new8", status=53)
    assert "add another entry and delete this" in printed
    proxied.tool("ldapdelete", *US, name)
    proxied.tool("ldapdelete", *US, name, status=32)
    proxied.tool("ldapmodify", "-x", given=modified("scan3", "10.0.9.34"), status=8)
    proxied.tool(
        "ldapexop", *US, "refresh", f"cn=scan3,{BASE}", "7200", status=1
    )  # is nothing that slapd passes on


def test_many_searches_at_once_over_its_few_connections(proxied: Proxied) -> None:
    wanted = [f"cn=scan{number % 9 + 1}" for number in range(SEARCHES)]
    requests = [SearchRequest(BASE, Scope.ONE, parse_filter(f"({each})"), ("cn",)) for each in wanted]

    def ask(number: int) -> list[str]:
        with Client(proxied.proxy.port) as client:
            if number % 2:
                assert client.bind(ADMIN, PASSWORD.encode()) == 0
            ids = client.send(*requests)
            found: dict[int, str] = {}
            while client.session.open_operations:
                message = client.next()
                assert message is not None, client.session.fault
                if isinstance(message.operation, SearchEntry):
                    found[message.id] = message.operation.name
            return [found[each] for each in ids]

    with ThreadPoolExecutor(CLIENTS) as clients:
        told = list(clients.map(ask, range(CLIENTS)))
    assert told == [[f"{each},{BASE}" for each in wanted]] * CLIENTS
    connected = proxied.directory.lanpost_json("status")["clients"]
    assert 0 < connected < CLIENTS + 5


def test_it_finds_ours_again_after_a_restart(proxied: Proxied) -> None:
    assert proxied.search("(cn=scan1)", "1.1")
    proxied.directory.stop()
    printed = proxied.tool("ldapsearch", "-x", "-b", BASE, "(cn=scan1)", "1.1", status=52)
    assert "unavailable" in printed.lower()
    proxied.directory.start()
    assert proxied.search("(cn=scan1)", "1.1") == [(f"cn=scan1,{BASE}", {})]
    assert proxied.tool("ldapwhoami", *US).strip() == f"dn:{ADMIN}"


def test_the_log_has_no_error_after_all_this(proxied: Proxied) -> None:
    assert '"level": "error"' not in proxied.directory.log()
