"""Declarations: what a class may say."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta

from eventapi.resources import Access, action
from eventapi.resources.declared import declare
from eventapi.resources.items import Item
from events.errors import ConfigurationError, Invalid
from events.vocabulary.resources import Unique
from tests.eventapi.resources import typed_application
from tests.eventapi.resources.declaring import declared, resource_class


def test_application_of_the_documentation_is_declared() -> None:
    invoice = declare(typed_application.Invoice)
    assert (invoice.kind, invoice.collection) == ("invoice", "invoices")
    assert list(invoice.names) == ["number", "customer", "cents", "due", "paid"]
    assert [field.name for field in invoice.type.clear] == ["cents", "paid"]
    assert invoice.type.unique == (Unique(("number",)),)
    assert invoice.doc == "What a customer owes."
    assert (invoice.access, invoice.shareable) == (Access(), False)
    pay, remind = invoice.actions["pay"], invoice.actions["remind"]
    assert pay.summary == "Mark the invoice as paid"
    assert pay.body.__struct_fields__ == ()
    assert [one.required for one in msgspec.structs.fields(remind.body)] == [True, False]
    assert {"invoice.created", "invoice.pay", "invoice.shared"} <= invoice.type.events.keys()


def test_access_shares_and_names_are_taken_from_the_class() -> None:
    product = declare(typed_application.Product)
    assert product.access == Access(read="public", write="seller")
    assert product.shareable
    assert product.type.unique == (Unique(("name",), True), Unique(("name", "price")))
    assert product.type.renamed == {"title": "name"}
    assert product.type.convert({"title": "tea", "price": "5"}) == {"name": "tea", "price": 5}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Invoice", "invoice"),
        ("LineItem", "line_item"),
        ("HTTPServer", "http_server"),
        ("Version2", "version2"),
        ("VATRate", "vat_rate"),
    ],
)
def test_kind_is_the_class_name_in_snake_case(name: str, kind: str) -> None:
    resource = declared(name, {"a": str})
    assert (resource.kind, resource.collection) == (kind, f"{kind}s")


def test_a_better_text_is_no_new_declaration() -> None:
    plain = declared("Invoice", {"a": str}).type.declaration
    text = Annotated[str, Meta(title="A", description="what a is", examples=["x"])]
    assert declared("Invoice", {"a": text}, __doc__="Text.").type.declaration == plain


def test_built_in_kind_has_no_declaration() -> None:
    assert declare(Item).type.declaration is None


# Defaults


@pytest.mark.parametrize("default", [None, 7, "x", ["x"], {"x": 1}, 1.5, True])
def test_default_replaces_a_missing_value_and_is_declared(default: Any) -> None:
    kind = type(default) if not isinstance(default, list | dict) else None
    hints: dict[Any, Any] = {list: list[str], dict: dict[str, int]}
    hint = hints.get(type(default), kind)
    made = msgspec.field(default_factory=lambda: msgspec.json.decode(msgspec.json.encode(default)))
    resource = declared("Invoice", {"a": (hint, made)})
    assert resource.type.content().a == default
    declaration = resource.type.declaration
    assert declaration is not None
    assert declaration.schema["properties"]["a"]["default"] == default
    assert declaration.schema["required"] == []


def test_two_contents_do_not_share_a_mutable_default() -> None:
    tags = msgspec.field(default_factory=lambda: ["x"])
    content: Any = declared("Invoice", {"tags": (list[str], tags)}).type.content
    content().tags.append("y")
    assert content().tags == ["x"]


def test_required_field_has_no_default() -> None:
    (field,) = declared("Invoice", {"a": str}).type.fields
    assert field.default is UNSET


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Literal["a", 1, None], ["a", 1, None]),  # noqa: PYI061 - another type for msgspec
        (Literal["a"] | None, ["a", None]),
        (Literal[None], [None]),  # noqa: PYI061
        (Literal[0, 1], [0, 1]),
        (Annotated[int, Meta(gt=4, lt=6)], [5]),
        (Annotated[float, Meta(gt=1, lt=1.5)], [1.25]),
        (Annotated[str, Meta(min_length=6_000, max_length=6_000)], ["a" * 6_000]),
    ],
)
def test_literals_and_tight_limits_have_the_values_that_they_allow(
    kind: Any, values: Sequence[Any]
) -> None:
    rules = declared("Invoice", {"a": kind}).rules
    for value in values:
        rules.check(a=value)
    for value in (True, 1.0, 2, "b", ""):
        with pytest.raises(Invalid) as caught:
            rules.check(a=value)
        assert [fault.pointer for fault in caught.value.faults] == ["/a"]
        assert all(fault.detail for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("hint", "default"),
    [
        (str, None),
        (int, "not given"),
        (Annotated[str, Meta(min_length=1)], ""),
        (Annotated[str, Meta(pattern=r"^[0-9]{4}$")], ""),
        (Annotated[int, Meta(ge=1)], 0),
        (Decimal, 0),
    ],
)
def test_a_default_of_a_parameter_may_be_a_value_that_no_request_can_give(
    hint: Any, default: Any
) -> None:
    """It often means "not given", and is in no declaration of a log."""

    def pay(self: Any, *, value: Any = default) -> Any:
        return self

    pay.__annotations__["value"] = hint
    body: Any = declared("Invoice", {"a": str}, pay=action(pay)).actions["pay"].body()
    assert body.value == default


@pytest.mark.parametrize(
    "kind",
    [Annotated[int, Meta(ge=5, le=1)] | None, Annotated[str, Meta(min_length=6_000)] | int],
)
def test_a_union_needs_one_type_that_has_values(kind: Any) -> None:
    declared("Invoice", {"a": kind})


@pytest.mark.parametrize(
    ("name", "hint", "value"),
    [
        ("access", Access, Access(read="users")),
        ("collection", str, "bills"),
        ("renamed", dict[str, str], None),
        ("shareable", bool, True),
        ("unique", tuple[str, ...], ("a",)),
        ("upcast", Any, None),
    ],
)
def test_a_class_variable_with_a_type_is_refused_with_its_form(
    name: str, hint: Any, value: Any
) -> None:
    cure = f"^Bill: {name}: .*write `{name} = ...` without a type"
    with pytest.raises(ConfigurationError, match=cure):
        declared("Bill", {"a": str, name: (hint, value)})
    assert declared("Bill", {"a": str}).kind == "bill"


@pytest.mark.parametrize(
    ("mistyped", "value", "name"),
    [
        ("acces", Access(read="public"), "access"),
        ("uniqe", ("text",), "unique"),
        ("uniques", ("text",), "unique"),
        ("sharable", True, "shareable"),
        ("collections", "bills", "collection"),
        ("rename", {"old": "text"}, "renamed"),
    ],
)
def test_a_mistyped_class_variable_is_refused(mistyped: str, value: object, name: str) -> None:
    """Without it, values that must be unique would not be."""
    cure = f"^Bill: {mistyped} has no effect; did you mean {name}\\?$"

    with pytest.raises(ConfigurationError, match=cure):
        declared("Bill", {"text": str}, **{mistyped: value})
    base: Any = resource_class("Base", {"text": str}, **{mistyped: value})
    inherited = type(base)("Bill", (base,), {})
    with pytest.raises(ConfigurationError, match=cure):
        declare(inherited)


def test_other_members_of_a_class_keep_their_names() -> None:
    members = {"rates": (1, 2), "upcasts": staticmethod(dict), "accessed": lambda self: self.text}

    assert declared("Bill", {"text": str, "uniqe": int}, **members).names == ("text", "uniqe")
