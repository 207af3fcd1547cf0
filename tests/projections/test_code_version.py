"""A change of the code of a State makes its snapshots stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from projections import snapshots
from projections.snapshots import STATE_CODE


def test_the_version_of_the_code_covers_all_modules_of_a_state() -> None:
    """Otherwise a changed rule of the fold would be hidden behind an old snapshot."""
    root = Path(snapshots.__file__).parent.parent
    program = "import sys, projections.replay; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = [name for name in done.stdout.split() if name.startswith(("events.", "projections."))]
    covered = {file for pattern in STATE_CODE for file in root.glob(pattern)}

    missing = [
        name
        for name in loaded
        if root / f"{name.replace('.', '/')}.py" not in covered
        and root / name.replace(".", "/") / "__init__.py" not in covered
        and not name.startswith(("events.messages", "events.io", "events.log", "events.vault"))
    ]

    assert "events.vocabulary.resources" in loaded
    assert missing == []
