"""The lab's scripted teacher as an engine: it knows the reviews of its world, and errs on purpose."""

from collections.abc import Iterable, Iterator
from random import Random

from fsa_jax.configs import LabConfig
from fsa_jax.lab.teacher import Teacher
from fsa_jax.lab.world import DOMAINS, World
from fsa_jax.teacher.engine import Answer, Request


class ScriptedEngine:
    """Answers by what is true of a review; wording and mistakes are drawn by the request's seed."""

    teacher = 'scripted'

    def __init__(self, lab: LabConfig):
        self.lab = lab
        world = World(lab)
        self._known = {
            text.text: (domain, text)
            for domain in DOMAINS
            for text in world.reviews(domain, lab.corpus_reviews)
        }

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """One answer after the other; a review of another world is refused."""
        for request in requests:
            yield request, self._answer(request)

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, request: Request) -> Answer:
        if request.review.text not in self._known:
            return Answer(refused='not_in_the_lab', detail='no such review with this LabConfig')
        domain, text = self._known[request.review.text]
        teacher = Teacher(self.lab, DOMAINS[domain], Random(request.seed))
        output, mistakes = teacher.answer(request.prompt.kind, text)
        cut = any(mistake.detail == 'cut' for mistake in mistakes if mistake.kind == 'malformed')
        return Answer(output, 'length' if cut else 'stop', output_tokens=len(output.split()))
