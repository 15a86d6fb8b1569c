"""The paper's table."""

from dataclasses import dataclass

from fsa_jax.configs.base import Config, knob
from fsa_jax.errors import UserError

PAPER = ('acsa_rest16', 'acsa_laptop16', 'atsa_rest14', 'atsa_laptop14')


@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """Fine-tune on each dataset with each seed, test the best epoch on dev, and make the table.

    RowsConfig.seed, RowsConfig.train_fraction and T5Config.vocab_size are set by the benchmark.
    """

    data_dir: str = knob('', 'root of the benchmark data, with fsa/{acsa,atsa}/DATASET')
    datasets: tuple[str, ...] = knob(
        (),
        'datasets, as in the task names fsa_DATASET; empty: the four of the paper',
    )
    models: dict[str, str] = knob(
        {'student': ''},
        "what is fine-tuned: {'name': model folder of train or import, '' for one from scratch}",
    )
    vocabulary: str = knob('', 'spiece.model or its folder, for models from scratch')
    seeds: tuple[int, ...] = knob(
        (42, 52, 62, 72, 82, 142, 152, 162, 172, 182), 'seeds of start, order and dropout'
    )
    epochs: float = knob(20.0, 'fine-tuning epochs; the best on dev is tested', low=0.0)
    train_fraction: tuple[float, ...] = knob(
        (1.0,),
        'shares of the training sentences, drawn by seed and nested; several: the low-resource curve',
    )
    predictions: dict[str, str] = knob(
        {},
        "answers of other systems for the same table: {'SYSTEM/DATASET' or 'SYSTEM/DATASET/SEED': "
        '.txt, .jsonl, folder of predict, zero-shot or in-context}, in the order of test.json, then hard_test.json',
    )
    price_per_hour: float = knob(
        0.0,
        'price of an hour of the machine that a student predicts on, in the currency of '
        'InContextConfig.prompt_price; 0: its cost is not given',
        low=0.0,
    )
    corpus: str = knob('', 'a packed corpus, to look for test sentences in it')
    group: int = knob(0, 'seeds that train together; 0: as many as memory holds', low=0, free=True)
    resamples: int = knob(4999, 'resamples of intervals and of paired tests', low=1)
    compilation_cache: str = knob(
        '', 'folder of compiled programs; empty: ~/.cache/fsa_jax/xla', free=True
    )

    def check(self):
        if not self.datasets:
            object.__setattr__(self, 'datasets', PAPER)
        if not self.models and not self.predictions:
            raise UserError('BenchmarkConfig.models and predictions are empty: there is no system')
        for name in ('datasets', 'seeds', 'train_fraction'):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f'BenchmarkConfig.{name} must name some, each once; got {values}')
        for fraction in self.train_fraction:
            if not 0 < fraction <= 1:
                raise UserError(f'BenchmarkConfig.train_fraction must be in (0, 1]; got {fraction}')
        for name in self.models:
            if not name or '/' in name or '@' in name:
                raise UserError(f"BenchmarkConfig.models: a name has no '/' or '@'; got {name!r}")
        rows: dict[tuple[str, ...], str] = {}
        for key in self.predictions:
            other = rows.setdefault((*key.split('/'), '1')[:3], key)
            if other != key:
                raise UserError(
                    f"BenchmarkConfig.predictions: {other!r} and {key!r} are both its seed '1'"
                )
            if key.count('/') not in (1, 2) or key.split('/')[1] not in self.datasets:
                raise UserError(
                    "BenchmarkConfig.predictions: a key is 'SYSTEM/DATASET' or 'SYSTEM/DATASET/SEED', "
                    f'DATASET among {", ".join(self.datasets)}; got {key!r}'
                )
            if key.split('/')[0].partition('@')[0] in self.models:
                raise UserError(f'BenchmarkConfig.predictions: {key!r} has the name of a model')
