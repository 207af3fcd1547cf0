"""The final starts of a simulated machine, which compare everything."""

from __future__ import annotations

from collections.abc import Iterator

from eventapi.testing.items import ITEMS
from events.errors import DamagedLog
from events.sealing import Keyring
from projections.replay import replay
from tests.fault_injection.simulation.disk import File, Folder
from tests.fault_injection.simulation.ledger import MARK, SNAPSHOTS, ViolationError
from tests.fault_injection.simulation.loop import new_loop
from tests.fault_injection.simulation.machine import Faults
from tests.fault_injection.simulation.paths import lookup
from tests.fault_injection.simulation.whole_log import log_files, whole_log
from tests.fault_injection.simulation.workload import World

_PERSONAL_MARKERS = (b"text ", b"@example.org")
"""Each personal text contains one of these, and base64 cannot contain them."""


def inspect(world: World) -> None:
    """Start twice without faults, perhaps after a power cut, and compare."""
    machine, random = world.machine, world.machine.random
    for _ in range(2):
        if random.random() < 0.6:
            machine.cut_power()
        damage_snapshots(world)
        if random.random() < 0.2 and world.ledger.floor:
            # Without a mark, the torn first line of a log that has no other is no log.
            _remove(world, MARK)
        if not machine.is_halted:
            machine.faults = Faults()
            new_loop(machine).start(lambda: _compare_all(world))
            machine.run()
    log = whole_log(machine.root)
    if log and not machine.is_halted and random.random() < 0.3:
        files = log_files(machine.root)
        damaged = random.choice(files) if len(files) > 1 else files[0]
        damaged.sync()
        damaged.rot(random)
        # Some bits of a segment have no meaning, and one that is not in use yet has no lines.
        if whole_log(machine.root) != log:
            new_loop(machine).start(lambda: _check_refused(world))
            machine.run()


def damage_snapshots(world: World) -> None:
    """Damage some snapshots; that must never matter, unlike damage to the log."""
    folder = lookup(world.machine.root, SNAPSHOTS)
    if isinstance(folder, Folder):
        for file in folder.entries.values():
            if isinstance(file, File) and file.platter and world.machine.random.random() < 0.4:
                file.rot(world.machine.random)
                world.machine.counts["snapshots damaged"] += 1


def _remove(world: World, path: tuple[str, str]) -> None:
    folder = lookup(world.machine.root, path[:1])
    if isinstance(folder, Folder):
        folder.change({path[1]: None})


async def _compare_all(world: World) -> None:
    """Repeat the idempotent requests, then compare everything with the log."""
    try:
        log, journal, _ = world.open()
        await journal.start()
        ledger = world.ledger
        for request in ledger.requests:
            if request.idempotency is not None:
                await world.write(journal, request)
                if request.outcome != "written" and request.user not in ledger.erasing:
                    raise ViolationError(f"the request {request.number} cannot be written")
        await world.read(journal)
        keyring = Keyring()
        for subject, key in (await world.vault.all()).items():
            keyring.add(subject, key)
        folded = ledger.check_log([line async for run in log.read() for line in run], keyring)
        ledger.check_erasures(folded, world.vault.subjects)
        live = await journal.state()
        again = await replay(log, Keyring(), world.vault, ITEMS)
        if len({(state.digest(), state.checksum()) for state in (folded, live, again)}) > 1:
            raise ViolationError("the served state differs from a fold of the log")
        _check_files(world)
        await journal.close()
        await log.close()
    except Exception as error:
        world.fail(error)


def _check_files(world: World) -> None:
    """Personal texts must be sealed in every file."""
    for name, file in _files(world.machine.root, ""):
        if any(text in file.cache or text in file.platter for text in _PERSONAL_MARKERS):
            raise ViolationError(f"{name} contains a personal text unsealed")


def _files(folder: Folder, path: str) -> Iterator[tuple[str, File]]:
    for name, node in folder.entries.items():
        if isinstance(node, Folder):
            yield from _files(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", node


async def _check_refused(world: World) -> None:
    """A start must refuse a log damaged below the mark, and must not change it."""
    before = [bytes(file.cache) for file in log_files(world.machine.root)]
    try:
        _, journal, _ = world.open()
        await journal.start()
    except DamagedLog as error:
        world.machine.counts[f"found: damage, refused as {type(error).__name__}"] += 1
        if [file.cache for file in log_files(world.machine.root)] != before:
            world.fail(ViolationError("a damaged log was changed"))
    except Exception as error:
        world.fail(error)
    else:
        world.fail(ViolationError("a damaged log was accepted"))
