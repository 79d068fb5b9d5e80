"""What the settings mean for one process of a server: its part of the limits, and the rules of its services."""

from __future__ import annotations

import resource

import structlog

from lanpost.app.reception import ReceptionRules
from lanpost.app.settings import Settings
from lanpost.app.workers import worker_count
from lanpost.net.endpoint_pool import PoolLimits
from lanpost.net.smtp_connection import Patience
from lanpost.net.smtp_out import SenderLimits
from lanpost.service.schedule import Schedule

log = structlog.get_logger()


def share(settings: Settings, limit: int) -> int:
    """One process's part of a limit that is for the whole server; rounded up, so never none."""
    return -(-limit // worker_count(settings))


def clients_share(settings: Settings, limit: int) -> int:
    """How many clients one process takes, of a limit that is for the whole server.

    The kernel deals clients out by chance, so each process takes half as many again as its even part: within the
    limit nobody is turned away.
    """
    workers = worker_count(settings)
    return limit if workers == 1 else min(limit, -(-limit * 3 // (2 * workers)) + 8)


def reception_rules(settings: Settings, hostname: str) -> ReceptionRules:
    """Whose mail is taken, and how it is handed on."""
    return ReceptionRules(
        hostname, settings.relay.networks, settings.delivery.cut_through, settings.delivery.cut_through_timeout
    )


def allow_open_files(wanted: int) -> None:
    """Debian lets a process have 1024 files open unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning("few open files allowed", allowed=allowed, wanted=wanted, remedy="raise LimitNOFILE")


def sender_limits(settings: Settings) -> SenderLimits:
    """How many connections this process makes to endpoints, and how long it waits for them."""
    delivery = settings.delivery
    return SenderLimits(
        PoolLimits(
            share(settings, delivery.connections),
            share(settings, delivery.connections_per_endpoint),
            idle_seconds=delivery.idle,
        ),
        Patience(connect=delivery.connect_timeout, reply=delivery.reply_timeout),
    )


def schedule(settings: Settings) -> Schedule:
    """When a mail that waits is tried again, and given up."""
    delivery = settings.delivery
    return Schedule(delivery.first_retry, delivery.last_retry, delivery.delay_notice, delivery.give_up)
