from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanpost.app import growing_content
from lanpost.app.growing_content import ContentFolder, GrowingContent, Reader
from lanpost.errors import ContentAborted


async def read_all(reader: Reader) -> bytes:
    parts = []
    while chunk := await reader.read():
        parts.append(chunk)
    return b"".join(parts)


async def write(content: GrowingContent, chunks: list[bytes]) -> None:
    for chunk in chunks:
        if (room := content.write(chunk)) is not None:
            await asyncio.wrap_future(room)


@pytest.mark.parametrize("octets", [0, 10, 300_000, 3_000_000])
async def test_readers_see_all_of_it_however_much_it_is(tmp_path: Path, octets: int) -> None:
    folder = ContentFolder(tmp_path / "incoming")
    content = GrowingContent(folder)
    data = bytes(range(256)) * (octets // 256) + b"x" * (octets % 256)
    early = asyncio.ensure_future(read_all(content.reader()))
    await write(content, [data[start : start + 40_000] for start in range(0, octets, 40_000)])
    await content.finish()
    assert await early == data
    assert await read_all(content.reader()) == data
    assert content.reader().size_octets == octets
    chunks = content.chunks()
    assert b"".join(chunks) == data
    assert b"".join(chunks[number] for number in range(len(chunks))) == data
    content.close()
    assert folder.in_memory == 0
    assert b"".join(chunks) == data or octets < 300_000, "a spilled content outlives its close"
    folder.close()


async def test_memory_stays_within_the_limit_of_one_mail(tmp_path: Path) -> None:
    folder = ContentFolder(tmp_path / "incoming")
    content = GrowingContent(folder)
    await write(content, [b"x" * 65536] * 100)
    assert folder.in_memory <= growing_content.MEMORY_PER_MAIL
    await content.finish()
    content.close()
    folder.close()


async def test_the_header_is_at_hand_however_full_memory_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_content, "MEMORY_IN_ALL", 0)
    folder = ContentFolder(tmp_path / "incoming")
    content = GrowingContent(folder)
    data = b"Received: x\r\n\r\n" + b"y" * 50_000
    await write(content, [data])
    await content.finish()
    assert content.head.startswith(b"Received: x\r\n\r\n")
    assert folder.in_memory == growing_content.HEAD_IN_MEMORY
    assert await read_all(content.reader()) == b"".join(content.chunks()) == data
    content.close()
    folder.close()


async def test_a_reader_of_an_aborted_mail_never_sees_its_end(tmp_path: Path) -> None:
    folder = ContentFolder(tmp_path / "incoming")
    content = GrowingContent(folder)
    content.write(b"half of it")
    reader = content.reader()
    assert await reader.read() == b"half of it"
    waiting = asyncio.ensure_future(reader.read())
    content.abort("the client left")
    with pytest.raises(ContentAborted, match="the client left"):
        await waiting
    content.close()
    folder.close()


@pytest.mark.parametrize("octets", [10, 1_000_000])
async def test_who_still_reads_a_closed_content_never_takes_that_for_its_end(tmp_path: Path, octets: int) -> None:
    folder = ContentFolder(tmp_path / "incoming")
    content = GrowingContent(folder)
    await write(content, [b"x" * (octets // 2)] * 2)
    await content.finish()
    reader = content.reader()
    content.close()
    with pytest.raises(ContentAborted):
        await read_all(reader)
    folder.close()


async def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "leftover").write_bytes(b"x")
    ContentFolder(tmp_path / "incoming").close()
    assert list((tmp_path / "incoming").iterdir()) == []
