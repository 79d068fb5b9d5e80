"""Claiming a free address of a registrar that lets strangers do so: once, with a key that the claimant has chosen.

The key was kept before it is shown here. An answer that is lost costs nothing: whoever shows the key later is the
one who claimed. Standard library only.

Raises RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from http import HTTPStatus

from lanpost.errors import RegistrationRefused
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.net.http_answer import HttpAnswer
from lanpost.net.registrar_access import verifying
from lanpost.net.registrar_http import (
    binding_path,
    exchange,
    problem,
    read_refresh_key,
    read_registration,
)


class Claimant:
    """`name` is a terminal name or mail address; `authority` the PEM of the CA that `url` has to prove.

    `proof`: what whoever listens here will show; `connected` hears which own address is spoken from.
    """

    def __init__(
        self,
        url: str,
        authority: str,
        name: str,
        key: str,
        *,
        source: str = "",
        proof: Proof | None = None,
        connected: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._url = url
        self._authority = authority
        self._name = name
        self._key = key
        self._source = source
        self._connected = connected
        self._proof = {"proof": str(proof)} if proof else {}
        self.refresh_key = b""  # of the registrar's refresh requests, as its answer told it

    async def claim(self, port: int) -> Registration:
        """Bind a free address to the source address of this very connection, and `port`."""
        answer = await self._put({"port": port, "key": self._key, **self._proof})
        status = answer.status
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT):
            raise RegistrationRefused(
                f"{self._url} does not give {self._name} to this terminal ({status}): {problem(answer.content)}; "
                f"`lanpost terminal add {self._name}` at the server, or `rotate` if it is there, prints a line to "
                "paste here",
                http_status=status,
            )
        return self._read(answer)

    async def claim_again(self, port: int) -> Registration:
        """The same for who may have claimed it, and never heard the answer."""
        answer = await self._put({"port": port, **self._proof}, {"Authorization": f"Bearer {self._key}"})
        return self._read(answer)

    async def _put(self, body: dict[str, object], headers: dict[str, str] | None = None) -> HttpAnswer:
        context: ssl.SSLContext | None = verifying(self._authority) if self._url.startswith("https:") else None
        headers = {"Content-Type": "application/json", **(headers or {})}
        path = binding_path(self._name)
        content = json.dumps(body).encode()
        return await exchange(
            self._url, context, "PUT", path, headers, content, source=self._source, connected=self._connected
        )

    def _read(self, answer: HttpAnswer) -> Registration:
        registration = read_registration(self._url, answer)
        self.refresh_key = read_refresh_key(answer.content)
        return registration
