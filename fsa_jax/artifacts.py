"""Names of the files and folders that one room writes and another reads."""

from pathlib import Path

from fsa_jax import manifest
from fsa_jax.errors import UserError

VOCABULARY = 'vocabulary'  # of pack, train and import: spiece.model and its settings
METRICS = 'metrics.jsonl'  # of train: a row a logged step
PREDICTIONS = 'predictions.jsonl'  # of predict: a row an input
SCORES = 'scores.json'  # of score


def predictions_in(folder: Path) -> Path:
    """The predictions.jsonl of a folder; UserError where the run that writes it is not finished."""
    if (folder / manifest.UNFINISHED).exists() and not (folder / manifest.MANIFEST).exists():
        raise UserError(f'{folder} is not finished: the same command again goes on')
    return folder / PREDICTIONS
