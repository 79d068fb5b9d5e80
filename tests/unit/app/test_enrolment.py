"""What a terminal keeps of its enrolment, and the state it shows."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lanpost.app import agent_state, enrolment
from lanpost.app.agent_state import State, Status
from lanpost.app.enrolment import Claim, Enrolment
from lanpost.errors import ConfigurationError, InvalidValue, StoreBusy, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.discovery import Found, FoundBy
from lanpost.model.token import EnrolmentToken

TOKEN = EnrolmentToken(("https://127.0.0.1:9",), "0" * 64, MailAddress.parse("fax1@office.lan"), "s3cret")


def test_what_is_kept_is_found_again_and_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = enrolment.agent_folder(tmp_path / "data")
    enrolment.save(folder, Enrolment(TOKEN, "PEM"))
    assert enrolment.load(folder) == Enrolment(TOKEN, "PEM")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "enrolment.json").stat().st_mode) == 0o600
    assert [file.name for file in folder.iterdir()] == ["enrolment.json"]


def test_without_an_enrolment_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lanpost terminal add"):
        enrolment.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"token": "x", "authority": ""}', "\udcff"])
def test_a_damaged_enrolment_is_told_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / "enrolment.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=r"enrolment\.json"):
        enrolment.load(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError):
        enrolment.agent_folder(tmp_path / "data")


def test_an_agent_that_learns_the_authority_does_not_undo_a_new_enrolment(tmp_path: Path) -> None:
    enrolment.save(tmp_path, Enrolment(TOKEN))
    enrolment.keep(tmp_path, Enrolment(TOKEN), Enrolment(TOKEN, "PEM"))
    assert enrolment.load(tmp_path).authority == "PEM"
    other = replace(TOKEN, secret="other")
    enrolment.save(tmp_path, Enrolment(other))
    enrolment.keep(tmp_path, Enrolment(TOKEN), Enrolment(TOKEN, "PEM"))
    assert enrolment.load(tmp_path) == Enrolment(other)


def test_where_the_server_was_found_is_kept_with_the_enrolment(tmp_path: Path) -> None:
    moved = Enrolment(TOKEN, "PEM", b"", FoundBy.DHCP, Found("https://10.0.0.9:8025", FoundBy.DNS_SD))
    enrolment.save(tmp_path, moved)
    assert enrolment.load(tmp_path) == moved
    assert moved.is_claimed
    assert not Enrolment(TOKEN).is_claimed


def test_what_was_forgotten_is_gone_and_not_kept_anew_by_an_agent_that_still_runs(tmp_path: Path) -> None:
    enrolment.save(tmp_path, Enrolment(TOKEN))
    enrolment.save_claim(tmp_path, Claim("fax1", "a" * 64, "k" * 32))
    assert enrolment.forget(tmp_path) == Enrolment(TOKEN)
    enrolment.keep(tmp_path, Enrolment(TOKEN), Enrolment(TOKEN, "PEM"))
    assert (enrolment.load_if_any(tmp_path), enrolment.load_claim(tmp_path)) == (None, None)
    assert enrolment.forget(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", '{"name": "fax1"}', "\0"])
def test_an_open_claim_that_is_damaged_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / enrolment.CLAIM_FILE).write_text(text)
    assert enrolment.load_claim(tmp_path) is None


async def test_a_terminal_can_be_enrolled_before_its_server_is_there(tmp_path: Path) -> None:
    held, unreachable = await enrolment.enrol(tmp_path, f" {TOKEN.encode()}\n")
    assert "refused" in unreachable
    assert held == Enrolment(TOKEN) == enrolment.load(tmp_path / "agent")


async def test_a_cut_paste_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue):
        await enrolment.enrol(tmp_path, TOKEN.encode()[:-3])
    assert not (tmp_path / "agent").exists()


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    with (
        agent_state.only_agent(tmp_path),
        pytest.raises(StoreBusy, match="another agent"),
        agent_state.only_agent(tmp_path),
    ):
        pass
    with agent_state.only_agent(tmp_path):
        pass


def test_the_status_of_an_agent_that_was_killed_says_that_it_is_stopped(tmp_path: Path) -> None:
    status = Status(State.REGISTERED, "fax1@office.lan", "2026-01-01", "10.0.0.7:25", own_addresses=("10.0.0.7",))
    assert agent_state.read_status(tmp_path) is None
    with agent_state.only_agent(tmp_path):
        agent_state.write_status(tmp_path, status)
        assert agent_state.read_status(tmp_path) == status
    found = agent_state.read_status(tmp_path)
    assert found is not None
    assert found.state is State.STOPPED
