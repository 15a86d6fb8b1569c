"""What `fsa download NAME` knows: where the published files are, their revision and their hashes.

A hash that is written here was published with the data or agrees between independent records. A
file without one is checked against the hash its host announces, where it does. The manifest of a
download records the commit that a branch stood for and the hash of every file either way, and
DownloadConfig.again holds a later download to them.
"""

from dataclasses import dataclass, field

BENCHMARK = 'HITSZ-HLT/FSA-Distillation'
BENCHMARK_REVISION = 'c38bdfc80cf871ffd53e14f9441fcc33d968defd'
SPIECE = 'd60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86'
T5_FILES = ('config.json', 'generation_config.json', 'spiece.model', '*.safetensors*')


@dataclass(frozen=True)
class GitHub:
    """Files of a GitHub repository: {path in the output: (path in the repository, sha256 or '')}."""

    meaning: str
    repository: str
    revision: str
    files: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Hub:
    """Files of a Hugging Face repository, with the hashes known here.

    A pattern matches at the top of the repository; '**' is all of it.
    """

    meaning: str
    repository: str  # 'owner/name', or 'datasets/owner/name'
    revision: str = 'main'
    patterns: tuple[str, ...] = ('**',)
    sha256: dict[str, str] = field(default_factory=dict)
    needs: str = ''  # a pattern without which the download is of no use


_BENCHMARK_SHA256 = {
    'acsa/laptop16/dev.json': '74785156c40899fddbf6f323daaa4301be06c12db13221593b74a8908834213e',
    'acsa/laptop16/hard_test.json': 'f13dd7971991a1b5b6a69890b6c082a649cd9b8b145c34b33ebfe88aec36897b',
    'acsa/laptop16/test.json': '6b2148317d1d132b84809b947e2598d587c234e326d236e4dcba6654e8c134cd',
    'acsa/laptop16/train.json': '042ca71863e13d0b16fbb00c45c2d183dc43802fe70b159b1ef9f066984f6b33',
    'acsa/rest16/dev.json': '35304ce547ad9ca015341c8ff5e67644867fc67dbbf331b531c5ff2ef0331a89',
    'acsa/rest16/hard_test.json': 'dc3684267fd4e656f8f0c6037dea89b5200bb27de7e61e1452f383976480afa0',
    'acsa/rest16/test.json': '10d89d3dae1aa1d037fae29e09ffdbff01460f63499aae524379fc1388c1f8d9',
    'acsa/rest16/train.json': '55c5fc70a120d996138c8df386a878215ea3ea75c38ab9de9507d9cf560651e4',
    'atsa/laptop14/dev.json': 'f9123858f82731641ebfacc2bbf3e880cfba3957d604dd47150f27d7b90439ee',
    'atsa/laptop14/hard_test.json': 'f13dd7971991a1b5b6a69890b6c082a649cd9b8b145c34b33ebfe88aec36897b',
    'atsa/laptop14/test.json': '59b22e85d3a4ffff9d964b5d908cca2e3ab20abec03544ce3406c91c0bf49cf2',
    'atsa/laptop14/train.json': '3ed4987d4428f6a4b820a8da32f6e0a1748ab2dea98b99380cd1572eb5fccf90',
    'atsa/rest14/dev.json': '3573db15d08ba652a3516459aa277640d2508663686116c051bb78be6bd7a243',
    'atsa/rest14/hard_test.json': '3cffd2e3808261a8a5b448a400898cf99d8e40f04e9877f5ab2ab65062d345cb',
    'atsa/rest14/test.json': 'c892fa55877de9efe1732e8a0d3c885c5e81f9d5c489d5dcbddd1463e247c83c',
    'atsa/rest14/train.json': 'c4e7f6908e0e0c1128ee8d74f18882fa72c4d762871d95570a898003d0fd1978',
}


def _t5(meaning: str, repository: str, revision: str = 'main', **sha256: str) -> Hub:
    return Hub(meaning, repository, revision, T5_FILES, sha256, needs='*.safetensors')


CATALOGUE: dict[str, GitHub | Hub] = {
    'fsa-benchmark': GitHub(
        'the four FSA benchmark datasets, for PackConfig.data_dir',
        BENCHMARK,
        BENCHMARK_REVISION,
        {
            f'fsa/{name}': (f'fsa_datasets/w_hard/{name}', sha256)
            for name, sha256 in _BENCHMARK_SHA256.items()
        },
    ),
    'fsa-answers': GitHub(
        '500 published teacher answers, for PackConfig.corpus',
        BENCHMARK,
        BENCHMARK_REVISION,
        # a name that begins with `test` would be a test split (corpus_files.py)
        {'corpus/mixtral_500.json': ('prompting/test/mixtral/test_500_4m8d.json', '')},
    ),
    'fsa-corpus': Hub(
        'the published corpus of 2 M pairs, for PackConfig.corpus',
        'datasets/Gporrt/sentiment-understanding-corpus',
    ),
    't5-sentiment-base': _t5('the published distilled t5-base', 'zhang-yice/t5-sentiment-base'),
    't5-sentiment-large': _t5('the published distilled t5-large', 'zhang-yice/t5-sentiment-large'),
    't5-small': _t5(
        'T5 v1.0, 60 M parameters',
        'google-t5/t5-small',
        'df1b051c49625cf57a3d0d8d3863ed4d13564fe4',
        **{
            'config.json': '530e25060e3a8d5f7b0fcf53bfea9f3601165161f3b1914676e98d97cf07bcf1',
            'spiece.model': SPIECE,
        },
    ),
    't5-base': _t5(
        'T5 v1.0, 220 M parameters',
        'google-t5/t5-base',
        'a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1',
        **{
            'config.json': '46dd7cb62d29c81fb551e0ef1ea274c24a46ba441eeb948897706252933df033',
            'model.safetensors': 'a90903540cc02cbeb7ff9f823f1a80eb778c7e22426a0e620b01c77a5ec8f5b4',
            'spiece.model': SPIECE,
        },
    ),
    't5-large': _t5(
        'T5 v1.0, 770 M parameters',
        'google-t5/t5-large',
        '150ebc2c4b72291e770f58e6057481c8d2ed331a',
    ),
    't5-v1_1-small': _t5('T5 v1.1, 77 M parameters', 'google/t5-v1_1-small'),
    't5-v1_1-base': _t5('T5 v1.1, 250 M parameters', 'google/t5-v1_1-base'),
    't5-v1_1-large': _t5('T5 v1.1, 780 M parameters', 'google/t5-v1_1-large'),
    't5-v1_1-xl': _t5('T5 v1.1, 3 G parameters', 'google/t5-v1_1-xl'),
    't5-v1_1-xxl': _t5('T5 v1.1, 11 G parameters', 'google/t5-v1_1-xxl'),
}


def describe() -> str:
    """The names and what they fetch, for `fsa download --help`."""
    lines = [f'  {name:<20}{entry.meaning}' for name, entry in CATALOGUE.items()]
    return '\n'.join(['names (or give a URL):', *lines])
