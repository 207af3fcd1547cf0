"""Start a real nginx and a real Prometheus, from Debian's packages."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.servers.service import Service

Configure = Callable[[int, Path], str]
"""Takes a port and a folder that the server may write to; returns a configuration."""


class Nginx(Service):
    """nginx with any configuration, which may write to the server's folder."""

    install = "apt-get install nginx (make servers)"
    stop_signal = signal.SIGQUIT  # Requests in progress are answered.

    def __init__(self, configure: Configure) -> None:
        super().__init__()
        self.configuration = configure(self.port, self.folder)

    @property
    def url(self) -> str:
        """The HTTP address on the server's port."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Check the configuration; raises `RuntimeError` with the errors."""
        # The workers run as another user if the master is root.
        self.folder.chmod(0o755)
        self.configure(self.configuration)
        self.run([*self._command, "-t"])

    def configure(self, text: str) -> None:
        """Write another configuration; `reload` applies it."""
        (self.folder / "nginx.conf").write_text(text)

    def reload(self) -> None:
        """Apply the configuration without dropping a request."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def command(self) -> Sequence[str | Path]:
        """The server, in the foreground."""
        return [*self._command, "-g", "daemon off;"]

    def is_ready(self) -> bool:
        """Whether a worker answers an invalid request, which works with and without TLS."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"nonsense\r\n\r\n")
                return probe.recv(1) != b""
        except OSError:
            return False

    @property
    def _command(self) -> Sequence[str | Path]:
        return [self.executable("nginx"), "-p", self.folder, "-c", self.folder / "nginx.conf"]


class Prometheus(Service):
    """Prometheus with any configuration."""

    install = "apt-get install prometheus (make servers)"

    def __init__(self, configuration: str = "scrape_configs: []\n") -> None:
        super().__init__()
        self.configuration = configuration

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now: ``{metric, value: [time, text]}`` for each series."""
        parameters = urllib.parse.urlencode({"query": expression})
        _, body = self._get(f"/api/v1/query?{parameters}")
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return found

    def prepare(self) -> None:
        """Write the configuration."""
        (self.folder / "prometheus.yml").write_text(self.configuration)

    def command(self) -> Sequence[str | Path]:
        """The server."""
        return [
            self.executable("prometheus"),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def is_ready(self) -> bool:
        """Whether the server answers queries."""
        try:
            return self._get("/-/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
