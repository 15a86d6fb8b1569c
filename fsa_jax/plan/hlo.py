"""Reading HLO text: how often each instruction runs, what it sends, and what it moves through memory.

Compilers' own counts take the body of a loop once; here everything is multiplied by the trip counts
of the loops around it, nested ones multiply. Of a conditional all branches are counted.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

COLLECTIVES = (
    'all-reduce',
    'all-gather',
    'reduce-scatter',
    'all-to-all',
    'ragged-all-to-all',
    'collective-permute',
    'collective-broadcast',
)
_BITS = {'pred': 8, 'bf16': 16, 's4': 4, 'u4': 4, 's2': 2, 'u2': 2, 'token': 0, 'opaque': 0}
_ARRAY = re.compile(r'\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?')
_CALLED = re.compile(r'(?:calls|body|condition|to_apply)=%?([\w.\-]+)')


@dataclass(frozen=True)
class Array:
    """One array of an instruction's type. `fast` says that it lies in on-chip memory, not in HBM."""

    dtype: str
    shape: tuple[int, ...]
    fast: bool = False

    @property
    def bytes(self) -> int:
        """Size without the padding of its layout."""
        if self.dtype in _BITS:
            bits = _BITS[self.dtype]
        else:
            bits = int(re.sub(r'\D', ' ', self.dtype).split()[0])  # f32, f8e4m3fn, s64 …
        return -(-math.prod(self.shape) * bits // 8)


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    arrays: tuple[Array, ...]
    op: str
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @property
    def results(self) -> tuple[Array, ...]:
        """What it returns; of an asynchronous start what its end returns: its type lists the operands
        before that, and semaphores after it."""
        if not self.op.endswith('-start') or self.op in ('all-reduce-start', 'copy-start'):
            return self.arrays
        count = len(self.operands)
        return self.arrays[count : 2 * count]

    def called(self, key: str) -> str:
        """The computation that an attribute names."""
        found = re.search(rf'\b{key}=%?([\w.\-]+)', self.attributes)
        if not found:
            raise ValueError(f'{self.op} {self.name} has no {key}=')
        return found[1]


@dataclass(frozen=True)
class Computation:
    """A named list of instructions."""

    name: str
    instructions: tuple[Instruction, ...]

    @cached_property
    def named(self) -> dict[str, Instruction]:
        """Instructions by name."""
        return {i.name: i for i in self.instructions}

    @cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """The instructions that read each one."""
        found: dict[str, list[Instruction]] = {i.name: [] for i in self.instructions}
        for instruction in self.instructions:
            for operand in set(instruction.operands):
                found[operand].append(instruction)
        return found

    @property
    def root(self) -> Instruction:
        """What the computation returns."""
        return next(i for i in self.instructions if i.root)


@dataclass
class Module:
    """A parsed program. `partitions` is the number of devices it runs on."""

    entry: str = ''
    partitions: int = 1
    computations: dict[str, Computation] = field(default_factory=dict)

    def trips(self, loop: Instruction) -> int:
        """How often the body of a `while` runs.

        Said by the compiler, or read off a condition `i < n` as `jax.lax.scan` makes it (i from 0
        in steps of 1). ValueError for another loop, whose count the text does not tell.
        """
        if known := re.search(r'known_trip_count\W+n\W+(\d+)', loop.attributes):
            return int(known[1])
        condition = self.computations[loop.called('condition')]
        limits = [
            int(i.attributes)
            for i in condition.instructions
            if i.op == 'constant' and i.attributes.isdigit()
        ]
        compares = 'direction=LT' in ' '.join(i.attributes for i in condition.instructions)
        if len(limits) != 1 or not (compares or condition.root.op == 'fusion'):
            raise ValueError(f'the trip count of {loop.name} is not in the text')
        return limits[0]

    def runs(
        self, name: str = '', times: int = 1
    ) -> Iterator[tuple[Computation, Instruction, int]]:
        """(computation, instruction, how often it runs), of all but the insides of fusions."""
        computation = self.computations[name or self.entry]
        for instruction in computation.instructions:
            yield computation, instruction, times
            for inner, count in self._inside(instruction):
                yield from self.runs(inner, times * count)

    def _inside(self, instruction: Instruction) -> Iterator[tuple[str, int]]:
        if instruction.op == 'while':
            yield instruction.called('body'), self.trips(instruction)
        elif instruction.op == 'conditional':
            for branch in branches(instruction):
                yield branch, 1
        elif instruction.op == 'call':
            yield instruction.called('to_apply'), 1
        elif instruction.op == 'async-start':
            yield instruction.called('calls'), 1


def branches(conditional: Instruction) -> list[str]:
    """The computations that a conditional chooses from."""
    listed = re.search(r'branch_computations=\{(.*?)\}', conditional.attributes)
    if listed:
        return [name.strip().lstrip('%') for name in listed[1].split(',')]
    return [conditional.called('true_computation'), conditional.called('false_computation')]


# -- parsing -----------------------------------------------------------------------------------


def parse(text: str) -> Module:
    """A module from its text, optimised or not."""
    module, name = Module(), ''
    lines: list[Instruction] = []
    if partitions := re.search(r'num_partitions=(\d+)', text.partition('\n')[0]):
        module.partitions = int(partitions[1])
    for line in text.splitlines():
        head = re.match(r'(ENTRY )?%?([\w.\-]+) .*\{$', line)
        if head and not line.startswith('HloModule'):
            name, lines = head[2], []
            module.entry = name if head[1] else module.entry
        elif line.startswith('}'):
            module.computations[name] = Computation(name, tuple(lines))
        elif ' = ' in line and line.startswith(' '):
            lines.append(_instruction(line.strip()))
    return module


def _instruction(line: str) -> Instruction:
    root = line.startswith('ROOT ')
    name, _, rest = line.removeprefix('ROOT ').partition(' = ')
    kind, rest = _split_type(rest)
    op, _, rest = rest.partition('(')
    inside, attributes = _balanced('(' + rest)
    operands: tuple[str, ...] = ()
    if op in ('constant', 'parameter'):
        attributes = inside[1:-1]
    else:
        operands = tuple(re.findall(r'%([\w.\-]+)', inside)) or _bare_names(inside[1:-1])
    arrays = tuple(
        Array(dtype, tuple(int(n) for n in shape.split(',') if n), 'S(1)' in (layout or ''))
        for dtype, shape, layout in _ARRAY.findall(kind)
    )
    return Instruction(name.lstrip('%'), arrays, op.strip(), operands, attributes, root)


def _bare_names(inside: str) -> tuple[str, ...]:
    """Operands in the style without %: `a.1, f32[2] b.3`."""
    words = (
        part.split()[-1]
        for part in re.sub(r'\{[^}]*\}|\[[^]]*\]', '', inside).split(',')
        if part.split()
    )
    return tuple(word for word in words if re.fullmatch(r'[A-Za-z_][\w.\-]*', word))


def _split_type(text: str) -> tuple[str, str]:
    if text.startswith('('):
        kind, rest = _balanced(text)
        return kind, rest.lstrip()
    kind, _, rest = text.partition(' ')
    return kind, rest


def _balanced(text: str) -> tuple[str, str]:
    """(the parenthesis that `text` opens with, what follows)."""
    depth = 0
    for match in re.finditer(r'[()]', text):
        depth += 1 if match[0] == '(' else -1
        if not depth:
            return text[: match.end()], text[match.end() :]
    return text, ''


# -- collectives -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Collective:
    """A collective operation and how often it runs in a step.

    `arrays` are the whole arrays that it gathers, sums or sends, as each chip holds or gets them
    (all-gather: the result, reduce-scatter: what goes in); `groups` are of partition numbers.
    """

    kind: str
    arrays: tuple[Array, ...]
    groups: tuple[tuple[int, ...], ...]
    times: int
    source: str  # the operation of the model it comes from

    @property
    def bytes(self) -> int:
        """Size of its arrays, all runs together."""
        return self.times * sum(array.bytes for array in self.arrays)

    def sent(self, slice_of: Sequence[int]) -> tuple[float, float]:
        """Bytes that a chip sends over (ICI, DCN), all runs together; `slice_of` each partition.

        On a ring of n, (n - 1) / n of the array for each of the two halves of an all-reduce and for
        each of the others (Patarasuk & Yuan 2009). A group over s slices of p chips first does its
        part within the slices, so that a p-th of the array crosses the DCN for each chip.
        """
        slices = max(len({slice_of[i] for i in group}) for group in self.groups)
        size = max(len(group) for group in self.groups)
        chips = -(-size // slices)
        if self.kind == 'collective-permute':
            return (0.0, float(self.bytes)) if slices > 1 else (float(self.bytes), 0.0)
        within, across = (chips - 1) / chips, (slices - 1) / slices
        if self.kind in ('all-to-all', 'ragged-all-to-all'):
            return self.bytes * within / slices, self.bytes * across
        halves = 2 * self.bytes if self.kind == 'all-reduce' else self.bytes
        return halves * within, halves * across / chips


def collectives(module: Module) -> list[Collective]:
    """All collectives that talk between chips, those inside fusions too."""
    found = []
    for _, instruction, times in module.runs():
        kind = _kind(instruction)
        if kind:
            found.append(_collective(module, instruction, kind, times))
        elif instruction.op == 'fusion':
            fused = instruction.called('calls')
            for _, inner, _ in module.runs(fused):
                if kind := _kind(inner):
                    # An all-reduce of which only a slice is kept is fused into a reduce-scatter.
                    if kind == 'all-reduce' and 'scatter' in fused + instruction.name:
                        kind = 'reduce-scatter of operand'
                    found.append(_collective(module, inner, kind, times))
    return [c for c in found if max(map(len, c.groups)) > 1]


def _kind(instruction: Instruction) -> str:
    op = instruction.op.removesuffix('-start')
    return op if op in COLLECTIVES else ''


def _collective(module: Module, instruction: Instruction, kind: str, times: int) -> Collective:
    arrays, groups = instruction.results, _groups(instruction, module.partitions)
    if instruction.op.removesuffix('-start') == 'reduce-scatter':
        arrays = tuple(Array(a.dtype, (*a.shape, len(groups[0])), a.fast) for a in arrays)
    source = re.search(r'op_name="([^"]*)"', instruction.attributes)
    kind = kind.removesuffix(' of operand')
    return Collective(kind, arrays, groups, times, source[1] if source else '')


def _groups(instruction: Instruction, partitions: int) -> tuple[tuple[int, ...], ...]:
    """Which partitions talk to each other; the three ways that HLO writes it, and pairs."""
    text = instruction.attributes
    if pairs := re.search(r'source_target_pairs=\{(.*?)\}\}', text):
        return tuple(_numbers(pair) for pair in pairs[1].split('},'))
    if mesh := re.search(r'replica_groups=mesh\[(.*?)\](, device_ids=\(.*?\))? \{(.*?)\}', text):
        return _mesh_groups(mesh[1], mesh[2], mesh[3])
    if iota := re.search(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text):
        order = _iota(_numbers(iota[2]), _numbers(iota[3] or ''))
        size = _numbers(iota[1])[-1]
        return tuple(tuple(order[i : i + size]) for i in range(0, len(order), size))
    listed = re.search(r'replica_groups=\{(\{.*?\})?\}', text)
    if listed and listed[1]:
        return tuple(_numbers(group) for group in listed[1].split('},'))
    if listed or 'replica_groups' not in text:
        return (tuple(range(partitions)),)
    raise ValueError(f'{instruction.name}: replica groups in an unknown form: {text[:120]}')


def _mesh_groups(mesh: str, device_ids: str | None, axes: str) -> tuple[tuple[int, ...], ...]:
    """Groups along axes of a mesh, of which 'name:(a)b' is a part: b of its size, a before it."""
    sizes = {name: int(size) for name, size in re.findall(r"'?([\w.]+)'?=(\d+)", mesh)}
    shape: list[int] = []
    grouped: list[int] = []
    wanted = re.findall(r"'?([\w.]+)'?(?::\((\d+)\)(\d+))?", axes)
    for name, size in sizes.items():
        parts = [(int(a), int(b)) for other, a, b in wanted if other == name and b]
        if not parts:
            grouped += [len(shape)] if any(other == name for other, *_ in wanted) else []
            shape.append(size)
            continue
        before = 1
        for a, b in sorted(parts):
            shape += [a // before, b]
            grouped.append(len(shape) - 1)
            before = a * b
        shape.append(size // before)
    order = list(range(math.prod(shape)))
    if device_ids and (
        iota := re.search(r'\[([\d,]+)\](?:<=\[([\d,]+)\])?(?:T\(([\d,]+)\))?', device_ids)
    ):
        order = _iota(_numbers(iota[2] or iota[1]), _numbers(iota[3] or ''))
    elif device_ids:
        order = list(_numbers(device_ids))
    rest = [axis for axis in range(len(shape)) if axis not in grouped]
    places = _iota(tuple(shape), (*rest, *grouped))
    size = math.prod(shape[axis] for axis in grouped)
    numbers = [order[place] for place in places]
    return tuple(tuple(numbers[i : i + size]) for i in range(0, len(numbers), size))


def _iota(shape: tuple[int, ...], order: tuple[int, ...]) -> list[int]:
    """range(n) as an array of `shape`, transposed to `order` of its axes, flat."""
    places = [0]
    for axis in order or range(len(shape)):
        stride = math.prod(shape[axis + 1 :])
        places = [place + i * stride for place in places for i in range(shape[axis])]
    return places


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r'\d+', text))
