"""The agent's folder, which is the service's user's, while root is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lanpost.app.agent_state import LOCK_FILE, only_agent
from lanpost.errors import StoreError


def test_no_link_is_followed_in_the_locks_place(tmp_path: Path) -> None:
    folder, other = tmp_path / "agent", tmp_path / "shadow"
    folder.mkdir()
    other.write_text("root:secret\n")
    (folder / LOCK_FILE).symlink_to(other)
    with pytest.raises(StoreError), only_agent(folder):
        pass
    assert other.read_text() == "root:secret\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_agent_that_root_has_tried_by_hand_leaves_the_lock_to_the_service(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with only_agent(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).stat().st_uid == 65534
