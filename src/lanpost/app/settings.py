"""The settings that `lanpost.toml` may hold, with their defaults: every table and key, in one place.

Only declarations; `config.py` reads and checks. Standard library only: the agent uses it on small devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lanpost.app import setting_values as read
from lanpost.app.setting_values import Listen, setting
from lanpost.model.networks import Network
from lanpost.store.lease_files import PATTERNS


@dataclass(frozen=True, slots=True)
class Smtp:
    """Mail from anyone, to our own addresses."""

    listen: tuple[Listen, ...] = setting(read.listens, "0.0.0.0:25")


@dataclass(frozen=True, slots=True)
class Submission:
    """Mail from people and terminals who authenticate."""

    listen: tuple[Listen, ...] = setting(read.listens, "0.0.0.0:587")


@dataclass(frozen=True, slots=True)
class Authentication:
    """Where a password may cross the wire without TLS."""

    networks_without_tls: tuple[Network, ...] = setting(read.networks, "127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Pop3:
    listen: tuple[Listen, ...] = setting(read.listens, "0.0.0.0:110")
    idle: float = setting(read.duration, "10m")


@dataclass(frozen=True, slots=True)
class Mailbox:
    quota: int = setting(read.size, "1GB")  # of each mailbox
    warning: int = setting(read.percent, 90)  # of the quota, told by a mail to its owner


@dataclass(frozen=True, slots=True)
class Http:
    """Registration API (HTTPS) and metrics."""

    listen: tuple[Listen, ...] = setting(read.listens, "0.0.0.0:8025")
    urls: tuple[str, ...] = setting(read.urls)  # what tokens name; empty: from `listen` and our addresses


@dataclass(frozen=True, slots=True)
class Ldap:
    listen: tuple[Listen, ...] = setting(read.listens)
    urls: tuple[str, ...] = setting(read.directory_urls)  # what tokens for it name; empty: chart.url, or as http's
    suffix: str = setting(read.text, "")
    admin_password_file: str = setting(read.text, "")
    anonymous: str = setting(read.one_of("read", "none"), "read")
    client_ca_file: str = setting(read.text, "")  # whose client certificates log in by EXTERNAL; empty: our own CA
    networks_without_delay: tuple[Network, ...] = setting(
        read.networks
    )  # whose wrong passwords are answered at once
    entries: int = setting(read.count, 100_000)  # of one search
    search_timeout: float = setting(read.duration, "60s")
    idle: float = setting(read.duration, "15m")


@dataclass(frozen=True, slots=True)
class ChartSettings:
    url: str = setting(read.text, "sqlite:chart.sqlite3")
    bind_dn: str = setting(read.text, "")
    password_file: str = setting(read.text, "")
    user: str = setting(read.text, "")
    timeout: float = setting(read.duration, "2s")  # of one inquiry
    replica: bool = setting(read.truth, False)  # a copy here, for while it cannot be asked
    start_tls: bool = setting(read.truth, False)
    ca_file: str = setting(read.text, "")  # who vouches for its certificate; empty: our own CA and the system's
    certificate_file: str = setting(read.text, "")  # PEM with key: SASL EXTERNAL
    filter: str = setting(read.text, "")  # "%s": the address
    address_attribute: str = setting(read.text, "")
    host_attribute: str = setting(read.text, "")
    port_attribute: str = setting(read.text, "")


@dataclass(frozen=True, slots=True)
class Registrar:
    policy: str = setting(read.one_of("enrolled", "claim"), "enrolled")
    networks: tuple[Network, ...] = setting(read.networks, "10.0.0.0/8")
    lifetime: float = setting(read.duration, "24h")
    refresh: bool = setting(read.truth, True)  # ask terminals that have been silent to register again
    refresh_after: int = setting(read.percent, 75)  # of a binding's lifetime
    refresh_port: int = setting(read.port, 8026)  # UDP, where agents hear that
    refresh_to: tuple[str, ...] = setting(
        read.hosts
    )  # besides our own links: hosts, other links' broadcast addresses


@dataclass(frozen=True, slots=True)
class Discovery:
    """Being found by terminals that know nothing yet."""

    advertise: bool = setting(read.truth, True)  # tell of ourselves on our links (DNS-SD)


@dataclass(frozen=True, slots=True)
class Delivery:
    cut_through: bool = setting(read.truth, True)
    cut_through_timeout: float = setting(read.duration, "5s")
    endpoint_ports: tuple[int, ...] = setting(read.ports, 25)
    connections: int = setting(read.count, 500)  # outgoing ones in all
    connections_per_endpoint: int = setting(read.count, 20)
    idle: float = setting(read.duration, "10s")  # how long a connection is kept for the next mail
    connect_timeout: float = setting(read.duration, "10s")
    reply_timeout: float = setting(read.duration, "5m")  # RFC 5321 §4.5.3.2
    first_retry: float = setting(read.duration, "5s")
    last_retry: float = setting(read.duration, "10m")  # the longest pause between two tries
    delay_notice: float = setting(read.duration, "4h")
    give_up: float = setting(read.duration, "5d")


@dataclass(frozen=True, slots=True)
class Relay:
    networks: tuple[Network, ...] = setting(read.networks, "127.0.0.0/8")
    smarthost: str = setting(read.endpoint_text, "")


@dataclass(frozen=True, slots=True)
class Fallback:
    mailbox: str = setting(read.text, "")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them together, may take of the receiving side."""

    mail_size: int = setting(read.size, "50MB")
    recipients: int = setting(read.count, 1000)
    errors: int = setting(read.count, 20)  # bad commands and refused recipients before we hang up
    commands: int = setting(read.count, 10_000)  # in one connection, mails not counted
    command_octets: int = setting(read.count, 2048)
    connections: int = setting(read.count, 5000)
    connections_per_client: int = setting(read.count, 1500)
    command_timeout: float = setting(read.duration, "5m")
    mail_timeout: float = setting(read.duration, "30m")
    free_disk: int = setting(read.size, "100MB")  # below this no new mail is taken


