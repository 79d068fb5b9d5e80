"""The chart in a directory that is asked by certificate (SASL EXTERNAL over TLS), with no password anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.directory_program import BASE, DirectoryProgram
from tests.slapd import Slapd

from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.errors import ChartUnavailable, ConfigurationError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.store.authority import Authority

pytestmark = pytest.mark.peer

FAX1 = MailAddress.parse("fax1@office.lan")


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    with Slapd(tls=True) as directory:
        yield directory


def settings_for(directory: Slapd, folder: Path, certificate: Path, *, start_tls: bool = False) -> Settings:
    chart = ChartSettings(
        url=f"{directory.url if start_tls else directory.ldaps_url}/{directory.base}",
        start_tls=start_tls,
        ca_file=str(directory.ca_file),
        certificate_file=str(certificate),
    )
    return Settings(data=folder, chart=chart)


def binding(host: str = "10.0.0.7") -> Binding:
    return Binding(FAX1, Endpoint(host), datetime.now(UTC).replace(microsecond=0))


@pytest.mark.parametrize("start_tls", [False, True])
async def test_the_mail_servers_certificate_opens_the_chart_in_openldap(
    slapd: Slapd, tmp_path: Path, start_tls: bool
) -> None:
    certificate = tmp_path / "mailserver.pem"
    now = datetime.now(UTC)
    certificate.write_bytes(Authority.open(slapd.ca_file.parent, now).issue_account("mailserver", now))
    with capture_logs() as logged:
        chart = open_chart(settings_for(slapd, tmp_path, certificate, start_tls=start_tls))
    assert not logged
    put = binding(f"10.0.0.{7 + start_tls}")
    await chart.bind(put)
    found = await chart.look_up(FAX1)
    assert found is not None
    assert found.binding == put
    await chart.close()


async def test_a_terminals_certificate_opens_it_for_reading(slapd: Slapd, tmp_path: Path) -> None:
    certificate = slapd.certificate("fax9")
    with capture_logs() as logged:
        chart = open_chart(settings_for(slapd, tmp_path, certificate))
    # It is good for a day: whoever starts the server is told.
    assert [(each["event"], each["file"]) for each in logged] == [("client certificate expires", str(certificate))]
    assert await chart.look_up(MailAddress.parse("nobody@office.lan")) is None
    with pytest.raises(ChartUnavailable, match="must be an account that may write"):
        await chart.bind(binding())
    await chart.close()


async def test_a_strangers_certificate_is_refused_and_named(slapd: Slapd, tmp_path: Path) -> None:
    with Slapd(tls=True) as other:
        chart = open_chart(settings_for(slapd, tmp_path, other.certificate("mailserver", "accounts")))
    with pytest.raises(ChartUnavailable, match=r"chart\.certificate_file"):
        await chart.look_up(FAX1)
    await chart.close()


async def test_our_directory_is_asked_by_certificate_too(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path / "directory", {"ldap": {"anonymous": "none"}}) as directory:
        directory.enrol("post")
        directory.add("fax1", "10.0.0.7")
        pem = tmp_path / "post.pem"
        directory.lanpost("ca", "issue", "post", "--out", str(pem))
        chart = ChartSettings(
            url=f"{directory.url.replace('ldap:', 'ldaps:')}/{BASE}",
            ca_file=str(directory.ca_file),
            certificate_file=str(pem),
        )
        opened = open_chart(Settings(data=tmp_path, chart=chart))
        found = await opened.look_up(FAX1)
        assert found is not None
        assert found.binding is not None
        assert found.binding.endpoint == Endpoint("10.0.0.7")
        with pytest.raises(ChartUnavailable, match="must be an account that may write"):
            await opened.bind(binding())
        await opened.close()
        # An account's certificate is no terminal's, whatever it is called.
        directory.lanpost("ca", "issue-account", "post", "--out", str(tmp_path / "account.pem"))
        account = open_chart(
            Settings(data=tmp_path, chart=replace(chart, certificate_file=str(tmp_path / "account.pem")))
        )
        with pytest.raises(ChartUnavailable, match=r"inappropriate authentication.*chart\.certificate_file"):
            await account.look_up(FAX1)
        await account.close()
        # The certificate proves nothing any more once the terminal is gone.
        directory.lanpost("terminal", "remove", "post")
        opened = open_chart(Settings(data=tmp_path, chart=chart))
        with pytest.raises(ChartUnavailable, match=r"invalid credentials.*chart\.certificate_file"):
            await opened.look_up(FAX1)
        await opened.close()


def test_a_certificate_file_that_cannot_be_used_is_named_with_what_is_wrong(slapd: Slapd, tmp_path: Path) -> None:
    good = slapd.certificate("mailserver", "accounts")
    key, certificate = good.read_text().split("-----BEGIN CERTIFICATE-----")
    other_key = slapd.certificate("other").read_text().partition("-----BEGIN CERTIFICATE-----")[0]
    locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAoGCCqGSIb3DQUB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    wrong = {
        "no-key.pem": ("-----BEGIN CERTIFICATE-----" + certificate, "no private key"),
        "no-certificate.pem": (key, "no certificate"),
        "another-key.pem": (other_key + "-----BEGIN CERTIFICATE-----" + certificate, "not the certificate's"),
        "locked.pem": (locked + "-----BEGIN CERTIFICATE-----" + certificate, "pass phrase"),
        "empty.pem": ("", "no certificate"),
    }
    for name, (text, why) in wrong.items():
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=rf'chart\.certificate_file = ".*{name}": .*{why}'):
            open_chart(settings_for(slapd, tmp_path, file))
    with pytest.raises(ConfigurationError, match=r"certificate_file = .*none\.pem.*No such file"):
        open_chart(settings_for(slapd, tmp_path, tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match=r"chart\.certificate_file is shown under TLS only"):
        open_chart(
            Settings(
                data=tmp_path,
                chart=ChartSettings(url=f"{slapd.url}/{slapd.base}", certificate_file=str(good)),
            )
        )
