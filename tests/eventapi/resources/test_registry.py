"""The registry: modules that declare resources, and what may be wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from eventapi.resources import Resource
from eventapi.resources.registry import Registry, load_registry
from events.errors import ConfigurationError
from tests.eventapi.resources.declaring import resource_class


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory for modules, which are forgotten at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(dedent(text))


SHOP = """
    from eventapi.resources import Resource

    class Base:
        pass

    class Invoice(Resource):
        number: str

    class Product(Resource):
        name: str
"""


BAD_PATTERN = """
from typing import Annotated
from msgspec import Meta
from eventapi.resources import Resource
class Part(Resource): name: str; code: Annotated[str, Meta(pattern="(")]
"""


def test_modules_of_the_working_directory_are_imported(modules: Path) -> None:
    write(modules, "shop_one", SHOP)
    write(
        modules, "crm_one/models", "from shop_one import *\n\nclass Contact(Invoice):\n    a: int\n"
    )
    registry = load_registry(("shop_one", "crm_one.models"))
    assert list(registry.by_collection) == ["items", "invoices", "products", "contacts"]
    assert {"invoice", "product", "contact", "item"} == registry.vocabulary.kinds.keys()
    assert list(registry.by_collection["contacts"].names) == ["number", "a"]


@pytest.mark.parametrize("names", [("shop_two", "shop_two"), ("shop_two", "shop_three")])
def test_a_module_or_class_that_is_named_twice_counts_once(
    modules: Path, names: tuple[str, ...]
) -> None:
    write(modules, "shop_two", dedent(SHOP) + "Bill = Invoice\n")
    write(modules, "shop_three", "from shop_two import *\n\nclass Contact(Invoice):\n    a: int\n")
    registry = load_registry(names)
    assert list(registry.by_collection)[:3] == ["items", "invoices", "products"]


def test_a_package_has_the_classes_that_it_imports_from_its_modules(modules: Path) -> None:
    write(modules, "crm_two/models", SHOP)
    write(modules, "crm_twofold", SHOP.replace("Invoice", "Bill"))
    write(
        modules,
        "crm_two/__init__",
        "from crm_two.models import Invoice\nfrom crm_twofold import Bill, Product\n",
    )
    assert list(load_registry(("crm_two",)).by_collection) == ["items", "invoices"]
    both = load_registry(("crm_two", "crm_two.models"))
    assert list(both.by_collection) == ["items", "invoices", "products"]


def test_a_package_with_classes_of_its_own_has_no_others(modules: Path) -> None:
    """A base class that it imports declares nothing."""
    write(modules, "crm_three/models", SHOP)
    write(
        modules,
        "crm_three/__init__",
        "from crm_three.models import Invoice\n\nclass Bill(Invoice):\n    a: int\n",
    )
    assert list(load_registry(("crm_three",)).by_collection) == ["items", "bills"]


def test_without_modules_there_are_only_items() -> None:
    assert list(load_registry(()).by_collection) == ["items"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            None,
            "there is no module 'bad'; name a Python file without .py, in the working directory",
        ),
        (
            "import missing_library",
            "the module 'bad' imports 'missing_library', which is not there",
        ),
        ("raise SystemExit(0)", "the module 'bad' cannot be imported: SystemExit: 0"),
        ("1 / 0", "the module 'bad' cannot be imported: ZeroDivisionError: division by zero"),
        (
            BAD_PATTERN,
            "the module 'bad' cannot be imported: error: missing ), unterminated subpattern at "
            "position 0 (bad.py, line 5, in Part)",
        ),
        (
            f"from __future__ import annotations\n{BAD_PATTERN}",
            "Part: code: missing ), unterminated subpattern at position 0; use another type or lim",
        ),
        ("def", "the module 'bad' cannot be imported: SyntaxError: "),
        ("a = 1", "the module 'bad' declares no subclass of Resource"),
        (
            "from eventapi.resources import Resource",
            "the module 'bad' declares no subclass of Resource",
        ),
        (
            "from eventapi.resources import Resource\nclass A(Resource):\n    a: bytes",
            "A: a: the type bytes is not supported; use ",
        ),
    ],
)
def test_module_that_cannot_be_used_is_one_line(
    modules: Path, text: str | None, message: str
) -> None:
    if text is not None:
        write(modules, "bad", text)
    with pytest.raises(ConfigurationError) as caught:
        load_registry(("bad",))
    assert caught.value.message.text.startswith(message), caught.value.message.text
    assert "\n" not in caught.value.message.text
    sys.modules.pop("bad", None)


def test_module_in_a_package_that_does_not_exist_is_refused(modules: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no module 'no_such.models'"):
        load_registry(("no_such.models",))


@pytest.mark.parametrize(
    "classes",
    [
        (resource_class("Thing", {"a": str}), resource_class("Thing", {"b": str})),
        (
            resource_class("Thing", {"a": str}),
            resource_class("Other", {"b": str}, collection="things"),
        ),
        (resource_class("Item", {"a": str}),),
        (resource_class("Article", {"a": str}, collection="items"),),
    ],
)
def test_two_classes_with_one_name_are_refused(classes: tuple[type[Resource], ...]) -> None:
    with pytest.raises(ConfigurationError, match="already; rename the class, and set `collection`"):
        Registry(classes)


def test_two_registries_do_not_know_each_other() -> None:
    one = Registry([resource_class("Thing", {"a": str})])
    assert "things" in one.by_collection
    assert "things" not in Registry().by_collection
