"""`lanpost serve` from this checkout, with its defaults: everything on, limits and logging included."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.processes import await_banner, free_port, run, stop
from bench.slapd_instance import SlapdInstance
from bench.target import DOMAIN, START_SECONDS, Stage, Target

SOURCE = Path(__file__).resolve().parent.parent / "src"
CONFIGURATION = """\
domain = "{domain}"
hostname = "mail.{domain}"
data = "data"
[smtp]
listen = ["127.0.0.1:{port}"]
[submission]
listen = ["127.0.0.1:{submission_port}"]
[pop3]
listen = ["127.0.0.1:{pop3_port}"]
[http]
listen = ["127.0.0.1:0"]
[delivery]
cut_through = {cut_through}
endpoint_ports = [{sink_port}]
connections_per_endpoint = 100  # as for Postfix
[limits]
connections_per_client = 2000  # one client holds the thousand connections of the memory figure
"""


class Lanpost(Target):
    """Cut-through: the endpoint has the mail before the sender gets 250."""

    name = "lanpost"
    cut_through = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        self._command = [sys.executable, "-m", "lanpost"]
        self._file = self.folder / "lanpost.toml"
        self._file.write_text(
            CONFIGURATION.format(
                domain=DOMAIN,
                port=self.port,
                submission_port=free_port(),  # not 0: that would be one process, where the default is one a core
                pop3_port=free_port(),
                cut_through=str(self.cut_through).lower(),
                sink_port=stage.sink_port,
            )
            + self.settings(),
            "utf-8",
        )
        chart = self.folder / "chart.csv"
        rows = "".join(f"{name},{stage.endpoint}\n" for name in stage.addresses())
        chart.write_text("address,endpoint\n" + rows, "utf-8")
        run([*self._command, "chart", "import", chart, "--config", self._file], env=self._environment)

    def settings(self) -> str:
        """More of lanpost.toml, for those who do not want the defaults."""
        return ""

    @staticmethod
    def lacks() -> str:
        sys.path.insert(0, str(SOURCE))
        for module in ("lanpost.cli.serve", "lanpost.cli.chart"):
            if importlib.util.find_spec(module) is None:
                return f"this checkout has no {module}"
        return ""

    def start(self) -> None:
        with (self.folder / "lanpost.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve", "--config", str(self._file)],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        await_banner(self.port, START_SECONDS, self._process)

    def stop(self) -> None:
        stop(self._process)

    def roots(self) -> list[int]:
        return [self._process.pid] if self._process else []


class LanpostSlapd(Lanpost):
    """The same with the chart in OpenLDAP, as deploy/openldap has it: every mail's inquiry is a search there."""

    name = "lanpost-slapd"

    def __init__(self, stage: Stage) -> None:
        # Its socket's path must be short, which that of a benchmark's folder need not be.
        self._folder = tempfile.TemporaryDirectory(prefix="lanpost-bench-")  # goes with this object
        self._directory = SlapdInstance(Path(self._folder.name))
        self._directory.start()
        super().__init__(stage)
        self._directory.stop()

    def settings(self) -> str:
        (self.folder / "password").write_text(self._directory.password, "ascii")
        return (
            f'[chart]\nurl = "{self._directory.url}/{self._directory.base}"\n'
            f'bind_dn = "{self._directory.bind_dn}"\npassword_file = "password"\n'
        )

    @staticmethod
    def lacks() -> str:
        return Lanpost.lacks() or SlapdInstance.lacks()

    def start(self) -> None:
        self._directory.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self._directory.stop()

    def roots(self) -> list[int]:
        return super().roots() + self._directory.roots()


class LanpostSpool(Lanpost):
    """Every mail through the spool: on disk before the sender gets 250."""

    name = "lanpost-spool"
    durable = True
    cut_through = False
