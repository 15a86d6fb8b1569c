"""Where a stage prints its tables."""

import rich.console

from fsa_jax.progress import mute


class Console(rich.console.Console):
    """rich's, which ends no stage whose reader is gone (`fsa score … | head -1`): rich's own exits with 1."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        mute(self.file)
