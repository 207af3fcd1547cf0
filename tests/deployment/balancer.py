"""The deployed nginx configuration, run with other ports and paths."""

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
    """The deployed nginx before instances; HTTPS on `port`, HTTP on `plain_port`."""

    def __init__(self, instances: Sequence[int]) -> None:
        self.plain_port = free_port()
        self.addresses = [f"127.0.0.1:{port}" for port in instances]
        super().__init__(self._configuration)

    @property
    def url(self) -> str:
        """The HTTPS address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def instances(self) -> Path:
        """The file with the instances, which `drain.py` rewrites."""
        return self.folder / "instances.conf"

    @property
    def access_log(self) -> str:
        """The content of the access log."""
        return (self.folder / "eventapi.log").read_text()

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the certificate."""
        return ssl.create_default_context(cafile=str(self._tls[0]))

    def prepare(self) -> None:
        """Create the certificate and the file of instances."""
        self._tls = certificate(self.folder)
        self.instances.write_text("".join(_SERVER.format(address=one) for one in self.addresses))
        super().prepare()

    def _configuration(self, port: int, folder: Path) -> str:
        text = (DEPLOY / "nginx" / "nginx.conf").read_text()
        for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            text = _replace_once(
                text, "http {\n", f"http {{\n    {part}_temp_path {folder}/{part};\n"
            )
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
            text = _replace_once(text, old, new)
        return text


def _replace_once(text: str, old: str, new: str) -> str:
    """Replace text that must occur exactly once, to notice changes of the file."""
    assert text.count(old) == 1, old
    return text.replace(old, new)
