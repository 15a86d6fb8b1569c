"""train -> predict -> score -> export with TensorFlow, seqio, gin, vLLM, torch and transformers blocked.

python minimal_run.py FOLDER SPIECE_MODEL
"""

import sys
from pathlib import Path

BLOCKED = {
    'tensorflow', 'tensorflow_datasets', 'tensorflow_text', 'seqio', 'gin', 'vllm', 'torch', 'transformers',
}  # fmt: skip


class NoTorch:
    """Does not find torch. An entry None in sys.modules would not do: scipy takes it for the package."""

    @staticmethod
    def find_spec(name: str, *_) -> None:
        if name.partition('.')[0] == 'torch':
            raise ModuleNotFoundError('torch is blocked', name=name)


def main(folder: Path, spiece: Path) -> None:
    from fsa_jax import configs as c
    from fsa_jax import stages
    from fsa_jax.data.vocabulary import Vocabulary

    vocabulary = Vocabulary(spiece)
    write_packed(folder / 'packed', vocabulary)
    model = c.T5Config(
        vocab_size=vocabulary.size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4
    )  # fmt: skip
    train = c.TrainConfig(data=str(folder / 'packed'), steps=30, evaluate_every=15, log_every=5)
    rows = c.RowsConfig(layout='pairs', encoder_length=0, decoder_length=0, batch_size=8)
    decode = c.DecodeConfig(max_new_tokens=16)
    optimizer = c.OptimizerConfig(learning_rate=3e-3)
    stages.run('train', [train, model, rows, optimizer, c.MeshConfig(), decode], folder / 'train')
    predict = c.PredictConfig(
        model=str(folder / 'train'), data=str(folder / 'packed'), split='validation'
    )
    stages.run('predict', [predict, decode, c.MeshConfig()], folder / 'predictions')
    stages.run('score', [c.ScoreConfig(predictions=str(folder / 'predictions'))], folder / 'scores')
    stages.run('report', [c.ReportConfig(runs={'run': str(folder / 'train')})], folder / 'report')
    stages.run('export', [c.ExportConfig(model=str(folder / 'train'))], folder / 'export')
    assert not any(map(sys.modules.get, BLOCKED))


def write_packed(folder: Path, vocabulary) -> None:
    """A packed folder of one small ATSA task, made without seqio."""
    from fsa_jax import configs as c
    from fsa_jax import manifest
    from fsa_jax.data.store import TokenBatch
    from fsa_jax.data.store_writer import StoreWriter
    from fsa_jax.records import Example

    words = ['food', 'service', 'screen', 'battery']
    examples = []
    for i in range(64):
        word, good = words[i % 4], i % 3 > 0
        sentence = f'the {word} was {"great" if good else "slow"} {i}'
        gold = f'{word} | {"positive" if good else "negative"}'
        examples.append(Example(str(i), sentence, gold, 'demo', 'atsa', sentence, gold))
    with manifest.output(folder, 'pack', [c.PackConfig()]) as out:
        vocabulary.save(out.folder / 'vocabulary')
        for split, chosen in (('train', examples[:48]), ('validation', examples[48:])):
            pairs = [
                (
                    [*vocabulary.encode(e.inputs), vocabulary.eos_id],
                    [*vocabulary.encode(e.targets), vocabulary.eos_id],
                )
                for e in chosen
            ]
            where = out.folder / 'demo' / split
            with StoreWriter(where, vocabulary, task='demo', split=split, metric='atsa') as writer:
                writer.write(TokenBatch.from_pairs(pairs, [e.id for e in chosen], chosen))


if __name__ == '__main__':
    sys.modules |= dict.fromkeys(BLOCKED - {'torch'})  # None: as if the package was not installed
    sys.meta_path.insert(0, NoTorch())
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print('minimal run: ok')
