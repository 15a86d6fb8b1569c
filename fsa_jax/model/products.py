"""Matrix products: multiplied in compute dtype, summed in float32, forward and backward."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def einsum(spec: str, x: Array, y: Array, dtype: DTypeLike) -> Float[Array, '...']:
    """`jnp.einsum(spec, x, y)` multiplied in `dtype`, summed and returned in float32.

    Its gradients are computed alike (cotangents are rounded to `dtype`, sums stay float32), so the
    gradient of a float32 weight is never rounded to bfloat16, and no product mixes dtypes: that
    would fall back to float32 speed. Every letter of `spec` must occur at least twice.
    """
    x, y = x.astype(dtype), y.astype(dtype)
    plain = partial(jnp.einsum, spec, preferred_element_type=jnp.float32)
    if x.dtype == jnp.float32:
        return plain(x, y)
    return jax.lax.platform_dependent(x, y, cpu=partial(_cpu_bfloat16, spec), default=plain)


def _forward(spec, x, y, dtype):
    return einsum(spec, x, y, dtype), (x, y)


def _backward(spec, dtype, residuals, g):
    x, y = residuals
    (a, b), out = _letters(spec)
    dx = einsum(f'{out},{b}->{a}', g, y, dtype).astype(x.dtype)
    dy = einsum(f'{a},{out}->{b}', x, g, dtype).astype(y.dtype)
    return dx, dy


einsum.defvjp(_forward, _backward)


def _letters(spec: str) -> tuple[list[str], str]:
    operands, out = spec.split('->')
    return operands.split(','), out


def _cpu_bfloat16(spec: str, x: Array, y: Array) -> Array:
    """The same product in the one form for which XLA:CPU has a bfloat16 kernel.

    That is [batch, rows, summed] x [batch, summed, columns]. A transposed left operand ends in
    'Unsupported element type for DotThunk: BF16 x BF16 = F32' (jax 0.10.2); the barriers keep XLA
    from folding our transposes into one. These kernels are 2 to 8 times as fast as float32 or as
    bfloat16 -> bfloat16.
    """
    (a, b), out = _letters(spec)
    batch = [i for i in a if i in b and i in out]
    summed = [i for i in a if i in b and i not in out]
    rows = [i for i in a if i not in b]
    columns = [i for i in b if i not in a]
    left, right = batch + rows + summed, batch + summed + columns
    x = jax.lax.optimization_barrier(x.transpose([a.index(i) for i in left]))
    y = y.transpose([b.index(i) for i in right])
    leading = range(len(batch))
    last = range(len(left) - len(summed), len(left))
    middle = range(len(batch), len(batch) + len(summed))
    product = jax.lax.dot_general(
        x, y, ((last, middle), (leading, leading)), preferred_element_type=jnp.float32
    )
    product = jax.lax.optimization_barrier(product)
    return product.transpose([(batch + rows + columns).index(i) for i in out])
