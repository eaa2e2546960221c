"""Who varies texts: consumes a name from the configuration, produces an Augmenter.

Two are built in, `eda` and `synonyms`. Others are plug-ins: a package that declares an entry point in the
group `headrace.augmenters` whose object is a callable `(base: str) -> Augmenter`, where `base` is the
configured base model. `back_translation` is the name for one that translates there and back (R. Sennrich,
B. Haddow and A. Birch, "Improving neural machine translation models with monolingual data", ACL 2016); it
needs translation models, so none comes with Headrace.

    [project.entry-points."headrace.augmenters"]
    back_translation = "mypackage.translate:BackTranslation"
"""

import random
from importlib.metadata import entry_points
from typing import Final, Protocol

from schemas.errors import Fatal
from trainers.augmentation.eda import Eda
from trainers.augmentation.synonyms import Synonyms

GROUP: Final = "headrace.augmenters"
BUILT_IN: Final = ("eda", "synonyms")


class Augmenter(Protocol):
    """Varies a text so that its label still holds."""

    def vary(self, text: str, chance: random.Random) -> str:
        """Return a variant; the same one for the same state of `chance`. The text itself if it has none."""
        ...


def augmenter(name: str, base: str) -> Augmenter:
    """Return the augmenter of a name.

    Raises:
        Fatal: it is not installed, or cannot be made here; the message says what is there and what to do.
    """
    if name == "eda":
        return Eda()
    if name == "synonyms":
        return Synonyms.of(base)
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    if name not in plugins:
        there = ", ".join((*BUILT_IN, *sorted(plugins)))
        raise Fatal(
            f"augment_with = {name!r} is not installed; there are: {there}. Install a package with an entry"
            f" point {name!r} in the group {GROUP!r} where the trainer runs, or choose another"
        )
    try:
        made: Augmenter = plugins[name].load()(base)
    except Exception as error:  # a plug-in's own trouble, whatever it is
        raise Fatal(
            f"augment_with = {name!r} ({plugins[name].value}) does not start: {type(error).__name__}: {error}"
        ) from error
    return made
