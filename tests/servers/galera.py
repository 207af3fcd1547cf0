"""Start a real cluster of MariaDB with Galera, from Debian's packages."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.end_to_end.server import START_SECONDS, free_port
from tests.servers.mariadb import USER, MariaDB
from tests.servers.service import NotInstalledError

_PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
_PAUSE_SECONDS = 0.02

_GROUP_OPTIONS = (
    "evs.keepalive_period=PT0.2S;evs.inactive_check_period=PT0.1S;evs.suspect_timeout=PT1S;"
    "evs.inactive_timeout=PT3S;evs.install_timeout=PT3S;gmcast.peer_timeout=PT1S;"
    "gmcast.time_wait=PT0.5S;gcache.size=32M"
)
"""The defaults divided by five or ten: a node is given up after one second of silence."""


class Node(MariaDB):
    """One node of a cluster, with the durability that eventapi demands.

    It creates the cluster if that has no other node yet. Otherwise it joins: with an incremental
    transfer (IST) if its data are not too old, else with a copy of all data (SST) by rsync.
    """

    install = "apt-get install mariadb-server galera-4 (make servers)"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.group_port = free_port()
        self.transfer_port = free_port()
        self.copy_port = free_port()
        self._cluster = cluster

    def create_data(self) -> None:
        """Create the data of the first node; the others get a copy when they join."""
        if not _PROVIDER.exists():
            raise NotInstalledError(f"{_PROVIDER} is not installed: {self.install}")
        self.executable("wsrep_sst_rsync")
        if self is self._cluster.nodes[0]:
            super().create_data()
        else:
            self.run(["mkdir", self.data])

    def command(self) -> Sequence[str | Path]:
        """The server as a member of the cluster."""
        options = (
            f"{_GROUP_OPTIONS};gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};"
            f"ist.recv_addr=127.0.0.1:{self.transfer_port}"
        )
        others = [node for node in self._cluster.nodes if node is not self and node.is_running]
        address = ",".join(f"127.0.0.1:{node.group_port}" for node in others)
        return [
            *super().command(),
            "--wsrep-on=ON",
            f"--wsrep-provider={_PROVIDER}",
            f"--wsrep-provider-options={options}",
            f"--wsrep-cluster-address=gcomm://{address}",
            f"--wsrep-node-address=127.0.0.1:{self.group_port}",
            f"--wsrep-node-incoming-address=127.0.0.1:{self.port}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{self.copy_port}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
        ]

    def is_ready(self) -> bool:
        """Whether the node has all data and belongs to the primary component."""
        return self.status("wsrep_ready") == "ON" and self.status("wsrep_local_state") == "4"

    def status(self, name: str) -> str:
        """A status variable of the node; empty while it does not answer."""
        try:
            return self.sql(f"SHOW STATUS LIKE '{name}'").partition("\t")[2]
        except RuntimeError:
            return ""

    def isolate(self, *, is_isolated: bool = True) -> None:
        """Cut the node off from the others, as a broken network would; or connect it again."""
        value = int(is_isolated)
        self.sql(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={value}'")

    def lose_data(self) -> None:
        """Remove the data of a stopped node, so that it needs a copy of all of them."""
        assert not self.is_running, "the node is running"
        shutil.rmtree(self.data)
        self.run(["mkdir", self.data])


class Cluster:
    """Three nodes as a context; each can be killed, cut off, and started again."""

    def __init__(self, size: int = 3) -> None:
        self.nodes: list[Node] = []
        self._size = size

    def __enter__(self) -> Self:
        try:
            for _ in range(self._size):
                node = Node(self)
                self.nodes.append(node)
                node.__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:  # All of them are removed, so none has to leave in an orderly way.
            node.kill()
            node.__exit__()

    def url_from(self, first: int, database: str = USER) -> str:
        """The address of a database with all hosts, beginning with that of one node."""
        hosts = [f"127.0.0.1:{node.port}" for node in self.nodes]
        login, _, _ = self.nodes[0].url.partition("@")
        return f"{login}@{','.join(hosts[first:] + hosts[:first])}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        return self.nodes[0].new_database().rpartition("/")[2]

    def wait_until_whole(self) -> None:
        """Wait until all nodes belong to one primary component again."""
        deadline = time.monotonic() + START_SECONDS
        while not all(self._is_whole(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise TimeoutError("the nodes do not come together again")
            time.sleep(_PAUSE_SECONDS)

    def _is_whole(self, node: Node) -> bool:
        return node.is_ready() and node.status("wsrep_cluster_size") == str(len(self.nodes))
