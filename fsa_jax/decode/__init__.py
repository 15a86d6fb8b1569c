"""Text out of a student: greedy, beam and sampled, with an explicit cache in one compiled loop."""

from fsa_jax.decode.generator import Generator

__all__ = ['Generator']
