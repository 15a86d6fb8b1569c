"""The command line as a user meets it: help, knobs, and one clear line for each mistake."""

import contextlib
import dataclasses
import errno
import inspect
import json
import subprocess
import sys
import typing

import pytest

from fsa_jax import cli, gin_registry, manifest, stages
from fsa_jax import configs as c
from fsa_jax.errors import Unreachable, UserError
from fsa_jax.hosts import Hosts


def fsa(*argv, capsys):
    status = cli.main(list(argv))
    return status, capsys.readouterr()


def test_help_lists_every_stage_in_80_columns(capsys):
    status, printed = fsa('--help', capsys=capsys)
    assert status == 0
    assert all(f'  {name} ' in printed.out for name in stages.STAGES)
    lines = printed.out.splitlines()
    assert max(map(len, lines)) <= 80, max(lines, key=len)


@pytest.mark.parametrize('name', stages.STAGES)
def test_stage_help_lists_every_knob_in_80_columns(name, capsys):
    _, printed = fsa(name, '--help', capsys=capsys)
    for cls in stages.STAGES[name].configs:
        for field in dataclasses.fields(cls):
            assert f'--gin.{cls.__name__}.{field.name}=' in printed.out
            assert field.metadata['meaning'].split()[0] in printed.out
    prose = [line for line in printed.out.splitlines() if not line.startswith('  --gin.')]
    assert max(map(len, prose)) <= 80, max(prose, key=len)
    for cls in cli._classes(stages.STAGES[name]):
        assert ' '.join(f'{cls.__name__}: {cls.__doc__}'.split()) in ' '.join(prose)


def test_help_imports_neither_jax_nor_a_stage():
    code = (
        'import sys; from fsa_jax.cli import main; main(["train", "--help"]);'
        'assert not {"jax", "numpy", "gin", "seqio", "tensorflow"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ('argv', 'expected'),
    [
        (['scor'], "there is no stage 'scor' (did you mean 'score'?)"),
        (['score', '--outptu=x'], "unknown option '--outptu' (did you mean '--output'?)"),
        (['score', '--gin.ScoreConfig.bootstrp=2', '--output=x'], "(did you mean 'bootstrap'?)"),
        (['score', '--gin.ScoreConfg.bootstrap=2', '--output=x'], "(did you mean 'ScoreConfig'?)"),
        (
            ['score', '--gin.TrainConfig.seed=2', '--output=x'],
            'would do nothing: this stage takes ScoreConfig',
        ),
        (['--output=x'], 'which stage?'),
        (['score', '--gin.ScoreConfig.bootstrap=many', '--output=x'], 'must be int'),
        (['score', '--gin.ScoreConfig.bootstrap=-1', '--output=x'], 'must be >= 0; got -1'),
        (['pack', '--gin.PackConfig.rates={[1]: 2}', '--output=x'], 'PackConfig.rates must be'),
        (['pack', '--gin.PackConfig.rates=' + '-' * 10**5 + '1', '--output=x'], 'must be dict'),
        (['score'], 'needs --output'),
        (['score', '--gin.ScoreConfig.seed', '--output=x'], '--gin.ScoreConfig.seed needs a value'),
        (['score', '--dry-run=yes', '--output=x'], '--dry-run takes no value'),
        (['export', '--push_to_hub'], '--push_to_hub needs a value'),
        (['score', '--push_to_hub=a/b'], "unknown option '--push_to_hub'"),
        (['score', 'extra', '--output=x'], "unexpected argument 'extra'"),
        (['sample', 'a', 'b', '--output=x'], "unexpected argument 'b'; sample takes one"),
        (['score', '--gin_file=no.gin', '--output=x'], "there is no file 'no.gin'"),
        (['score', '--gin_search_paths=/no/where', '--output=x'], 'is not a folder'),
        (['score', '--gin.ScoreConfig.predictions=/no/where', '--output=x'], 'does not exist'),
        (['train', '--gin.T5Config.remat=ful', '--output=x'], "(did you mean 'full'?)"),
    ],
)
def test_mistakes_are_one_line_and_status_2(argv, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, printed = fsa(*argv, capsys=capsys)
    assert status == 2
    assert expected in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir()), 'nothing half-written is left'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('ScoreConfig.bootstrp = 1', "(did you mean 'bootstrap'?)"),
        ('ScoreConfg.bootstrap = 1', "(did you mean 'ScoreConfig'?)"),
        ('ScoreConfig.bootstrap = ', 'Unable to parse'),
        ("ScoreConfig.bootstrap = 'a'", 'must be int'),
    ],
)
def test_mistakes_in_a_gin_file(text, expected, capsys, tmp_path):
    (tmp_path / 'a.gin').write_text(text + '\n')
    status, printed = fsa('score', f'--gin_file={tmp_path}/a.gin', '--output=x', capsys=capsys)
    assert status == 2
    assert expected in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match='bootstrap'):
        cli.main(['score', '--gin.ScoreConfig.bootstrap=-1', '--output=x', '--debug'])


