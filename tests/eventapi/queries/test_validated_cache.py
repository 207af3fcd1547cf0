"""A cache is bounded, and finds a value only with the validator that it was added with."""

from __future__ import annotations

from eventapi.queries.validated_cache import ValidatedCache


def test_a_value_is_found_until_its_validator_changes() -> None:
    cache = ValidatedCache[str, str](10)
    cache.add("a", 1, "value", 3)
    assert cache.find("a", 1) == "value"
    assert cache.find("b", 1) is None
    assert cache.find("a", 2) is None
    assert cache.find("a", 1) is None


def test_the_sum_of_all_sizes_is_bounded() -> None:
    cache = ValidatedCache[int, str](10)
    for key in range(3):
        cache.add(key, 1, "value", 3)
    assert cache.find(0, 1) is not None  # Now 1 was not used for the longest time.
    cache.add(3, 1, "value", 3)
    cache.add(4, 1, "too large", 11)

    assert [cache.find(key, 1) is not None for key in range(5)] == [True, False, True, True, False]


def test_replacing_a_value_does_not_count_its_size_twice() -> None:
    cache = ValidatedCache[str, int](10)
    for validator in range(20):
        cache.add("a", validator, validator, 3)
    cache.add("b", 1, 1, 3)
    assert cache.find("a", 19) == 19
    assert cache.find("b", 1) == 1
