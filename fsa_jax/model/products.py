"""Matrix products: multiplied in compute dtype, summed in float32, forward and backward."""

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

_FEW = 256  # rows up to which a product is bound by reading the other operand


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def einsum(spec: str, x: Array, y: Array, dtype: DTypeLike) -> Float[Array, '...']:
    """`jnp.einsum(spec, x, y)` multiplied in `dtype`, summed and returned in float32.

    Its gradients are computed alike (cotangents are rounded to `dtype`, sums stay float32), so the
    gradient of a float32 weight is never rounded to bfloat16, and no product mixes dtypes: that
    would fall back to float32 speed. Every letter of `spec` must occur at least twice.
    """
    on_cpu, elsewhere = _forms(spec, jnp.dtype(dtype) == jnp.float32)
    return jax.lax.platform_dependent(
        x.astype(dtype), y.astype(dtype), cpu=on_cpu, default=elsewhere
    )


@cache  # the same functions each time, for JAX remembers what it traced by them
def _forms(spec: str, is_float32: bool) -> tuple[Callable[..., Array], Callable[..., Array]]:
    # JAX's default for float32 operands is TF32 on a GPU and bfloat16 on a TPU: not what was asked.
    precision = jax.lax.Precision.HIGHEST if is_float32 else None
    plain = partial(jnp.einsum, spec, precision=precision, preferred_element_type=jnp.float32)
    return partial(_cpu_float32 if is_float32 else _cpu_bfloat16, spec), plain


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


def _cpu_float32(spec: str, x: Array, y: Array) -> Array:
    """The same product with its operands in the order that XLA:CPU multiplies fastest.

    jnp.einsum chooses by the letters of the result alone; attention's products but q k then take
    twice to four times as long (46 ms, here 11 to 20, for 8 heads of 1152 x 1152 x 64 on a core).
    """
    (a, b), out = _letters(spec)

    def cost(a: str, b: str, x: Array, y: Array) -> tuple[bool, bool, bool]:
        # Few rows, as in a decoding step: then the weights stand on the left.
        few = not _batch(a, b, out) and _rows(a, b, x) < min(_FEW, _rows(b, a, y))
        strided = _is_right_operand(a, b, out) and not _is_right_operand(b, a, out)
        return few, strided, _found(a, b, out) != list(out)

    if cost(b, a, y, x) < cost(a, b, x, y):
        a, b, x, y = b, a, y, x
    summed = [i for i in a if i not in out]
    batch = _batch(a, b, out)

    def places(operand: str, letters: list[str]) -> list[int]:
        return [operand.index(i) for i in letters]

    dimensions = (
        (places(a, summed), places(b, summed)),
        (places(a, batch), places(b, batch)),
    )
    product = jax.lax.dot_general(x, y, dimensions, preferred_element_type=jnp.float32)
    return product.transpose([_found(a, b, out).index(i) for i in out])


def _rows(operand: str, other: str, x: Array) -> int:
    """The product of the sizes of those letters that the other operand lacks."""
    return math.prod(x.shape[k] for k, i in enumerate(operand) if i not in other)


def _is_right_operand(operand: str, other: str, out: str) -> bool:
    """Whether its letters are in the order batch, summed, columns."""
    kinds = [(i not in out) + 2 * (i not in other) for i in operand]
    return kinds == sorted(kinds)


def _batch(a: str, b: str, out: str) -> list[str]:
    return [i for i in a if i in b and i in out]


def _found(a: str, b: str, out: str) -> list[str]:
    """The letters of the product of `a` and `b`, as it comes: batch, rows, columns."""
    return _batch(a, b, out) + [i for i in a if i not in b] + [i for i in b if i not in a]


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
