"""Where a result was made: command, machine and versions. Standard library only."""

import contextlib
import os
import platform
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    'fsa_jax',
    'jax',
    'flax',
    'optax',
    'orbax-checkpoint',
    'numpy',
    'seqio',
    'tensorflow-datasets',
)


def machine(devices: Iterable[Any] = ()) -> dict[str, Any]:
    """Processor, cores this process may use, memory and system.

    `devices`, where the caller computes on some (`jax.devices()`), are counted by kind: 'TPU v5 lite'.
    """
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return {
        'cpu': _cpu_model(),
        'cores': len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else os.cpu_count(),
        'memory_gb': round(pages / 1e9, 1),
        'system': platform.platform(),
        'devices': dict(Counter(device.device_kind for device in devices)),
    }


def versions(packages=PACKAGES) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {'python': platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def command(names: Mapping[str, str]) -> str:
    """The command line of this process, quoted for a shell; `names` as in `nameless`."""
    return nameless(shlex.join(['fsa', *sys.argv[1:]]), names)


def nameless(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with its paths on this machine, where they stand whole, as `names` has them: results are
    made to be shared. A path inside another word stays: 'data' in 'data_dir'."""
    if isinstance(value, dict):
        return {key: nameless(inner, names) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    for place, name in sorted(names.items(), key=lambda item: -len(item[0])):
        if place := place.rstrip('/'):
            value = name.join(re.split(rf'(?<![\w./-]){re.escape(place)}(?![\w.-])', value))
    return value


def _cpu_model() -> str:
    """The model, and the matrix units that decide how fast low precision is."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor()
    named = {k.strip(): v.strip() for k, _, v in (line.partition(':') for line in lines)}
    units = {flag for flag in named.get('flags', '').split() if flag.startswith('amx_')}
    return ' '.join([named.get('model name', platform.machine()), *sorted(units)])
