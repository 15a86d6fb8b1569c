"""The one door to gin: the dataclasses of configs, built from gin files and bindings."""

import ast
import contextlib
import inspect
import logging
import os
import re
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import gin

from fsa_jax import configs
from fsa_jax.errors import UserError, nearest

CLASSES: dict[str, type[configs.Config]] = {
    name: cls
    for name, cls in vars(configs).items()
    if inspect.isclass(cls) and issubclass(cls, configs.Config) and cls is not configs.Config
}
for _cls in CLASSES.values():
    gin.external_configurable(_cls, module='fsa_jax')


def build(
    classes: Sequence[type[configs.Config]],
    files: Sequence[str] = (),
    search_paths: Sequence[str] = (),
    bindings: Sequence[str] = (),
) -> list[configs.Config]:
    """One checked instance of each class, from gin files, then bindings ('Class.field=value').

    A run file may bind classes that this stage does not take, as files serve several stages; a binding
    may not, as it would do nothing. Raises UserError for an unknown class, field or file, a syntax
    error, a wrong type or range.
    """
    quoted = [_quoted(binding, [cls.__name__ for cls in classes]) for binding in bindings]
    gin.clear_config()
    for path in search_paths:
        if not Path(path).is_dir():
            raise UserError(f'--gin_search_paths: {path!r} is not a folder')
        gin.add_config_file_search_path(path)
    for file in files:
        _find(file, search_paths)
    try:
        with _quiet():
            gin.parse_config_files_and_bindings(list(files), quoted)
        return [cls(**gin.get_bindings(cls.__name__)) for cls in classes]
    except UserError:
        raise
    except Exception as error:  # gin raises ValueError, SyntaxError, TypeError, OSError … by turns
        raise UserError(_one_line(error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without gin's log lines for each search path that does not hold an included file."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _find(file: str, search_paths: Sequence[str]) -> None:
    folders = ['', *search_paths]
    if any(Path(folder, file).is_file() for folder in folders):
        return
    beside = [str(p) for folder in folders for p in Path(folder, file).parent.glob('*.gin')]
    raise UserError(f'--gin_file: there is no file {file!r}{nearest(file, beside)}')


def _quoted(binding: str, taken: Sequence[str]) -> str:
    """`Class.field=value` as gin reads it: the names checked, a bare word for a text field quoted."""
    target, separator, value = binding.partition('=')
    target, value = target.strip(), value.strip()
    name, dot, field = target.rpartition('.')
    if not separator or not dot:
        raise UserError(f'--gin.{binding}: expected --gin.Class.field=value')
    if name not in CLASSES:
        raise UserError(
            f'--gin.{target}: there is no config class {name!r}{nearest(name, CLASSES)}'
        )
    if name not in taken:
        raise UserError(
            f'--gin.{target} would do nothing: this stage takes {", ".join(taken)}, no {name}'
        )
    hints = typing.get_type_hints(CLASSES[name])
    if field not in hints:
        raise UserError(f'--gin.{target}: {name} has no field {field!r}{nearest(field, hints)}')
    if value.startswith(('%', '@')):
        return f'{target} = {value}'
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        parsed = value
    if hints[field] is str and not isinstance(parsed, str):
        parsed = value  # a folder named 2024 is text
    if typing.get_origin(hints[field]) is tuple and not isinstance(parsed, (list, tuple)):
        parsed = (parsed,)  # one task needs no parentheses
    return f'{target} = {parsed!r}'


def _one_line(error: Exception) -> str:
    """gin's message in one line, with the nearest right name."""
    text = ' '.join(str(error).split())
    if unknown := re.match(r"No configurable matching '(?:.*\.)?(\w+)'", text):
        return f'gin: {text}{nearest(unknown[1], CLASSES)}'
    if unknown := re.match(
        r"Configurable '(?:.*\.)?(\w+)' doesn't have a parameter named '(\w+)'", text
    ):
        fields = typing.get_type_hints(CLASSES[unknown[1]]) if unknown[1] in CLASSES else ()
        return f'gin: {text}{nearest(unknown[2], fields)}'
    return f'gin: {text}'


def default_search_paths() -> list[str]:
    """The folder of run files that lies beside the package in a checkout, if there."""
    folder = Path(__file__).resolve().parent.parent / 'gin_configs'
    return [os.fspath(folder)] if folder.is_dir() else []
