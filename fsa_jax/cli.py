"""The command line: `fsa STAGE --gin_file=F --gin.Class.field=value --output=DIR`.

Help and errors import neither jax nor a stage, so they are instant. Exit status: 0 done (or done
before), 1 failed, 2 bad input with one clear line, 75 the same for what may pass (errors.py), 143 stopped by
SIGTERM after saving.
"""

import dataclasses
import sys
import textwrap
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fsa_jax import configs as configs_lib
from fsa_jax import manifest, progress, stages
from fsa_jax.errors import UserError, exit_status, nearest

USAGE = 'fsa STAGE --gin_file=F --gin.Class.field=value --output=DIR'

_OPTIONS = """\
  --gin_file=F            a gin file; may be given several times
  --gin_search_paths=D,…  folders where gin files and their includes are found
  --gin.Class.field=V     one knob; it wins over the files
  --output=DIR            the folder to write, or its URL (gs://, s3://, …); a
                          finished one is left as it is
  --overwrite             delete what an earlier run left in DIR first
  --dry-run               print the resolved config and stop (train: also the
                          shapes, the memory and the first batch)
  --debug                 show the traceback of an error
  --version               print the version
  --help                  this page"""


@dataclass
class Arguments:
    """The parsed command line."""

    stage: str = ''
    gin_files: list[str] = field(default_factory=list)
    search_paths: list[str] = field(default_factory=list)
    bindings: list[str] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)  # of options that take several words
    output: str = ''
    flags: set[str] = field(default_factory=set)


_FITS = (
    'lower RowsConfig.batch_size or raise RowsConfig.microbatches (train), lower DecodeConfig.batch_size '
    "(predict), or set T5Config.remat='full' or MeshConfig.fsdp"
)
_FLAGS = ('--overwrite', '--dry-run', '--debug', '--help', '--version')
_OPTION_VALUE = {bool: ''}  # a switch takes no value
_VALUES = ('--gin_file', '--gin_search_paths', '--output')
_PRINTING = {'-h', '--help', '--version', '--dry-run'}  # no stage runs: what is printed is all


def parse(argv: Sequence[str]) -> Arguments:
    """Arguments of a command line in t5x's style (`--name=value` or `--name value`)."""
    arguments = Arguments()
    words = ['--help' if word == '-h' else word for word in argv]
    while words:
        word = words.pop(0)
        name, equals, value = word.partition('=')
        own = _own_option(arguments, name)
        if word in _FLAGS:
            arguments.flags.add(word)
        elif not word.startswith('-'):
            _bare(arguments, word)
        elif own:
            _bind_own(arguments, own, value if equals else None, words)
        else:
            setter = _setter(arguments, name)
            setter(value if equals else _value(name, words))
    return arguments


def _bind_own(arguments: Arguments, knob: str, value: str | None, words: list[str]) -> None:
    """Binds the knob of a stage's own option; without `=value`, a bool is set and a list takes
    all the words up to the next option. A list may be given in parts."""
    hint = configs_lib.hint(knob)
    kind = typing.get_origin(hint) or hint
    if value is None and kind is bool:
        value = 'True'
    elif value is None and kind is tuple:
        taken = [_value('--' + knob.rpartition('.')[2], words)]
        while words and not words[0].startswith('-'):
            taken.append(words.pop(0))
        value = ','.join(taken)
    elif value is None:
        value = _value('--' + knob.rpartition('.')[2], words)
    if kind is tuple:
        earlier = arguments.lists.setdefault(knob, [])
        earlier += filter(None, value.split(','))
        value = repr(tuple(earlier))
    arguments.bindings.append(f'{knob}={value}')


def _value(name: str, words: list[str]) -> str:
    if not words or words[0].startswith('--'):
        raise UserError(f'{name} needs a value: {name}=…')
    return words.pop(0)


def _own_option(arguments: Arguments, name: str) -> str:
    """The knob 'Class.field' of an option that the stage has for itself, or ''."""
    own = stages.STAGES[arguments.stage].options if arguments.stage in stages.STAGES else ()
    return next((knob for knob in own if name == '--' + knob.rpartition('.')[2]), '')


def _setter(arguments: Arguments, name: str) -> Callable[[str], None]:
    """What takes the value of an option."""
    if name == '--gin_file':
        return arguments.gin_files.append
    if name == '--gin_search_paths':
        return lambda value: arguments.search_paths.extend(filter(None, value.split(',')))
    if name == '--output':
        return lambda value: setattr(arguments, 'output', value)
    if name.startswith('--gin.'):
        return lambda value: arguments.bindings.append(f'{name.removeprefix("--gin.")}={value}')
    if name in _FLAGS:
        raise UserError(f'{name} takes no value')
    own = stages.STAGES[arguments.stage].options if arguments.stage in stages.STAGES else ()
    names = [*_FLAGS, *_VALUES, *('--' + knob.rpartition('.')[2] for knob in own)]
    raise UserError(f'unknown option {name!r}{nearest(name, names)}; see fsa --help')


