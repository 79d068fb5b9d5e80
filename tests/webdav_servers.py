"""Real document servers on loopback, each a process of its own: wsgidav, and Apache's mod_dav where installed."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

MODULES = Path("/usr/lib/apache2/modules")
WSGIDAV = """
import sys
from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp
folder, port, *user = sys.argv[1:]
mapping = {"*": {user[0]: {"password": user[1]}} if user else True}
app = WsgiDAVApp({
    "provider_mapping": {"/": folder}, "simple_dc": {"user_mapping": mapping},
    "verbose": 0, "logging": {"enable": False},
    "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
})
wsgi.Server(("127.0.0.1", int(port)), app, numthreads=8).safe_start()
"""
APACHE = """
ServerRoot {folder}
ServerName 127.0.0.1
PidFile {folder}/run/pid
Listen 127.0.0.1:{port}
ErrorLog {folder}/run/error.log
{modules}
User www-data
Group www-data
DocumentRoot {folder}/root
DAVLockDB {folder}/run/lock
StartServers 1
<Directory {folder}/root>
    Dav On
    FileETag {etag}
    {access}
</Directory>
{more}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class DocumentServer:
    """Serves `folder/root` at `port`; may be stopped, started again, and frozen."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.port = port or free_port()
        for path in (self.root, folder / "run"):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)
        self.https = False
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/chart.xml"

    @property
    def document(self) -> Path:
        return self.root / "chart.xml"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command(), start_new_session=True, stderr=subprocess.PIPE)
        give_up = time.monotonic() + 20
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.connect()
                if not self.https:
                    connection.request("OPTIONS", "/")
                    connection.getresponse().read()
                return
            except OSError:
                assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
                assert time.monotonic() < give_up
                time.sleep(0.01)
            finally:
                connection.close()

    def stop(self) -> None:
        if self.process:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()
            if self.process.stderr:
                self.process.stderr.close()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """To all of its processes."""
        assert self.process
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Wsgidav(DocumentServer):
    """`user`: name and password without which nothing is served."""

    def __init__(self, folder: Path, port: int = 0, user: tuple[str, ...] = ()) -> None:
        super().__init__(folder, port)
        self.user = user

    def command(self) -> list[str]:
        return [sys.executable, "-W", "ignore", "-c", WSGIDAV, str(self.root), str(self.port), *self.user]


class Apache(DocumentServer):
    """In a folder of its own, since its processes belong to another user than root's."""

    def __init__(
        self,
        port: int = 0,
        etag: str = "MTime Size",
        access: str = "Require all granted",
        more: str = "",
        modules: tuple[str, ...] = (),
        https: bool = False,
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanpost-apache-"))
        folder.chmod(0o755)
        super().__init__(folder, port)
        self.configuration = {"etag": etag, "access": access, "more": more}
        self.https = https
        self.modules = ("mpm_event", "authz_core", "dav", "dav_fs", *modules)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @staticmethod
    def program() -> str | None:
        found = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin")
        return found if MODULES.is_dir() else None

    def command(self) -> list[str]:
        program = self.program()
        assert program
        modules = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in self.modules)
        file = self.folder / "apache.conf"
        file.write_text(
            APACHE.format(folder=self.folder, port=self.port, modules=modules, **self.configuration), "utf-8"
        )
        return [program, "-D", "FOREGROUND", "-f", str(file)]
