"""State machine: files of two machines are copied, restored, truncated, lost.

A machine is a real directory; servers and commands are real. Copies of a directory are restored
whole or in part, on either machine. The operator follows the guide: presents the newest checkpoint
that was issued, or begins a new key.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from eventapi.configuration.settings import Settings
from events.errors import EventapiError
from events.transparency.signed_note import Signer
from tests.eventapi.cli.running import invoke
from tests.fault_injection.restores.judge import Judge
from tests.fault_injection.restores.serving import serve

FILES = ("key", "signed", "checkpoint", "mark", "")
"""Suffixes of the log's name; the log itself is last."""

machines = st.sampled_from(["a", "b"])
suffixes = st.sampled_from(FILES)
picks = st.integers(0, 30)


class Restores(RuleBasedStateMachine):
    """Two machines; the second starts without files."""

    totals: ClassVar[dict[str, int]] = {"histories": 0, "compared": 0, "checkpoints": 0}

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="eventapi-restores-"))
        self.judge = Judge()
        self.copies: list[Path] = []
        self.backups: list[Path] = []
        self.runner = asyncio.Runner()

    def teardown(self) -> None:
        self.runner.close()
        shutil.rmtree(self.root)
        self.totals["histories"] += 1
        self.totals["compared"] += self.judge.compared
        self.totals["checkpoints"] += sum(map(len, self.judge.issued.values()))

    def data(self, machine: str) -> Path:
        """The data directory of a machine."""
        return self.root / machine

    def file(self, machine: str, suffix: str) -> Path:
        """A file beside the log, or the log."""
        return self.data(machine) / ("events.jsonl" + (suffix and f".{suffix}"))

    @initialize()
    def begin(self) -> None:
        """Start a server with a user and issue a checkpoint."""
        self.runner.run(self._serve("a", 3, with_checkpoint=True))

    # Servers

    async def _serve(self, machine: str, titles: int, with_checkpoint: bool) -> None:
        settings = Settings(data=str(self.data(machine)), snapshot_every=0)
        await serve(settings, self.judge, machine, titles, with_checkpoint)

    def serve(self, machine: str, titles: int, *, with_checkpoint: bool) -> None:
        """Run a server that writes and may issue a checkpoint; it may refuse to start."""
        with suppress(EventapiError):
            self.runner.run(self._serve(machine, titles, with_checkpoint))

    @rule(machine=machines, titles=st.integers(1, 4))
    def write(self, machine: str, titles: int) -> None:
        self.serve(machine, titles, with_checkpoint=False)

    @rule(machine=machines)
    def checkpoint(self, machine: str) -> None:
        self.serve(machine, 0, with_checkpoint=True)

    @rule(machine=machines, titles=st.integers(1, 4))
    def write_and_sign(self, machine: str, titles: int) -> None:
        self.serve(machine, titles, with_checkpoint=True)

    # Files

    @rule(machine=machines)
    def copy_the_directory(self, machine: str) -> None:
        if self.data(machine).exists():
            copy = self.root / f"copy-{len(self.copies)}"
            shutil.copytree(self.data(machine), copy)
            self.copies.append(copy)

    @rule(machine=machines, pick=picks)
    def put_the_directory_back(self, machine: str, pick: int) -> None:
        if self.copies:
            shutil.rmtree(self.data(machine), ignore_errors=True)
            shutil.copytree(self.copies[pick % len(self.copies)], self.data(machine))

    @rule(machine=machines, pick=picks, suffix=suffixes)
    def put_a_file_back(self, machine: str, pick: int, suffix: str) -> None:
        if self.copies and self.data(machine).exists():
            name = self.file(machine, suffix).name
            kept = self.copies[pick % len(self.copies)] / name
            if kept.exists():
                shutil.copy2(kept, self.data(machine) / name)
            if suffix == "":  # According to the guide, a log is restored without its mark.
                self.file(machine, "mark").unlink(missing_ok=True)

    @rule(machine=machines, suffix=suffixes)
    def lose_a_file(self, machine: str, suffix: str) -> None:
        self.file(machine, suffix).unlink(missing_ok=True)

    @rule(machine=machines, lines=st.integers(0, 9))
    def truncate(self, machine: str, lines: int) -> None:
        log = self.file(machine, "")
        if log.exists():
            content = log.read_bytes().splitlines(keepends=True)
            log.write_bytes(b"".join(content[:lines]))
            self.file(machine, "mark").unlink(missing_ok=True)

    # Commands of the operator

    @rule(machine=machines)
    def log_copy(self, machine: str) -> None:
        backup = self.root / f"backup-{len(self.backups)}"
        keys = ("--vault", str(backup / "keys.sqlite"))
        copied = invoke(self.data(machine), "log", "copy", f"{backup}/", *keys)
        if copied.exit_code == 0 and (backup / "events.jsonl").exists():
            self.backups.append(backup)

    @rule(machine=machines, pick=picks, with_key=st.booleans(), is_shown=st.booleans())
    def log_restore(self, machine: str, pick: int, with_key: bool, is_shown: bool) -> None:
        """Restore on a machine that has lost its log, with or without its key."""
        if not self.backups:
            return
        backup = self.backups[pick % len(self.backups)]
        shutil.rmtree(self.data(machine), ignore_errors=True)
        self.data(machine).mkdir()
        key = self.file("a", "key")
        if with_key and key.exists() and machine != "a":
            shutil.copy2(key, self.file(machine, "key"))
        shown = (
            ("--checkpoint", str(newest)) if is_shown and (newest := self._newest(machine)) else ()
        )
        options = ("--vault", str(backup / "keys.sqlite"), *shown)
        invoke(self.data(machine), "log", "restore", f"{backup}/", *options)
        if shown:
            self._retire_others(machine)

    @rule(machine=machines)
    def show_the_newest_checkpoint(self, machine: str) -> None:
        newest = self._newest(machine)
        if newest is not None:
            invoke(self.data(machine), "log", "restore", "--checkpoint", str(newest))
            self._retire_others(machine)

    @rule(machine=machines)
    def begin_a_new_key(self, machine: str) -> None:
        if self.file(machine, "").exists():
            invoke(self.data(machine), "log", "restore", "--new-key")

    def _newest(self, machine: str) -> Path | None:
        """Write the newest checkpoint issued under a machine's key to a file."""
        try:
            origin = Signer.parse(self.file(machine, "key").read_text()).verifier.name
        except (FileNotFoundError, ValueError):
            return None
        note = self.judge.newest(origin)
        if note is None:
            return None
        path = self.root / "newest"
        path.write_text(str(note))
        return path

    def _retire_others(self, machine: str) -> None:
        """Remove the other machine; the checkpoint asserts that no other machine signs."""
        for other in {"a", "b"} - {machine}:
            shutil.rmtree(self.data(other), ignore_errors=True)
