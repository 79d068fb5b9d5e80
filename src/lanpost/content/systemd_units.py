"""The units by which systemd runs this program, one for each role; docs/security.md says what they forbid.

Written for systemd 252 (Debian 12); a later one knows every word of them.
"""

from __future__ import annotations

from dataclasses import dataclass

STOP_SECONDS = 60  # what is half received and half sent may take 15 s each, and workers 40 s in all
WATCHDOG_SECONDS = 60  # an event loop that has not come round for so long hangs

_TEMPLATE = """\
[Unit]
Description={description}
{order}
# One that cannot start is tried ten times, two seconds apart, and then left for somebody to look at.
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} {command}
ExecReload=/bin/kill -HUP $MAINPID
# The first process stops the others.
KillMode=mixed
Restart={restart}
RestartSec=2
TimeoutStartSec={start_seconds}
TimeoutStopSec={stop_seconds}
WatchdogSec={watchdog_seconds}
FileDescriptorStoreMax={stored_sockets}
User=lanpost
Group=lanpost
UMask=0077
StateDirectory=lanpost
StateDirectoryMode=0700
ConfigurationDirectory=lanpost
LimitNOFILE=65536
OOMPolicy={oom_policy}

# It listens, asks and sends; it changes nothing but its data folder, and sees nothing that is not its own.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Limits are read and, for open files, raised.
SystemCallFilter=prlimit64

[Install]
WantedBy=multi-user.target
"""

# What listens at a named address needs that address to be there.
_AFTER_ADDRESSES = "Wants=network-online.target\nAfter=network-online.target"


@dataclass(frozen=True, slots=True)
class _Role:
    unit: str
    command: str
    description: str
    order: str
    stored_sockets: int  # listening sockets that are kept over a restart: services x addresses x workers
    restart: str
    oom_policy: str  # a worker that the kernel kills is started again by its first process


_ROLES = {
    "serve": _Role(
        "lanpost.service", "serve", "lanpost mail server", _AFTER_ADDRESSES, 512, "on-failure", "continue"
    ),
    "directory": _Role(
        "lanpost-directory.service",
        "directory",
        "lanpost directory",
        _AFTER_ADDRESSES,
        64,
        "on-failure",
        "stop",
    ),
    # The agent follows the network up and down by itself, and nobody is there to start it again.
    "agent": _Role("lanpost-agent.service", "agent", "lanpost agent", "After=network.target", 0, "always", "stop"),
}
ROLES = tuple(_ROLES)


def unit_name(role: str) -> str:
    """The unit's file name. KeyError where there is no such role."""
    return _ROLES[role].unit


def unit(role: str, program: str) -> str:
    """The unit's text; `program` is the absolute path by which it is started."""
    held = _ROLES[role]
    return _TEMPLATE.format(
        description=held.description,
        order=held.order,
        program=program,
        command=held.command,
        restart=held.restart,
        start_seconds=300,  # a spool of very many mails is read first
        stop_seconds=STOP_SECONDS,
        watchdog_seconds=WATCHDOG_SECONDS,
        stored_sockets=held.stored_sockets,
        oom_policy=held.oom_policy,
    )