def test_out_of_memory_names_the_knobs(capsys, monkeypatch):
    def run(*_, **__):
        raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes')

    monkeypatch.setattr(stages, 'run', run)
    status, printed = fsa('score', '--output=x', capsys=capsys)
    assert status == 2
    assert 'RowsConfig.microbatches' in printed.err
    assert len(printed.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (OSError(errno.ESTALE, 'Stale file handle'), 75),
        (OSError(errno.EIO, 'Input/output error'), 75),
        (ConnectionResetError('reset by peer'), 75),
        (TimeoutError('no answer'), 75),
        (Unreachable('gs://bucket/run: 503'), 75),
        (OSError(errno.ENOSPC, 'No space left on device'), 2),
        (FileNotFoundError(errno.ENOENT, 'No such file'), 2),
        (PermissionError(errno.EACCES, 'Permission denied'), 2),
        (OSError('Forbidden: no access'), 2),
        (UserError('expected a number'), 2),
    ],
)
def test_what_may_pass_is_started_again_and_bad_input_is_not(error, status, capsys, monkeypatch):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(stages, 'run', run)
    ended, printed = fsa('score', '--output=x', capsys=capsys)
    assert (ended, printed.err) == (status, f'fsa: {error}\n')


def test_bindings_win_over_files_and_bare_words_are_text(tmp_path):
    (tmp_path / 'a.gin').write_text(
        "TrainConfig.steps = 5\nTrainConfig.data = 'a'\nMeshConfig.fsdp = 2\n"
    )
    (train,) = gin_registry.build(
        [c.TrainConfig],
        ['a.gin'],
        [str(tmp_path)],
        ['TrainConfig.data=/b/2024', 'TrainConfig.tasks=one', 'TrainConfig.init=2024'],
    )
    assert (train.steps, train.data, train.tasks, train.init) == (5, '/b/2024', ('one',), '2024')


def test_an_option_of_a_stage_sets_its_knob(capsys):
    _, printed = fsa('export', '--push_to_hub=me/student', '--dry-run', capsys=capsys)
    assert "ExportConfig.push_to_hub = 'me/student'" in printed.out


def _options_of(*names, **stage):
    fields = {'meaning': '', 'run': '', 'configs': (c.PackConfig, c.TrainConfig), 'options': names}
    return stages.Stage(name='judge all', **fields | stage)


def test_own_options_of_lists_and_switches_and_a_stage_of_two_words(monkeypatch):
    stage = _options_of('PackConfig.tasks', 'TrainConfig.tensorboard', 'TrainConfig.seed')
    monkeypatch.setitem(stages.STAGES, 'judge all', stage)
    arguments = cli.parse(
        ['judge', 'all', '--tasks', 'A', 'B', '--tensorboard', '--seed', '3', '--output', 'o']
    )
    assert (arguments.stage, arguments.output) == ('judge all', 'o')
    assert arguments.bindings == [
        "PackConfig.tasks=('A', 'B')",
        'TrainConfig.tensorboard=True',
        'TrainConfig.seed=3',
    ]
    assert cli.parse(['judge', 'all', '--tasks=A,B']).bindings == ["PackConfig.tasks=('A', 'B')"]
    with pytest.raises(c.UserError, match=r'fsa judge is one of: .*fsa judge all'):
        cli.execute(['judge', '--help'])


