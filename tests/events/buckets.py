"""S3-compatible storage for tests: moto's server, on loopback."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

_names = (f"archive-{number}" for number in itertools.count(1))

STORED_IN = ["directory", pytest.param("bucket", marks=pytest.mark.long)]
"""The parameters of a fixture for archives: the second one needs moto."""


@contextmanager
def bucket(set_variable: Callable[[str, str], None]) -> Iterator[str]:
    """The address of an empty prefix in a new bucket, with the variables that lead to it."""
    # Slow to import, and only in the dependency group of the long tests.
    import requests  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        name, endpoint = next(_names), f"http://{host}:{port}"
        requests.put(f"{endpoint}/{name}", timeout=10).raise_for_status()
        set_variable("AWS_ENDPOINT_URL", endpoint)
        set_variable("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        set_variable("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
        set_variable("AWS_REGION", "us-east-1")
        yield f"s3://{name}/logs/main"
    finally:
        server.stop()
