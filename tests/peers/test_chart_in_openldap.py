"""The chart in OpenLDAP beside what others keep there, and where the directory says no."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.slapd import Slapd

from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint

pytestmark = pytest.mark.peer

FAX1 = MailAddress.parse("fax1@office.lan")


def settings_for(directory: Slapd, folder: Path, password: str = "", bind_dn: str = "") -> Settings:
    file = folder / "password"
    file.write_text(password or directory.password, "ascii")
    chart = ChartSettings(
        url=f"{directory.url}/{directory.base}", bind_dn=bind_dn or directory.bind_dn, password_file=str(file)
    )
    return Settings(data=folder, chart=chart)


async def test_an_entry_that_others_made_is_not_deleted(tmp_path: Path) -> None:
    with Slapd() as directory:
        directory.add(
            f"dn: {directory.dn('anna')}\nobjectClass: device\nobjectClass: inetLocalMailRecipient\n"
            "cn: anna\ndescription: somebody's work\nmailLocalAddress: anna@office.lan\n"
        )
        chart = open_chart(settings_for(directory, tmp_path))
        with pytest.raises(ChartUnavailable, match=r"others' entry.*the directory's own tools"):
            await chart.remove(MailAddress.parse("anna@office.lan"))
        await chart.close()
        assert directory.search("(cn=anna)")[directory.dn("anna")]["description"] == ["somebody's work"]


async def test_what_the_directory_refuses_is_never_an_unknown_address(tmp_path: Path) -> None:
    with Slapd(dds=False) as directory:
        good = open_chart(settings_for(directory, tmp_path))
        await good.bind(Binding(FAX1, Endpoint("10.0.0.7"), datetime.now(UTC)))
        await good.close()
        directory.add_terminal("fax2", "secret of fax2")
        poor = open_chart(settings_for(directory, tmp_path, "secret of fax2", directory.dn("fax2")))
        for refused in (
            poor.unbind(FAX1),
            poor.remove(FAX1),
            poor.bind(Binding(FAX1, Endpoint("10.0.0.8"), datetime.now(UTC))),
        ):
            with pytest.raises(ChartUnavailable, match=r"chart\.bind_dn must be an account that may write"):
                await refused
        await poor.close()
        wrong = open_chart(settings_for(directory, tmp_path, "not the password"))
        with pytest.raises(ChartUnavailable, match=r"chart\.password_file is wrong"):
            await wrong.look_up(FAX1)
        await wrong.close()
        assert directory.search("(cn=fax1)", "ipHostNumber")[directory.dn("fax1")] == {"ipHostNumber": ["10.0.0.7"]}


async def test_a_directory_that_refused_to_tell_of_leases_is_asked_again(tmp_path: Path) -> None:
    with Slapd(dds=True) as directory:
        # The mail server's password is changed, in its file before it is in the directory.
        chart = open_chart(settings_for(directory, tmp_path, "the new one"))
        now = datetime.now(UTC)
        binding = Binding(FAX1, Endpoint("10.0.0.7"), now, now + timedelta(hours=1))
        with pytest.raises(ChartUnavailable):
            await chart.bind(binding)
        changed = directory.as_root(
            "ldapmodify",
            stdin=f"dn: {directory.bind_dn}\nchangetype: modify\n"
            "replace: userPassword\nuserPassword: the new one\n",
        )
        assert changed.returncode == 0, changed.stdout
        await chart.bind(binding)
        await chart.close()
        leases = directory.as_root("ldapsearch", "-LLL", "-b", directory.base, "(objectClass=dynamicObject)", "1.1")
        assert f"cn=lease,{directory.dn('fax1')}" in leases.stdout
