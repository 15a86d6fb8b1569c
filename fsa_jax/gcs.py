"""gs:// for JAX and Orbax, which open it by etils' epath."""

import importlib.util
import os

from fsa_jax.errors import UserError


def open_by_gcsfs() -> None:
    """Has etils open gs:// by gcsfs: where TensorFlow is installed it would import that.

    Before any file is opened by etils, which asks once. UserError where gcsfs is not there.
    """
    if importlib.util.find_spec('gcsfs') is None:
        raise UserError("gs:// needs the package gcsfs: pip install 'fsa_jax[cloud]'")
    os.environ.setdefault('EPATH_USE_TF', 'false')
