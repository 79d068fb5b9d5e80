"""A fax goes in at the server and comes out at the fax machine, wherever DHCP has put that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fax_receiving import mail_of, tiff_of
from tests.lab.network import SERVER, Lab
from tests.lab.test_mail_follows_the_lease import API_PORT, SMTP_PORT, TERMINAL_PORT

pytestmark = pytest.mark.lab

SENDING = """
import smtplib, sys
from pathlib import Path
with smtplib.SMTP(sys.argv[1], 25, local_hostname="sender", timeout=30) as client:
    client.sendmail("anna@office.lan", ["fax1@office.lan"], Path(sys.argv[2]).read_bytes())
"""


def test_a_fax_follows_the_lease_and_no_name_is_asked_for(lab: Lab, tmp_path: Path) -> None:
    config = lab.server.folder / "lanpost.toml"
    config.write_text(
        'domain = "office.lan"\nhostname = "post.office.lan"\ndata = "data"\n'
        f'[smtp]\nlisten = ["{SERVER}:{SMTP_PORT}"]\n[submission]\nlisten = []\n[pop3]\nlisten = []\n'
        f'[http]\nlisten = ["{SERVER}:{API_PORT}"]\n[log]\nformat = "text"\n'
    )
    server = lab.server.python("serve", "-m", "lanpost", "serve", "--config", config)
    for port in (SMTP_PORT, API_PORT):
        lab.server.wait_for_listener(port, server)
    token = json.loads(lab.server.lanpost("terminal", "add", "fax1", "--json", "--config", config))["token"]

    fax = lab.terminal("fax1")
    own = fax.folder / "lanpost.toml"
    own.write_text(f'hostname = "fax1"\ndata = "data"\n[agent]\nport = {TERMINAL_PORT}\n[log]\nformat = "text"\n')
    fax.lanpost("agent", "enrol", token, "--config", own)
    machine = fax.python("fax", "-m", "lanpost", "fax", "receive", "--config", own)
    machine.wait_for("taking faxes")

    lab.dhcp.start({fax: "10.77.0.10"})
    fax.start_dhcp("udhcpc")
    mail = tmp_path / "fax.eml"
    for pages, address in ((1, "10.77.0.10"), (2, "10.77.0.20")):
        if pages == 2:
            lab.dhcp.move({fax: address})
            fax.renew()
        machine.wait_for(f"registered: fax1@office.lan at {address}:25")
        mail.write_bytes(mail_of(tiff_of(pages)))
        lab.server.run("python3", "-c", SENDING, SERVER, mail)
        machine.wait_for(f"fax received .* pages={pages}")

    faxes = sorted((fax.folder / "data" / "faxes").glob("2*"))
    assert [len(list(each.glob("page-*.png"))) for each in faxes] == [1, 2]
    assert machine.stop() == 0
    assert server.stop() == 0
    assert lab.packets("port 53 or port 5355") == 0
