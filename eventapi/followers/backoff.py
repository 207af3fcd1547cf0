"""Pauses between the attempts of a follower."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """The pauses between attempts: they double up to a maximum, with a random share.

    A pause is between half of its length and all of it, so that instances do not retry together,
    but never shorter than the first one.
    """

    first: float = 5.0
    longest: float = 300.0
    share: Callable[[], float] = random.random

    def seconds(self, failures: int, most: float = inf) -> float:
        """The pause after so many failures in a row, from 1.

        It is at most ``most``, unless that is less than the first one.
        """
        pause = min(self.first * 2.0 ** min(failures - 1, 32), self.longest)
        return max(self.first, min(pause * (1 + self.share()) / 2, most))
