"""nginx and Prometheus, of Debian's packages."""

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
"""From a port and the folder that the server may write to, to a configuration."""


class Nginx(Service):
    """nginx with any configuration; its folder has room for what it writes."""

    install = "apt-get install nginx (make servers)"
    stop_signal = signal.SIGQUIT  # What is under way is answered.

    def __init__(self, configure: Configure) -> None:
        super().__init__()
        self.configuration = configure(self.port, self.folder)

    @property
    def url(self) -> str:
        """Where it answers, as far as it is known here."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Have the configuration checked; raises `RuntimeError` with what is wrong."""
        # Its workers are other users than its master where that is root.
        self.folder.chmod(0o755)
        self.configure(self.configuration)
        self.run([*self._command, "-t"])

    def configure(self, text: str) -> None:
        """Write another configuration; `reload` takes it."""
        (self.folder / "nginx.conf").write_text(text)

    def reload(self) -> None:
        """Take the configuration anew, letting go of no request."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def command(self) -> Sequence[str | Path]:
        """The server, in the foreground."""
        return [*self._command, "-g", "daemon off;"]

    def is_ready(self) -> bool:
        """Whether a worker answers: to nonsense, which it does itself, with TLS or without."""
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
    """Prometheus with any configuration; other files that it names are put beside it."""

    install = "apt-get install prometheus (make servers)"

    def __init__(self, configuration: str = "scrape_configs: []\n") -> None:
        super().__init__()
        self.configuration = configuration

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: ``{metric, value: [time, text]}`` for each series."""
        asked = urllib.parse.urlencode({"query": expression})
        _, body = self._get(f"/api/v1/query?{asked}")
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
        """Whether it answers queries."""
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
