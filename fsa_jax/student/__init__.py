"""Using a student from Python: opinions, with their places in the text, out of any text."""

from fsa_jax.student.extraction import Extraction, Found
from fsa_jax.student.student import Student

__all__ = ['Extraction', 'Found', 'Student']
