"""A message to an operator: what is wrong, how bad it is, and what to type next."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True):
    """An entry of the catalogue, or the same with its ``{places}`` filled in.

    ``text`` says what is wrong, ``severity`` whether writes go on and whether anything was lost,
    ``next`` what to type or to do. As a string, all three in one line.
    """

    text: str
    severity: str
    next: str

    def fill(self, **values: object) -> Message:
        """The message with values in its places, as `str.format` puts them."""
        return Message(
            self.text.format(**values), self.severity.format(**values), self.next.format(**values)
        )

    def about(self, text: str) -> Message:
        """The same severity and advice for another text."""
        return Message(text, self.severity, self.next)

    @property
    def detail(self) -> str:
        """What is wrong and how bad it is, for readers who cannot type what comes next."""
        return f"{sentence(self.text)} {self.severity}"

    @property
    def lines(self) -> str:
        """One line for each of the three, for a terminal."""
        return f"{self.text}\n{self.severity}\nNext: {self.next}"

    def __str__(self) -> str:
        return f"{self.detail} Next: {self.next}"


def sentence(text: str) -> str:
    """The text with a full stop at its end, unless it has one."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
