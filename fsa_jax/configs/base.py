"""A config: a flat, frozen dataclass that checks itself on construction, and its gin text."""

import dataclasses
import types
import typing
from typing import Any, Literal

from fsa_jax.errors import UserError, nearest


def knob(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    free: bool = False,
) -> Any:
    """A config field: its default, one line of meaning, and its range (both ends allowed).

    `free` marks a field that may differ when a run resumes (the mesh, logging, profiling): it does
    not change what is computed.
    """
    metadata = {'meaning': meaning, 'low': low, 'high': high, 'free': free}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Config:
    """Base of all configs: types, choices and ranges are checked on construction."""

    def __post_init__(self):
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = _checked(self._name(field), getattr(self, field.name), hints[field.name])
            object.__setattr__(self, field.name, value)
            _check_range(self._name(field), value, field.metadata)
        self.check()

    def check(self):
        """Relations between fields; a subclass raises UserError."""

    @classmethod
    def _name(cls, field) -> str:
        return f'{cls.__name__}.{field.name}'

    def replace(self, **changes):
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as `hint` wants it (an int becomes a float, a list a tuple), or UserError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            choices = ', '.join(repr(a) for a in args)
            raise UserError(
                f'{name} must be one of {choices}; got {value!r}{nearest(str(value), args)}'
            )
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _checked(name, value, next(a for a in args if a is not type(None)))
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_checked(name, item, args[0]) for item in value)
    if origin is dict and isinstance(value, dict):
        return {_checked(name, k, args[0]): _checked(name, v, args[1]) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f'{name} must be {type_name(hint)}; got {value!r} ({type(value).__name__})')


def _check_range(name: str, value: Any, metadata) -> None:
    low, high = metadata['low'], metadata['high']
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = (
            f'>= {low}' if high is None else f'<= {high}' if low is None else f'in [{low}, {high}]'
        )
        raise UserError(f'{name} must be {bounds}; got {value!r}')


def type_name(hint: Any) -> str:
    """A type as `fsa STAGE --help` shows it: `int`, `'a' | 'b'`, `list of str`, `int or None`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ' | '.join(repr(a) for a in args)
    if origin in (types.UnionType, typing.Union):
        return ' or '.join('None' if a is type(None) else type_name(a) for a in args)
    if origin is tuple:
        return f'list of {type_name(args[0])}'
    if origin is dict:
        return f'dict of {type_name(args[0])}: {type_name(args[1])}'
    return hint.__name__


def to_gin(configs) -> str:
    """The resolved configs as gin text, every field written out: running from it repeats the run."""
    lines = []
    for config in configs:
        lines.append(f'# {type(config).__name__}')
        for field in dataclasses.fields(config):
            lines.append(f'{type(config).__name__}.{field.name} = {getattr(config, field.name)!r}')
        lines.append('')
    return '\n'.join(lines)