def test_a_stage_that_only_prints_needs_no_output(monkeypatch):
    monkeypatch.setitem(stages.STAGES, 'judge all', _options_of(writes=False))
    ran = []
    monkeypatch.setattr(stages, 'load', lambda _: lambda out, *configs: ran.append(out))
    cli.execute(['judge', 'all'])
    assert ran == [None]


def test_running_from_config_gin_repeats_the_config(tmp_path):
    configs = [
        c.TrainConfig(steps=7, tasks=('a', 'b')),
        c.RowsConfig(rates={'a': 0.5}),
        c.T5Config(),
    ]
    (tmp_path / 'config.gin').write_text(c.to_gin(configs))
    assert gin_registry.build([type(x) for x in configs], [str(tmp_path / 'config.gin')]) == configs


@pytest.mark.parametrize('name', stages.STAGES)
def test_stage_functions_take_what_the_list_says(name):
    stage = stages.STAGES[name]
    for function, skip in ((stage.run, 1), (stage.preview, 0)):
        if function:
            hints = typing.get_type_hints(stages.load(function))
            hints.pop('return', None)
            parameters = list(inspect.signature(stages.load(function)).parameters)[skip:]
            assert tuple(hints[p] for p in parameters) == stage.configs


def _write_then_fail(path):
    path.write_text('x')
    (path.parent / 'missing').read_text()


def test_manifest_output_is_whole_or_absent(tmp_path):
    job = [c.ScoreConfig(seed=1)]
    with pytest.raises(FileNotFoundError), manifest.output(tmp_path / 'a', 'score', job) as out:
        _write_then_fail(out.folder / 'half')
    assert not list(tmp_path.iterdir())

    with manifest.output(tmp_path / 'a', 'score', job) as out:
        (out.folder / 'whole').write_text('x')
    manifest.verify(tmp_path / 'a')
    assert sorted(p.name for p in (tmp_path / 'a').iterdir()) == [
        'config.gin',
        'manifest.json',
        'whole',
    ]

    with pytest.raises(manifest.AlreadyDone), manifest.output(tmp_path / 'a', 'score', job):
        pass
    with (
        pytest.raises(c.UserError, match=r'ScoreConfig.seed=1 there, 2 now'),
        manifest.output(tmp_path / 'a', 'score', [c.ScoreConfig(seed=2)]),
    ):
        pass
    (tmp_path / 'a' / 'whole').write_text('y')
    with pytest.raises(c.UserError, match='damaged'):
        manifest.verify(tmp_path / 'a')


def test_files_of_a_finished_stage_inside_are_not_hashed_again(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        manifest, 'file_sha256', lambda path: hashed.append(path.name) or path.read_text()
    )
    with manifest.output(tmp_path / 'a', 'demo', [c.DemoConfig()], resumable=True) as out:
        with manifest.output(out.folder / 'b' / 'c', 'score', [c.ScoreConfig()]) as inner:
            (inner.folder / 'inside').write_text('1')
        (out.folder / 'b' / 'outside').write_text('2')
        (out.folder / 'loop').symlink_to(out.folder)
    assert hashed == ['inside', 'outside']
    files = manifest.read(tmp_path / 'a')['files']
    assert {name: entry['sha256'] for name, entry in files.items()} == {
        'b/c/inside': '1',
        'b/outside': '2',
    }
    manifest.verify(tmp_path / 'a')


def test_a_resumable_output_survives_and_free_knobs_may_change(tmp_path):
    def job(**knobs):
        return manifest.output(tmp_path / 'a', 'train', [c.TrainConfig(**knobs)], resumable=True)

    with pytest.raises(FileNotFoundError), job(steps=5) as out:
        _write_then_fail(out.folder / 'step-3')
    with job(steps=5, log_every=3) as out:
        assert (out.folder / 'step-3').exists()
    with pytest.raises(c.UserError, match=r'TrainConfig.steps=5 there, 6 now'), job(steps=6):
        pass


