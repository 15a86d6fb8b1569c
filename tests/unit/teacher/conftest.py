"""A small lab, its reviews as `fsa sample` would leave them, and a run of the stage."""

import pytest

from fsa_jax import configs as c
from fsa_jax import stages
from fsa_jax.lab.world import World
from fsa_jax.records import Review, write_jsonl

LAB = c.LabConfig(corpus_reviews=30)


@pytest.fixture(scope='session')
def lab_reviews(tmp_path_factory):
    """reviews.jsonl with 60 reviews of the lab's world."""
    folder = tmp_path_factory.mktemp('reviews')
    world = World(LAB)
    reviews = [
        Review(f'{domain}-{n}', text.text, domain, float(text.stars))
        for domain in ('restaurant', 'laptop')
        for n, text in enumerate(world.reviews(domain, LAB.corpus_reviews))
    ]
    write_jsonl(folder / 'reviews.jsonl', reviews)
    return folder


def teach(output, **knobs):
    """Runs the stage; `knobs` by field name, of whatever class has it."""
    classes = (c.TeacherConfig, c.SamplingConfig, c.PromptConfig, c.VLLMConfig, c.ServerConfig)
    configs = [
        cls(**{name: value for name, value in knobs.items() if name in cls.__dataclass_fields__})
        for cls in classes
    ]
    stages.run('teach', [*configs, LAB], output)
    return output


def content(folder):
    """The bytes of every part file and of what is set aside, by path."""
    files = [*folder.glob('part-*'), *folder.glob('set_aside/*')]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
