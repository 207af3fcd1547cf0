"""The load generator: wrk on its own core, driven by a generated Lua script."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.workload import Request

ANSWER_SECONDS = 30  # without an answer for longer, wrk counts an error
END_SECONDS = 30  # for wrk to end after its time is over

SCRIPT = """\
wrk.headers["Authorization"] = "Bearer {token}"
wrk.headers["Content-Type"] = "application/json"

local requests = {{}}
local last = 0

function init()
{requests}
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"p999":%d,"statuses":%d,"sockets":%d}}\\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class LoadError(Exception):
    """wrk failed, or the server under load refused or dropped requests."""


class Figures(msgspec.Struct, frozen=True):
    """The figures of one run of wrk; latencies in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    p999: float


def script(requests: Sequence[Request], token: str) -> str:
    """Return the Lua script that sends `requests` in turn, in an endless cycle."""
    lines = (
        f"  requests[{n}] = {_format_request(request)}" for n, request in enumerate(requests, 1)
    )
    return SCRIPT.format(token=token, requests="\n".join(lines))


def _format_request(request: Request) -> str:
    """Return a `wrk.format` call; ASCII JSON, quoted as JSON again, is a Lua string too."""
    body = "nil" if request.body is None else json.dumps(json.dumps(request.body))
    return f'wrk.format("{request.method}", "{request.path}", nil, {body})'


def load(base_url: str, script_file: Path, *, connections: int, seconds: int, core: int) -> Figures:
    """Load a server for some seconds; raises `LoadError` for any error or status of 400 or above."""
    command = ["taskset", "--cpu-list", str(core), "wrk", "--threads", "1"]
    command += ["--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--timeout", f"{ANSWER_SECONDS}s", "--script", str(script_file), base_url]
    limit = seconds + ANSWER_SECONDS + END_SECONDS
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    except subprocess.SubprocessError as error:
        raise LoadError(f"wrk: {error}") from error
    result = json.loads(done.stdout.splitlines()[-1])
    if result["statuses"] or result["sockets"] or not result["requests"]:
        raise LoadError(f"errors under load: {result}")
    return Figures(
        requests=result["requests"],
        rate=result["requests"] / result["microseconds"] * 1e6,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
        p999=result["p999"] / 1000,
    )
