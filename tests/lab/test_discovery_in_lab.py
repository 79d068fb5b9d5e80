"""Terminals that know nothing but their name find their server: by DHCP's options, by DNS-SD, by configuration."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from tests.lab.network import INTERFACE, SERVER, Lab, Node, Program, Terminal

from lanpost.app import dhcp_hooks

pytestmark = pytest.mark.lab

API_PORT = 8025
LDAP_URL = f"ldap://{SERVER}/ou=chart\\,o=lan"  # Kea takes a bare comma for the end of a value
BY_DHCP = {69: SERVER, 70: SERVER, 95: LDAP_URL}


def start_dhcp(fax: Terminal, client: str) -> None:
    """Real clients; udhcpc with a script that leaves the options where the agent sees them."""
    if client == "dhcpcd":
        conf, kept = fax.folder / "dhcpcd.conf", fax.folder / "dhcpcd"
        conf.write_text("noarp\nnoipv4ll\nnohook resolv.conf, hostname\noption 69,70,95\n")
        kept.mkdir()
        private = f"mount --bind {kept} /var/lib/dhcpcd && mount -t tmpfs none /run"
        fax.client = fax.start(client, "sh", "-c", f"{private} && exec dhcpcd -B -4 -f {conf} {INTERFACE}")
        return
    if client != "udhcpc":
        fax.start_dhcp(client)
        return
    (hook,) = dhcp_hooks.hooks_for("udhcpc", Path("/"), fax.folder / "leases")
    script = fax.folder / "udhcpc.script"
    script.write_text(hook.text)
    script.chmod(0o755)
    asking = ("-O", "69", "-O", "70", "-O", "95")
    fax.client = fax.start(client, "udhcpc", "-f", "-i", INTERFACE, "-t", "0", "-T", "1", "-s", script, *asking)


def config_of(node: Node, more: str = "") -> None:
    (node.folder / "lanpost.toml").write_text(
        f'domain = "office.lan"\nhostname = "{node.name}"\ndata = "data"\n[log]\nformat = "text"\n{more}'
    )


def serve(lab: Lab, node: Node, host: str, *, policy: str = "claim", advertise: bool = True) -> Program:
    """A mail server at that address of a node."""
    config_of(
        node,
        f'[smtp]\nlisten = ["{host}:25"]\n[submission]\nlisten = []\n[pop3]\nlisten = ["{host}:110"]\n'
        f'[http]\nlisten = ["0.0.0.0:{API_PORT}"]\n[registrar]\npolicy = "{policy}"\n'
        f"[discovery]\nadvertise = {str(advertise).lower()}\n",
    )
    server = node.python("serve", "-m", "lanpost", "serve", "--config", node.folder / "lanpost.toml")
    node.wait_for_listener(API_PORT, server)
    if advertise:
        server.wait_for("services advertised")
    return server


def start_agent(fax: Terminal, name: str = "fax1", more: str = "") -> Program:
    """The agent, given its name and nothing else (but where this lab's DHCP client keeps its leases)."""
    config_of(fax, f'[agent]\nlease_files = ["{fax.folder}/leases*", "{fax.folder}/dhcpcd/*"]\n{more}')
    command = ("-m", "lanpost", "agent", "--name", name, "--config", fax.folder / "lanpost.toml")
    return fax.python("agent", *command)


def ask(node: Node, *command: str) -> str:
    return node.lanpost(*command, "--config", node.folder / "lanpost.toml")


def status(fax: Terminal) -> dict[str, str]:
    return dict(json.loads(ask(fax, "agent", "status", "--json")))


def is_found(lab: Lab, fax: Terminal, agent: Program, client: str, by: str) -> float:
    """Plug the terminal in, and see it in the chart; how long that took from the link on."""
    agent.wait_for("not registered")
    fax.plug_in()
    began = time.monotonic()
    start_dhcp(fax, client)
    agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")
    took = time.monotonic() - began
    print(f"{by}, {client}: {took:.2f} s from the link to the chart")
    shown = json.loads(ask(lab.server, "lookup", "fax1", "--json"))
    assert (shown["outcome"], shown["endpoint"]) == ("endpoint", "10.77.0.10:25")
    told = status(fax)
    assert (told["state"], told["found_by"], len(told["pin"])) == ("registered", by, 64)
    return took


@pytest.mark.parametrize(
    ("by", "client"),
    [
        ("dhcp", "dhclient"),
        ("dhcp", "udhcpc"),
        ("dhcp", "dhcpcd"),
        ("dns-sd", "udhcpc"),
        ("configuration", "udhcpc"),
    ],
)
def test_a_terminal_with_nothing_but_a_name_is_in_the_chart_soon(lab: Lab, by: str, client: str) -> None:
    if not shutil.which(client):
        pytest.skip(f"{client} is not installed")
    fax = lab.terminal("fax1")
    fax.plug_out()
    serve(lab, lab.server, SERVER, advertise=by != "dhcp")
    lab.dhcp.start({fax: "10.77.0.10"}, BY_DHCP if by == "dhcp" else {})
    configured = f'registrar = ["https://{SERVER}:{API_PORT}"]\n' if by == "configuration" else ""
    agent = start_agent(fax, more=configured)
    assert is_found(lab, fax, agent, client, by) < 10
    assert agent.stop() == 0
    assert lab.packets("port 53") == 0


IMPOSTOR = "10.77.0.66"
LYING = """
import asyncio, sys
from lanpost.model.discovery import REGISTRAR_TYPE, Service, registrar_text
from lanpost.net.service_advertiser import Advertiser

async def main(host, pin):
    service = Service(REGISTRAR_TYPE, 8025, registrar_text(pin, "office.lan"))
    await Advertiser("post", "post").start([service], [host])
    print("lying", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_terminal_that_has_pinned_a_server_tells_an_impostor_nothing(lab: Lab) -> None:
    fax, thief = lab.terminal("fax1"), lab.terminal("thief")
    lab.batch(f"-n {thief.namespace} addr add {IMPOSTOR}/24 dev {INTERFACE}")
    server = serve(lab, lab.server, SERVER)
    lab.dhcp.start({fax: "10.77.0.10"})
    agent = start_agent(fax)
    start_dhcp(fax, "udhcpc")
    agent.wait_for("registered: fax1@office.lan")
    assert server.stop() == 0

    # A server like ours, open to everybody, that tells of itself truly, and besides with our server's pin.
    theirs = serve(lab, thief, IMPOSTOR)
    thief.python("liar", "-c", LYING, IMPOSTOR, status(fax)["pin"]).wait_for("lying")
    fax.plug_out()
    fax.plug_in()  # the agent registers again
    agent.wait_for(f"not registered .unreached.*found, but not that server, and told nothing: https://{IMPOSTOR}")
    assert status(fax)["pin"] not in ask(thief, "ca", "show")
    assert not any("terminal registered" in line for line in theirs.lines)

    serve(lab, lab.server, SERVER)
    agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")
    assert thief.packets(f"tcp port {API_PORT} and src host 10.77.0.10") > 0  # it was looked at, and not believed


def test_a_server_that_has_moved_is_found_again_by_its_pin(lab: Lab) -> None:
    fax, post = lab.terminal("fax1"), lab.terminal("post")
    lab.batch(f"-n {post.namespace} addr add 10.77.0.3/24 dev {INTERFACE}")
    server = serve(lab, post, "0.0.0.0", policy="enrolled")
    lab.dhcp.start({fax: "10.77.0.10"})
    config_of(fax)
    ask(fax, "agent", "enrol", json.loads(ask(post, "terminal", "add", "fax1", "--json"))["token"])
    start_dhcp(fax, "udhcpc")
    command = ("-m", "lanpost", "agent", "--config", fax.folder / "lanpost.toml")
    agent = fax.python("agent", *command)
    agent.wait_for("registered: fax1@office.lan.*by https://10.77.0.3")
    assert status(fax)["found_by"] == "token"

    lab.batch(
        f"-n {post.namespace} addr del 10.77.0.3/24 dev {INTERFACE}",
        f"-n {post.namespace} addr add 10.77.0.4/24 dev {INTERFACE}",
    )
    server.wait_for("services advertised.*10.77.0.4")
    fax.plug_out()
    fax.plug_in()
    agent.wait_for("the server has moved to https://10.77.0.4:8025, found by dns-sd")
    agent.wait_for("registered: fax1@office.lan.*by https://10.77.0.4")
    assert status(fax)["found_by"] == "dns-sd"

    assert agent.stop() == 0
    again = fax.python("agent", *command)
    again.wait_for("registered: fax1@office.lan.*by https://10.77.0.4")  # it need not look again
    assert not any("has moved" in line for line in again.lines)
    assert lab.packets("port 53") == 0
