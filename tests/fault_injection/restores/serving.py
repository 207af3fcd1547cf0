"""A server of one of the machines: it starts, writes, is asked for a checkpoint, and ends."""

from __future__ import annotations

from eventapi.bootstrap.storage import checkpoints_of, open_journal
from eventapi.commands.items import CreateItem
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.testing.given import profile
from events.vocabulary.items import Content
from tests.fault_injection.restores.judge import Judge


async def serve(settings: Settings, judge: Judge, name: str, titles: int, is_asked: bool) -> None:
    """Write so many items, and hand the judge a checkpoint if one is asked for.

    Two servers never write the same line. Raises `EventapiError` for what is refused.
    """
    async with open_journal(settings, begin=True) as (journal, log):
        if not (await journal.state()).users.by_id:
            await journal.execute(RegisterUser(profile("ann")))
        for _ in range(titles):
            title = f"{name} {judge.compared} {log.position}"
            await journal.execute(CreateItem(1, Content(title)))
        if is_asked:
            note = await checkpoints_of(settings, log).current()
            lines = [line async for run in log.read() for line in run]
            judge.take(note, lines)
