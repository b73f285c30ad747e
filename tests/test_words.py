"""The paragraph in plain words says what the explanation holds, and nothing else."""

import re
from dataclasses import replace

import pytest
from explanations import example_explanation

from explain.expert import Agreement
from explain.paragraph import paragraph
from explain.regions import Region

LAST = "This describes how the model decided, not what the speaker felt."


def sentences(text):
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text)


def row(emotion, cue, percentile, expected, status, scope="clip"):
    return Agreement(emotion, cue, scope, 1.0, "st", percentile, "usual", expected, status, "source")


def told(*rows, **changes):
    return paragraph(replace(example_explanation(), agreements=rows, **changes))


def test_the_whole_paragraph_of_the_example():
    assert sentences(paragraph(example_explanation())) == [
        "Example network on log-mel answers anger with a probability of 67 %; the runner-up is disgust with 22 % "
        "(17 % by chance).",
        "Of the relevance that speaks for anger, 67 % lies in 3 salient regions; the strongest is 1.00 to 1.22 s, "
        "2000 to 3400 Hz.",
        "In these regions together, against the rest of the speech in the clip and beyond chance, pitch level is "
        "higher by 0.994 st.",
        "Set against neutral speech of others, for anger 2 of 3 cues of the clip move as experts expect (1 more "
        "contested among experts): most clearly pitch level (percentile 91) and pitch slope (percentile 70), while "
        "pitch range (percentile 55) does not.",
        "For disgust, 2 of 3 cues of the clip move as experts expect (1 more contested among experts); the same cues "
        "fit both, so these cues do not separate anger from disgust.",
        LAST,
    ]


KINDS = (
    {},
    {"axes": "time"},
    {"axes": "features"},
    {"region_count": 0},
    {"region_count": 1},
    {"region_count": 7},
    {"speechless": True},
    {"against": "fear"},
    {"emotions": ("joy", "neutral")},
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_number_is_one_of_the_explanations_and_six_sentences_are_enough(kind):
    e = example_explanation(**kind)
    text = paragraph(e)
    assert len(sentences(text)) <= 6
    assert text.endswith(LAST)
    p = e.prediction
    shares = [p.probability(p.top), p.probability(p.runner_up), 1 / len(p.emotions), sum(r.share for r in e.regions)]
    rows = [a for a in e.agreements if a.scope == "clip"]
    figures = {f"{100 * share:.0f}" for share in shares}
    figures |= {f"{t:.2f}" for r in e.regions for t in (r.start_s, r.end_s)} | {str(len(e.regions))}
    figures |= {f"{hz:.0f}" for r in e.regions for hz in (r.low_hz, r.high_hz) if hz is not None}
    figures |= {f"{abs(c.difference):.3g}" for c in e.cues.contrasts if c.difference and c.scope == "all regions"}
    figures |= {f"{a.percentile:.0f}" for a in rows if a.percentile is not None}
    of_top = [a.status for a in rows if a.emotion == p.top]
    figures |= {str(of_top.count(status)) for status in ("agrees", "contested")}
    figures |= {str(of_top.count("agrees") + of_top.count("disagrees"))}
    for name in e.attribution.feature_names or ():
        text = re.sub(rf"{re.escape(name)}(?!\d)", "", text)
    assert set(re.findall(r"\d+(?:\.\d+)?", text)) <= figures


def test_without_bands_no_hertz_are_told():
    text = paragraph(example_explanation(axes="time"))
    assert "the strongest is 1.00 to 1.22 s." in text
    assert "Hz" not in text


def test_features_are_named_without_a_time():
    e = example_explanation(axes="features")
    text = paragraph(e)
    strongest = e.attribution.feature_names[int(e.attribution.relevance.argmax())]
    assert f"What speaks most for anger are {strongest}, " in text
    assert "says nothing about time" in text
    assert "beyond chance" not in text


def test_no_region_and_no_speech_are_said():
    assert "No part of the clip stands out as evidence for anger." in paragraph(example_explanation(region_count=0))
    text = paragraph(example_explanation(speechless=True))
    assert "No speech was found" in text
    assert "experts" not in text
    assert "beyond chance" not in text


def test_a_place_chosen_by_hand_is_not_told_as_the_models():
    own = (Region(1, 0.5, 0.9, None, None, 0.1),)
    text = paragraph(replace(example_explanation(region_count=1), regions=own, region_rule="yours"))
    assert "chosen by hand (0.50 to 0.90 s)" in text
    assert "salient" not in text


def test_a_method_without_sign_speaks_for_nothing():
    e = example_explanation()
    text = paragraph(replace(e, attribution=replace(e.attribution, signed=False)))
    assert "relevance that matters for anger" in text
    assert "speaks for" not in text


@pytest.mark.parametrize(
    ("p_corrected", "words"),
    [
        (0.2, "No cue differs in these regions together from"),
        (None, "too little speech to tell"),
        (0.01, "beyond chance, pitch level"),
    ],
)
def test_a_contrast_is_told_only_beyond_chance(p_corrected, words):
    e = example_explanation()
    first = next(c for c in e.cues.contrasts if c.cue == "f0_mean" and c.scope == "all regions")
    cues = replace(e.cues, contrasts=(replace(first, p_corrected=p_corrected),))
    assert words in paragraph(replace(e, cues=cues))


def test_of_one_region_nothing_is_told_together():
    e = example_explanation()
    text = paragraph(replace(e, regions=e.regions[:1]))
    assert "lies in one salient region" in text and "In it, against the rest of the speech" in text


def test_cues_that_fit_both_are_named_as_not_separating():
    text = told(
        row("anger", "f0_mean", 95.0, "high", "agrees"),
        row("anger", "hf_energy", 88.0, "high", "agrees"),
        row("disgust", "f0_mean", 95.0, "high", "agrees"),
        row("disgust", "hf_energy", 88.0, "low", "disagrees"),
    )
    assert "pitch level fits both and does not separate anger from disgust" in text
    assert "the same cues" not in text


def test_nothing_is_called_shared_where_no_cue_fits_both():
    text = told(
        row("anger", "f0_mean", 95.0, "high", "agrees"),
        row("disgust", "f0_mean", 95.0, "low", "disagrees"),
    )
    assert "separate" not in text
    assert "For disgust, 0 of 1 cues" in text


def test_the_most_telling_three_come_first():
    high = {"f0_mean": 82.0, "f0_variability": 99.0, "hf_energy": 90.0, "speech_rate": 85.0}
    low = {"pauses": 30.0, "jitter": 2.0, "f1_mean": 79.0}
    text = told(
        *(row("anger", cue, percentile, "high", "agrees") for cue, percentile in high.items()),
        *(row("anger", cue, percentile, "high", "disagrees") for cue, percentile in low.items()),
    )
    assert (
        "most clearly pitch range (percentile 99), high-frequency energy (percentile 90) and speech rate "
        "(percentile 85), while jitter (percentile 2), pauses (percentile 30) and F1 (percentile 79) do not"
    ) in text
    assert "percentile 82" not in text


def test_an_emotion_without_expectations_gets_no_count():
    text = told(
        row("anger", "f0_mean", 50.0, None, "no expectation"),
        row("disgust", "f0_mean", 50.0, "high", "disagrees"),
    )
    assert "for anger nothing measured can be held against an expectation." in text
    none = told(row("anger", "f0_mean", 50.0, None, "no expectation"))
    assert "cannot be held against this clip, neither for anger nor for disgust" in none


def test_salient_regions_alone_never_enter_the_count_of_the_clip():
    assert "neither for anger" in told(row("anger", "f0_mean", 99.0, "high", "agrees", scope="salient regions"))
