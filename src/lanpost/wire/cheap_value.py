"""Values that are made by the ten thousand every second: frozen to the type checker, cheap at run time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(kind: type[T]) -> type[T]:
    """A dataclass with slots, equality and hash. A truly frozen one takes three times as long to construct."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
