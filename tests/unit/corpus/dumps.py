"""Made reviews in the forms of published dumps."""

import json
import random

NOUNS = [
    'soup',
    'waiter',
    'table',
    'bill',
    'screen',
    'hinge',
    'charger',
    'room',
    'shower',
    'garden',
    'queue',
    'menu',
    'coffee',
]
VERBS = [
    'arrived',
    'broke',
    'cost',
    'filled',
    'helped',
    'lasted',
    'moved',
    'opened',
    'rattled',
    'turned',
    'stayed',
    'worked',
]
STARS = random.Random(1).choices([1.0, 2.0, 3.0, 4.0, 5.0], [12, 10, 14, 28, 36], k=100_000)


def text(number: int, length: int = 20) -> str:
    """A text of `length` words, the same for the same number and unlike any other."""
    rng = random.Random(number)
    return ' '.join(f'{rng.choice(NOUNS)} {rng.choice(VERBS)}' for _ in range(length // 2))


def yelp(number: int, **fields) -> dict:
    """A record as in Yelp's academic data set."""
    return {
        'review_id': f'r{number}', 'user_id': 'u', 'business_id': 'b', 'stars': STARS[number],
        'useful': 0, 'text': text(number), 'date': '2018-07-07 22:09:11', **fields,
    }  # fmt: skip


def amazon_2018(number: int, **fields) -> dict:
    """A record of the Amazon dumps of 2014 and 2018."""
    return {
        'overall': STARS[number], 'reviewerID': f'A{number}', 'asin': 'B0', 'unixReviewTime': 13,
        'reviewText': text(number), 'summary': 'so so', **fields,
    }  # fmt: skip


def amazon_2023(number: int, **fields) -> dict:
    """A record of the Amazon dump of 2023."""
    return {
        'rating': STARS[number], 'title': 'So so', 'text': text(number), 'images': [], 'asin': 'B0',
        'user_id': f'A{number}', 'timestamp': 158, **fields,
    }  # fmt: skip


def lines(records) -> bytes:
    """Records as JSON lines."""
    return ''.join(json.dumps(record) + '\n' for record in records).encode()
