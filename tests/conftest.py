"""Hypothesis profiles, chosen by HYPOTHESIS_PROFILE: default, ci, long."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: a sync of the disk takes as long as it takes.
settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
