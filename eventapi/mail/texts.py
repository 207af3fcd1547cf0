"""The texts of mails: Jinja2 templates, each replaceable by an operator's.

``KIND.txt`` begins with a line ``Subject: ...`` and a blank line; ``KIND.html`` is the same mail in
HTML, where values are escaped. A directory of the operator may have files of the same names.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Final, get_args

import msgspec
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
    select_autoescape,
)

from eventapi.mail.transport import Kind
from events.errors import ConfigurationError

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_SUBJECT: Final = re.compile(r"Subject:[ \t]*(\S[^\n]*)\n\s*\n")
_INVISIBLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_HAS_LINK: Final = frozenset({"verification", "password-reset"})


class Values(msgspec.Struct, frozen=True):
    """The values of a template.

    ``link`` of a mail without a token is the address of the service. ``date`` is that of the event,
    ``days`` how long the link of a verification lasts, and ``replaced`` whether the old address, to
    which a change is reported, does not count any more.
    """

    username: str
    link: str
    date: str
    days: int
    replaced: bool = False


_SAMPLE: Final = Values("<name>", "https://api.example/verify-email?token=1.a", "2026-01-01", 7)


class Texts(msgspec.Struct, frozen=True):
    """A rendered mail."""

    subject: str
    text: str
    html: str


class Templates:
    """The templates of all kinds of mails."""

    def __init__(self, directory: Path | None = None) -> None:
        """``directory`` may replace templates; raises `ConfigurationError` for a bad one."""
        loaders: list[BaseLoader] = [PackageLoader("eventapi.mail")]
        if directory is not None:
            if not directory.is_dir():
                raise _refusal(f"{directory} is not a directory")
            loaders.insert(0, FileSystemLoader(directory))
        self._environment = Environment(
            loader=ChoiceLoader(loaders),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        for kind in _KINDS:
            self._check(kind)

    def render(self, kind: Kind, values: Values) -> Texts:
        """The texts of a mail."""
        content = self._render(f"{kind}.txt", values)
        head = _SUBJECT.match(content)
        if head is None:
            raise ValueError("the first line must be 'Subject: ...', and the second one blank")
        # A value must not begin another header.
        subject = _INVISIBLE.sub(" ", head[1]).strip()
        return Texts(subject, content[head.end() :], self._render(f"{kind}.html", values))

    def _render(self, name: str, values: Values) -> str:
        return self._environment.get_template(name).render(msgspec.structs.asdict(values))

    def _check(self, kind: Kind) -> None:
        try:
            texts = self.render(kind, _SAMPLE)
            self.render(kind, msgspec.structs.replace(_SAMPLE, replaced=True))
        except TemplateError as error:
            number = getattr(error, "lineno", None)
            line = f", line {number}" if number else ""
            name = getattr(error, "name", None) or kind
            raise _refusal(f"{name}{line}: {_one_line(error)}") from error
        except (UnicodeDecodeError, OSError) as error:
            raise _refusal(f"{kind}: {_one_line(error)}") from error
        except Exception as error:  # A template may contain any expression.
            raise _refusal(f"{kind}.txt or {kind}.html: {_one_line(error)}") from error
        if kind in _HAS_LINK and _SAMPLE.link not in texts.text:
            raise _refusal(f"{kind}.txt lacks the link: write {{{{ link }}}}")


def template_line(error: Exception) -> str:
    """The template and line of an error, such as `` in verification.txt, line 3``."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.endswith(".py"):
            return f" in {Path(frame.filename).name}, line {frame.lineno}"
    return ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(f"EVENTAPI_MAIL_TEMPLATES: {reason}")
