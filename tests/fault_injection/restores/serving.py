"""Run a server of a machine: start, write, issue a checkpoint, stop."""

from __future__ import annotations

from eventapi.bootstrap.storage import checkpoints_of, open_journal
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from tests.fault_injection.restores.judge import Judge


async def serve(
    settings: Settings, judge: Judge, name: str, titles: int, with_checkpoint: bool
) -> None:
    """Create items and, if requested, give a checkpoint to the judge.

    No two servers write the same line. Raises `EventapiError` if the server refuses.
    """
    async with open_journal(settings, begin=True) as (journal, log):
        if not (await journal.state()).users.by_id:
            await journal.execute(RegisterUser(profile("ann")))
        for _ in range(titles):
            title = f"{name} {judge.compared} {log.position}"
            await journal.execute(create_item(1, Content(title)))
        if with_checkpoint:
            note = await checkpoints_of(settings, log).current()
            lines = [line async for run in log.read() for line in run]
            judge.add(note, lines)
