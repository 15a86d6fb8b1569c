"""What all tests share: where the real data lies, and a small vocabulary that the tests train."""

import os
from pathlib import Path

import pytest

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# Programs of tests are small, and most of the time goes into compiling them: without XLA's optimisations
# that takes a quarter, and then half of it with its older emitters of loops. Here and in the processes
# that tests start; tests/parity compiles as users do.
QUICK_LOOPS = '--xla_cpu_use_fusion_emitters=false'
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
os.environ.setdefault('XLA_FLAGS', QUICK_LOOPS)

REQUIRE_DATA = bool(os.environ.get('FSA_REQUIRE_DATA'))
REQUIRE_VLLM = bool(os.environ.get('FSA_REQUIRE_VLLM'))
REQUIRE_LIBTPU = bool(os.environ.get('FSA_REQUIRE_LIBTPU'))
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of real data and oracles (FSA_SHARED, else ../shared); skips where it is not."""
    folder = Path(os.environ.get('FSA_SHARED') or REPOSITORY.parent / 'shared')
    if not (folder / 'data').is_dir():
        reason = f'no real data: {folder}/data does not exist (set FSA_SHARED)'
        pytest.fail(reason) if REQUIRE_DATA else pytest.skip(reason)
    return folder


@pytest.fixture(scope='session')
def teacher_python() -> Path:
    """Python of the teacher's environment (FSA_TEACHER_PYTHON, else .venv-teacher); skips where it is not."""
    python = Path(
        os.environ.get('FSA_TEACHER_PYTHON') or REPOSITORY / '.venv-teacher' / 'bin' / 'python'
    )
    if not python.exists():
        reason = f'no teacher environment: {python} does not exist (launch/teacher.sh makes it)'
        pytest.fail(reason) if REQUIRE_VLLM else pytest.skip(reason)
    return python


@pytest.fixture(scope='session')
def libtpu() -> Path:
    """libtpu.so, with which jax compiles for TPUs that are not there; skips where it is not."""
    from fsa_jax.errors import UserError
    from fsa_jax.plan.compiler import find_libtpu

    try:
        return find_libtpu()
    except UserError as error:
        pytest.fail(str(error)) if REQUIRE_LIBTPU else pytest.skip(str(error))
        raise


_data_tests_passed = 0


def pytest_runtest_logreport(report):
    global _data_tests_passed
    _data_tests_passed += report.when == 'call' and report.passed and 'data' in report.keywords


def pytest_sessionfinish(session, exitstatus):
    if hasattr(session.config, 'workerinput'):
        return  # a worker of pytest-xdist sees a part of the tests; its controller sees all
    if REQUIRE_DATA and exitstatus == 0 and not _data_tests_passed:
        print('\nFSA_REQUIRE_DATA is set, but no test marked `data` passed')
        session.exitstatus = 1


@pytest.fixture(scope='session')
def tiny_spiece(tmp_path_factory) -> Path:
    """A spiece.model of some 160 pieces with T5's special ids (pad 0, </s> 1, <unk> 2), made here."""
    from tests import training  # not above: it imports jax

    return training.spiece(tmp_path_factory.mktemp('vocabulary'))


@pytest.fixture
def unread():
    """A text stream to write to, whose reader is gone, as after `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, 'w') as stream:
        yield stream


@pytest.fixture(scope='session')
def cache(tmp_path_factory) -> Path:
    """The cache of compiled programs: what one test compiled is read by the next."""
    return tmp_path_factory.mktemp('xla')
