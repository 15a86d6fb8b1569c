"""Rows of a batch, out of token stores: pure in (stores, config, step), so resuming is exact.

The batch has SeqIO's names. A packed row, `RowsConfig(layout='packed', encoder_length=8,
decoder_length=8)`, holding the pairs ([7, 8, 5, 1] -> [3, 9, 1]) and ([8, 4, 1] -> [4, 1]) of the
tasks number 0 and 2, looks like this:

    {
         'encoder_input_tokens': [[7, 8, 5, 1, 8, 4, 1, 0]],
          'encoder_segment_ids': [[1, 1, 1, 1, 2, 2, 2, 0]],
            'encoder_positions': [[0, 1, 2, 3, 0, 1, 2, 0]],
        'decoder_target_tokens': [[3, 9, 1, 4, 1, 0, 0, 0]],
         'decoder_input_tokens': [[0, 3, 9, 0, 4, 0, 0, 0]],
         'decoder_loss_weights': [[1, 1, 1, 1, 1, 0, 0, 0]],
          'decoder_segment_ids': [[1, 1, 1, 2, 2, 0, 0, 0]],
            'decoder_positions': [[0, 1, 2, 0, 1, 0, 0, 0]],
             'decoder_task_ids': [[0, 0, 0, 2, 2, 0, 0, 0]],
    }

With `layout='pairs'` a row is one pair; the batch is padded to the least of a few lengths that
holds it (RowsConfig.buckets), and a last short batch is filled with rows of weight 0:

    {
         'encoder_input_tokens': [[7, 8, 5, 1], [8, 4, 1, 0], [0, 0, 0, 0]],
        'decoder_target_tokens': [[3, 9, 1, 0], [4, 1, 0, 0], [0, 0, 0, 0]],
         'decoder_input_tokens': [[0, 3, 9, 1], [0, 4, 1, 0], [0, 0, 0, 0]],
         'decoder_loss_weights': [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
             'decoder_task_ids': [[0, 0, 0, 0], [2, 2, 0, 0], [0, 0, 0, 0]],
    }
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fsa_jax.configs import RowsConfig
from fsa_jax.data.plan import Plan, draw, epoch_counts, permutation, plan_packed, plan_pairs
from fsa_jax.data.store import TokenStore, ragged_index
from fsa_jax.errors import UserError, nearest

Batch = dict[str, np.ndarray]
_LANE = 8  # bucket lengths are multiples of it


@dataclass(frozen=True)
class Fill:
    """How full the rows of an epoch are: shares of slots that hold a real token."""

    rows: int
    pairs: int
    encoder: float
    decoder: float
    total: float


class Rows:
    """Batches of the pairs of `stores` (by task name), as `config` lays them out.

    Within a mixture, task t of rate r_t gives r_t / sum(r) of the pairs of an epoch, and restarts
    when it is exhausted. Task ids of a batch are places in `sorted(stores)`.
    """

    def __init__(self, stores: Mapping[str, TokenStore], config: RowsConfig):
        """UserError where the rates do not name the tasks, or a task has no pairs."""
        self.config = config
        self._by_task = stores
        self.tasks = sorted(stores)
        self._stores = [stores[task] for task in self.tasks]
        self._members = [self._chosen(t, len(store)) for t, store in enumerate(self._stores)]
        self._sizes = [len(members) for members in self._members]
        self._bases = np.cumsum([0, *self._sizes])
        lengths = np.concatenate([s.lengths[m] for s, m in zip(self._stores, self._members)])
        longest = lengths.max(axis=0, initial=1).tolist()
        limits = (config.encoder_length or longest[0], config.decoder_length or longest[1])
        self._lengths = np.minimum(lengths, limits)
        self.cut = int((lengths > limits).any(axis=1).sum())
        self._capacity = (
            limits if config.layout == 'packed' else np.minimum(limits, longest).tolist()
        )
        epoch = 'largest' if config.epoch == 'largest' else 'total'
        self._counts = epoch_counts(self._sizes, self._rates(), epoch)
        self._plans: dict[int, Plan] = {}
        self._steps: list[int] = []  # steps of each pass planned so far

    @classmethod
    def once(cls, stores: Mapping[str, TokenStore], config: RowsConfig) -> 'Rows':
        """Every pair once an epoch, in order, whatever the mixture rates: what validation reads."""
        sizes = {task: float(len(store)) for task, store in stores.items()}
        every = {'rates': sizes, 'epoch': 'total', 'shuffle': False, 'train_fraction': 1.0}
        return cls(stores, config.replace(**every))

    def _chosen(self, task: int, pairs: int) -> np.ndarray:
        """The pairs of a task that are trained on; those of a smaller fraction are among them."""
        count = -int(-pairs * self.config.train_fraction // 1)
        if count == pairs:
            return np.arange(pairs)
        return np.sort(permutation(pairs, self.config.seed, task, 0, 1)[:count])

    def with_seed(self, seed: int) -> 'Rows':
        """The rows of a run with another RowsConfig.seed."""
        return Rows(self._by_task, self.config.replace(seed=seed))

    def _rates(self) -> list[float]:
        given = self.config.rates
        if given and (missing := [task for task in self.tasks if task not in given]):
            raise UserError(
                f'RowsConfig.rates names {sorted(given)} but not {missing}; give each task a rate, '
                f'0 to leave it out'
            )
        for name in given:
            if name not in self.tasks:
                raise UserError(
                    f'RowsConfig.rates: no task {name!r} among {", ".join(self.tasks)}'
                    f'{nearest(name, self.tasks)}'
                )
        rates = [
            given[task] if given else store.rate for task, store in zip(self.tasks, self._stores)
        ]
        for task, rate, size in zip(self.tasks, rates, self._sizes):
            if rate < 0 or (rate and not size):
                why = 'is below 0' if rate < 0 else 'wants pairs of an empty store'
                raise UserError(f'rate {rate} of task {task!r} {why} (RowsConfig.rates)')
        if not sum(rates):
            raise UserError(f'no task of {self.tasks} has a rate above 0 (RowsConfig.rates)')
        return rates

    # -- where a step lies ---------------------------------------------------------------------

    def steps_per_epoch(self, epoch: int = 0) -> int:
        """Steps of an epoch; the last one may be short."""
        if self.config.epoch == 'steps':
            return self.config.epoch_steps
        return self._pass_steps(epoch)

    def epoch_at(self, step: int) -> tuple[int, int]:
        """(epoch, step within it) of a step."""
        if self.config.epoch == 'steps':
            return divmod(step, self.config.epoch_steps)
        return self._pass_at(step)

    def _pass_at(self, step: int) -> tuple[int, int]:
        """(pass over the data, step within it). Differs from the epoch only if epoch = 'steps'."""
        if self._alike:
            return divmod(step, self._pass_steps(0))
        number = 0
        while step >= self._pass_steps(number):
            step -= self._pass_steps(number)
            number += 1
        return number, step

    @property
    def _alike(self) -> bool:
        """All passes have equally many rows: whole passes of each task, or one pair a row."""
        whole = all(count % size == 0 for count, size in zip(self._counts, self._sizes) if count)
        return whole or self.config.layout == 'pairs'

    def _pass_steps(self, number: int) -> int:
        if self._alike:
            number = 0
        while len(self._steps) <= number:
            self._steps.append(-(-len(self.plan(len(self._steps))) // self.config.batch_size))
        return self._steps[number]

    # -- the plan ------------------------------------------------------------------------------

    def plan(self, epoch: int) -> Plan:
        """The rows of one pass over the data; the last two are kept."""
        if epoch not in self._plans:
            while len(self._plans) > 1:
                self._plans.pop(next(iter(self._plans)))
            self._plans[epoch] = self._planned(epoch)
        return self._plans[epoch]

    def _planned(self, epoch: int) -> Plan:
        seed, shuffle = self.config.seed, self.config.shuffle
        pairs = draw(self._sizes, self._counts, seed=seed, epoch=epoch, shuffle=shuffle)
        if self.config.layout == 'pairs':
            return plan_pairs(pairs)
        key = (seed, len(self._sizes) + 1, epoch) if shuffle else None
        return plan_packed(pairs, self._lengths[pairs], tuple(self._capacity), key)

    def pairs_at(self, step: int) -> int:
        """How many pairs the batch of a step holds."""
        return len(self._rows_at(step)[0])

    def tokens_at(self, step: int) -> int:
        """How many real tokens, of inputs and targets, the batch of a step holds."""
        return int(self._lengths[self._rows_at(step)[0]].sum())

    def _rows_at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(pairs, pairs a row) of the whole batch of a step."""
        number, step = self._pass_at(step)
        rows = np.arange(self.config.batch_size) + step * self.config.batch_size
        return self.plan(number).rows(rows)

    # -- the batch -----------------------------------------------------------------------------

    def batch_at(self, step: int, rows: slice | np.ndarray = slice(None)) -> Batch:
        """The batch of a step, or some of its rows (a slice, or row numbers that ascend): all arrays
        [rows, slots], int32 (weights float32).

        All hosts see the same shape, as it follows from the whole batch.
        """
        pairs, counts = self._rows_at(step)
        shape = self._shape(pairs)
        row_of_pair = np.repeat(np.arange(len(counts)), counts)
        number_in_row = ragged_index(np.zeros_like(counts), counts)
        selected = np.arange(len(counts))[rows]
        keep = np.isin(row_of_pair, selected)
        pairs, number_in_row = pairs[keep], number_in_row[keep]
        row_of_pair = np.searchsorted(selected, row_of_pair[keep])
        encoder = self._side(0, pairs, row_of_pair, number_in_row, (len(selected), shape[0]))
        decoder = self._side(1, pairs, row_of_pair, number_in_row, (len(selected), shape[1]))
        packed = self.config.layout == 'packed'
        batch = {
            'encoder_input_tokens': encoder['tokens'],
            'decoder_target_tokens': decoder['tokens'],
            'decoder_input_tokens': _shifted_right(decoder, restart=packed),
            'decoder_loss_weights': (decoder['segment_ids'] > 0).astype(np.float32),
            'decoder_task_ids': decoder['task_ids'],
        }
        if packed:
            for name in ('segment_ids', 'positions'):
                batch[f'encoder_{name}'], batch[f'decoder_{name}'] = encoder[name], decoder[name]
        return batch

    @property
    def largest(self) -> tuple[int, int]:
        """(encoder, decoder) slots of the largest batch there may be."""
        if self.config.layout == 'packed':
            return tuple(self._capacity)
        return self._bucket(0, self._capacity[0]), self._bucket(1, self._capacity[1])

    def _shape(self, pairs: np.ndarray) -> tuple[int, int]:
        """(encoder, decoder) slots of a batch of these pairs."""
        if self.config.layout == 'packed':
            return tuple(self._capacity)
        longest = self._lengths[pairs].max(axis=0, initial=1)
        return self._bucket(0, longest[0]), self._bucket(1, longest[1])

    def _bucket(self, side: int, length: int) -> int:
        """The least of RowsConfig.buckets lengths, evenly spaced up to the longest, that holds `length`."""
        parts, longest = self.config.buckets, self._capacity[side]
        lengths = -(-longest * np.arange(1, parts + 1) // (parts * _LANE)) * _LANE
        return int(lengths[np.searchsorted(lengths, length)])

    def _side(self, side: int, pairs, row_of_pair, number_in_row, shape) -> Batch:
        """Tokens, segment ids, positions and task ids [rows, slots] of the encoder (0) or decoder (1)."""
        lengths = self._lengths[pairs, side]
        before = np.cumsum(lengths) - lengths
        row_starts = np.searchsorted(row_of_pair, row_of_pair)  # the first pair of the same row
        starts = row_of_pair * shape[1] + before - before[row_starts]
        slots = ragged_index(starts, lengths)
        task_of_pair = np.searchsorted(self._bases, pairs, side='right') - 1

        def filled(values) -> np.ndarray:
            flat = np.zeros(shape, np.int32)
            flat.reshape(-1)[slots] = values
            return flat

        return {
            'tokens': filled(self._tokens(side, pairs, task_of_pair, lengths)),
            'segment_ids': filled(np.repeat(number_in_row + 1, lengths)),
            'positions': filled(ragged_index(np.zeros_like(lengths), lengths)),
            'task_ids': filled(np.repeat(task_of_pair, lengths)),
        }

    def _tokens(self, side: int, pairs, task_of_pair, lengths) -> np.ndarray:
        """Ids of one side of the pairs, flat; what is too long is cut, a final `</s>` stays."""
        tokens = np.empty(int(lengths.sum()), np.int32)
        task_of_token = np.repeat(task_of_pair, lengths)
        for task in np.unique(task_of_pair):
            store, here = self._stores[task], task_of_pair == task
            local, kept = self._members[task][pairs[here] - self._bases[task]], lengths[here]
            stored = store.lengths[local]
            starts = store.offsets[local] + (stored[:, 0] if side else 0)
            ids = store.tokens[ragged_index(starts, kept)]
            last = store.tokens[starts + stored[:, side] - 1]
            ended = (stored[:, side] > kept) & (last == store.header.eos_id)
            ids[(np.cumsum(kept) - 1)[ended]] = store.header.eos_id
            tokens[task_of_token == task] = ids
        return tokens

    # -- what the log says ---------------------------------------------------------------------

    def fill(self, epoch: int = 0) -> Fill:
        """How full the rows of one pass are."""
        plan, size = self.plan(epoch), self.config.batch_size
        real = self._lengths[plan.pairs].sum(axis=0, dtype=np.int64)
        if self.config.layout == 'packed':
            shapes = np.tile(self._capacity, (len(plan), 1))
        else:
            batches = (plan.pairs[i : i + size] for i in range(0, len(plan), size))
            shapes = size * np.array([self._shape(pairs) for pairs in batches])
        slots = shapes.sum(axis=0, dtype=np.int64)
        encoder, decoder = (real / slots).tolist()
        total = float(real.sum() / slots.sum())
        return Fill(len(plan), len(plan.pairs), encoder, decoder, total)

    def repeats(self, steps: int) -> list[str]:
        """A line for each task whose frozen random passes are read again within so many steps."""
        passes = steps / self._pass_steps(0)
        return [
            f'{store.task}: its random preprocessors are frozen in {store.header.frozen_passes} '
            f'passes, which are read {passes * count / size:.1f} times; more of them: '
            f'PackConfig.materialised_epochs'
            for store, count, size in zip(self._stores, self._counts, self._sizes)
            if store.header.frozen_passes and passes * count > size
        ]

    def describe(self) -> str:
        """One line for the log: layout, pairs a row, fill, pairs and steps of the first epoch."""
        fill = self.fill()
        text = (
            f'{self.config.layout} rows of {self._capacity[0]} + {self._capacity[1]}: '
            f'{fill.pairs / fill.rows:.1f} pairs a row, fill {fill.total:.2f} '
            f'(encoder {fill.encoder:.2f}, decoder {fill.decoder:.2f}); {fill.pairs:,} pairs in '
            f'{self._pass_steps(0):,} steps of {self.config.batch_size} rows'
        )
        return f'{text}; {self.describe_cut()}' if self.cut else text

    def describe_cut(self) -> str:
        """How many pairs are cut, and by which knobs."""
        return (
            f'{self.cut:,} pairs are longer than RowsConfig.encoder_length/decoder_length and cut'
        )


def _shifted_right(decoder: Batch, *, restart: bool) -> np.ndarray:
    """Decoder inputs: targets one place later behind a 0, in a packed row anew for each segment."""
    inputs = np.zeros_like(decoder['tokens'])
    inputs[:, 1:] = decoder['tokens'][:, :-1]
    if restart:
        inputs[decoder['positions'] == 0] = 0
    return inputs
