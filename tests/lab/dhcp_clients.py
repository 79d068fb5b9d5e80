"""The real DHCP clients of the lab's terminals, each in a copy of this system's /etc and with a /run of its own.

So hooks can be installed for one terminal as they are on a device, and clients that want files of fixed names run
side by side.
"""

from __future__ import annotations

import shutil
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.network import INTERFACE

if TYPE_CHECKING:
    from tests.lab.network import Node, Program

KINDS = ("udhcpc", "dhclient", "dhcpcd", "networkd", "networkmanager")
NEEDED = ("udhcpc", "dhclient", "dhcpcd", "networkd-dispatcher", "dbus-daemon", "unshare")
NETWORKMANAGER = Path(__file__).parents[2] / ".make/networkmanager"  # as scripts/install-peers unpacks it

# /sys is read-only where no udevd is to be waited for; networkd goes by that.
PREPARE = """
set -e
mount --bind "$1/etc" /etc
mount -t tmpfs none /run
mount -t tmpfs none /var/lib/dhcpcd
mount -o remount,ro /sys
"""
NETWORKD = """
mkdir -p /run/dbus /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network: /run/systemd/netif
cp "$1"/*.network /run/systemd/network
dbus-daemon --system --nopidfile
/lib/systemd/systemd-networkd &
until networkctl list 2>/dev/null | grep -q " configur"; do :; done
exec networkd-dispatcher --run-startup-triggers
"""
NETWORK_MANAGER = """
mount -t overlay none -o "lowerdir=$2/usr:/usr" /usr
mount -t tmpfs none /var/lib
mkdir -p /var/lib/NetworkManager /run/dbus
dbus-daemon --system --nopidfile
/usr/lib/NetworkManager/nm-dispatcher --persist &
exec NetworkManager --no-daemon --log-level=INFO
"""
MANAGER_FILE = """
[main]
plugins=keyfile
dhcp=internal
dns=none
auth-polkit=false
[keyfile]
unmanaged-devices=none
"""
CONNECTION_FILE = """
[connection]
id=lan
uuid=2815492f-7e56-435e-b2e9-246bd7cdc664
type=ethernet
interface-name={interface}
[ipv4]
method=auto
[ipv6]
method=disabled
"""
NETWORK_FILE = """
[Match]
Name={interface}
[Network]
DHCP={dhcp}
LinkLocalAddressing=ipv6
IPv6AcceptRA={accepts}
[DHCPv4]
UseDNS=no
UseHostname=no
[IPv6AcceptRA]
UseAutonomousPrefix=no
UseDNS=no
"""
DHCLIENT = "timeout 30;\nretry 1;\nreboot 2;\ninitial-interval 1;\nbackoff-cutoff 1;\n"


def missing() -> list[str]:
    """What of all this is not installed here."""
    programs = [name for name in NEEDED if not shutil.which(name)]
    return programs if NETWORKMANAGER.exists() else [*programs, "networkmanager"]


def prepare(node: Node) -> Path:
    """A copy of this system's /etc for one machine: the root to install hooks below."""
    root = node.folder / "root"
    if not root.exists():
        root.mkdir()
        others = shutil.ignore_patterns("netns")  # comes and goes with other labs
        shutil.copytree("/etc", root / "etc", symlinks=True, ignore=others)
        resolver = root / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text("")
        shutil.copytree(NETWORKMANAGER / "etc/NetworkManager", root / "etc/NetworkManager", dirs_exist_ok=True)
        # Of which networkd makes the client's identifier.
        (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    return root


def start(
    node: Node,
    kind: str,
    *,
    hooked: bool = False,
    version: int = 4,
    interface: str = INTERFACE,
    careful: bool = False,
) -> Program:
    """Start a client for IPv4 or IPv6. `hooked`: with what `install-hook` wrote below `prepare(node)`.

    `careful`: dhcpcd asks by ARP for five seconds whether anybody has the address, as it does by itself.
    """
    root = prepare(node)
    command: tuple[str | Path, ...]
    contained = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c")
    if kind == "networkmanager":
        (root / "etc/NetworkManager/NetworkManager.conf").write_text(MANAGER_FILE)
        connection = root / "etc/NetworkManager/system-connections/lan.nmconnection"
        connection.parent.mkdir(exist_ok=True)
        connection.write_text(CONNECTION_FILE.format(interface=interface))
        connection.chmod(0o600)
        command = (*contained, PREPARE + NETWORK_MANAGER, "sh", root, NETWORKMANAGER)
        return node.start(kind, *command, number=signal.SIGKILL)
    if kind == "networkd":
        file = NETWORK_FILE.format(
            interface=interface, dhcp=f"ipv{version}", accepts="yes" if version == 6 else "no"
        )
        (root / "lan.network").write_text(file)
        return node.start(kind, *contained, PREPARE + NETWORKD, "sh", root, number=signal.SIGKILL)
    if kind == "udhcpc":
        # One second between its tries instead of three, and after a round of them instead of twenty.
        command = ("udhcpc", "-f", "-i", interface, "-t", "0", "-T", "1", "-A", "1")
        if hooked:
            command += ("-s", "/etc/udhcpc/lanpost.script")
    elif kind == "dhclient":
        conf = node.folder / f"dhclient-{interface}.conf"
        conf.write_text(DHCLIENT)
        files = ("-cf", conf, "-lf", node.folder / f"leases-{interface}", "-pf", node.folder / f"pid-{interface}")
        command = ("dhclient", f"-{version}", "-d", *files, interface)
    else:
        conf = node.folder / "dhcpcd.conf"
        request = "ia_na\nslaac hwaddr\n" if version == 6 else "" if careful else "noarp\n"
        conf.write_text(f"{request}noipv4ll\nnohook resolv.conf, hostname\nreboot 1\n")
        command = ("dhcpcd", "-B", f"-{version}", "-f", conf, interface)
    return node.start(kind, "sh", "-c", f'{PREPARE}shift; exec "$@"', "sh", root, *command)
