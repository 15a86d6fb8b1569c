"""The report: one self-contained page, the numbers that it shows, escaping, lineage and errors."""

import html.parser
import json
import re
import statistics
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fsa_jax import manifest, stages
from fsa_jax.configs import DownloadConfig, ReportConfig, ScoreConfig, TrainConfig
from fsa_jax.errors import UserError
from fsa_jax.evaluate import curves, lineage, report, table
from fsa_jax.evaluate.score import Judged
from fsa_jax.records import Prediction, write_jsonl

EVIL = '<script>alert("x")</script> & `|` *pasta*'
GOLD = 'pasta | positive'
ANSWERS = {
    'student/seed0': [GOLD, GOLD, ''],
    'student/seed1': [GOLD, '', ''],
    'control': ['', '', ''],
}


def train_folder(folder, seed=0, data='packed', tasks=('a', 'b')):
    """A finished training run: 40 rows, an evaluation each tenth step."""
    with manifest.output(folder, 'train', [TrainConfig(data=data, seed=seed)]) as out:
        rows = []
        for step in range(1, 41):
            row = {'step': step, 'loss': 10 / step, 'learning_rate': 1e-3}
            rows.append(row | {f'loss/{task}': 9 / step for task in tasks})
            if step % 10 == 0:
                f1 = [0.1, 0.4, 0.4, 0.3][step // 10 - 1]
                rows.append({'step': step, 'validation/loss': 12 / step, 'validation/f1': f1})
        (out.folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)) + '\n')
    return str(folder)


def score_folder(folder, answers, model):
    with manifest.output(folder / 'predictions', 'predict', []) as out:
        out.read('PredictConfig.model', model)
        rows = [
            Prediction(f'id{i}', EVIL, answer, 'demo', 'atsa', GOLD, ('implicit',) if i else ())
            for i, answer in enumerate(answers)
        ]
        write_jsonl(out.folder / 'predictions.jsonl', rows)
    config = ScoreConfig(predictions=str(folder / 'predictions'), bootstrap=50)
    stages.run('score', [config], folder / 'scores')
    return str(folder / 'scores')


@pytest.fixture
def made(tmp_path):
    runs = {name: train_folder(tmp_path / name / 'run', i) for i, name in enumerate(ANSWERS)}
    scores = {
        name: score_folder(tmp_path / name, answers, runs[name])
        for name, answers in ANSWERS.items()
    }
    config = ReportConfig(title='A & B', runs=runs, scores=scores, note='synthetic data')
    stages.run('report', [config], tmp_path / 'report')
    return tmp_path / 'report'


class Reader(html.parser.HTMLParser):
    """Checks that every tag closes, and collects text, tags and what refers to something outside."""

    VOID = {'meta', 'br', 'link', 'img', 'input', 'hr'}

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.tags, self.outside = [], [], [], []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ('src', 'href', 'xlink:href', 'srcset', 'data') and not value.startswith(
                '#'
            ):
                self.outside.append((tag, name, value))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ('src', 'href') and not value.startswith('#'):
                self.outside.append((tag, name, value))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_needs_nothing_beside_it(made):
    page = (made / 'report.html').read_text()
    reader = Reader(page)
    assert not reader.outside
    assert not {'script', 'link', 'img', 'iframe'} & set(reader.tags)
    assert '@import' not in page
    assert 'url(http' not in page
    assert 'prefers-color-scheme: dark' in page
    assert 'width=device-width' in page


def test_the_pages_do_not_tell_where_they_were_made(made, tmp_path):
    for name in ('report.html', 'report.md'):
        page = (made / name).read_text()
        assert str(tmp_path) not in page
        assert 'student/seed0/scores' in page  # from the folder of the report on
    elsewhere = tmp_path / 'elsewhere'
    runs = {'r': str(tmp_path / 'control' / 'run')}
    stages.run('report', [ReportConfig(runs=runs)], elsewhere / 'report')
    assert str(tmp_path) not in _md(elsewhere / 'report')
    assert '`run`' in _md(elsewhere / 'report')


