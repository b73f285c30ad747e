"""Whether an explanation is true of the model: tests with a chance level, each with a plain verdict.

Faithfulness is tested by taking cells of the clip away, sanity by destroying the model, stability by changes that
nobody hears. Whether an expert finds the map plausible is another question and is not asked here.

Every verdict is decided by a null that is drawn for this clip, model and method, never by a number from elsewhere:

- *deletion*, *insertion*: the same boxes at random places (turned round the clip's speech in time, rolled in
  frequency). Holds: more effect than 95 % of them; weak: more than 80 %.
- *infidelity* (Yeh et al. 2019): how well the map foretells what removing random boxes does; the null is the same map
  turned in time.
- *randomised weights* (Adebayo et al. 2018): the map of the destroyed model must be as unlike the map as an unrelated
  one: its rank correlation lies below the 95th percentile of the map's with itself turned in time.
- *sensitivity* (Yeh et al. 2019): inaudible noise moves the map by less of its size than 95 % of unrelated maps differ.
- *stability*: after a shift of 5 ms and after re-encoding the map is more alike than 95 % of unrelated ones.
- *agreement*: another method's salient regions overlap these more than 95 % of the same shapes at random places.

Unrelated maps are the map itself turned in time by a tenth of the clip or more: they keep its frequencies and its
peakedness. The random places of deletion and insertion are rolled over the bands as well, so that a map which merely
follows the spectrum of speech passes these two more often than one in twenty: by how much, the maps of destroyed models
say in :mod:`explain.trust_study`. Of an explanation over named
features the same is asked of features instead of regions (:mod:`explain.named_features`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from explain.attribution import Attribution, Target, attribute, feature_masking, masking
from explain.map_changes import agreement_tests, randomised_weights, stability_tests, unrelated
from explain.named_features import feature_agreement, feature_infidelity, feature_tests
from explain.regions import Region, salient_regions
from explain.removal import Curve, infidelity_test, region_tests
from explain.verdicts import FAILS, HOLDS, UNDECIDED, WEAK, Test
from ser_core.audio import Recording
from ser_core.models import SpeechModel
from ser_core.speech import Segment

QUICK = ("deletion", "insertion", "randomised weights")

Progress = Callable[[float, str], None]
Further = tuple[float, str, Callable[[np.ndarray], tuple[Test, ...]]]
"""The share of the panel that is done before a group of tests, what it does, and the tests, given the map's turns."""


@dataclass(frozen=True, eq=False)
class Trust:
    """The tests of one explanation, its curves, and the verdict of all.

    ``of`` says what was taken away; ``complete`` is False while tests are to come.
    """

    model: str
    method: str
    target: Target
    tests: tuple[Test, ...]
    curves: tuple[Curve, ...]
    of: str = "regions"
    complete: bool = True

    @property
    def chance(self) -> str:
        """What the salient regions or features are set against."""
        return "the same shapes at random places" if self.of == "regions" else f"as many {self.of} drawn at random"

    @property
    def reading(self) -> str:
        """How to read the curves."""
        of = self.target.name if self.target.direction is None else self.target.emotion
        return (
            f"The {self.target.unit} of {of} as its salient {self.of} are taken away one after another, "
            f"or are all that is left. Grey: {self.chance}, mean and range of five draws."
        )

    @property
    def verdict(self) -> str:
        """Return the verdict of all tests together.

        "fails" where a test of faithfulness (deletion, insertion, randomised weights) fails; "weak" where such a test
        is weak or another test fails; "cannot be decided" where such a test could not be; else "holds".
        """
        return self._decision()[0]

    @property
    def sentence(self) -> str:
        """The verdict in words, with the test that decided it, and how far the tests are where more are to come."""
        verdict, test = self._decision()
        rest = [each for each in self.tests if each.name not in QUICK]
        if test is not None and verdict == UNDECIDED:
            said = f"Whether this explanation holds cannot be decided: {test.words}"
        elif test is not None:
            said = f"This explanation {verdict if verdict != WEAK else 'is weak'}: {test.words}"
        elif verdict == UNDECIDED:
            said = "No test could be decided for this explanation."
        else:
            others = {name: [each.name for each in self.tests if each.verdict == name] for name in (WEAK, UNDECIDED)}
            apart = [f"{name}: {', '.join(which)}" for name, which in others.items() if which]
            quick = self.complete and not rest
            all_hold = "Every test of faithfulness holds; no further one was asked." if quick else "Every test holds."
            said = f"Every test of faithfulness holds; {'; '.join(apart)}." if apart else all_hold
        return said if self.complete else f"After {len(self.tests)} tests, with more to come: {said}"

    def _decision(self) -> tuple[str, Test | None]:
        core = [test for test in self.tests if test.name in QUICK]
        rest = [test for test in self.tests if test.name not in QUICK]
        for verdict, found in (
            (FAILS, [test for test in core if test.verdict == FAILS]),
            (WEAK, [test for test in core if test.verdict == WEAK] + [test for test in rest if test.verdict == FAILS]),
            (UNDECIDED, [test for test in core if test.verdict == UNDECIDED]),
        ):
            if found:
                return verdict, found[0]
        return (HOLDS if core else UNDECIDED), None


