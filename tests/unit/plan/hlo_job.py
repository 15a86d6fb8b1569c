"""Run by test_hlo.py in a process with eight devices: compiles small programs, leaves their HLO text."""

import json
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

N, INNER, OUTER = 8, 3, 5


def main(folder: Path) -> None:
    mesh = jax.make_mesh((4, 2), ('a', 'b'), axis_types=(AxisType.Auto,) * 2)
    over = partial(jax.shard_map, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)

    def repeat(count, function):
        return lambda x: jax.lax.scan(lambda c, _: (function(c), None), x, None, length=count)[0]

    def save(name, function, *arguments, **options):
        compiled = jax.jit(function, **options).lower(*arguments).compile()
        (folder / f'{name}.txt').write_text(compiled.as_text())
        return compiled

    x = jax.ShapeDtypeStruct((16, 32), jnp.float32)
    save('nested', over(repeat(OUTER, repeat(INNER, lambda c: jax.lax.psum(c, 'a') / 4))), x)
    save('all-gather', over(repeat(INNER, lambda c: jax.lax.all_gather(c, 'b').sum(0))), x)
    save('reduce-scatter', over(lambda c: jax.lax.psum_scatter(c, 'a', tiled=True)), x)
    save('all-to-all', over(lambda c: jax.lax.all_to_all(c, 'a', 0, 1, tiled=True)), x)
    save('collective-permute', over(lambda c: jax.lax.ppermute(c, 'a', [(0, 1), (1, 2)])), x)
    spread = NamedSharding(mesh, P('a', None)), NamedSharding(mesh, P(None, 'b'))
    save('partitioned', lambda v, w: (v.T @ v) @ w, x, x.update(shape=(32, 8)), in_shardings=spread)
    save('until', lambda v: jax.lax.while_loop(lambda c: c.sum() < 9.0, lambda c: c + 1, v), x)

    square = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    flat = save('flat', lambda v, w: jnp.tanh(v @ w) @ w, square, square)
    stacked = jax.ShapeDtypeStruct((INNER, 256, 256), jnp.float32)
    save(
        'stacked', lambda v, ws: jax.lax.scan(lambda c, w: (c @ w, None), v, ws)[0], square, stacked
    )
    (folder / 'cost.json').write_text(json.dumps({'flat': flat.cost_analysis()['bytes accessed']}))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
