"""Distil fine-grained sentiment understanding from a large language model into a T5 student."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`fsa_jax.Student`, which needs JAX, is imported when it is asked for."""
    if name == 'Student':
        from fsa_jax.student import Student

        return Student
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
