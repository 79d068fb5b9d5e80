"""`lanpost ca`: the certificate authority that terminals and mail clients of this server trust."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from pathlib import Path

import click

from lanpost.app.certificates import FOLDER, open_authority, utc_now
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings
from lanpost.content.chart_record import time_text
from lanpost.content.directory_entry import name_of
from lanpost.content.sshsig import fingerprint
from lanpost.errors import InvalidValue, LanpostError
from lanpost.model.address import MailAddress
from lanpost.store.files import replace_file, write_new_file
from lanpost.store.program_key import ProgramKey

_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

with_replace = click.option("--replace", is_flag=True, help="Write it in place of a file that is there.")


@click.group()
def ca() -> None:
    """The server's own certificate authority, made at the first use."""


@ca.command()
@with_settings
@with_json
def show(settings: Settings, as_json: bool) -> None:
    """Print its pin (SHA-256 of the certificate), how long it is good, its file, and who signs lanpost.pyz here."""
    authority = open_authority(settings)
    begin, end = authority.valid
    server = authority.server_valid()
    signer = fingerprint(ProgramKey.open(settings.data / FOLDER).public)
    if as_json:
        print_json(
            {
                "pin": authority.pin,
                "file": str(authority.ca_file),
                "not_before": time_text(begin),
                "not_after": time_text(end),
                "server_not_after": time_text(server[1]) if server else None,
                "program_signer": signer,
            }
        )
        return
    click.echo(f"pin (SHA-256): {authority.pin}")
    click.echo(f"file: {authority.ca_file}")
    click.echo(f"the program that is handed out is signed by: {signer}")
    click.echo(f"good from {_day(begin)} until {_day(end)}")
    if server:
        click.echo(f"the server's certificate: until {_day(server[1])}, renewed before that by itself")
    else:
        click.echo("the server's certificate: none yet, the first start makes it")


@ca.command()
@with_settings
def export(settings: Settings) -> None:
    """Print the CA certificate (PEM), for mail clients and browsers that shall trust this server."""
    click.echo(open_authority(settings).ca_pem, nl=False)


@ca.command(short_help="Make a client certificate for a terminal.")
@click.argument("address")
@click.option("--out", metavar="FILE", help="Where to write it; else ADDRESS.pem in this folder.")
@with_replace
@with_settings
def issue(settings: Settings, address: str, out: str | None, replace: bool) -> None:
    """Make a key and a certificate (PEM, one file, good for a year) by which ADDRESS logs in to the directory."""
    mail_address = MailAddress.parse(address, settings.domain)
    content = open_authority(settings).issue_client(
        str(mail_address), utc_now(), name_of(mail_address, settings.domain)
    )
    file = Path(out) if out else Path(f"{mail_address.key.replace('/', '_')}.pem")
    _write(file, content, replace=replace)
    click.echo(f"{file}: key and certificate of {mail_address}, for a year; whoever has it is that terminal")
    click.echo(
        "give it to the terminal's LDAP software as client certificate and as key, with the CA of `lanpost ca "
        "export`; it logs in by SASL EXTERNAL over TLS, once `lanpost terminal add` has made the terminal known"
    )


@ca.command("issue-account", short_help="Make a client certificate for an account in OpenLDAP.")
@click.argument("name")
@click.option("--out", metavar="FILE", help="Where to write it; else NAME.pem in this folder.")
@with_replace
@with_settings
def issue_account(settings: Settings, name: str, out: str | None, replace: bool) -> None:
    """Make a key and a certificate (PEM, one file, good for a year) by which the account NAME logs in to OpenLDAP.

    With deploy/openldap these are `mailserver` (for `chart.certificate_file`) and `dhcp`; our directory has none.
    """
    if not _ACCOUNT.fullmatch(name):
        raise InvalidValue(f"{name!r} is no account's name; write small letters, digits and -, as mailserver")
    file = Path(out) if out else Path(f"{name}.pem")
    _write(file, open_authority(settings).issue_account(name, utc_now()), replace=replace)
    click.echo(f"{file}: key and certificate of the account {name}, for a year")
    click.echo(
        "slapd knows it once this server's CA (`lanpost ca export`) is in its olcTLSCACertificateFile; a mail "
        "server logs in with it where chart.certificate_file names it"
    )


@ca.command("issue-server", short_help="Make a certificate for a directory server.")
@click.argument("hosts", metavar="IP...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="Where to write it; else slapd.pem in this folder.")
@with_replace
@with_settings
def issue_server(settings: Settings, hosts: tuple[str, ...], out: str | None, replace: bool) -> None:
    """Make a key and a certificate (PEM, one file, good for a year) for a directory server at each IP."""
    try:
        literals = [str(ipaddress.ip_address(host)) for host in hosts]
    except ValueError as error:
        raise InvalidValue(f"{error}; write the IP addresses of the directory server") from None
    file = Path(out) if out else Path("slapd.pem")
    _write(file, open_authority(settings).issue_server(literals, utc_now()), replace=replace)
    click.echo(f"{file}: key and certificate for the directory server at {', '.join(literals)}, for a year")
    click.echo(
        "let slapd's user alone read it, and name it in olcTLSCertificateFile and olcTLSCertificateKeyFile "
        "(deploy/openldap/tls.ldif); terminals with a token of this server trust it"
    )


def _write(file: Path, content: bytes, *, replace: bool) -> None:
    """For nobody else to read. Raises LanpostError where it is there already and not to be replaced."""
    try:
        if replace:
            replace_file(file, content)
        else:
            write_new_file(file, (content,))
    except FileExistsError:
        raise LanpostError(f"{file} is there already; say --replace, or name another with --out") from None
    except OSError as error:
        raise LanpostError(f"{file}: {error.strerror}; name another with --out") from None


def _day(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d}"