def test_what_is_finished_is_made_from_the_inputs_as_they_are(tmp_path):
    labels, elsewhere = tmp_path / 'labels.csv', tmp_path / 'elsewhere'
    labels.write_text('good')

    def job():
        return manifest.output(tmp_path / 'out', 'score', [c.ScoreConfig()])

    with job() as out:
        out.read('labels', labels)
    with pytest.raises(manifest.AlreadyDone), job():
        pass
    labels.write_text('bad')
    with pytest.raises(UserError, match='is finished, but labels has changed since'), job():
        pass
    labels.rename(elsewhere)  # what is gone may lie elsewhere now
    with pytest.raises(manifest.AlreadyDone), job():
        pass


def test_a_resumed_output_goes_on_from_the_same_inputs_wherever_they_lie(tmp_path):
    def start(data, end=RuntimeError):
        job = manifest.output(tmp_path / 'a', 'train', [c.TrainConfig()], resumable=True)
        with contextlib.suppress(end), job as out:
            out.read('TrainConfig.data', data)
            (out.folder / 'step-3').write_text('x')
            raise end

    old, new = tmp_path / 'old', tmp_path / 'new'
    old.write_text('1')
    new.write_text('2')
    start(old)
    with pytest.raises(
        c.UserError, match=r'/a was begun from another TrainConfig\.data \(its hash'
    ):
        start(new)
    start(old.rename(tmp_path / 'moved'))
    note = tmp_path / 'a' / manifest.UNFINISHED
    told = json.loads(note.read_text())
    del told['inputs']  # as before they were kept
    note.write_text(json.dumps(told))
    start(new)
    with pytest.raises(c.UserError, match='begun from another'):
        start(tmp_path / 'moved')
    (tmp_path / 'a' / 'step-3').unlink()  # a start that left nothing binds none
    start(tmp_path / 'moved')


def test_to_a_folder_of_data_files_may_be_added(tmp_path):
    """An output that lies in it, for one, and the lock beside that."""
    (tmp_path / 'data.csv').write_text('good')

    def start():
        with manifest.output(tmp_path / 'out', 'train', [c.TrainConfig()], resumable=True) as out:
            out.read('TrainConfig.data', tmp_path)
            with open(out.folder / 'steps', 'a') as file:
                file.write('x')
            if len((out.folder / 'steps').read_text()) < 2:
                raise SystemExit(143)

    with pytest.raises(SystemExit):
        start()
    start()
    with pytest.raises(manifest.AlreadyDone):
        start()


def test_several_processes_leave_when_the_manifest_is_written(tmp_path):
    """JAX, at its end, waits for others only so long: none may be left behind with its hashing."""
    written = []

    class Several(Hosts):
        def barrier(self, name):
            written.append((name, (tmp_path / 'a' / manifest.MANIFEST).exists()))

    with manifest.output(tmp_path / 'a', 'score', [c.ScoreConfig()], hosts=Several()):
        pass
    assert written == [('finished', True)]


def test_an_output_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / 'photo.jpg').write_text('x')
    with (
        pytest.raises(c.UserError, match='holds files of something else'),
        manifest.output(tmp_path, 'score', [c.ScoreConfig()]),
    ):
        pass
    assert (tmp_path / 'photo.jpg').exists()


def test_overwrite_deletes_outputs_alone(tmp_path):
    def job(folder, seed):
        return manifest.output(folder, 'score', [c.ScoreConfig(seed=seed)], overwrite=True)

    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'photo.jpg').write_text('x')
    with pytest.raises(c.UserError, match='something else'), job(tmp_path / 'photos', 1):
        pass
    assert (tmp_path / 'photos' / 'photo.jpg').exists()
    for seed in (1, 2):
        with job(tmp_path / 'scores', seed) as out:
            (out.folder / f'seed{seed}').write_text('x')
    assert {p.name for p in (tmp_path / 'scores').glob('seed*')} == {'seed2'}


