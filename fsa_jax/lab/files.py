"""The world as a folder shaped like the real data.

    fsa/{acsa,atsa}/lab_{restaurant,laptop,hotel}/{train,dev,test,hard_test}.json   benchmark files
    corpus/{analysis,rewriting}/{restaurant,laptop}.jsonl   the teacher's answers (records.Generation)
    reviews/{restaurant,laptop,hotel}.jsonl                 the raw reviews (records.Review)
    truth/{analysis,rewriting}/{restaurant,laptop}.jsonl    gold opinions and mistakes of each answer

No sentence is in two places: neither twice in a benchmark, nor in a benchmark and the corpus.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from fsa_jax.configs import LabConfig
from fsa_jax.lab.teacher import Teacher, Truth, fingerprint
from fsa_jax.lab.world import DOMAINS, TAUGHT, World
from fsa_jax.lab.writer import Opinion, Text, is_hard
from fsa_jax.records import Generation, Review, read_jsonl, write_jsonl

TASKS = ('acsa', 'atsa')
KINDS = ('analysis', 'rewriting')


def write_world(folder: Path, config: LabConfig) -> None:
    """Writes the whole world of a config into `folder`; the same config gives the same bytes."""
    world = World(config)
    for domain in DOMAINS:
        reviews = list(world.reviews(domain, config.corpus_reviews))
        records = [
            Review(f'{domain}-{number}', review.text, domain, float(review.stars))
            for number, review in enumerate(reviews)
        ]
        write_jsonl(_made(folder / 'reviews' / f'{domain}.jsonl'), records)
        if domain in TAUGHT:
            _write_answers(folder, config, records, reviews)
        seen = {review.text for review in reviews}
        for task in TASKS:
            _write_benchmark(folder, world, task, domain, seen)


def world_texts(folder: Path) -> Iterator[str]:
    """Every text that a student of this world may learn its vocabulary from, a line at a time.

    Reviews and answers of the corpus, and the benchmarks' training sentences with their labels;
    nothing of a development or test file, nothing of the domain that the corpus never holds.
    """
    for domain in TAUGHT:
        for kind in KINDS:
            for answer in read_jsonl(Generation, folder / 'corpus' / kind / f'{domain}.jsonl'):
                yield answer.input
                yield from filter(None, answer.output.split('\n'))
        for task in TASKS:
            path = folder / 'fsa' / task / f'lab_{domain}' / 'train.json'
            for record in json.loads(path.read_text('utf-8-sig')):
                yield record['sentence']
                for aspect in record['aspects']:
                    named = aspect['target'] if task == 'atsa' else aspect['category'].lower()
                    yield f'{named.replace("#", " ")} | {aspect["polarity"]} ;'


def _write_answers(
    folder: Path, config: LabConfig, records: list[Review], reviews: list[Text]
) -> None:
    """The teacher's answers to all reviews of a domain, and the truth about them."""
    domain = DOMAINS[records[0].domain]
    for kind in KINDS:
        teacher = Teacher(config, domain, Random(f'{config.seed}/teacher/{kind}/{domain.name}'))
        answers, truths = [], []
        for record, review in zip(records, reviews):
            output, mistakes = teacher.answer(kind, review)
            cut = any(m.detail == 'cut' for m in mistakes if m.kind == 'malformed')
            answers.append(
                Generation(
                    id=f'{record.id}-{kind}',
                    kind=kind,
                    input=record.text,
                    output=output,
                    domain=domain.name,
                    rating=record.rating,
                    teacher='scripted',
                    finish_reason='length' if cut else 'stop',
                )
            )
            truths.append(
                Truth(answers[-1].id, kind, fingerprint(output), review.opinions, mistakes)
            )
        write_jsonl(_made(folder / 'corpus' / kind / f'{domain.name}.jsonl'), answers)
        write_jsonl(_made(folder / 'truth' / kind / f'{domain.name}.jsonl'), truths)


def _write_benchmark(folder: Path, world: World, task: str, domain: str, seen: set[str]) -> None:
    config = world.config
    sizes = {
        'train': config.train_sentences,
        'dev': config.validation_sentences,
        'test': config.test_sentences,
        'hard_test': config.hard_test_sentences,
    }
    for split, size in sizes.items():
        rng = Random(f'{config.seed}/{task}/{domain}/{split}')
        sentences: list[dict[str, Any]] = []
        while len(sentences) < size:
            text = world.sentence(domain, rng, test=split.endswith('test'))
            if text.text in seen or (split == 'hard_test' and not is_hard(text)):
                continue
            seen.add(text.text)
            identity = f'lab_{domain}:{split}:{len(sentences)}'
            sentences.append(_record(text, identity, task, split))
        path = _made(folder / 'fsa' / task / f'lab_{domain}' / f'{split}.json')
        path.write_text(json.dumps(sentences, indent=4, ensure_ascii=False), 'utf-8-sig')


def _record(text: Text, identity: str, task: str, split: str) -> dict[str, Any]:
    """A benchmark record in the published form of its task and split.

    Opinion words come with the test files alone; offsets are text but in the hard test; a target
    that is not named is 'NULL' in ACSA, null in the hard test, and has no aspect in ATSA.
    """
    record: dict[str, Any] = {'ID': identity, 'sentence': text.text}
    if split == 'hard_test':
        aspects = [_hard_aspect(opinion) for opinion in text.opinions]
        return record | {'aspects': aspects, 'aspects2': aspects}
    aspect = _acsa_aspect if task == 'acsa' else _atsa_aspect
    aspects = [aspect(o, split) for o in text.opinions if o.target or task == 'acsa']
    return record | {'aspects': aspects}


def _words(words: Iterable[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [{'from': start, 'to': end, 'opinion': word} for start, end, word in words]


def _acsa_aspect(opinion: Opinion, split: str) -> dict[str, Any]:
    aspect = {
        'from': str(opinion.start),
        'to': str(opinion.end),
        'target': opinion.target or 'NULL',
        'category': opinion.category,
        'polarity': opinion.polarity,
    }
    return aspect | ({'opinion_words': _words(opinion.words)} if split == 'test' else {})


def _atsa_aspect(opinion: Opinion, split: str) -> dict[str, Any]:
    aspect = _acsa_aspect(opinion, 'train') | {'category': None}
    spoken = ', '.join(word for *_, word in opinion.words) or None
    return aspect | ({'opinion_words': spoken} if split == 'test' else {})


def _hard_aspect(opinion: Opinion) -> dict[str, Any]:
    return {
        'from': opinion.start if opinion.target else None,
        'to': opinion.end if opinion.target else None,
        'target': opinion.target,
        'category': opinion.category,
        'polarity': opinion.polarity,
        'opinion_words': _words(opinion.words),
    }


def _made(path: Path) -> Path:
    """The path, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
