"""Counts in words."""


def people_in_words(count: int) -> str:
    """So many people, in words.

    >>> people_in_words(1), people_in_words(1_200)
    ('1 person', '1,200 people')
    """
    return f"{count:,} {'person' if count == 1 else 'people'}"
