"""When to stop early: a signal here, or a preemption notice to any host of a distributed run."""

import signal
import threading

import jax
from jax.experimental import multihost_utils

EXIT_STATUS = 143  # 128 + SIGTERM, as a shell reports it


class Stopper:
    """A context in which SIGTERM asks the run to stop instead of killing it.

    Of several processes any may be asked: JAX's preemption service tells the others, and all stop
    after the same step.
    """

    def __init__(self):
        self.asked = False  # of a process that is alone

    def __enter__(self) -> 'Stopper':
        # With several processes SIGTERM is JAX's, since they have met.
        alone = jax.process_count() == 1
        self._here = alone and threading.current_thread() is threading.main_thread()
        if self._here:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_) -> None:
        if self._here:
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, *_) -> None:
        self.asked = True

    def should_stop(self, step: int) -> bool:
        """Whether to save and stop after `step`; all processes ask after each, and get the same answer.

        The step is what Orbax asks JAX with as well, so no other count will do.
        """
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.asked
