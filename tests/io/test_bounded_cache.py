"""What a bounded cache forgets, and when."""

from __future__ import annotations

import pytest

from geocorrect.io.bounded_cache import BoundedCache


def test_by_count_the_one_used_longest_ago_goes_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_by_size_as_many_go_as_must() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(10, len)
    for key, size in (("a", 3), ("b", 4), ("c", 3), ("d", 6)):
        cache.put(key, bytes(size))
    assert [cache.get(key) is not None for key in "abcd"] == [False, False, True, True]
    assert cache.used == 9
    cache.put("d", bytes(2))
    assert cache.used == 5, "a value that is replaced is not counted twice"


@pytest.mark.parametrize("limit", [0, 10])
def test_a_value_above_the_limit(limit: int) -> None:
    plain: BoundedCache[str, bytes] = BoundedCache(limit, len)
    newest: BoundedCache[str, bytes] = BoundedCache(limit, len, keep_newest=True)
    for cache in (plain, newest):
        cache.put("small", bytes(limit))
        cache.put("large", bytes(20))
    assert plain.get("large") is None
    assert plain.get("small") == bytes(limit), "what fits is not lost for what does not"
    assert newest.get("large") == bytes(20)
    newest.put("next", bytes(20))
    assert newest.get("large") is None
    assert newest.get("next") == bytes(20)


def test_a_value_is_made_once_and_may_ask_for_another() -> None:
    cache: BoundedCache[str, str] = BoundedCache(4)
    made: list[str] = []

    def make(key: str, needs: str = "") -> str:
        made.append(key)
        return key + (cache.get_or_make(needs, lambda: make(needs)) if needs else "")

    for _ in range(2):
        assert cache.get_or_make("a", lambda: make("a", "b")) == "ab"
        assert cache.get_or_make("b", lambda: make("b")) == "b"
    assert made == ["a", "b"]