def test_a_manifest_that_no_stage_wrote_is_a_file_as_any_other(tmp_path, capsys):
    """Web apps too have a manifest.json: it makes nobody's folder an output that may be deleted."""
    app = tmp_path / 'app'
    app.mkdir()
    (app / 'manifest.json').write_text('{"name": "photos"}')
    before = manifest.digest(app)
    with (
        pytest.raises(c.UserError, match='holds files of something else'),
        manifest.output(app, 'score', [c.ScoreConfig()], overwrite=True),
    ):
        pass
    assert (app / 'manifest.json').exists()
    status, printed = fsa(
        'score', f'--gin.ScoreConfig.predictions={app}', f'--output={tmp_path / "s"}', capsys=capsys
    )
    assert status == 2
    assert printed.err.count('\n') == 1
    with manifest.output(tmp_path / 'a', 'score', [c.ScoreConfig()]) as out:
        (out.folder / 'inner').mkdir()
        (out.folder / 'inner' / 'manifest.json').write_text('{"name": "photos"}')
    assert list(manifest.read(tmp_path / 'a')['files']) == ['inner/manifest.json']
    (app / 'manifest.json').write_text('{"name": "others"}')
    assert manifest.digest(app) != before


def test_a_mistake_in_a_resumable_stage_does_not_claim_an_empty_folder(tmp_path):
    (tmp_path / 'a').mkdir()
    for steps in (5, 6):
        configs = [c.TrainConfig(steps=steps)]
        with (
            pytest.raises(c.UserError, match='no data'),
            manifest.output(tmp_path / 'a', 'train', configs, resumable=True),
        ):
            raise c.UserError('no data')


@pytest.mark.parametrize(
    ('build', 'knob'),
    [
        (lambda: c.TrainConfig(profile_steps=(5, 3)), 'TrainConfig.profile_steps'),
        (lambda: c.TrainConfig(profile_steps=(0, 3)), 'TrainConfig.profile_steps'),
        (lambda: c.DecodeConfig(task_max_new_tokens={'a': 0}), r'task_max_new_tokens\['),
        (lambda: c.DemoConfig(seeds=()), 'DemoConfig.seeds'),
        (
            lambda: c.BenchmarkConfig(predictions={'a/atsa_rest14': 'x', 'a/atsa_rest14/1': 'y'}),
            r"'a/atsa_rest14' and 'a/atsa_rest14/1' are both its seed '1'",
        ),
    ],
)
def test_knobs_that_do_not_fit_are_named(build, knob):
    with pytest.raises(c.UserError, match=knob):
        build()


@pytest.mark.parametrize(
    ('argv', 'status'),
    [(['train', '--help'], 0), (['train', '--dry-run'], 0), (['score', '--output=x'], 75)],
)
def test_a_broken_pipe_is_no_success_of_a_stage(argv, status, monkeypatch, capsys, unread):
    def broken(*_, **__):
        raise BrokenPipeError('broken pipe')

    for function in ('run', 'load'):
        monkeypatch.setattr(stages, function, broken)
    monkeypatch.setattr(sys, 'stdout', unread)
    assert cli.main(argv) == status
    assert capsys.readouterr().err == ('fsa: broken pipe\n' if status else '')


@pytest.mark.parametrize(('argv', 'status'), [(['--help'], 0), (['score'], 2)])
def test_a_reader_that_is_gone_changes_no_status(argv, status, unread):
    command = [sys.executable, '-m', 'fsa_jax.cli', *argv]
    assert subprocess.run(command, stdout=unread, stderr=unread).returncode == status


@pytest.mark.parametrize('folder', ['.', '/'])
def test_an_output_folder_needs_a_name(folder, capsys):
    status, printed = fsa('score', f'--output={folder}', capsys=capsys)
    assert status == 2
    assert printed.err == f'fsa: --output={folder} has no name of its own; choose another folder\n'
