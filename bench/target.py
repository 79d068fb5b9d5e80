"""A mail server under measurement, and the stage that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from bench.processes import free_port

DOMAIN = "office.lan"
START_SECONDS = 30.0


@dataclass(frozen=True)
class Stage:
    """What every target is given alike."""

    folder: Path  # on a real disk
    sink_port: int  # the endpoint of every address, at 127.0.0.1
    entries: int = 10_000  # addresses in the directory

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.sink_port}"

    def addresses(self) -> list[str]:
        return [address(number) for number in range(1, self.entries + 1)]


def address(number: int) -> str:
    """As smtp-source -N makes them: a number before the recipient's name."""
    return f"{number}fax@{DOMAIN}"


class Target(ABC):
    """A server that takes mail at `port` and hands it on to the sink. Started and stopped as often as wished."""

    name: str
    durable = False  # answers 250 from its disk, before the endpoint has the mail

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.folder = stage.folder / self.name
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self.port = free_port()

    @staticmethod
    def lacks() -> str:
        """Why it cannot run on this machine; "" when it can."""
        return ""

    @abstractmethod
    def start(self) -> None:
        """Return when mail is taken. BenchError, with the server's own words where it has some."""

    @abstractmethod
    def stop(self) -> None:
        """Return when every process is gone. Idempotent."""

    @abstractmethod
    def roots(self) -> list[int]:
        """Process ids whose trees are the server."""


class Raw(Target):
    """No server at all: source straight into sink, the limit of the set-up."""

    name = "raw"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.port = stage.sink_port

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def roots(self) -> list[int]:
        return []
