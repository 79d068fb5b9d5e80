"""The router as the settings have it, for the server and for a single inquiry from the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from lanpost.app.charts import open_chart
from lanpost.app.settings import Settings
from lanpost.errors import ChartUnavailable, InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Route, Way
from lanpost.model.endpoint import Endpoint
from lanpost.service.inquiry import Router, RoutingRules
from lanpost.service.ports import Chart, Mailboxes
from lanpost.store.maildir import MaildirMailboxes


def now() -> datetime:
    return datetime.now(UTC)


def open_mailboxes(settings: Settings) -> MaildirMailboxes:
    return MaildirMailboxes(
        settings.data / "mailboxes",
        domain=settings.domain,
        quota=settings.mailbox.quota,
        warning=settings.mailbox.warning,
    )


def refuse_mailbox(settings: Settings, address: MailAddress) -> None:
    """Raises InvalidAddress for a person's mailbox: nobody inquires for it, so a binding would have no effect."""
    mailboxes = open_mailboxes(settings)
    try:
        if mailboxes.has(address):
            raise InvalidAddress(
                f"{address} is a mailbox here, and its mail stays here whatever the chart says; choose another"
                f" address, or `lanpost user remove {address}` first"
            )
    finally:
        mailboxes.close()


async def refuse_charted(settings: Settings, address: MailAddress) -> None:
    """Raises InvalidAddress for an address in the chart: a mailbox would take the terminal's mail from it."""
    chart = open_chart(settings)
    try:
        if await chart.look_up(address) is not None:
            raise InvalidAddress(
                f"{address} is in the chart, as a terminal's address; choose another, or"
                f" `lanpost chart remove {address}` first"
            )
    finally:
        await chart.close()


def router(settings: Settings, chart: Chart, mailboxes: Mailboxes) -> Router:
    fallback = settings.fallback.mailbox
    rules = RoutingRules(
        settings.domain,
        Endpoint.parse(settings.relay.smarthost) if settings.relay.smarthost else None,
        MailAddress.parse(fallback, settings.domain) if fallback else None,
        MailAddress.parse(settings.fax.gateway, settings.domain) if settings.fax.gateway else None,
    )
    return Router(rules, chart, mailboxes, now)


async def look_up(settings: Settings, text: str) -> Route:
    """One inquiry, as the mail server would make it for a client that may relay. Raises InvalidAddress."""
    address = MailAddress.parse(text, settings.domain)
    mailboxes = open_mailboxes(settings)
    try:
        chart = open_chart(settings)
    except ChartUnavailable:
        return Route(address, Way.UNANSWERED)
    try:
        return await router(settings, chart, mailboxes).route(address, may_relay=True)
    finally:
        await chart.close()
        mailboxes.close()
