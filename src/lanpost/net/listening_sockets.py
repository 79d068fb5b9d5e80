"""Listening sockets, which may outlive the process that made them: connections wait in them for the next one.

Each has a name, made of service, address as the settings have it, and a number. Where several processes listen at
the same ports each has a socket of its own there, numbered as the process; the first makes and keeps them all, so
that none is closed, with connections waiting in it, because its process has ended.

It resolves no names. Raises ConfigurationError where an address cannot be listened on.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import Protocol

from lanpost.errors import ConfigurationError

HANDED_ON = "LANPOST_SOCKETS"  # in the environment: {name: descriptor}, from a process to one it starts or becomes
# What systemd passes (sd_listen_fds(3)): so many, from the third on, for this process, with these names.
LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES, FIRST_FD = "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", 3


class Listen(Protocol):
    """Where to listen: an IP literal (0.0.0.0, :: and fe80::1%eth0 included) and a port, 0 for any free one."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class ListeningSockets:
    """Those of one process, and of the further processes that it starts."""

    def __init__(self, named: Mapping[str, socket.socket], processes: int = 1) -> None:
        self._named = dict(named)
        self._processes = processes
        self.dropped: tuple[str, ...] = ()  # names of those that were handed to us and are closed now

    @classmethod
    def open(
        cls,
        services: Mapping[str, Sequence[Listen]],
        handed: Mapping[str, socket.socket],
        *,
        processes: int = 1,
        alone: Collection[str] = (),
    ) -> ListeningSockets:
        """A socket for each address of each service and for each process, bound; those in `handed` are used again.

        Services in `alone` are the first process's only. What is handed and not asked for is closed. Ports that are
        shared among our processes are no stranger's: who else has one is found out first. Raises
        ConfigurationError, and then none of the new ones is left open.
        """
        wanted = {
            _name(service, listen): (service, listen) for service, listens in services.items() for listen in listens
        }
        # Numbers beyond the processes that there are now have connections waiting, too: they are kept.
        opened = cls({}, processes)
        opened.dropped = tuple(name for name in handed if name.rpartition("-")[0] not in wanted)
        for name in opened.dropped:
            handed[name].close()
        fresh: list[socket.socket] = []
        try:
            for base, (service, listen) in wanted.items():
                kept = [name for name in handed if name.rpartition("-")[0] == base]
                opened._named |= {name: handed[name] for name in sorted(kept)}
                opened._complete(base, service, listen, 1 if service in alone else processes, fresh)
        except BaseException:
            for sock in fresh:
                sock.close()
            raise
        return opened

    def _complete(self, base: str, service: str, listen: Listen, count: int, fresh: list[socket.socket]) -> None:
        """Bind what is missing at one address, for so many processes; what is new is added to `fresh`."""
        there = [sock for name, sock in self._named.items() if name.rpartition("-")[0] == base]
        if count > 1:
            if there:
                for sock in there:  # it may come from a time of fewer processes
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            else:
                bind(service, listen).close()
        port = there[0].getsockname()[1] if there else listen.port
        for number in range(count):
            if f"{base}-{number}" not in self._named:
                fresh.append(bind(service, listen, port=port, shared=count > 1))
                port = fresh[-1].getsockname()[1]
                self._named[f"{base}-{number}"] = fresh[-1]

    @property
    def named(self) -> Mapping[str, socket.socket]:
        """All of them."""
        return self._named

    def of(self, service: str, number: int | None = None) -> list[socket.socket]:
        """Those of one service that process `number` serves, or all there are, in the order of the settings."""
        return [
            sock
            for name, sock in self._named.items()
            if name.partition("-")[0] == service and number in (None, self._server_of(name))
        ]

    def of_process(self, number: int) -> dict[str, socket.socket]:
        """Those that process `number` serves."""
        return {name: sock for name, sock in self._named.items() if self._server_of(name) == number}

    def close(self) -> None:
        """Whoever waits in one that nobody else has is refused. Idempotent."""
        for sock in self._named.values():
            sock.close()
        self._named.clear()

    def _server_of(self, name: str) -> int:
        """The process that serves it: there may be fewer now than when it was made."""
        return int(name.rpartition("-")[2]) % self._processes


def handed_sockets(environment: MutableMapping[str, str]) -> dict[str, socket.socket]:
    """What whoever started this process gave to it, by name; the variables are taken away, for our children's sake.

    What is no socket is left alone, and so is what has no name of its own.
    """
    found: dict[str, int] = json.loads(environment.pop(HANDED_ON, "{}"))
    count = environment.pop(LISTEN_FDS, "")
    names = environment.pop(LISTEN_FDNAMES, "").split(":")
    if environment.pop(LISTEN_PID, "") == str(os.getpid()) and count.isdecimal():
        found |= dict(zip(names, range(FIRST_FD, FIRST_FD + int(count)), strict=False))
    handed = {}
    for name, descriptor in found.items():
        try:
            os.set_inheritable(descriptor, False)
            sock = socket.socket(fileno=descriptor)
        except OSError:
            continue
        sock.setblocking(False)
        handed[name] = sock
    return handed


def hand_on(sockets: Mapping[str, socket.socket], environment: MutableMapping[str, str]) -> tuple[int, ...]:
    """Say in the environment of a process to be started which sockets it gets; the descriptors that it must get."""
    descriptors = {name: sock.fileno() for name, sock in sockets.items()}
    environment[HANDED_ON] = json.dumps(descriptors)
    return tuple(descriptors.values())


def bind(service: str, listen: Listen, *, port: int | None = None, shared: bool = False) -> socket.socket:
    """A socket at that address, not listening yet. `port`: instead of its own. `shared`: several may be there."""
    host, _, zone = listen.host.partition("%")
    port = listen.port if port is None else port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # 0.0.0.0 and :: stand side by side, and an IPv4 client never comes as ::ffff:10.0.0.7.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port, 0, socket.if_nametoindex(zone) if zone else 0))
        else:
            sock.bind((host, port))
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        shown = f"[{listen.host}]:{port}" if ":" in host else f"{listen.host}:{port}"
        raise ConfigurationError(
            f"[{service}] listen: cannot listen on {shown}: {exc.strerror}; {_remedy(exc, port)}"
        ) from exc
    return sock


def _name(service: str, listen: Listen) -> str:
    """Without its number. systemd separates names by colons, so there is none in it."""
    return f"{service}-{listen.host.replace(':', '_')}-{listen.port}"


def _remedy(exc: OSError, port: int) -> str:
    match exc.errno:
        case errno.EADDRINUSE:
            return f"`ss -ltnp 'sport = :{port}'` shows which program has it: stop that, or use another port"
        case errno.EACCES:
            return "ports below 1024 are for root or for CAP_NET_BIND_SERVICE; start it so, or use a higher port"
        case errno.EADDRNOTAVAIL:
            return "that address is not on this machine now; 0.0.0.0 or :: takes all that are"
        case _:
            return "give an IP address of this machine and a free port"
