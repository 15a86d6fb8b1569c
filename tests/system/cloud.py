"""Runs the launch scripts against the recording stand-ins of fake_cloud.py."""

import json
import os
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY

COMMANDS = ('gcloud', 'xpk', 'kubectl', 'docker', 'sbatch', 'srun', 'scontrol', 'fsa')
# What gcloud says of TPU machines that are not there (once), and where it cannot ask.
ABSENT = {
    'match': 'tpus [a-z-]+ describe', 'status': 1, 'times': 1,
    'stderr': "ERROR: (gcloud.compute.tpus) NOT_FOUND: Resource 'distil' was not found.\n",
}  # fmt: skip
UNANSWERED = ABSENT | {'stderr': 'ERROR: gcloud crashed (TransportError): Max retries exceeded\n'}


class Cloud:
    """A folder of stand-ins that goes first on PATH, with rules for their answers."""

    def __init__(self, folder: Path, *rules: dict):
        self.folder = folder
        (folder / 'bin').mkdir()
        for command in COMMANDS:
            (folder / 'bin' / command).symlink_to(REPOSITORY / 'tests/system/fake_cloud.py')
        (folder / 'rules.json').write_text(json.dumps(rules))
        self.environment = os.environ | {
            'PATH': f'{folder / "bin"}:{os.environ["PATH"]}',
            'FAKE_CLOUD': str(folder),
            'RETRY_SECONDS': '0',
            'POLL_SECONDS': '0',
            'TMPDIR': str(folder),
        }

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        """Runs a command of the repository's folder to its end."""
        settings = {'cwd': REPOSITORY, 'capture_output': True, 'text': True, 'timeout': 60}
        return subprocess.run(list(command), env=self.environment, **settings | options)

    def calls(self, pattern: str = '') -> list[str]:
        """The recorded calls that hold `pattern`, each as one line."""
        file = self.folder / 'calls.jsonl'
        lines = file.read_text().splitlines() if file.exists() else []
        return [call for line in lines if pattern in (call := ' '.join(json.loads(line)))]
