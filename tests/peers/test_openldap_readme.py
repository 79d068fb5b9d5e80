"""deploy/openldap/README.md holds: its commands make a running chart, and other mail servers route by that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.processes import free_port, program, run
from bench.slapd_instance import DEPLOY, ENVIRONMENT
from tests.mail_servers import EXIM
from tests.slapd import Slapd

from lanpost.content.directory_entry import next_hop
from lanpost.model.endpoint import Endpoint

pytestmark = pytest.mark.peer
README = (DEPLOY / "README.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def directory() -> Iterator[Slapd]:
    """Where fax1 and fax2 have leases, fax3 is nowhere, and fax4 unknown."""
    with Slapd() as slapd:
        hosts = (("fax1", "10.0.0.7", 25), ("fax2", "2001:db8::7", 2525))
        for name, host, port in hosts:
            slapd.add_terminal(name, "secret")
            slapd.add(
                f"dn: cn=lease,{slapd.dn(name)}\nobjectClass: device\nobjectClass: ipHost\n"
                "objectClass: inetLocalMailRecipient\nobjectClass: lanpostTerminal\nobjectClass: dynamicObject\n"
                f"cn: lease\nmailLocalAddress: {name}@office.lan\nipHostNumber: {host}\nlanpostPort: {port}\n"
                f"lanpostNextHop: {next_hop(Endpoint(host, port))}\n"
            )
        slapd.add_terminal("fax3", "secret")
        yield slapd


def test_postfix_routes_by_it(directory: Slapd, tmp_path: Path) -> None:
    if not program("postmap"):
        pytest.skip("postmap not installed: scripts/install-peers")
    (text,) = blocks("postfix-ldap")
    (tmp_path / "lanpost.cf").write_text(text.replace("ldap://192.0.2.5", directory.url), "ascii")
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mail.office.lan\n", "ascii")

    def ask(address: str) -> subprocess.CompletedProcess[str]:
        command = [program("postmap") or "", "-c", str(tmp_path), "-q", address, f"ldap:{tmp_path}/lanpost.cf"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert ask("Fax1@office.lan").stdout.strip() == "smtp:[10.0.0.7]:25"
    for unknown in ("fax3@office.lan", "fax4@office.lan", "*@office.lan", "fax1@example.com"):
        assert (ask(unknown).returncode, ask(unknown).stdout) == (1, ""), unknown


def test_exim_routes_by_it(directory: Slapd, tmp_path: Path) -> None:
    if not os.access(EXIM, os.X_OK) or os.geteuid() != 0:
        pytest.skip(f"Exim is not at {EXIM} (scripts/install-peers), or this is not root")
    (router,) = blocks("exim")
    # Exim gives root up, and reads only what its new user may.
    file = directory.folder / "exim.conf"
    file.write_text(
        f"keep_environment =\nspool_directory = {tmp_path}\nprimary_hostname = mail.office.lan\nbegin routers\n"
        f"{router.replace('ldap://192.0.2.5', directory.url)}begin transports\nremote_smtp:\n  driver = smtp\n",
        "ascii",
    )
    command = [str(EXIM), "-C", str(file), "-bt", "Fax1@office.lan", "fax2@office.lan", "fax3@office.lan"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert re.search(r"host 10\.0\.0\.7 +\[10\.0\.0\.7\] +port=25", told), told
    assert re.search(r"host 2001:db8::7 +\[2001:db8::7\] +port=2525", told), told
    assert "fax3@office.lan is undeliverable" in told


def test_its_commands_make_a_running_chart(tmp_path: Path) -> None:
    """As they are written, but in another folder and at another port, without package manager and systemd."""
    if os.geteuid() != 0 or not program("slapd") or not program("openssl"):
        pytest.skip("needs root, slapd and openssl: scripts/install-peers")
    root = Path(tempfile.mkdtemp(prefix="lanpost-deploy-"))  # short: a Unix socket will be in it
    shutil.copytree(DEPLOY, root / "deploy")
    (root / "run").mkdir()
    (root / "etc/schema").mkdir(parents=True)
    port = free_port()
    socket = f"ldapi://{str(root / 'run/ldapi').replace('/', '%2F')}"
    places = {
        "/etc/ldap/schema/lanpost.ldif": f"{root}/etc/schema/lanpost.ldif",
        "/etc/ldap/slapd.d": f"{root}/etc/slapd.d",
        "/etc/ldap/tls": f"{root}/etc/tls",
        "/var/lib/ldap": f"{root}/data",
        "/run/slapd": f"{root}/run",
        "/root/": f"{root}/",
        "ldapi:///": socket,
        "ldap://127.0.0.1 ": f"ldap://127.0.0.1:{port} ",
        "IP:192.0.2.5": "IP:127.0.0.1",
    }

    def placed(text: str) -> str:
        for written, here in places.items():
            text = text.replace(written, here)
        return text

    for file in (root / "deploy").glob("*.ldif"):
        file.write_text(placed(file.read_text("utf-8")), "utf-8")
    first, second = blocks("sh")
    daemon = f"slapd -F {root}/etc/slapd.d -h 'ldap://127.0.0.1:{port}/ {socket}/' -d 0"
    stubs = (
        "set -euo pipefail\nPATH=$PATH:/usr/sbin\napt-get() { :; }\nchown() { :; }\n"
        f'systemctl() {{ case "$1" in start) {daemon} >{root}/log 2>&1 & echo $! >{root}/pid\n'
        f"while [ ! -S {root}/run/ldapi ]; do sleep 0.05; done;; esac; }}\n"
    )
    try:
        done = subprocess.run(
            ["bash", "-c", stubs + placed(first + second)],
            cwd=root / "deploy",
            capture_output=True,
            text=True,
            timeout=60,
            env=ENVIRONMENT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "dn:cn=mailserver,dc=office,dc=lan" in done.stdout
        environment = {**ENVIRONMENT, "LDAPTLS_CACERT": f"{root}/etc/tls/ca.pem"}
        account = ["-D", "cn=mailserver,dc=office,dc=lan", "-y", f"{root}/mailserver.password"]
        url = f"ldap://127.0.0.1:{port}"
        told = run(["ldapwhoami", "-x", "-ZZ", "-H", url, *account], env=environment)
        assert told.strip() == "dn:cn=mailserver,dc=office,dc=lan"
    finally:
        if (root / "pid").exists():
            run(["kill", (root / "pid").read_text("ascii").strip()])
        shutil.rmtree(root, ignore_errors=True)
