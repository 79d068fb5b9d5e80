"""nginx as a mail proxy: one question to its auth_http server a connection, then it copies bytes; no queue."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.processes import await_banner, free_port, program, stop
from bench.target import DOMAIN, START_SECONDS, Stage, Target

MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
# The auth server is nginx itself, with the directory as a hashed map: the quickest that there is.
CONFIGURATION = """\
load_module {module};
worker_processes auto;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
daemon off;
events {{ worker_connections 8192; }}
mail {{
    server_name mail.{domain};
    auth_http 127.0.0.1:{auth_port}/;
    xclient off;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        protocol smtp;
        smtp_client_buffer 128k;  # a mail that takes two writes waits 40 ms for a delayed acknowledgement
        proxy_buffer 128k;
        smtp_auth none;
        smtp_capabilities PIPELINING 8BITMIME "SIZE 52428800";
        timeout 300s;
    }}
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map_hash_max_size 65536;
    map_hash_bucket_size 128;
    map $http_auth_smtp_to $endpoint_host {{ default ""; include {folder}/chart.map; }}
    map $endpoint_host $verdict {{ default OK; "" "550 5.1.1 nobody here has that address"; }}
    server {{
        listen 127.0.0.1:{auth_port} backlog=1024;
        location / {{
            add_header Auth-Status $verdict;
            add_header Auth-Server $endpoint_host;
            add_header Auth-Port {sink_port};
            return 204;
        }}
    }}
}}
"""


class Nginx(Target):
    name = "nginx"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._process: subprocess.Popen[bytes] | None = None
        self._file = self.folder / "nginx.conf"
        (self.folder / "chart.map").write_text(
            "".join(f'"RCPT TO:<{name}>" 127.0.0.1;\n' for name in stage.addresses()), "ascii"
        )
        self._file.write_text(
            CONFIGURATION.format(
                module=MODULE,
                folder=self.folder,
                domain=DOMAIN,
                port=self.port,
                auth_port=free_port(),
                sink_port=stage.sink_port,
            ),
            "ascii",
        )

    @staticmethod
    def lacks() -> str:
        ready = program("nginx") and MODULE.exists()
        return "" if ready else "nginx with its mail module not installed: scripts/install-peers"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [program("nginx") or "nginx", "-p", str(self.folder), "-c", str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await_banner(self.port, START_SECONDS, self._process)

    def stop(self) -> None:
        stop(self._process)

    def roots(self) -> list[int]:
        return [self._process.pid] if self._process else []
