"""The last starts of a simulated machine, at which nothing happens any more and all is compared."""

from __future__ import annotations

from collections.abc import Iterator

from events.errors import DamagedLog
from events.sealing import Keyring
from projections.replay import replay
from tests.fault_injection.simulation.disk import File, Folder
from tests.fault_injection.simulation.ledger import LOG, MARK, SNAPSHOTS, ViolationError
from tests.fault_injection.simulation.loop import new_loop
from tests.fault_injection.simulation.machine import Faults
from tests.fault_injection.simulation.paths import lookup
from tests.fault_injection.simulation.workload import World

_TYPED = (b"wish ", b"@example.org")
"""What stands in everything that clients type, and cannot stand in base64."""


def inspect(world: World) -> None:
    """Start some more times, without faults, and with a part of what is beside the log lost."""
    machine, random = world.machine, world.machine.random
    for _ in range(2):
        if random.random() < 0.6:
            machine.cut_power()
        rot_snapshots(world)
        if random.random() < 0.2:
            _lose(world, MARK)
        if not machine.is_halted:
            machine.faults = Faults()
            new_loop(machine).start(lambda: _compare_all(world))
            machine.run()
    log = lookup(machine.root, LOG)
    if isinstance(log, File) and log.cache and not machine.is_halted and random.random() < 0.3:
        log.sync()
        log.rot(random)
        new_loop(machine).start(lambda: _must_refuse(world, log))
        machine.run()


def rot_snapshots(world: World) -> None:
    """Now and then a snapshot is damaged: it is the one thing of which that costs nothing."""
    folder = lookup(world.machine.root, SNAPSHOTS)
    if isinstance(folder, Folder):
        for file in folder.entries.values():
            if isinstance(file, File) and file.platter and world.machine.random.random() < 0.4:
                file.rot(world.machine.random)
                world.machine.counts["snapshots damaged"] += 1


def _lose(world: World, path: tuple[str, str]) -> None:
    folder = lookup(world.machine.root, path[:1])
    if isinstance(folder, Folder):
        folder.change({path[1]: None})


async def _compare_all(world: World) -> None:
    """Ask again for what must happen once, and compare all with the log."""
    try:
        log, journal, _ = world.open()
        await journal.start()
        ledger = world.ledger
        for wish in ledger.wishes:
            if wish.once is not None:
                await world.ask(journal, wish)
                if wish.told != "written" and wish.user not in ledger.erasing:
                    raise ViolationError(f"the wish {wish.number} cannot be fulfilled")
        await world.look(journal)
        keyring = Keyring()
        for subject, key in (await world.vault.all()).items():
            keyring.add(subject, key)
        folded = ledger.settle([line async for run in log.read() for line in run], keyring)
        ledger.is_finished(folded, world.vault.subjects)
        live = await journal.state()
        again = await replay(log, Keyring(), world.vault)
        if len({(state.digest(), state.checksum()) for state in (folded, live, again)}) > 1:
            raise ViolationError("what is served is not what the log folds to")
        _check_files(world)
        await journal.close()
        await log.close()
    except Exception as error:
        world.fail(error)


def _check_files(world: World) -> None:
    """Nothing that was typed lies anywhere but sealed."""
    for name, file in _files(world.machine.root, ""):
        if any(text in file.cache or text in file.platter for text in _TYPED):
            raise ViolationError(f"{name} says in clear what was typed")


def _files(folder: Folder, path: str) -> Iterator[tuple[str, File]]:
    for name, node in folder.entries.items():
        if isinstance(node, Folder):
            yield from _files(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", node


async def _must_refuse(world: World, log: File) -> None:
    """Below the mark something is damaged: a start must say so, and change nothing."""
    before = bytes(log.cache)
    try:
        _, journal, _ = world.open()
        await journal.start()
    except DamagedLog as error:
        world.machine.counts[f"found: damage, refused as {type(error).__name__}"] += 1
        if log.cache != before:
            world.fail(ViolationError("a damaged log was changed"))
    except Exception as error:
        world.fail(error)
    else:
        world.fail(ViolationError("a damaged log was believed"))
