"""Compiles one program for slices and says what the compiler says: `python -m fsa_jax.plan.worker`.

A process of its own, so that libtpu never loads beside the caller's jax, its memory is given back, and
a crash costs one row. Reads a request (JSON) from standard input, writes the answer to the file named
on the command line; on standard error is what the partitioner warns of.
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from fsa_jax.errors import UserError
from fsa_jax.manifest import write_atomic
from fsa_jax.partition import Partition, bytes_held
from fsa_jax.plan import hlo, program, traffic
from fsa_jax.plan.topology import Slices

_SMALL = 1 << 16  # bytes: collectives below are counters and norms, and are added up


def answer(knobs: program.Knobs, slices: Slices, effort: str) -> dict[str, Any]:
    """What compiling tells: memory, collectives, traffic; or by how much it does not fit."""
    partition = Partition.from_config(knobs.mesh, program.devices(slices))
    _, state = program.state(knobs, partition)
    held = {
        'parameters': bytes_held(state.params),
        'optimizer': bytes_held(state.opt_state),
        'gradients': bytes_held(state.params),
        'batch': bytes_held(program.abstract_batch(knobs.rows, partition)),
    }
    started = time.monotonic()
    lowered = program.lower(knobs, partition)
    options: dict[str, str | bool | float] = {}
    if effort == 'quick':
        options['exec_time_optimization_effort'] = -1.0
    try:
        compiled = lowered.compile(options)  # type: ignore[arg-type]
    except Exception as error:  # XLA's errors have no common class
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        return {
            'held': held,
            'seconds': time.monotonic() - started,
            'exhausted': _needed(str(error)),
        }
    seconds = time.monotonic() - started
    module = hlo.parse(compiled.as_text() or '')
    memory: Any = compiled.memory_analysis()
    slice_of = [getattr(d, 'slice_index', 0) or 0 for d in partition.mesh.devices.flat]
    return {
        'held': held,
        'seconds': seconds,
        'memory': {
            'arguments': memory.argument_size_in_bytes,
            'results': memory.output_size_in_bytes - memory.alias_size_in_bytes,
            'temporaries': memory.temp_size_in_bytes,
            'program': memory.generated_code_size_in_bytes,
        },
        'hbm_bytes': traffic.hbm_bytes(module),
        'collectives': summed(hlo.collectives(module), slice_of, knobs),
    }


def summed(
    collectives: list[hlo.Collective], slice_of: list[int], knobs: program.Knobs
) -> list[dict[str, Any]]:
    """Collectives by kind, dtype, network and kind of array; `slice_of` each partition."""
    found: dict[tuple, dict[str, Any]] = {}
    for collective in collectives:
        spans = any(len({slice_of[i] for i in group}) > 1 for group in collective.groups)
        dtypes = sorted({a.dtype for a in collective.arrays if a.bytes > _SMALL}) or ['small']
        largest = max(collective.arrays, key=lambda a: a.bytes)
        key = (
            collective.kind,
            ' '.join(dtypes),
            'DCN' if spans else 'ICI',
            gathers_rows(collective, knobs),
        )
        row = found.setdefault(
            key, {'operations': 0, 'bytes': 0, 'ici': 0.0, 'dcn': 0.0, 'largest': []}
        )
        row['operations'] += collective.times
        row['bytes'] += collective.bytes
        ici, dcn = collective.sent(slice_of)
        row['ici'] += ici
        row['dcn'] += dcn
        if not row['largest'] or largest.bytes > row['largest'][0]:
            row['largest'] = [
                largest.bytes,
                f'{largest.dtype}{list(largest.shape)}',
                collective.source,
            ]
    names = ('kind', 'dtype', 'network', 'gathers_rows')
    rows = [dict(zip(names, key)) | row for key, row in found.items()]
    return sorted(rows, key=lambda row: -row['bytes'])


def gathers_rows(collective: hlo.Collective, knobs: program.Knobs) -> bool:
    """Whether it brings an activation of the whole microbatch [rows, slots, width] onto a chip."""
    lengths = {knobs.rows.encoder_length, knobs.rows.decoder_length}
    return collective.kind in ('all-gather', 'all-to-all') and any(
        len(a.shape) >= 3 and knobs.microbatch in a.shape and bool(lengths & set(a.shape))
        and knobs.microbatch > 1 and a.bytes > _SMALL
        for a in collective.arrays
    )  # fmt: skip


def _needed(message: str) -> dict[str, float | str]:
    """What the compiler says of a program that does not fit, sizes in bytes."""
    units = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}

    def size(pattern: str) -> float | None:
        found = re.search(pattern, message)
        return float(found[1]) * units[found[2]] if found else None

    return {
        'message': ' '.join(message.split())[:300],
        'needed': size(r'Used ([\d.]+)([KMGT]) of') or size(r'\(([\d.]+)([KMGT])\) exceeds') or 0.0,
        'available': size(r'Used [\d.]+[KMGT] of ([\d.]+)([KMGT])')
        or size(r'available HBM \(([\d.]+)([KMGT])\)')
        or 0.0,
    }


def main() -> None:
    """Reads a request, writes its answer."""
    request = json.load(sys.stdin)
    knobs = program.Knobs.from_json(request['knobs'])
    try:
        told = answer(knobs, Slices(**request['slices']), request['effort'])
    except UserError as error:
        told = {'error': str(error)}
    write_atomic(Path(sys.argv[1]), json.dumps(told))


if __name__ == '__main__':
    main()
