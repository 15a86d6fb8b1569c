"""`fsa sample`: a dump of reviews to the reviews that a teacher reads.

    reviews.jsonl     the sample (records.Review); its first lines are a smaller sample of these shares
    set_aside.jsonl   reviews that hold a benchmark sentence, with its words

One pass. A killed run leaves nothing and is run again: a million reviews take a few minutes.
"""

import dataclasses
import itertools
import json
import tempfile
from collections.abc import Iterator

from fsa_jax import manifest, records
from fsa_jax.configs import ReviewsConfig
from fsa_jax.corpus.candidates import Candidates, in_order
from fsa_jax.corpus.decontaminate import Benchmark, read_benchmark
from fsa_jax.corpus.dumps import Dump, dump_files
from fsa_jax.corpus.implicit import Labeller, by_cues, lab_quality, read_analyses
from fsa_jax.corpus.screen import Passed, Seen, read_passing
from fsa_jax.corpus.shares import round_stars
from fsa_jax.corpus.tally import BENCHMARK, EXACT, NOT_ANALYSED, Tally
from fsa_jax.errors import UserError
from fsa_jax.progress import say, track

REVIEWS = 'reviews.jsonl'
SET_ASIDE = 'set_aside.jsonl'
_STEP = 2000  # reviews between two steps of the progress


def run(out: manifest.Output, config: ReviewsConfig) -> None:
    """Writes the sample and prints what became of every review."""
    if not config.path:
        raise UserError('ReviewsConfig.path is empty; expected a file or folder of reviews')
    dump = Dump(dump_files(config.path, 'ReviewsConfig.path'), config)
    out.read('reviews', config.path)
    benchmark, labeller, tally = _benchmark(out, config), _labeller(out, config), Tally()
    with tempfile.TemporaryFile(dir=out.folder) as file:
        candidates = Candidates(config, file)
        tally.there = candidates.there
        _read(out, dump, benchmark, labeller, candidates, tally)
        try:
            if not candidates.there:
                raise UserError(tally.nothing_left(config.path))
            if not any(stars for stars, _ in candidates.there):
                say('no ratings: reviews are drawn as they come, rating weights do not apply')
            drawn, tally.near = candidates.draw()
        except UserError:
            tally.show()
            raise
        tally.drawn = {cell: len(places) for cell, places in drawn.items()}
        tally.renamed = _write(out, candidates, in_order(drawn))
    tally.show()
    out.counts.update(tally.counts())


def _benchmark(out: manifest.Output, config: ReviewsConfig) -> Benchmark | None:
    if not config.benchmarks:
        say(
            'not decontaminated: name the benchmarks with ReviewsConfig.benchmarks or FSA_DATA_DIR, or '
            'what a student is tested on may be among what it learns from'
        )
        return None
    benchmark = read_benchmark(config.benchmarks)
    for number, path in enumerate(config.benchmarks):
        out.read(f'benchmarks/{number}', path)
    return benchmark


def _labeller(out: manifest.Output, config: ReviewsConfig) -> Labeller | None:
    """What tells implicit reviews, when a share of them is asked for; prints how good it is."""
    if config.implicit_share is None:
        return None
    quality = lab_quality(bool(config.implicit_from))
    source = 'an earlier analysis' if config.implicit_from else 'the cue score'
    say(
        f'implicit by {source}: precision {quality.precision:.2f}, recall {quality.recall:.2f} on a '
        f'held-out seed of the lab ({quality.implicit:,} of {quality.reviews:,} synthetic reviews are implicit)'
    )
    out.counts['implicit_labeller'] = {'source': source, **quality._asdict()}
    if config.implicit_from:
        return read_analyses(out.read('implicit_from', config.implicit_from))
    return by_cues


def _read(
    out: manifest.Output,
    dump: Dump,
    benchmark: Benchmark | None,
    labeller: Labeller | None,
    candidates: Candidates,
    tally: Tally,
) -> None:
    """One pass over the dump: what passes all filters goes to the candidates."""
    seen, dropped = Seen(dump.config.seed), tally.dropped
    with open(out.folder / SET_ASIDE, 'w', encoding='utf-8') as aside:
        for passed in _with_progress(read_passing(dump, dropped), dump):
            new = seen(passed.text)
            if new is None:
                dropped[EXACT] += 1
                continue
            priority, own = new
            if benchmark and (sentence := benchmark.find(own)):
                dropped[BENCHMARK] += 1
                record = {**vars(passed.review()), 'sentence': sentence}
                aside.write(json.dumps(record, ensure_ascii=False) + '\n')
                continue
            implicit = labeller(passed.text) if labeller else None
            if labeller and implicit is None:
                dropped[NOT_ANALYSED] += 1
                continue
            cell = (round_stars(passed.rating), implicit)
            if candidates.takes(cell, priority):
                candidates.add(cell, priority, passed.review())


def _with_progress(reviews: Iterator[Passed], dump: Dump) -> Iterator[Passed]:
    """The reviews; how far the dump is read is shown on the way."""
    position = 0
    with track('read', dump.bytes / 1e6, 'MB') as bar:
        for count, review in enumerate(reviews):
            if count % _STEP == 0:
                bar.update((dump.position - position) / 1e6)
                position = dump.position
            yield review
        bar.update((dump.bytes - position) / 1e6)


def _write(out: manifest.Output, candidates: Candidates, places: list[int]) -> int:
    """Writes the sample; an id that is there already gets a suffix. Returns how many got one."""
    ids: set[str] = set()
    renamed = 0
    with open(out.folder / REVIEWS, 'w', encoding='utf-8') as file:
        for place in places:
            review = candidates.at(place)
            own = review.id
            if own in ids:
                own = next(n for i in itertools.count(2) if (n := f'{review.id}#{i}') not in ids)
                review, renamed = dataclasses.replace(review, id=own), renamed + 1
            ids.add(own)
            file.write(records.to_json(review) + '\n')
    return renamed
