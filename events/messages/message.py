"""A message to an operator: what is wrong, how bad it is, and what to type next."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True):
    """An entry of the catalogue, or a copy with its ``{placeholders}`` filled in.

    ``text`` states what is wrong, ``severity`` whether writes continue and whether anything was
    lost, ``next`` what to type or to do. As a string, all three in one line.
    """

    text: str
    severity: str
    next: str

    def fill(self, **values: object) -> Message:
        """The message with its placeholders filled in by `str.format`."""
        return Message(
            self.text.format(**values), self.severity.format(**values), self.next.format(**values)
        )

    def about(self, text: str) -> Message:
        """The message with another text, and the same severity and advice."""
        return Message(text, self.severity, self.next)

    @property
    def detail(self) -> str:
        """The text and the severity, for clients, which cannot run commands."""
        return f"{sentence(self.text)} {self.severity}"

    @property
    def lines(self) -> str:
        """The three parts on a line each, for a terminal."""
        return f"{self.text}\n{self.severity}\nNext: {self.next}"

    def __str__(self) -> str:
        return f"{self.detail} Next: {self.next}"


def sentence(text: str) -> str:
    """The text with a full stop at its end, unless it has one."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
