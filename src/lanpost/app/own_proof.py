"""What other software that takes mail on this terminal can be known by: the name in its greeting.

Standard library only: the agent uses it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from lanpost.app.settings import Agent
from lanpost.errors import InvalidProof
from lanpost.model.proof import Proof
from lanpost.net.greeting import own_greeting

log = logging.getLogger(__name__)

AUTO = "auto"
LOOPBACK = ("127.0.0.1", "::1")


class OwnProof:
    """Asked at each registration; remembers the last answer for while that software does not run."""

    def __init__(self) -> None:
        self._known: Proof | None = None

    async def find(self, agent: Agent, addresses: Iterable[str]) -> Proof | None:
        """None where it cannot be known, or is not to be checked. `addresses` are our own."""
        if agent.receive or not agent.greeting:
            return None
        name = agent.greeting
        if name == AUTO:
            name = await own_greeting((*sorted(addresses), *LOOPBACK), agent.port)
        try:
            found = Proof.of_greeting(name) if name else self._known
        except InvalidProof as error:
            log.warning("greeting %r: %s", name[:80], error)
            found = None
        if found != self._known:
            log.info("mail is given to whoever greets as %s", found.value if found else "he likes")
        self._known = found
        return found