def trust(
    model: SpeechModel,
    recording: Recording,
    attribution: Attribution,
    speech: Sequence[Segment] = (),
    *,
    regions: Sequence[Region] | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    known: Callable[[Trust], None] | None = None,
) -> Trust:
    """Return the tests of one explanation.

    Args:
        model: the explained model.
        recording: the explained clip.
        attribution: its explanation.
        speech: stretches of speech, round which boxes are turned; the whole clip where there are none.
        regions: its salient regions; found here where they are not given.
        quick: only deletion, insertion and randomised weights.
        seed: of every draw.
        progress: told the share done (0 … 1) and what is being done.
        known: given what is known so far, after each group of tests.
    """
    tell = progress or (lambda share, words: None)
    random = np.random.default_rng(seed)
    of = "features" if attribution.axes == "features" else "regions"
    tell(0.0, f"Taking the salient {of} away")
    removals, further = _tests_of(model, recording, attribution, speech, regions, random, seed)
    tests, curves = removals()

    def so_far(share: float, words: str) -> Trust:
        found = Trust(model.name, attribution.method, attribution.target, tests, curves, of, complete=share >= 1)
        if known is not None:
            known(found)
        tell(share, words)
        return found

    so_far(0.4 if quick else 0.15, "Destroying the model")
    turned = unrelated(attribution, random)
    tests += (randomised_weights(model, recording, attribution, turned, seed),)
    for share, words, more in () if quick else further:
        so_far(share, words)
        tests += more(turned)
    return so_far(1.0, "Done")


def further_tests(
    model: SpeechModel,
    recording: Recording,
    attribution: Attribution,
    speech: Sequence[Segment] = (),
    seed: int = 0,
    by_method: Callable[[str], Attribution] | None = None,
) -> tuple[Test, ...]:
    """Return the tests of :func:`trust` that are not ``QUICK``: infidelity, sensitivity, stability and agreement.

    ``by_method`` gives another method's explanation of the same clip and target where it is at hand.
    """
    random = np.random.default_rng(seed)
    turned = unrelated(attribution, random)
    _, further = _tests_of(model, recording, attribution, speech, None, random, seed, by_method)
    return tuple(test for _, _, more in further for test in more(turned))


def _tests_of(
    model: SpeechModel,
    recording: Recording,
    attribution: Attribution,
    speech: Sequence[Segment],
    regions: Sequence[Region] | None,
    random: np.random.Generator,
    seed: int,
    by_method: Callable[[str], Attribution] | None = None,
) -> tuple[Callable[[], tuple[tuple[Test, ...], tuple[Curve, ...]]], tuple[Further, ...]]:
    """Return deletion and insertion of what the explanation has, features or regions, and the further tests."""
    removals: Callable[[], tuple[tuple[Test, ...], tuple[Curve, ...]]]
    foretells: Callable[[], Test]
    agrees: Callable[[], tuple[Test, ...]]
    by_method = by_method or partial(attribute, model, recording, attribution.target)
    if attribution.axes == "features":
        logits = feature_masking(model, recording, attribution.target)
        removals = partial(
            feature_tests,
            logits,
            attribution.relevance,
            random,
            unit=attribution.target.unit,
            sign=attribution.target.sign,
        )
        foretells = partial(feature_infidelity, logits, attribution.relevance, random, attribution.target.unit)
        agrees = partial(feature_agreement, model, by_method, attribution, random)
    else:
        regions = salient_regions(attribution) if regions is None else tuple(regions)
        cells = masking(model, recording, attribution.target, seed=seed)
        removals = partial(region_tests, cells, regions, speech, random)
        foretells = partial(infidelity_test, cells, attribution, random)
        agrees = partial(agreement_tests, model, by_method, attribution, cells, regions, speech, random)
    return removals, (
        (0.3, "Asking whether it foretells removals", lambda turned: (foretells(),)),
        (
            0.4,
            "Changing what nobody hears",
            lambda turned: stability_tests(model, recording, attribution, turned, seed),
        ),
        (0.75, "Asking other methods", lambda turned: agrees()),
    )