@dataclass(frozen=True, slots=True)
class Agent:
    """The terminal's side."""

    name: str = setting(read.terminal_name, "")  # what to claim where nobody has enrolled this terminal
    registrar: tuple[str, ...] = setting(read.urls)  # where it is; empty: it is looked for
    discover: tuple[str, ...] = setting(read.some_of("dhcp", "dns-sd"), "dhcp", "dns-sd")  # how it is looked for
    lease_files: tuple[str, ...] = setting(read.texts, *PATTERNS)  # of DHCP clients
    port: int = setting(read.port, 25)
    receive: str = setting(read.text, "")
    listen: tuple[Listen, ...] = setting(read.listens)  # with `receive`; empty: every address, at `port`
    address: str = setting(read.ip_text, "")  # register from this address of ours; empty: what reaches the server
    goodbye: bool = setting(read.truth, False)  # unbind at shutdown
    settle: float = setting(read.duration, "20ms")
    refresh_port: int = setting(read.port, 8026)  # UDP, where the registrar's requests are heard
    greeting: str = setting(read.text, "auto")  # how the software at `port` greets; "auto": ask it; "": not checked
    watch: str = setting(read.one_of("auto", "hook"), "auto")  # "hook": neither rtnetlink nor polling
    hook_file: Path = setting(read.plain_file, "/run/lanpost-address-hook")  # what DHCP clients' hooks touch


@dataclass(frozen=True, slots=True)
class Fax:
    """The fax machine, `lanpost fax`; and where fax numbers lead."""

    folder: str = setting(read.text, "faxes")  # each fax becomes a folder in it
    number: str = setting(read.fax_number, "")  # that this machine answers to besides its address
    pages: int = setting(read.count, 500)  # of one mail; with more it is refused
    decode_timeout: float = setting(read.duration, "2m")  # to look at one mail's pages
    decode_memory: int = setting(read.size, "1GiB")
    decoders: int = setting(read.count, 2)  # mails looked at side by side
    command: tuple[str, ...] = setting(read.texts)  # run with the fax's folder as last argument
    command_timeout: float = setting(read.duration, "5m")
    printer: str = setting(read.printer_url, "")
    printer_pin: str = setting(read.fingerprint, "")  # by which it is known, where it speaks TLS
    mdn: str = setting(read.one_of("never", "when-asked"), "never")
    via: str = setting(
        read.endpoint_as_given, ""
    )  # the mail server; empty: to send, on this host; for notices, the registrar's
    user: str = setting(read.text, "")  # logs in at that server to send; empty: nobody does
    sender: str = setting(read.text, "")  # who sends; empty: fax@domain
    retries: int = setting(read.whole, 3)  # of a machine that is busy, where we send to it ourselves
    pause: float = setting(read.duration, "60s")  # between two tries
    report_to: str = setting(read.text, "")  # the terminal that prints transmission reports
    pop3: str = setting(read.pop3_text, "")  # where the sender's mailbox is, for receipts
    pop3_user: str = setting(read.text, "")  # empty: `user`, else the sender
    password_file: str = setting(read.text, "")  # of user and mailbox
    ca_file: str = setting(read.text, "")  # who vouches for these servers; empty: the system's authorities
    receipt_timeout: float = setting(read.duration, "2m")
    gateway: str = setting(read.text, "")  # the terminal that telephones, for numbers nobody here has


@dataclass(frozen=True, slots=True)
class Log:
    level: str = setting(read.one_of("debug", "info", "warning", "error"), "info")
    format: str = setting(read.one_of("auto", "text", "json"), "auto")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `lanpost.toml`. `data` is absolute."""

    domain: str = setting(read.domain, "office.lan")
    hostname: str = setting(read.text, "")  # what we call ourselves in SMTP; empty: this host's name
    data: Path = setting(read.path, "/var/lib/lanpost")
    workers: int = setting(read.workers, "auto")  # 0: auto
    smtp: Smtp = field(default_factory=Smtp)
    submission: Submission = field(default_factory=Submission)
    authentication: Authentication = field(default_factory=Authentication)
    pop3: Pop3 = field(default_factory=Pop3)
    mailbox: Mailbox = field(default_factory=Mailbox)
    http: Http = field(default_factory=Http)
    ldap: Ldap = field(default_factory=Ldap)
    chart: ChartSettings = field(default_factory=ChartSettings)
    registrar: Registrar = field(default_factory=Registrar)
    discovery: Discovery = field(default_factory=Discovery)
    delivery: Delivery = field(default_factory=Delivery)
    relay: Relay = field(default_factory=Relay)
    fallback: Fallback = field(default_factory=Fallback)
    limits: Limits = field(default_factory=Limits)
    agent: Agent = field(default_factory=Agent)
    fax: Fax = field(default_factory=Fax)
    log: Log = field(default_factory=Log)
    file: Path | None = None  # where all this was read from; not a key
