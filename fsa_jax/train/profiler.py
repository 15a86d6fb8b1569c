"""A trace of some steps by the JAX profiler, for TensorBoard or Perfetto."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax


class Profiler:
    """Traces from before step `steps[0]` to after step `steps[1]`; nothing if `steps` is empty."""

    def __init__(self, folder: Path, steps: Sequence[int]):
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._tracing = False

    def before(self, step: int) -> None:
        """Called before a step is started; the first is 1."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._tracing = True

    def after(self, step: int, result: Any) -> None:
        """Called with something that the step computes."""
        if self._tracing and step == self._last:
            jax.block_until_ready(result)
            self.close()

    def close(self) -> None:
        """Ends a trace that is still open."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