def _bare(arguments: Arguments, word: str) -> None:
    """A word of the stage's name, or the one argument that a stage takes."""
    name = f'{arguments.stage} {word}'.strip()
    if name in stages.STAGES or any(other.startswith(f'{name} ') for other in stages.STAGES):
        arguments.stage = name
        return
    stage = _stage(arguments.stage or word)
    if not stage.positional:
        raise UserError(f'unexpected argument {word!r}; {stage.name} takes only options')
    if any(binding.startswith(f'{stage.positional}=') for binding in arguments.bindings):
        raise UserError(f'unexpected argument {word!r}; {stage.name} takes one, {stage.positional}')
    arguments.bindings.append(f'{stage.positional}={word}')


def _stage(name: str) -> stages.Stage:
    if name in stages.STAGES:
        return stages.STAGES[name]
    if parts := [other for other in stages.STAGES if other.startswith(f'{name} ')]:
        raise UserError(f'fsa {name} is one of: {", ".join(f"fsa {part}" for part in parts)}')
    raise UserError(f'there is no stage {name!r}{nearest(name, stages.STAGES)}; see fsa --help')


def overview() -> str:
    """The page of `fsa --help`."""
    lines = [f'usage: {USAGE}', '', 'stages, in the order of use:']
    for stage in stages.STAGES.values():
        lines += _wrapped(stage.meaning, f'  {stage.name:<14}', ' ' * 16)
    lines += ['', 'options:', _OPTIONS, '', 'fsa STAGE --help lists every knob of a stage.']
    return '\n'.join(lines)


def stage_help(stage: stages.Stage) -> str:
    """The page of `fsa STAGE --help`: every knob with type, default and meaning, in 80 columns."""
    argument = ' NAME' if stage.positional else ''
    for knob in stage.options:
        argument += (
            f' [--{knob.rpartition(".")[2]}{_OPTION_VALUE.get(configs_lib.hint(knob), "=…")}]'
        )
    lines = [f'usage: fsa {stage.name}{argument} [options]', '', f'{stage.name}: {stage.meaning}.']
    for cls in _classes(stage):
        lines += ['', *_wrapped(f'{cls.__name__}: {" ".join((cls.__doc__ or "").split())}')]
        hints = typing.get_type_hints(cls)
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]
            lines += _knob_help(cls, f, hints[f.name])
    if stage.notes:
        lines += ['', stages.load(stage.notes)()]
    return '\n'.join([*lines, '', 'options:', _OPTIONS])


def _knob_help(cls, f, hint) -> list[str]:
    default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
    head = f'  --gin.{cls.__name__}.{f.name}={default!r}'
    kind = f'({configs_lib.type_name(hint)})'
    indent = ' ' * 6
    return [head, *_wrapped(f'{f.metadata["meaning"]} {kind}', indent, indent)]


def _wrapped(text: str, first: str = '', others: str = '') -> list[str]:
    """Lines of at most 80 columns."""
    return textwrap.wrap(
        text, 80, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )


def _classes(stage: stages.Stage) -> tuple[type[configs_lib.Config], ...]:
    """What the command line sets: how the processes meet is not of the job, so config.gin has none of it."""
    return (*stage.configs, configs_lib.DistributedConfig) if stage.together else stage.configs


def execute(argv: Sequence[str]) -> None:
    """Runs one command; raises UserError on bad input, AlreadyDone when there is nothing to do."""
    arguments = parse(argv)
    if '--version' in arguments.flags:
        from importlib import metadata

        print(f'fsa_jax {metadata.version("fsa_jax")}')
        return
    if not arguments.stage:
        if argv and '--help' not in arguments.flags:
            raise UserError('which stage? see fsa --help')
        print(overview())
        return
    stage = _stage(arguments.stage)
    if '--help' in arguments.flags:
        print(stage_help(stage))
        return
    from fsa_jax import gin_registry

    search_paths = [*arguments.search_paths, *gin_registry.default_search_paths()]
    classes = _classes(stage)
    built = gin_registry.build(classes, arguments.gin_files, search_paths, arguments.bindings)
    built, meeting = built[: len(stage.configs)], built[len(stage.configs) :]
    if '--dry-run' in arguments.flags:
        print(configs_lib.to_gin(built))
        if stage.preview:
            stages.load(stage.preview)(*built)
        return
    if not arguments.output and stage.writes:
        raise UserError(f'fsa {stage.name} needs --output=DIR')
    output = arguments.output  # a Path would make one slash of the two of a URL
    overwrite = '--overwrite' in arguments.flags
    stages.run(stage.name, built, output, overwrite=overwrite, meeting=meeting)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fsa`; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        execute(argv)
        with progress.unheard(sys.stdout):
            print(end='', flush=True)
    except manifest.AlreadyDone as done:
        progress.tell(str(done))
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and (not argv or _PRINTING.intersection(argv)):
            progress.mute(sys.stdout)
            return 0  # fsa … --help | head
        if '--debug' in argv:
            raise
        progress.tell(f'fsa: {error}')
        return exit_status(error)
    except RuntimeError as error:
        if '--debug' in argv or 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        progress.tell(f'fsa: out of memory: {_FITS}')
        return 2
    except KeyboardInterrupt:
        progress.tell('fsa: interrupted; the same command resumes or starts anew')
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