def test_folders_of_one_name_are_all_inputs(made, tmp_path):
    packed = [tmp_path / name / 'packed' for name in 'ab']
    for number, folder in enumerate(packed):
        folder.mkdir(parents=True)
        (folder / 'x').write_text(str(number))
    config = ReportConfig(
        runs={'r': str(tmp_path / 'control' / 'run')}, packed=tuple(map(str, packed))
    )
    stages.run('report', [config], tmp_path / 'again')
    inputs = manifest.read(tmp_path / 'again')['inputs'].values()
    assert {str(folder) for folder in packed} <= {told['path'] for told in inputs}
    assert str(tmp_path) not in _md(tmp_path / 'again')


def test_what_the_page_shows(made):
    text = ' '.join(' '.join(Reader((made / 'report.html').read_text()).text).split())
    assert 'A & B' in text
    assert 'synthetic data' in text
    for shown in (
        'validation F1',
        'loss by task',
        'Gold against prediction',
        'Where it comes from',
    ):
        assert shown in text
    assert EVIL in text  # escaped once: it reads as written
    assert '<script>' not in (made / 'report.html').read_text()
    # seeds 0 and 1: F1 of 2 and 1 found of 3 is 80 and 50; mean 65, deviation 21.2
    assert '65.0 ± 21.2' in text
    assert '2 seeds' in text
    assert 'TrainConfig.seed = 1' in text  # the config of an input of an input of an input


def test_the_markdown_page(made):
    text = (made / 'report.md').read_text()
    assert text.startswith('# A & B\n')
    assert '**synthetic data**' in text
    assert re.search(r'\| student \(2 seeds\) \| 65\.0 ± 21\.2 \[', text)
    assert re.search(r'\| control \| 0\.0 \[0\.0, 0\.0\] \(0\.0\)', text)
    assert '| student/seed0 | 40 | 0.25 | 0.3 | 40.0 (20) |' in text  # the first of equal F1s
    examples = [line for line in text.splitlines() if line.startswith('| `<script>')]
    assert len(examples) == 3
    assert examples[0].count('`pasta \\| positive`') == 1
    rows = [line for line in text.splitlines() if line.startswith('|')]
    assert {len(re.findall(r'(?<!\\)\|', row)) - 1 for row in rows} <= {2, 3, 5}


def test_lineage_follows_manifests_and_sees_changes(made, tmp_path):
    (line,) = re.findall(r'^ +- PredictConfig.model \(train\).*control.*$', _md(made), re.MULTILINE)
    run = tmp_path / 'control' / 'run'
    assert manifest.digest(run)[:12] in line
    content = json.loads((run / 'manifest.json').read_text())
    content['files']['metrics.jsonl']['sha256'] = '0' * 64
    (run / 'manifest.json').write_text(json.dumps(content))
    config = ReportConfig(scores={'control': str(tmp_path / 'control' / 'scores')})
    stages.run('report', [config], tmp_path / 'again')
    assert 'changed since it was read' in _md(tmp_path / 'again')


def _md(folder):
    return (folder / 'report.md').read_text()


