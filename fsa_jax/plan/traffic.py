"""Bytes that an optimised program moves between HBM and the chip, and products, from HLO text.

Each instruction outside a fusion reads its operands and writes its result; arrays in on-chip memory
are free. Of an operand that a fusion only slices, the slices are read; of one that it updates in
place, the update is written. Padding of layouts is left out, so that it is a lower bound.
"""

import math
import re

from fsa_jax.plan.hlo import Computation, Instruction, Module, branches

_FREE = {
    'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while', 'conditional', 'call',
    'after-all', 'partition-id', 'replica-id', 'iota', 'opt-barrier', 'domain', 'async-start',
}  # fmt: skip
_SLICES = ('dynamic-slice', 'slice', 'gather')
_NOTHING_MOVES = ('AllocateBuffer', 'ConcatBitcast', 'AssumeGatherIndicesInBound')


def hbm_bytes(module: Module) -> int:
    """Bytes read and written by a chip in a run of the program."""
    return sum(
        times * _moved(module, computation, instruction)
        for computation, instruction, times in module.runs()
    )


def _moved(module: Module, computation: Computation, instruction: Instruction) -> int:
    op = instruction.op
    if op in _FREE or op.endswith(('-done', '-update')):
        return 0
    if op == 'custom-call' and any(name in instruction.attributes for name in _NOTHING_MOVES):
        return 0
    if op == 'fusion':
        fused = module.computations[instruction.called('calls')]
        operands = [computation.named[name] for name in instruction.operands]
        reads = sum(_read(module, fused, n, operand) for n, operand in enumerate(operands))
        return reads + _written(module, fused, fused.root, instruction)
    if op in _SLICES:
        return _slow(instruction) + _slow(instruction)
    if op == 'dynamic-update-slice':
        return 2 * _slow(computation.named[instruction.operands[1]])
    if op == 'copy-start':  # (to, from, semaphore)
        return sum(array.bytes for array in instruction.arrays[:2] if not array.fast)
    if op == 'slice-start':  # (from, slice, semaphore)
        whole, part = instruction.arrays[:2]
        return part.bytes * ((not whole.fast) + (not part.fast))
    return _slow(instruction) + sum(_slow(computation.named[n]) for n in instruction.operands)


def _slow(instruction: Instruction) -> int:
    return sum(array.bytes for array in instruction.results if not array.fast)


def _read(module: Module, fused: Computation, number: int, operand: Instruction) -> int:
    """Bytes that a fusion reads of its operand `number`."""
    whole = _slow(operand)
    parameter = next(
        i for i in fused.instructions if i.op == 'parameter' and i.attributes == str(number)
    )
    return min(whole, _used(module, fused, parameter, whole)) if whole else 0


def _used(module: Module, fused: Computation, value: Instruction, whole: int) -> int:
    total = 0
    for user in fused.users[value.name]:
        place = user.operands.index(value.name)
        if user.op == 'bitcast':
            total += _used(module, fused, user, whole)
        elif user.op in _SLICES and place == 0:
            total += sum(array.bytes for array in user.arrays)
        elif user.op == 'dynamic-update-slice' and place == 0:
            continue
        elif user.op == 'fusion':
            inner = module.computations[user.called('calls')]
            total += _read(module, inner, place, value)
        else:
            return whole
    return total


def _written(module: Module, fused: Computation, root: Instruction, outer: Instruction) -> int:
    """Bytes that a fusion writes; `root` is what it returns, or one element of that."""
    if all(array.fast for array in outer.arrays):
        return 0
    if root.op == 'tuple':
        arrays = [a for a in outer.arrays if not a.fast]
        inside = (_result(module, fused, fused.named[name]) for name in root.operands)
        return min(sum(a.bytes for a in arrays), sum(inside))
    return min(_slow(outer), _result(module, fused, root))


def _result(module: Module, fused: Computation, root: Instruction) -> int:
    while root.op == 'bitcast':
        root = fused.named[root.operands[0]]
    if root.op == 'dynamic-update-slice':
        return sum(array.bytes for array in fused.named[root.operands[1]].arrays)
    if root.op == 'fusion':
        inner = module.computations[root.called('calls')]
        return _result(module, inner, inner.root)
    return sum(array.bytes for array in root.arrays)


def dot_operations(module: Module, name: str = '') -> int:
    """Operations of all products of an unoptimised program, 2 for a multiply-add, loops times their
    trips. Of a conditional the branch with the most."""
    computation, total = module.computations[name or module.entry], 0
    for instruction in computation.instructions:
        if instruction.op == 'dot':
            left = computation.named[instruction.operands[0]].arrays[0]
            summed = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', instruction.attributes)
            assert summed
            sizes = [left.shape[int(axis)] for axis in summed[1].split(',') if axis]
            total += 2 * math.prod(instruction.arrays[0].shape) * math.prod(sizes)
        elif instruction.op == 'while':
            body = instruction.called('body')
            total += module.trips(instruction) * dot_operations(module, body)
        elif instruction.op == 'call':
            total += dot_operations(module, instruction.called('to_apply'))
        elif instruction.op == 'conditional':
            total += max(dot_operations(module, branch) for branch in branches(instruction))
    return total
