"""A mail server that follows a directory of ours costs it nothing while nothing changes."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram

from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.app.threaded_chart import POLL_SECONDS
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint

FAX = MailAddress.parse("fax1@office.lan")


@pytest.mark.parametrize("number_alone", [False, True], ids=["known already", "a number that nothing bears"])
async def test_it_is_not_kept_busy_by_a_change_that_changes_nothing(tmp_path: Path, number_alone: bool) -> None:
    with DirectoryProgram(tmp_path / "directory") as directory:
        (tmp_path / "password").write_text(PASSWORD, "ascii")
        chart = open_chart(
            Settings(
                data=tmp_path,
                chart=ChartSettings(
                    url=f"{directory.url}/{BASE}", bind_dn=ADMIN, password_file=str(tmp_path / "password")
                ),
            )
        )
        await chart.add(FAX)
        heard = chart.watch()
        told = asyncio.ensure_future(anext(heard))
        await chart.bind(Binding(FAX, Endpoint("10.0.0.7"), datetime.now(UTC)))
        async with asyncio.timeout(30):
            assert await told == FAX
        if number_alone:
            with closing(sqlite3.connect(directory.folder / "data/chart.sqlite3")) as database, database:
                database.execute("UPDATE counter SET last_change = last_change + 1")
        else:
            directory.enrol("fax1")
        loop = asyncio.get_running_loop()
        noticed = loop.time() + 3 * POLL_SECONDS
        while loop.time() < noticed:
            assert await chart.look_up(FAX)  # ChartUnavailable where it has no time for that
        told = asyncio.ensure_future(anext(heard))
        directory.lanpost("chart", "set", "fax1", "10.0.0.8:25")
        async with asyncio.timeout(30):
            assert await told == FAX
            entry = await chart.look_up(FAX)
        assert entry is not None
        assert entry.binding is not None
        assert entry.binding.endpoint == Endpoint("10.0.0.8")
        await chart.close()
