"""Realistic users and changes to their items, the same for the same seed.

The texts are such as people type: several scripts, emoji, combining marks that must not be
normalised away, line breaks, quotes and backslashes, a few empty and missing fields, and passwords
longer than bcrypt's 72 bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

FIRST_NAMES = ("Anna", "Bjørn", "Chloé", "Dmitrij", "Élodie", "Farid", "Grażyna", "Hiro", "Inês")
LAST_NAMES = ("Ångström", "Brontë", "Çelik", "de la Cruz", "Đorđević", "O'Neill", "Nguyễn", "Smith")
FOREIGN_NAMES = ("山田 太郎", "Мария Иванова", "محمد علي", "דנה לוי", "김민준", "Ελένη Παππά")
VERBS = ("Buy", "Call", "Repair", "Return", "Plan", "Réserver", "Prüfen", "Скачать", "予約する")
THINGS = (
    "milk",
    "the dentist",
    "bicycle",
    "café au lait",
    "Straße 5",
    "отчёт",
    "新幹線",
    "🎸",
    "👩‍🚒",
)
DETAILS = (
    "Before Friday, if at all possible.",
    'She said "not the blue one" — twice.',
    "First line\nSecond line\n\n\tindented",
    r"C:\Users\anna\Documents and a %20 and a </script>",
    "Decomposed: e\u0301, n\u0303; ligature ﬁ; ½ + 1 = 1½",
    "Line separator\u2028inside",
    "価格は ¥12,000 です。🚄💨",
    "שלום, مرحبا, привет",
    "Long: " + "lorem ipsum dolor sit amet " * 40,
    "",
)

REPLACED = 0.25  # changes of an item for each one created
LONG_PASSWORD_EVERY = 25  # users


@dataclass(frozen=True)
class Account:
    """The values of a registration."""

    username: str
    password: str
    email: str
    full_name: str | None


@dataclass(frozen=True)
class Content:
    """The texts of an item; a description of None is not sent."""

    title: str
    description: str | None


LISTED = [Content(f"Item {number}", "A prepared item") for number in range(1, 101)]
"""The hundred items of the list workload, shared by all servers."""


@dataclass(frozen=True)
class Create:
    """A new item of the account numbered `owner`, known from now on as `item`."""

    owner: int
    item: int
    content: Content


@dataclass(frozen=True)
class Replace:
    """New content for an item."""

    owner: int
    item: int
    content: Content


@dataclass(frozen=True)
class Delete:
    """A deletion of an item."""

    owner: int
    item: int


Change = Create | Replace | Delete


def accounts(users: int, seed: int) -> list[Account]:
    """Return this many accounts; one in five has no full name."""
    rng = Random(f"accounts {seed}")
    return [_account(rng, number) for number in range(users)]


def changes(users: int, items: int, seed: int) -> Iterator[Change]:
    """Yield changes that leave exactly `items` items, most of them owned by early users.

    For every twenty items, another one is created and deleted.
    """
    rng = Random(f"changes {seed}")
    live: list[tuple[int, int]] = []
    for item in range(items + items // 20):
        owner = int(users * rng.random() ** 2)
        live.append((owner, item))
        yield Create(owner, item, _content(rng))
        if rng.random() < REPLACED:
            yield Replace(*rng.choice(live), _content(rng))
        if item % 21 == 20:
            yield Delete(*live.pop(rng.randrange(len(live))))


def _account(rng: Random, number: int) -> Account:
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    plain = "".join(c for c in f"{first}{rng.choice('_.-')}{last}" if c.isascii() and c not in " '")
    username = f"{plain}{number}"
    domain = rng.choice(("example.com", "mail.example.org", "example.net"))
    names = (f"{first} {last}", f"{first} {last}", f"{first} {last}", rng.choice(FOREIGN_NAMES))
    full_name = None if rng.random() < 0.2 else rng.choice(names)
    password = f"{rng.choice(THINGS)} {rng.choice(THINGS)} {rng.randrange(10**8):08d}"
    if number % LONG_PASSWORD_EVERY == LONG_PASSWORD_EVERY - 1:
        password += " and so on" * 8
    return Account(username, password, f"{username}@{domain}", full_name)


def _content(rng: Random) -> Content:
    title = f"{rng.choice(VERBS)} {rng.choice(THINGS)}"
    description = None if rng.random() < 0.3 else rng.choice(DETAILS)
    return Content(title, description)
