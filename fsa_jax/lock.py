"""One run at a time in an output folder: a lock beside it, which ends with its process however that ends.

Only NFSv3 keeps the lock of a machine that vanished: the error names the file to remove.
"""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from fsa_jax.errors import UserError


@contextlib.contextmanager
def held(folder: Path, output: str | Path = '') -> Iterator[None]:
    """Holds `folder`, which need not exist, for this process; `output` is what an error calls it.

    UserError while another process holds it: on this host, or on another where the file system
    carries POSIX locks between hosts (NFS does). Where it knows no locks nothing is held.

    A POSIX lock rather than flock's: children that outlive a killed run do not keep it.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f'.{folder.name}.lock')
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(open(path, 'a+'))
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                file.seek(0)
                raise UserError(
                    f'--output={output or folder} is being written by another run ({file.read().strip()}); '
                    f'let it end, or choose another folder; if its machine is gone, remove {path}'
                ) from None
            except OSError:
                break
            if _is_at(path, file.fileno()):
                break  # else its last holder removed the file just now: again, with a new one
        stack.callback(path.unlink, missing_ok=True)
        file.truncate(0)
        file.write(f'process {os.getpid()} on {platform.node()}\n')
        file.flush()
        yield


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
