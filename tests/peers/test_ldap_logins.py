"""Servers that let people and machines in by our directory: Apache's mod_authnz_ldap, and Dovecot's passdb."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.processes import stop
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram
from tests.mail_servers import wait_until
from tests.program import PATIENCE
from tests.webdav_servers import MODULES, Apache

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    settings = {"ldap": {"networks_without_delay": ["127.0.0.1"]}}
    with DirectoryProgram(tmp_path_factory.mktemp("directory"), settings) as running:
        running.add("scan1", "10.0.9.1")  # somebody without a secret
        yield running


@pytest.fixture(scope="module")
def secret(directory: DirectoryProgram) -> str:
    return directory.enrol("fax1")


@pytest.fixture(scope="module")
def other_secret(directory: DirectoryProgram) -> str:
    return directory.enrol("fax2")


# -- Apache

ASKS_US = """
AuthType Basic
AuthName "the office"
AuthBasicProvider ldap
AuthLDAPURL "{url}/{base}?{attribute}?one?(objectClass=lanpostTerminal)"
{more}
"""


def apache(directory: DirectoryProgram, require: str, attribute: str = "cn", more: str = "") -> Apache:
    if not Apache.program() or not (MODULES / "mod_authnz_ldap.so").exists():
        pytest.skip("apache2 with mod_authnz_ldap is not installed: scripts/install-peers")
    access = ASKS_US.format(url=directory.url, base=BASE, attribute=attribute, more=more) + require
    modules = ("authn_core", "authn_file", "auth_basic", "authz_user", "ldap", "authnz_ldap")
    return Apache(access=access, modules=modules)


def status_of(server: Apache, *who: str) -> int:
    """Of the answer that curl is given, as `who`: name and secret."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: scripts/install-peers")
    (server.root / "page").write_text("for those who are let in")
    words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*"]
    words += ["-u", ":".join(who)] if who else []
    url = f"http://127.0.0.1:{server.port}/page"
    done = subprocess.run([*words, url], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return int(done.stdout)


def test_apache_lets_in_who_has_the_secret(directory: DirectoryProgram, secret: str, other_secret: str) -> None:
    with apache(directory, "Require valid-user") as server:
        assert status_of(server) == 401
        assert status_of(server, "fax1", secret) == 200
        assert status_of(server, "FAX2", other_secret) == 200
        for who in (("fax1", other_secret), ("fax1", "wrong"), ("fax1", ""), ("nobody", secret), ("scan1", secret)):
            assert status_of(server, *who) == 401
        assert status_of(server, "fax1*", secret) == 401
        assert status_of(server, "fax1)(cn=*", secret) == 401


def test_apache_asks_further_what_an_entry_says(
    directory: DirectoryProgram, secret: str, other_secret: str
) -> None:
    directory.modify("fax1", "replace: o\no: Accounts")
    rules = f"AuthLDAPBindDN {ADMIN}\nAuthLDAPBindPassword {PASSWORD!r}"
    for require in ("Require ldap-filter o=Accounts", "Require ldap-attribute o=Accounts"):
        with apache(directory, require, "mail", rules) as server:
            assert status_of(server, "fax1@office.lan", secret) == 200
            assert status_of(server, "fax2@office.lan", other_secret) == 401
            assert status_of(server, "fax1@office.lan", other_secret) == 401


# -- Dovecot

DOVECOT = """
base_dir = {folder}/run
log_path = {folder}/log
protocols =
listen = 127.0.0.1
ssl = no
auth_username_format = %Lu
auth_debug = yes
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = 1
passdb {{
  driver = ldap
  args = {folder}/ldap.conf
}}
userdb {{
  driver = ldap
  args = {folder}/ldap.conf
}}
"""
DOVECOT_ASKS_US = """
uris = {url}
dn = {admin}
dnpass = {password}
auth_bind = yes
base = {base}
scope = onelevel
user_filter = (&(objectClass=lanpostTerminal)(mailLocalAddress=%u))
pass_filter = (&(objectClass=lanpostTerminal)(mailLocalAddress=%u))
pass_attrs = mail=user
user_attrs = =uid=nobody, =gid=nogroup, =home=/nonexistent, mailHost=where
"""


@pytest.fixture(scope="module")
def dovecot(directory: DirectoryProgram) -> Iterator[Path]:
    """Its configuration file; it runs."""
    program = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or not Path("/usr/lib/dovecot/modules/auth/libauthdb_ldap.so").exists():
        pytest.skip("dovecot-ldap is not installed: scripts/install-peers")
    if os.geteuid() != 0:
        pytest.skip("Dovecot is started as root")
    folder = Path(tempfile.mkdtemp(prefix="lanpost-dovecot-"))
    folder.chmod(0o755)
    config = folder / "dovecot.conf"
    config.write_text(DOVECOT.format(folder=folder))
    (folder / "ldap.conf").write_text(
        DOVECOT_ASKS_US.format(url=directory.url, admin=ADMIN, password=PASSWORD, base=BASE)
    )
    server = subprocess.Popen([program, "-F", "-c", str(config)])
    try:
        wait_until(
            lambda: (folder / "run/auth-client").exists() or server.poll() is not None,
            "Dovecot",
            lambda: log_of(folder),
        )
        assert server.poll() is None, log_of(folder)
        yield config
    finally:
        stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def log_of(folder: Path) -> str:
    file = folder / "log"
    return file.read_text("utf-8", "replace")[-4000:] if file.exists() else ""


def doveadm(config: Path, *words: str) -> tuple[int, str]:
    """Its status and what it printed."""
    done = subprocess.run(
        ["doveadm", "-c", str(config), *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_dovecot_lets_in_who_has_the_secret(dovecot: Path, secret: str, other_secret: str) -> None:
    status, printed = doveadm(dovecot, "auth", "test", "fax1@office.lan", secret)
    assert status == 0, printed + log_of(dovecot.parent)
    assert "auth succeeded" in printed
    assert "user=fax1@office.lan" in printed
    assert doveadm(dovecot, "auth", "test", "FAX1@office.lan", secret)[0] == 0
    for login, password in (
        ("fax1@office.lan", "wrong"),
        ("fax1@office.lan", other_secret),
        ("scan1@office.lan", secret),
        ("nobody@office.lan", secret),
        ("*@office.lan", secret),
    ):
        status, printed = doveadm(dovecot, "auth", "test", login, password)
        assert status == 77, printed
        assert "auth failed" in printed


def test_dovecot_looks_up_who_there_is(directory: DirectoryProgram, dovecot: Path) -> None:
    status, printed = doveadm(dovecot, "user", "scan1@office.lan")
    assert status == 0, printed + log_of(dovecot.parent)
    assert "[10.0.9.1]" in printed
    assert doveadm(dovecot, "user", "nobody@office.lan")[0] == 67


def test_the_log_has_no_error_after_all_this(directory: DirectoryProgram) -> None:
    assert '"level": "error"' not in directory.log()
