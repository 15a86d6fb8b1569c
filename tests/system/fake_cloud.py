#!/usr/bin/env python3
"""Stands in for gcloud, xpk, kubectl, sbatch, srun and scontrol: records each call, answers by rules.

FAKE_CLOUD is a folder. `calls.jsonl` in it receives [command, argument, …] of each call; `rules.json`
is a list of {match, times, status, stdout, stderr}: the first rule whose regular expression is found
in the call, and that was not used `times` times yet, answers it. A call that no rule fits succeeds.
What a call with `--filename=-` reads is kept in `applied.yaml`.
"""

import fcntl
import json
import os
import re
import sys
from pathlib import Path


def answer(folder: Path, call: list[str]) -> dict:
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(folder / 'calls.jsonl', 'a') as calls:
            calls.write(json.dumps(call) + '\n')
        rules = json.loads((folder / 'rules.json').read_text())
        for rule in rules:
            if rule.get('times', 1) > 0 and re.search(rule['match'], ' '.join(call)):
                if 'times' in rule:
                    rule['times'] -= 1
                    (folder / 'rules.json').write_text(json.dumps(rules))
                return rule
    return {}


if __name__ == '__main__':
    told = answer(Path(os.environ['FAKE_CLOUD']), [Path(sys.argv[0]).name, *sys.argv[1:]])
    if '--filename=-' in sys.argv:
        (Path(os.environ['FAKE_CLOUD']) / 'applied.yaml').write_text(sys.stdin.read())
    sys.stdout.write(told.get('stdout', ''))
    sys.stderr.write(told.get('stderr', ''))
    sys.exit(told.get('status', 0))
