"""nginx as it is deployed, on other ports and with other paths."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.server import ROOT, free_port
from tests.security.test_tls import certificate
from tests.servers.web import Nginx

DEPLOY = ROOT / "deploy"
_SERVER = "server {address} max_fails=1 fail_timeout=2s;\n"


class Balancer(Nginx):
    """The deployed nginx over instances: `port` is that of HTTPS, `plain_port` that of HTTP."""

    def __init__(self, instances: Sequence[int]) -> None:
        self.plain_port = free_port()
        self.addresses = [f"127.0.0.1:{port}" for port in instances]
        super().__init__(self._configuration)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def instances(self) -> Path:
        """The file of instances, which `drain.py` writes."""
        return self.folder / "instances.conf"

    @property
    def requests(self) -> str:
        """The access log."""
        return (self.folder / "eventapi.log").read_text()

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe that this is who it says."""
        return ssl.create_default_context(cafile=str(self._tls[0]))

    def prepare(self) -> None:
        """Lay certificate and instances beside the configuration."""
        self._tls = certificate(self.folder)
        self.instances.write_text("".join(_SERVER.format(address=one) for one in self.addresses))
        super().prepare()

    def _configuration(self, port: int, folder: Path) -> str:
        text = (DEPLOY / "nginx" / "nginx.conf").read_text()
        for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            text = _replaced(text, "http {\n", f"http {{\n    {part}_temp_path {folder}/{part};\n")
        for old, new in {
            "listen 80 ": f"listen 127.0.0.1:{self.plain_port} ",
            "listen 443 ": f"listen 127.0.0.1:{port} ",
            "    listen [::]:80 default_server;\n": "",
            "    listen [::]:443 ssl http2 default_server;\n": "",
            "worker_processes auto;": "worker_processes 2;",
            "/run/nginx.pid": f"{folder}/pid",
            "/etc/eventapi/tls/fullchain.pem": f"{folder}/cert.pem",
            "/etc/eventapi/tls/privkey.pem": f"{folder}/key.pem",
            "/var/log/nginx/error.log": f"{folder}/error.log",
            "/var/log/nginx/eventapi.log": f"{folder}/eventapi.log",
        }.items():
            text = _replaced(text, old, new)
        return text


def _replaced(text: str, old: str, new: str) -> str:
    """What a machine has otherwise; a test must not go on with what it does not know."""
    assert text.count(old) == 1, old
    return text.replace(old, new)