def test_only_runs_or_only_scores(tmp_path):
    run = train_folder(tmp_path / 'run', tasks=())
    stages.run('report', [ReportConfig(runs={'r': run})], tmp_path / 'runs')
    assert 'Micro F1' not in _md(tmp_path / 'runs')
    scores = score_folder(tmp_path / 's', [GOLD], run)
    stages.run('report', [ReportConfig(scores={'s': scores}, examples=0)], tmp_path / 'scores')
    assert 'Training' not in _md(tmp_path / 'scores')
    assert 'Gold against' not in _md(tmp_path / 'scores')


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (ReportConfig(), 'nothing to report: set ReportConfig.runs'),
        (ReportConfig(runs={'r': '.'}), 'no metrics.jsonl'),
        (ReportConfig(scores={'s': '.'}), 'no scores.json'),
        (ReportConfig(runs={'r': 'nowhere'}), 'ReportConfig.runs r: .*does not exist'),
    ],
)
def test_errors(tmp_path, monkeypatch, config, message):
    (tmp_path / 'in').mkdir()
    monkeypatch.chdir(tmp_path / 'in')
    with pytest.raises(UserError, match=message):
        stages.run('report', [config], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_damaged_file_of_scores_is_named(tmp_path):
    (tmp_path / 'scores.json').write_text('{"tasks": {')
    with pytest.raises(UserError, match=r'scores\.json is damaged'):
        report.read_scores(tmp_path)


# ---------------------------------------------------------------------------------------------
# Parts


def entry(f1, **more):
    score = {'f1': f1, 'strict_f1': f1 / 2, 'sentences': 7} | more
    return {'t': {'subsets': {'normal': score}}}


def test_table_groups_seeds():
    scores = {f'x/y/student/seed{i}': entry(f1) for i, f1 in enumerate([0.1, 0.2, 0.6])}
    scores['x/y/control/seed0'] = entry(0.3, f1_interval=[0.2, 0.5])
    scores['x/y/control/seed0']['t']['baseline'] = {'prediction': 'a | b'} | entry(0.05)['t']
    (t,) = table.tables(scores)
    student, control = t.rows
    assert (student.name, control.name, t.baseline.name) == ('student', 'control', 'a | b')
    assert student.cells['normal'].f1 == pytest.approx(30)
    assert student.cells['normal'].spread == pytest.approx(statistics.stdev([10, 20, 60]))
    assert student.cells['normal'].low is None
    assert control.cells['normal'].spread is None
    assert (control.cells['normal'].low, control.cells['normal'].high) == pytest.approx((20, 50))
    assert t.subsets == {'normal': 7}


def test_a_metric_of_your_own_that_not_all_seeds_have_is_left_out():
    scores = {f'student/seed{i}': entry(0.5) for i in range(2)}
    scores['student/seed0']['t']['user_metrics'] = {'mine': 1.0, 'both': 2.0}
    scores['student/seed1']['t']['user_metrics'] = {'both': 4.0}
    assert table.tables(scores)[0].rows[0].user_metrics == {'both': 3.0}


def judged(i, wrong=0, right=1):
    return Judged('t', str(i), 's', right=('a | b',) * right, wrong=('c | d',) * wrong)


def test_examples_have_mistakes_first_and_some_right_ones():
    rows = [judged(i, wrong=i % 2) for i in range(200)]
    chosen = report.pick(rows, 20)
    assert [report.is_mistake(j) for j in chosen] == [True] * 15 + [False] * 5
    assert [int(j.id) for j in chosen[:3]] == [1, 13, 27]  # spread over the file
    assert len(report.pick(rows[:4], 20)) == 4
    few_mistakes = [judged(0, wrong=1), *(judged(i) for i in range(1, 100))]
    assert sum(map(report.is_mistake, report.pick(few_mistakes, 20))) == 1
    assert len(report.pick(few_mistakes, 20)) == 20
    no_right = [judged(i, wrong=1, right=0) for i in range(100)]
    assert len(report.pick(no_right, 20)) == 20


def test_metrics_of_a_run_that_is_going_on(tmp_path):
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert curves.read_metrics(tmp_path) == {'loss': ([1.0], [2.0])}
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\nbroken\n{"step": 2}\n')
    with pytest.raises(UserError, match=r'metrics\.jsonl:2: expected a JSON object'):
        curves.read_metrics(tmp_path)
    (tmp_path / 'metrics.jsonl').write_text('{"step": null}\n{"step": 2}\n')
    with pytest.raises(UserError, match=r'metrics\.jsonl:1: expected a JSON object'):
        curves.read_metrics(tmp_path)


def test_panels_share_colours_among_seeds():
    series = {'loss': ([1, 2], [3, 2]), 'validation/f1': ([2], [0.5])}
    tasks = {'loss/a': ([1], [1]), 'loss/b': ([1], [2])}
    loss, f1, by_task = curves.panels({'x/0': series, 'x/1': series | tasks, 'y/0': series})
    assert [c.colour for c in loss.curves] == [c.colour for c in f1.curves] == [0, 0, 1]
    assert by_task.legend == {'a': 0, 'b': 1}


def test_thin_keeps_short_series_and_averages_long_ones():
    assert curves.thin(([1, 2, 3], [5, float('nan'), 7])).tolist() == [[1, 3], [5, 7]]
    steps = list(range(1000))
    thinned = curves.thin((steps, steps), most=100)
    assert thinned.shape == (2, 100)
    np.testing.assert_allclose(thinned[1, :2], [4.5, 14.5])
    assert curves.thin(([], [])).shape == (2, 0)


@pytest.mark.parametrize('values', [[], [0.0], [3.0, float('inf')], [1e-3, 1e3]])
def test_a_drawing_is_xml_with_the_colours_of_the_page(values):
    curve = curves.Curve((list(range(len(values))), values), colour=7)
    svg = curves.draw(curves.Panel('loss & more', [curve]))
    root = ElementTree.fromstring(svg)
    assert root.tag == 'svg'
    assert 'viewBox' in root.attrib
    assert 'width' not in root.attrib
    assert 'currentColor' in svg
    assert not re.search(r'#0[12]0[01]', svg)
    if len(values) == 2 and values[1] < 1e9:
        assert 'var(--series-7)' in svg


def test_a_curve_of_one_point_is_seen():
    def dots(points):
        svg = curves.draw(curves.Panel('loss', [curves.Curve(points, colour=7)]))
        return svg.count('fill: var(--series-7)')

    assert dots(([1], [2.0])) == 1
    assert dots(([1, 2], [2.0, 1.0])) == 0


def test_lineage_shows_neither_a_mirror_nor_the_key_of_a_link(tmp_path):
    config = DownloadConfig(name='https://a.org/b.bin?sig=s3cret', mirror='https://my.host')
    with manifest.output(tmp_path / 'got', 'download', [config]):
        pass
    node = lineage.trace('got', str(tmp_path / 'got'), '', set(), tmp_path)
    assert "DownloadConfig.name = 'https://a.org/b.bin'" in node.config
    assert "DownloadConfig.mirror = '…'" in node.config
    assert 's3cret' not in node.config
    assert 'my.host' not in node.config


def test_examples_come_from_the_best_system_of_each_task_mistakes_first(tmp_path):
    scores, folders = {}, {}
    for name, f1 in (('weak', 0.1), ('strong', 0.9)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        rows = [
            Judged(task, f'{name}{i}', 's', right=('a | b',), wrong=('c | d',) * (i % 2))
            for task in ('t', 'u')
            for i in range(40)
        ]
        write_jsonl(folders[name] / 'examples.jsonl', rows)
        scores[name] = entry(f1) | {'u': entry(1 - f1)['t']}
    chosen = report.examples(table.tables(scores), folders, 7)
    assert [name for name, _ in chosen].count('strong') == 3  # of task t; weak has 4 of task u
    assert {(name, j.task) for name, j in chosen} == {('strong', 't'), ('weak', 'u')}
    mistakes = [report.is_mistake(j) for _, j in chosen]
    assert mistakes == sorted(mistakes, reverse=True)
    assert 0 < sum(mistakes) < 7


def test_where_the_time_went(tmp_path):
    shares = {'step': 0.8, 'compile': 0.05, 'data': 0.01, 'checkpoint': 0.02, 'evaluation': 0.1}
    row = {f'goodput/{kind}': share for kind, share in (shares | {'restart': 0.02}).items()}
    (tmp_path / 'run').mkdir()
    row |= {
        'step': 1,
        'loss': 2.0,
        'mfu': 0.456,
        'goodput/clock': 1e9,
        'goodput/wall_seconds': 60.0,
    }
    (tmp_path / 'run' / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
    stages.run('report', [ReportConfig(runs={'r': str(tmp_path / 'run')})], tmp_path / 'report')
    markdown = (tmp_path / 'report' / 'report.md').read_text()
    assert '| run | step | compile | data | checkpoint | evaluation | restart | MFU |' in markdown
    assert '| r | 80.0 | 5.0 | 1.0 | 2.0 | 10.0 | 2.0 | 45.6 |' in markdown
    page = (tmp_path / 'report' / 'report.html').read_text()
    Reader(page)
    assert '<td>80.0</td><td>5.0</td>' in page
