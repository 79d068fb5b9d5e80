"""A terminal as `lanpost terminal add` makes it, which registers over HTTPS with Python's standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from tests.program import DOMAIN, HOST, PATIENCE, Program


@dataclass(frozen=True)
class Enrolled:
    """One terminal of one server; it may speak from any address of this machine."""

    program: Program
    name: str
    secret: str
    token: str

    @staticmethod
    def new(program: Program) -> Enrolled:
        name = program.new_name()
        token = program.lanpost_json("terminal", "add", name)
        return Enrolled(program, name, token["secret"], token["token"])

    @property
    def address(self) -> str:
        return f"{self.name}@{DOMAIN}"

    def ask(self, method: str, source: str = HOST, **body: Any) -> tuple[int, Any]:
        """One request about its own binding, from an address of its own."""
        trusted = ssl.create_default_context(cadata=self.program.lanpost("ca", "export"))
        connection = http.client.HTTPSConnection(
            HOST, self.program.ports["http"], context=trusted, timeout=PATIENCE, source_address=(source, 0)
        )
        try:
            content = json.dumps(body) if body else None
            shown = {"Authorization": f"Bearer {self.secret}"}
            connection.request(method, f"/v1/bindings/{self.address}", content, shown)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def register(self, at: tuple[str, int], lifetime: str = "") -> Any:
        """From now on it is there, for as long as it may or for `lifetime`."""
        wanted = {"lifetime": lifetime} if lifetime else {}
        status, binding = self.ask("PUT", at[0], port=at[1], **wanted)
        assert status in (200, 201), binding
        return binding

    def say_goodbye(self) -> None:
        """From now on it is nowhere."""
        assert self.ask("DELETE")[0] == 204
