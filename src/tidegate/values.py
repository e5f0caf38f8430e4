"""Frozen values: what `@dataclass(frozen=True, slots=True)` makes, at a tenth of its cost when a program starts.

A dataclass compiles six methods for each class as it is imported, and most commands make few of the values that they
import. Here all classes share their methods, and each gets an `__init__` of its own when it is used first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, NoReturn, Self, TypeVar, dataclass_transform

V = TypeVar("V", bound="Value")

MISSING: Final = object()


class Made:
    """A default that is made anew for each value."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], Any]) -> Any:  # noqa: ANN401 - stands where the field's value will
    """A field whose default is made anew for each value."""
    return Made(default_factory)


class Kind(type):
    """The class of the classes of values: a field becomes a slot, and its default is set aside."""

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any], *, kw_only: bool = False) -> Kind:
        """A class of values from its body."""
        names = tuple(said for said, kind in space.get("__annotations__", {}).items() if "ClassVar" not in str(kind))
        defaults = {name: space.pop(name) for name in names if name in space}
        space |= {"__slots__": names, "__match_args__": () if kw_only else names}
        made = super().__new__(cls, name, bases, space)
        made.__fields__ = names
        made.__kw_only__ = kw_only
        made.__defaults__ = defaults
        return made

    __fields__: tuple[str, ...]
    __kw_only__: bool
    __defaults__: dict[str, Any]


class _Fields:
    """`__dataclass_fields__`, from a dataclass that is made when somebody asks: `fields`, `asdict`, `replace` do."""

    def __get__(self, value: Value | None, kind: Kind) -> dict[str, Any]:
        import dataclasses  # noqa: PLC0415 - few ask

        body = {"__annotations__": kind.__annotations__}
        for name, default in kind.__defaults__.items():
            body[name] = dataclasses.field(default_factory=default.make) if isinstance(default, Made) else default
        twin: Any = dataclasses.dataclass(kw_only=kind.__kw_only__)(type(kind.__name__, (), body))
        found: dict[str, Any] = twin.__dataclass_fields__
        kind.__dataclass_fields__ = found  # type: ignore[attr-defined]
        return found


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value(metaclass=Kind):
    """A frozen value with the fields that its class names; equal to one of its class with equal fields.

    `class Point(Value, kw_only=True)`: fields are given by name only.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]] = _Fields()  # type: ignore[assignment]

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401
        kind = type(self)
        kind.__init__ = _init_of(kind)  # type: ignore[method-assign]
        kind.__init__(self, *args, **named)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).__fields__)
        return f"{type(self).__qualname__}({said})"

    def __eq__(self, other: object) -> bool:
        return _fields_of(self) == _fields_of(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_fields_of(self))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete field {name!r}")

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Any, ...]]:
        return _again, (type(self), _fields_of(self))


def replace(value: V, /, **changes: Any) -> V:  # noqa: ANN401
    """A value like another, with some of its fields changed."""
    kind = type(value)
    return kind(**as_dict(value) | changes)


def as_dict(value: Value) -> dict[str, Any]:
    """The fields of a value by name."""
    return {name: getattr(value, name) for name in type(value).__fields__}


def defaults_of(kind: type[Value]) -> dict[str, Any]:
    """What the fields of a class are where nothing is said, by name."""
    return {name: one.make() if isinstance(one, Made) else one for name, one in kind.__defaults__.items()}


def _fields_of(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return tuple([getattr(value, name) for name in type(value).__fields__])


def _again(kind: type[V], fields: tuple[Any, ...]) -> V:
    return kind(**dict(zip(kind.__fields__, fields, strict=True)))


def _init_of(kind: Kind) -> Callable[..., None]:
    """The `__init__` of a class, written out: no call is as quick as a line of its own for each field."""
    scope: dict[str, Any] = {"missing": MISSING}
    taken, lines = [], ["pass"]
    for name in kind.__fields__:
        scope[f"set_{name}"] = getattr(kind, name).__set__
        default = kind.__defaults__.get(name, MISSING)
        given = name
        if isinstance(default, Made):
            scope[f"make_{name}"], given = default.make, f"make_{name}() if {name} is missing else {name}"
            default = MISSING
            taken.append(f"{name}=missing")
        elif default is MISSING:
            taken.append(name)
        else:
            scope[f"default_{name}"] = default
            taken.append(f"{name}=default_{name}")
        lines.append(f"set_{name}(self, {given})")
    before = "self, *, " if kind.__kw_only__ and taken else "self, "
    exec(f"def __init__({before}{', '.join(taken)}):\n " + "\n ".join(lines), scope)  # noqa: S102 - as dataclasses do
    made: Callable[..., None] = scope["__init__"]
    return made
