"""Start-up: from the command `fsa train` to its first finished step, cold and warm.

    python -m tests.bench.startup [--model=small|base] [--tiny]

Cold: an empty folder of compiled programs. Warm: the one that a cold run filled. Each start is a fresh
process, cold and warm in turn; the clock stops when the first row of metrics.jsonl is on disk.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from tests.bench import data, harness

LONGEST = 600.0  # seconds


def main() -> None:
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--model', choices=('small', 'base'), default='small')
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """Cold, warm, cold, warm, …, then the report."""
    rounds = flags.rounds or (1 if flags.tiny else 3)
    vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
    pairs = data.encode(vocabulary, data.texts(flags.tiny))
    data.pack(folder / 'packed', vocabulary, {'train': pairs})
    name = 'toy' if flags.tiny else flags.model
    knobs = train_knobs(folder / 'packed', data.MODELS[name] | {'vocab_size': vocabulary.size})
    seconds: dict[str, list[float]] = {'cold': [], 'warm': []}
    for number in range(rounds):
        cache = folder / f'programs{number}'
        for state, samples in seconds.items():
            samples.append(first_step(folder / f'{state}{number}', [*knobs, _cache(cache)]))
            print(f'  round {number + 1}  {state}: {samples[-1]:.1f} s', flush=True)
    report = harness.Report(
        'startup',
        {
            'model': f'T5 v1.0 {name}, {vocabulary.size} rows',
            'rows': 'packed, the default shape, 4 a step',
            'rounds': rounds,
        },
    )
    for state, samples in seconds.items():
        report.rows.append(
            harness.Row(
                f'command to first step, {state}', 's', samples, 'float32', harness.allocator()
            )
        )
    report.rows.append(
        harness.Row('import of jax alone', 's', [jax_import() for _ in range(rounds)])
    )
    report.ratio('cold / warm', 'command to first step, cold', 'command to first step, warm')
    report.device = harness.device()
    report.publish(flags.output)


def train_knobs(packed: Path, model: dict[str, int]) -> list[str]:
    """Flags of a long run on packed rows, without validation."""
    knobs = {f'T5Config.{field}': value for field, value in model.items()} | {
        'TrainConfig.data': str(packed),
        'TrainConfig.validation_split': '',
        'TrainConfig.steps': 1000,
        'RowsConfig.batch_size': 4,
    }
    return [f'--gin.{knob}={value!r}' for knob, value in knobs.items()]


def _cache(folder: Path) -> str:
    return f'--gin.TrainConfig.compilation_cache={str(folder)!r}'


def first_step(output: Path, knobs: list[str]) -> float:
    """Seconds from the start of `fsa train` to the row of its first step; the run is then killed."""
    command = [sys.executable, '-m', 'fsa_jax.cli', 'train', *knobs, f'--output={output}']
    metrics, log = output / 'metrics.jsonl', output.with_suffix('.log')
    started = time.perf_counter()
    with (
        log.open('w') as said,
        subprocess.Popen(command, stdout=said, stderr=said, cwd=harness.REPOSITORY) as process,
    ):
        try:
            while not (metrics.is_file() and metrics.stat().st_size):
                if process.poll() is not None or time.perf_counter() - started > LONGEST:
                    raise UserError(f'fsa train made no step: {log.read_text()[-500:]}')
                time.sleep(0.01)
            return time.perf_counter() - started
        finally:
            process.kill()


def jax_import() -> float:
    """Seconds of a process that imports jax and asks for its devices."""
    started = time.perf_counter()
    subprocess.run([sys.executable, '-c', 'import jax; jax.devices()'], check=True)
    return time.perf_counter() - started


if __name__ == '__main__':
    harness.main(main)
