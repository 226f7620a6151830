"""The registry, and the errors that help with names."""

import pytest

from isomorph.registry import Registry, UnknownNameError, unknown_name


def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour", "list_colours() shows them all.")
    for number, name in enumerate(("red", "dark-red", "blue")):
        registry.add(name, number)
    return registry


def test_entries_come_back_in_order():
    registry = colours()
    assert registry["blue"] == 2
    assert list(registry) == ["red", "dark-red", "blue"]
    assert len(registry) == 3
    assert "red" in registry
    assert "green" not in registry


def test_unknown_name_gets_the_nearest_and_a_hint():
    with pytest.raises(UnknownNameError) as caught:
        colours()["Blu"]
    assert str(caught.value) == (
        "unknown colour 'Blu'. Did you mean 'blue'? list_colours() shows them all."
    )
    assert isinstance(caught.value, KeyError)


def test_a_name_like_none_of_a_few_gets_them_all():
    message = str(unknown_name("colour", "xyzzy", ["red", "blue"]))
    assert message == "unknown colour 'xyzzy'. Known: blue, red."


def test_a_name_like_none_of_many_gets_their_number():
    many = [f"name{number}" for number in range(50)]
    assert str(unknown_name("thing", "§§", many)) == "unknown thing '§§'. 50 are known."


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="colour 'red' is already registered"):
        colours().add("red", 9)
