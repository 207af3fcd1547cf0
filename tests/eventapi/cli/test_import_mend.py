"""Values that an import keeps, notes or refuses, and how ``--mend`` changes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventapi.cli.db_json import MAX_ID
from eventapi.cli.db_json_reader import (
    FIRST_TEXT_BYTES,
    KEPT_NAME_CHARACTERS,
    MAX_NAME_CHARACTERS,
    TEXT_BYTES,
    read,
)
from eventapi.cli.importing import ImportResult
from tests.eventapi.cli.old_service import (
    ARGON2,
    BCRYPT,
    NOON,
    Document,
    contents_of,
    document,
    export_document,
    faults_of,
    import_report,
    item,
    of_users,
    run_import,
    user,
)

ODD_TEXTS = [
    "",
    "   ",
    "two\r\nlines",
    "a\nb\n",
    "tab\tand bell \x07 and escape \x1b[2J",
    "a\0b",
    "\u202eright to left\u2066",
    "\u200b",
    "é e\u0301 ﬁ İ ß \U0001f600 \ufffe \ufeff",
    "x" * 10_000,
    "\x01" * 3_000,
]
ODD_NAMES = [
    "ab",
    "x" * 254,
    "\U0001f600" * 254,
    "ann lee",
    " ann",
    "ann\n",
    "-ann",
    "--help",
    "Änn",
    "a\tb\x1b",
    "\u202enna",
    "users/1",
    "../etc",
    "ann@example.org",
]
ODD_EMAILS = ["nobody", "ann@localhost", "@", " a@b.c ", "Ann@EXAMPLE.com", "x" * 10_000, "ä@ö.ü\n"]
LONE = "half \ud83d of a pair"


# Kept


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_texts_are_imported_unchanged(tmp_path: Path, text: str) -> None:
    content = document(
        ann=user("ann", full_name=text), thing=item(1, "ann", title=text, description=text)
    )
    report = import_report(tmp_path, content)
    assert (report["mended"], report["notes"]) == ([], [])
    assert export_document(tmp_path) == content


def test_names_and_addresses_are_imported_unchanged(tmp_path: Path) -> None:
    names = [user(name, email=f"{index}@example.org") for index, name in enumerate(ODD_NAMES)]
    addresses = [user(f"u{index}", email=email) for index, email in enumerate(ODD_EMAILS)]
    content = of_users(*names, *addresses)
    content["items"] = {name: [] for name in content["users"]}
    report = import_report(tmp_path, content)
    assert (report["mended"], report["notes"]) == ([], [])
    assert export_document(tmp_path) == content


@pytest.mark.parametrize(
    "stored", [BCRYPT, BCRYPT.replace("2b", "2a"), BCRYPT.replace("2b", "2y"), ARGON2]
)
@pytest.mark.parametrize(
    ("time", "kept"),
    [
        (NOON, NOON),
        (f"{NOON}.000000Z", NOON),
        (f"{NOON}.123456", f"{NOON}.123456"),
        (f"{NOON}.123456789", f"{NOON}.123456"),
        ("2025-10-13 12:00:00.000", NOON),
        ("2025-10-13T14:00:00+02:00", NOON),
        ("2025-10-13T14:00:00+0200", NOON),
        ("2025-10-13T12:00", NOON),
        ("2025-10-13", "2025-10-13T00:00:00"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
    ],
)
def test_hashes_and_times_are_read_in_every_usual_form(stored: str, time: str, kept: str) -> None:
    contents = contents_of(document(ann=user("ann", hashed_password=stored, created_at=time)))
    assert (contents.faults, contents.notes) == ([], [])
    (ann,) = contents.users
    assert ann.password_hash == stored
    micros = f"{kept}.000000Z" if "." not in kept else f"{kept}Z"
    assert ann.created_at == micros


def test_several_accounts_may_have_no_address(tmp_path: Path) -> None:
    content = of_users(user("ann", email=""), user("ben", email=None), user("cid"))
    del content["users"]["cid"]["email"]
    report = import_report(tmp_path, content)
    assert [(one["place"], one["detail"]) for one in report["notes"]] == [
        (f"users.{name}.email", "is missing; the account has no address")
        for name in ("ann", "ben", "cid")
    ]
    assert {one["email"] for one in export_document(tmp_path)["users"].values()} == {""}


# Noted


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("users.ann.email", document(ann=user("ann", email=None))),
        ("users.ann.hashed_password", document(ann=user("ann", hashed_password=None))),
        ("users.ann.hashed_password", document(ann=user("ann", hashed_password=""))),
        ("users.ann.created_at", document(ann=user("ann", created_at=None))),
        ("users.ann.disabled", document(ann=user("ann", disabled="no"))),
        ("users.ann.disabled", document(ann=user("ann", disabled=0.0))),
        ("users.ann.is_admin", document(ann=user("ann", is_admin={"really": [True]}))),
        ('users.ann["a b"]', document(ann=user("ann", **{"a b": float("nan")}))),
        ("items.ann[0].id", document(thing=item(None, "ann"))),
        ("items.ann[0].title", document(thing=item(1, "ann", title=None))),
        ("items.ann[0].created_at", document(thing=item(1, "ann", created_at=None))),
        ("items.ann[0].tags", document(thing=item(1, "ann", tags=[]))),
        ("tokens", {**document(), "tokens": {"ann": "secret"}}),
    ],
)
def test_unusual_values_are_noted_and_imported(
    tmp_path: Path, place: str, content: Document
) -> None:
    report = import_report(tmp_path, content)
    assert [note["place"] for note in report["notes"]] == [place]
    assert report["mended"] == []
    assert (report["users"], report["items"]) == (1, 1)


@pytest.mark.parametrize(
    "member", ["username", "email", "hashed_password", "full_name", "disabled", "created_at"]
)
def test_a_user_may_lack_any_member(member: str) -> None:
    one = user("ann")
    del one[member]
    contents = contents_of(document(ann=one))
    assert contents.faults == []
    assert [ann.name for ann in contents.users] == ["ann"]


@pytest.mark.parametrize("member", ["id", "title", "description", "owner", "created_at"])
def test_an_item_may_lack_any_member(member: str) -> None:
    one = item(1, "ann")
    del one[member]
    contents = contents_of(document(thing=one))
    assert contents.faults == []
    assert [thing.owner for thing in contents.items] == ["ann"]


# Mended


def test_faults_of_a_user_name_their_place_and_remedy(tmp_path: Path) -> None:
    content = of_users(
        user("ann", hashed_password="$pbkdf2-sha256$29000$x$y", full_name=5),
        user("ben", hashed_password=["x"], full_name={}),
        user("cid", created_at="yesterday", disabled="perhaps"),
        user("dan", created_at=1_760_000_000, disabled=[]),
        user("eve", created_at="2025-02-30T12:00:00", email="e" * 23_000),
    )
    content["users"]["fay"] = user("FAY", email=7)
    content["users"]["gus"] = None
    locked = "is left empty; no password opens the account"
    remedies = {
        "users.ann.hashed_password": locked,
        "users.ann.full_name": "becomes '5'",
        "users.ben.hashed_password": locked,
        "users.ben.full_name": "is left empty",
        "users.cid.disabled": "becomes true",
        "users.cid.created_at": "becomes the time of the import",
        "users.dan.disabled": "becomes true",
        "users.dan.created_at": "becomes the time of the import",
        "users.eve.email": "is left empty; the account has no address",
        "users.eve.created_at": "becomes the time of the import",
        "users.fay.username": "becomes the key, 'fay', the name for the login",
        "users.fay.email": "becomes '7'",
        "users.gus": "is left out",
    }
    assert faults_of(content) == remedies
    assert run_import(tmp_path, content).exit_code == 1
    report = import_report(tmp_path, content, "--mend")
    assert {one["place"]: one["remedy"] for one in report["mended"]} == remedies
    after = export_document(tmp_path)["users"]
    assert list(after) == ["ann", "ben", "cid", "dan", "eve", "fay"]
    assert [one["full_name"] for one in after.values()] == ["5", "", None, None, None, None]
    assert [one["disabled"] for one in after.values()] == [False, False, True, True, False, False]
    assert [one["hashed_password"] for one in after.values()] == ["", "", *[BCRYPT] * 4]
    assert [after[name]["email"] for name in ("eve", "fay")] == ["", "7"]


@pytest.mark.parametrize(
    ("member", "value", "remedy", "kept"),
    [
        ("id", 0, "becomes a new number", 1),
        ("id", -1, "becomes a new number", 1),
        ("id", True, "becomes a new number", 1),
        ("id", "1", "becomes a new number", 1),
        ("id", 1.5, "becomes a new number", 1),
        ("id", MAX_ID + 1, "becomes a new number", 1),
        ("id", 10**4_000, "becomes a new number", 1),
        ("id", float("inf"), "becomes a new number", 1),
        ("title", 5, "becomes '5'", "5"),
        ("title", True, "becomes 'true'", "true"),
        ("title", ["x"], "is left empty", ""),
        ("title", LONE, "gets U+FFFD in its place", "half \ufffd of a pair"),
        ("description", -0.5, "becomes '-0.5'", "-0.5"),
        ("description", LONE, "gets U+FFFD in its place", "half \ufffd of a pair"),
        ("owner", "ben", "becomes 'ann'", "ann"),
        ("owner", "ANN", "becomes 'ann'", "ann"),
        ("owner", 5, "becomes 'ann'", "ann"),
        ("created_at", "", "becomes the time of the import", None),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_faults_of_an_item_name_their_place_and_remedy(
    tmp_path: Path, member: str, value: object, remedy: str, kept: object
) -> None:
    content = document(thing={**item(1, "ann"), member: value})
    assert faults_of(content) == {f"items.ann[0].{member}": remedy}
    import_report(tmp_path, content, "--mend")
    ((after,),) = export_document(tmp_path)["items"].values()
    assert kept is None or after[member] == kept


@pytest.mark.parametrize(
    ("items", "places"),
    [
        ({"ann": {}}, ["items.ann"]),
        ({"ann": [None, "x", item(1, "ann")]}, ["items.ann[0]", "items.ann[1]"]),
        ({"ben": [item(1, "ben")]}, ["items.ben"]),
        ({"a\nb": [1]}, ['items["a\\nb"]']),
        ({"ben": []}, []),
    ],
)
def test_items_that_no_user_could_read_are_left_out(items: Document, places: list[str]) -> None:
    content = {"users": {"ann": user("ann")}, "items": items}
    assert faults_of(content) == dict.fromkeys(places, "is left out")
    assert len(contents_of(content).items) == (1 if len(places) == 2 else 0)


def test_the_last_value_of_a_repeated_key_counts_as_in_the_old_service() -> None:
    ann = '{"username": "ann", "hashed_password": "x", "hashed_password": null}'
    contents = read(f'{{"users": {{"ann": 5, "ann": {ann}}}, "items": {{}}}}'.encode())
    assert [(fault.place, fault.remedy) for fault in contents.faults] == [
        ("users.ann", "is the last one"),
        ("users.ann.hashed_password", "is the last one"),
    ]
    assert [one.name for one in contents.users] == ["ann"]


# Too long


@pytest.mark.parametrize("character", ["x", "\x01", "é", "\U0001f600"], ids=ascii)
@pytest.mark.parametrize(("titles", "descriptions"), [(50_000, 0), (50, 50_000), (50_000, 50_000)])
def test_a_text_too_long_for_a_line_is_cut_with_a_remark(
    tmp_path: Path, character: str, titles: int, descriptions: int
) -> None:
    title, description = character * titles, character * descriptions
    content = document(
        ann=user("ann", full_name=character * 50_000),
        thing=item(1, "ann", title=title, description=description),
    )
    refused = run_import(tmp_path, content)
    assert refused.exit_code == 1
    assert "users.ann.full_name: takes " in refused.stderr
    assert not (tmp_path / "data").exists()
    report = import_report(tmp_path, content, "--mend")
    assert all("a remark at their end" in one["remedy"] for one in report["mended"])
    after = export_document(tmp_path)
    texts = [after["users"]["ann"]["full_name"], *after["items"]["ann"][0].values()]
    cut = [text for text in texts if "[cut by the import: " in str(text)]
    assert len(cut) == len(report["mended"]) == 1 + (titles > 50) + (descriptions > 0)
    for text in cut:
        kept, _, remark = text.partition("…")
        assert len(kept) > 2_000
        assert remark == f" [cut by the import: {len(kept):,} of 50,000 characters]"
        assert set(kept) == {character}


def test_control_a_text_that_just_fits_is_kept(tmp_path: Path) -> None:
    whole = document(thing=item(1, "ann", title="x" * 22_998, description="x" * 22_998))
    assert import_report(tmp_path, whole)["mended"] == []
    longer = document(thing=item(1, "ann", title="x" * 22_998, description="x" * 22_999))
    assert list(faults_of(longer)) == ["items.ann[0].description"]


def test_every_report_is_printable(tmp_path: Path) -> None:
    odd = "\ud800\x1b[2J\n\u202e"
    content = json.loads(json.dumps(of_users(user("ann"))))
    content["users"][odd] = {odd: odd, "username": odd * 50, "created_at": odd, "disabled": odd}
    content["items"][odd] = [{"owner": odd * 2, "id": odd, "title": odd, odd: odd}]
    for options in ([], ["--mend"], ["--mend", "--dry-run"]):
        result = run_import(tmp_path / "-".join(["x", *options]), content, *options)
        assert result.exit_code == (0 if options else 1), result.output
        assert all(line.isprintable() for line in result.output.splitlines())


def test_the_guide_has_the_limits_and_the_report_members_of_the_code() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "importing.md").read_text()
    limits = [
        f"{MAX_NAME_CHARACTERS} characters",
        f"first {KEPT_NAME_CHARACTERS} characters",
        "1 to 2^52",
    ]
    limits += [f"{TEXT_BYTES:,} bytes", f"the first of them {FIRST_TEXT_BYTES:,}"]
    assert [limit for limit in limits if limit not in guide] == []
    assert MAX_ID == 2**52
    assert [name for name in ImportResult.__struct_fields__ if f"`{name}`" not in guide] == []
