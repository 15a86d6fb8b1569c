"""`fsa` where process 1 waits for ever for the batch of step 6: run by test_train_processes.py."""

import sys
import threading

import jax

from fsa_jax import cli
from fsa_jax.train.feed import Feed


def main() -> int:
    at = Feed.at

    def hanging_at(self, step):
        if step == 6 and jax.process_index() == 1:
            threading.Event().wait()
        return at(self, step)

    Feed.at = hanging_at
    return cli.main()


if __name__ == '__main__':
    sys.exit(main())
