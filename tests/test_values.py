"""Frozen values."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping

import pytest

from tidegate.values import Value, as_dict, defaults_of, field, replace


class Point(Value):
    x: int
    y: int = 2


class Named(Value, kw_only=True):
    """With fields by name, in any order of defaults."""

    tags: Mapping[str, str] = field(default_factory=dict)
    name: str

    @property
    def loud(self) -> str:
        return self.name.upper()


class Nothing(Value):
    pass


def test_a_value_has_its_fields_and_its_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(1, y=3).y) == (1, 2, 3)
    assert Named(name="a").loud == "A"
    assert Nothing() == Nothing()


def test_values_are_equal_where_class_and_fields_are() -> None:
    assert Point(1) == Point(x=1, y=2)
    assert Point(1) != Point(2)
    assert Point(1) != (1, 2)
    assert len({Point(1), Point(1, 2), Point(3)}) == 2


@pytest.mark.parametrize("say", ["x = 3", "z = 3"])
def test_a_value_does_not_change(say: str) -> None:
    with pytest.raises(AttributeError):
        exec(f"point.{say}", {"point": Point(1)})
    with pytest.raises(AttributeError):
        del Point(1).x


def test_a_missing_or_an_unknown_field_is_an_error() -> None:
    for wrong in ({}, {"x": 1, "z": 1}):
        with pytest.raises(TypeError, match=r"x|z"):
            Point(**wrong)
    with pytest.raises(TypeError):
        replace(Point(1), z=1)
    with pytest.raises(TypeError):
        Named({}, "a")  # type: ignore[call-arg]


def test_a_default_that_is_made_is_made_for_each() -> None:
    assert Named(name="a").tags == {}
    assert Named(name="a").tags is not Named(name="a").tags
    assert defaults_of(Named) == {"tags": {}}
    assert defaults_of(Point) == {"y": 2}


def test_a_value_can_be_matched_and_shown() -> None:
    match Point(1):
        case Point(x, y):
            assert (x, y) == (1, 2)
    assert repr(Named(name="a")) == "Named(tags={}, name='a')"


def test_a_changed_value_is_another() -> None:
    one = Point(1)
    assert replace(one, y=5) == Point(1, 5)
    assert one == Point(1)
    assert as_dict(one) == {"x": 1, "y": 2}


def test_a_value_can_be_copied_and_sent() -> None:
    one = Named(name="a", tags={"b": "c"})
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_what_works_with_dataclasses_works_with_values() -> None:
    one: object = Named(name="a")
    assert dataclasses.is_dataclass(one)
    assert not isinstance(one, type)
    assert [one.name for one in dataclasses.fields(Point)] == ["x", "y"]
    assert dataclasses.replace(Point(1), y=7) == Point(1, 7)
    assert dataclasses.asdict(one) == {"tags": {}, "name": "a"}
