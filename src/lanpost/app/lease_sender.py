"""Sends a DHCP server's words to the registrar, one after the other, until none is left. Standard library only.

While the registrar cannot be reached it tries again, for PATIENCE; what is left then goes with the next lease. What
the registrar refuses is told to the system's log, and not sent again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import syslog
import time
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from lanpost.app.enrolment import keep, load
from lanpost.app.lease_hook import LOG_NAME
from lanpost.errors import InvalidValue, LanpostError, RegistrarUnreachable, RegistrationRefused
from lanpost.model.device import Device
from lanpost.net.registration_client import RegistrationClient
from lanpost.store.files import replace_file
from lanpost.store.lease_spool import LeaseSpool, age_of

PATIENCE = 600.0  # seconds without an answer, until it gives up
PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # seconds between tries, the last one again and again
MAX_AGE = 86400.0  # seconds; what is older was said again since, or is no longer so
TROUBLE = ".trouble"  # a file that holds why the last try failed


def send(folder: str, claimed: int) -> None:
    """Send all there is, and what comes meanwhile; `claimed` is the right to do so, given back at the end.

    Raises LanpostError where this machine is not enrolled, or its account may not speak for others.
    """
    spool = LeaseSpool(folder)
    right: int | None = claimed
    while right is not None:
        try:
            answered = asyncio.run(_send_waiting(Path(folder), spool))
        finally:
            os.close(right)
        # Looked at again without the right: what came in between was left to us.
        right = spool.claim() if answered and spool.waiting() else None


async def _send_waiting(folder: Path, spool: LeaseSpool) -> bool:
    """False: the registrar was not reached for too long."""
    enrolment = load(folder)
    client = RegistrationClient(enrolment.token, enrolment.authority)
    failures, give_up = 0, time.monotonic() + PATIENCE
    while words := spool.waiting():
        for name, said, fields in words:
            try:
                await _send(client, name, said, fields)
            except RegistrarUnreachable as error:
                _note(folder, str(error), failures)
                if time.monotonic() > give_up:
                    return False
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
                break  # the words may have become others
            except RegistrationRefused as error:
                _note(folder, str(error))
                if error.http_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise  # it would be the same with all of them
            else:
                failures, give_up = 0, time.monotonic() + PATIENCE
                with suppress(FileNotFoundError):
                    (folder / TROUBLE).unlink()
            spool.remove(name, said)
    with suppress(LanpostError):
        keep(folder, enrolment, replace(enrolment, authority=client.authority))
    return True


async def _send(client: RegistrationClient, name: str, said: float, fields: dict[str, str]) -> None:
    if not 0 <= age_of(said) <= MAX_AGE:
        return
    try:
        body = body_of(fields)
    except InvalidValue as error:
        _log(syslog.LOG_INFO, f"not told of {name}: {error}")
        return
    await client.tell_lease({**body, "age": round(age_of(said), 3)})


def body_of(fields: dict[str, str]) -> dict[str, Any]:
    """The body of `POST /v1/leases`; names of the machine that are none are left out. Raises InvalidValue."""
    device: dict[str, str] = {}
    for name in ("mac", "client_id", "hostname"):
        with suppress(InvalidValue):
            if value := getattr(Device.of(**{name: fields.get(name, "")}), name):
                device[name] = value
    try:
        address = str(ipaddress.ip_address(fields.get("address", "")))
    except ValueError:
        raise InvalidValue("that is no IP address") from None
    lifetime = fields.get("lifetime", "")
    told = {"lifetime": int(lifetime)} if lifetime.isdecimal() and len(lifetime) <= 10 else {}
    return {"event": fields.get("event", ""), "address": address, **device, **told}


def _note(folder: Path, trouble: str, failures: int = 0) -> None:
    """For `lanpost dhcp-hook status`, and once for the system's log."""
    if not failures:
        _log(syslog.LOG_WARNING, trouble)
    with suppress(OSError):
        replace_file(folder / TROUBLE, trouble.encode())


def _log(level: int, text: str) -> None:
    syslog.openlog(LOG_NAME, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(level, text)
