"""The administrator's secret is made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lanpost.errors import StoreError
from lanpost.store.admin_token import admin_token


def test_it_is_made_once_and_is_for_its_owner_only(tmp_path: Path) -> None:
    token = admin_token(tmp_path / "data")
    assert len(token) >= 40
    assert admin_token(tmp_path / "data") == token
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["admin.token"]
    assert (tmp_path / "data" / "admin.token").stat().st_mode & 0o777 == 0o600


def test_whoever_starts_at_once_gets_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(admin_token, [tmp_path] * 8))) == 1


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_secret_that_could_be_guessed_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin.token").write_bytes(content)
    with pytest.raises(StoreError, match="remove it"):
        admin_token(tmp_path)
