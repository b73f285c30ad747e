"""The README's prose: every figure here is put together from the stored tables and must stand in it word for word."""

import re

import pandas as pd
import pytest

from explain import method_choice
from explain.attribution import method_label
from explain.experiment_study import TURNED
from explain.trust import QUICK
from ser_core import session_study
from ser_core.numbers import signed, unsigned
from ser_core.results import RESULTS, by_variant, figures, labels_of, paired_change, read_summary
from ser_core.settings import ROOT
from ser_core.speaker_adaptation_study import ALONE, Given

BY_CLIP = "lightweight-heads-by-clip"
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def three(value: float) -> str:
    return f"{value:.3f}"


def change(value: float, low: float, high: float, digits: int = 3) -> str:
    """A change with its interval, as the pages write it; the README leaves plus signs out of the brackets."""
    return f"{signed(value, digits)} [{unsigned(low, digits)}, {unsigned(high, digits)}]"


def row(among: pd.DataFrame, /, **named: object) -> dict:
    for name, value in named.items():
        among = among[among[name] == value]
    (found,) = among.to_dict("records")
    return found


def says(words: str) -> None:
    assert words in README, f"the README does not say {words!r}"


def test_power_and_false_alarms() -> None:
    power = pd.read_csv(RESULTS / "power.csv")
    alarms = 100 * power[power["gap"] == 0]["any"]
    says(f"in {alarms.min():.1f} to {alarms.max():.1f} % of 1,000 runs")
    found = [row(power, first=a, second=b, gap=0.1)["alone"] for a, b in ((5, 5), (9, 9), (45, 46), (61, 7))]
    said = [f"{100 * each:.1f}".removesuffix(".0") if each > 0.99 else f"{100 * each:.0f}" for each in found]
    says(f"is found in {', '.join(said[:3])} and {said[3]} %")


def test_studies_of_the_systems() -> None:
    found = read_summary()
    mll = found[(found["table"] == "mll") & (found["measure"] == "UAR")].set_index("variant")
    plain, full, started = (
        mll.loc[name] for name in ("cross-entropy, mean of frames", "all of them (MLL)", "MLL, started from CREMA-D")
    )
    says(f"all parts UAR {three(full['value'])} [{three(full['low'])}, {three(full['high'])}]")
    moved = change(full["change"], full["change_low"], full["change_high"])
    says(f"cross-entropy alone {three(plain['value'])} ({moved})")
    moved = change(started["change"], started["change_low"], started["change_high"])
    says(f"started from CREMA-D {three(started['value'])} ({moved})")
    plain, *others = found[(found["table"] == "functionals-crema-d") & (found["measure"] == "UAR")].to_dict("records")
    says(f"eGeMAPS with logistic regression UAR {three(plain['value'])}")
    for other in others:
        says(f"{three(other['value'])} ({change(other['change'], other['change_low'], other['change_high'])})")
    crema = found[(found["table"] == "mll-crema") & (found["measure"] == "UAR")].set_index("variant")
    plain, full = (crema.loc[name] for name in ("cross-entropy, mean of frames", "attention and all losses"))
    moved = change(full["change"], full["change_low"], full["change_high"])
    says(f"{three(full['value'])}, cross-entropy alone {three(plain['value'])} ({moved})")
    shares = found[(found["table"] == "label-distribution") & (found["task"] == "crema_d")]
    for measure in ("KL", "cosine"):
        kept = row(shares, measure=measure)
        said = f"{three(kept['value'])} [{three(kept['low'])}, {three(kept['high'])}]"
        says(said)
        says(three(kept["baseline"]))
    heads = found[(found["table"] == "label-distributions") & (found["measure"] == "KL")].set_index("variant")
    plain = heads.loc["linear head, last layer (published)"]
    said = [f"{three(plain['value'])} [{three(plain['low'])}, {three(plain['high'])}], on all layers"]
    for variant in ("linear head, all layers", "hidden layer, all layers"):
        kept = heads.loc[variant]
        said.append(f"{three(kept['value'])} ({change(kept['change'], kept['change_low'], kept['change_high'])})")
    kept = heads.loc["hidden layer, smoothed votes"]
    moved = change(kept["change"], kept["change_low"], kept["change_high"])
    for words in (*said, f"bring it to {three(kept['value'])} ({moved})"):
        says(words)
    voted = found[(found["table"] == "emosphere-regions-voted") & (found["variant"] == "with octants at first")]
    voted = voted.set_index("measure")
    for dimension in ("valence", "arousal", "dominance"):
        says(f"{dimension} {three(voted.loc[f'CCC {dimension}', 'value'])}")
    gained = voted.loc["CCC dominance"]
    says(f"only the last gains by the octants, {change(gained['change'], gained['change_low'], gained['change_high'])}")
    after = row(found, table="co-vada", variant="after", measure="macro-F1")
    says(f"macro-F1 changes by {change(after['change'], after['change_low'], after['change_high']).lstrip('+')}")


def test_further_studies_of_the_systems() -> None:
    found = read_summary()
    rated = found[(found["table"] == "emosphere-regions") & (found["variant"] == "with octants at first")]
    valence, arousal, dominance = (row(rated, measure=f"CCC {name}") for name in ("valence", "arousal", "dominance"))
    moved = [change(each["change"], each["change_low"], each["change_high"]) for each in (valence, arousal, dominance)]
    says(f"CCC of valence {three(valence['value'])} [{three(valence['low'])}, {three(valence['high'])}] instead of")
    says(f"without them ({moved[0]}), arousal {three(arousal['value'])} ({moved[1]})")
    says(f"dominance {three(dominance['value'])} ({moved[2]})")
    fused = row(found, table="edge-late-fusion", variant="late fusion", measure="macro-F1")
    says(f"fusion adds {change(fused['change'], fused['change_low'], fused['change_high']).lstrip('+')} of macro-F1")
    full = row(found, table="mll-emodb", variant="all of them (MLL)", measure="UAR")
    moved = change(full["change"], full["change_low"], full["change_high"])
    says(f"On EMO-DB {three(full['value'])} [{three(full['low'])}, {three(full['high'])}], {moved} over cross-entropy")
    mater = found[(found["table"] == "mater-levels") & (found["measure"] == "UAR")].set_index("variant")
    whole, level, deaf = (
        mater.loc[name] for name in ("ensemble, weights from entropy", "embedding level", "ensemble, acoustic only")
    )
    says(f"the ensemble {three(whole['value'])} [{three(whole['low'])}, {three(whole['high'])}]")
    for each, words in ((level, "its embedding level alone"), (deaf, "without text")):
        says(f"{words} {three(each['value'])} ({change(each['change'], each['change_low'], each['change_high'])})")
    urdu = found[(found["table"] == "mater-levels-urdu") & (found["measure"] == "UAR")].set_index("variant")
    deaf, whole = urdu.loc["ensemble, acoustic only"], urdu.loc["ensemble, weights from entropy"]
    said = [f"{three(each['value'])} [{three(each['low'])}, {three(each['high'])}]" for each in (deaf, whole)]
    says(f"the voice alone UAR {said[0]}, with text {said[1]}")
    both = row(found, table="whisper-together", measure="UAR")
    says(f"together with tiny.en {three(both['value'])} [{three(both['low'])}, {three(both['high'])}]")


def test_other_encoders_on_ravdess() -> None:
    found = read_summary().query("table == 'mll-encoders' and measure == 'UAR'").set_index("variant")
    tiny, base, *_, best = (found.loc[name] for name in found.index)
    assert found["value"].idxmax() == best.name == "base, attentive head" and set(found["seeds"]) == {3}

    def moved(name: str) -> str:
        return change(*(found.loc[name, column] for column in ("change", "change_low", "change_high")))

    says(f"MLL on Whisper tiny.en {three(tiny['value'])} [{three(tiny['low'])}, {three(tiny['high'])}]")
    says(f"on base {three(base['value'])} ({moved('base, MLL')})")
    pair = [three(found.loc[f"{encoder}, means and deviations", "value"]) for encoder in ("tiny.en", "base")]
    says(f"{pair[0]} on tiny.en and {pair[1]} on base ({moved('base, means and deviations')})")
    said = f"{three(best['value'])} [{three(best['low'])}, {three(best['high'])}] ({moved(best.name)})"
    says(f"an attentive head {three(found.loc['tiny.en, attentive head', 'value'])} and {said}")
    says(f"still {0.85 - best['value']:.2f} short of 0.85")


def test_adapted_to_the_speaker() -> None:
    summary = read_summary()

    def told(model: str, measure: str = "UAR", task: str = "crema_d") -> pd.DataFrame:
        rows = summary[(summary["table"] == f"speaker-adaptation-{model}") & (summary["measure"] == measure)]
        return rows[rows["task"] == task].set_index("variant")

    def plain(found: pd.DataFrame, name: str) -> str:
        each = found.loc[name]
        return f"{three(each['value'])} [{three(each['low'])}, {three(each['high'])}]"

    def moved(found: pd.DataFrame, given: Given) -> str:
        each = found.loc[given.words]
        return f"{three(each['value'])} ({change(each['change'], each['change_low'], each['change_high'])})"

    some, many, uneven, neutral = Given(5, "any"), Given(20, "any"), Given(20, "uneven"), Given(10, "neutral")
    tiny, base = told("whisper-tiny-statistics"), told("whisper-base-statistics")
    says(f"UAR of Whisper tiny.en {plain(tiny, ALONE)} for one clip alone, {moved(tiny, some)} with 5 more clips")
    says(f"in any mood, {moved(tiny, many)} with 20, {moved(tiny, uneven)} where these are mostly in one or two moods")
    says(f"{moved(tiny, neutral)} with 10 neutral ones; base {plain(base, ALONE)}, {moved(base, some)}")
    says(f"{moved(base, many)}, {moved(base, uneven)} and {moved(base, neutral)}")
    pair = [moved(told(f"whisper-{name}-statistics", task="ravdess"), many) for name in ("tiny", "base")]
    says(f"20 clips in any mood bring tiny.en {pair[0]} and base {pair[1]}")
    pair = [moved(told(f"whisper-{name}-statistics", task="emodb"), many)[7:-1] for name in ("tiny", "base")]
    says(f"on EMO-DB nothing: {pair[0]} and {pair[1]}")
    most, accuracy = Given(40, "any").words, told("whisper-base-statistics", "WA")
    says(f"base alone reaches UAR {plain(base, most)} and accuracy {plain(accuracy, most)}")


def test_voices_told_apart() -> None:
    sessions = pd.read_csv(ROOT / "assets" / "voices" / "study.csv").dropna(subset=["session"])
    means = 100 * sessions.groupby(["voices", "corpus"]).mean(numeric_only=True)
    two = means.loc[2][["der_voices_given", "der_voices_given_collar", "der_one_voice"]].round().astype(int)
    cremad, ravdess, emotale = (tuple(two.loc[name]) for name in ("crema_d", "ravdess", "emotale"))
    says("diarisation error {} % on held-out CREMA-D actors ({} % with the usual 0.25 s collar;".format(*cremad[:2]))
    says("calling all one voice {} %), RAVDESS {} % ({} %; {} %), EmoTale".format(cremad[2], *ravdess))
    three_voices = means.loc[3]["der_voices_given"].round().astype(int)
    says("EmoTale {} % ({} %; {} %); three voices {} to {} %".format(*emotale, three_voices.min(), three_voices.max()))
    right = int((sessions["voices_estimated"] == sessions["voices"]).sum())
    says(f"their number estimated right in {right} of {len(sessions)}")


def test_each_voice_of_a_session_heard_first() -> None:
    summary = read_summary()

    def told(model: str, task: str) -> pd.DataFrame:
        rows = summary[(summary["table"] == f"session-adaptation-whisper-{model}-statistics")]
        return rows[(rows["task"] == task) & (rows["measure"] == "UAR")].set_index("variant")

    def alone(found: pd.DataFrame) -> str:
        each = found.loc[session_study.ALONE]
        return f"{three(each['value'])} [{three(each['low'])}, {three(each['high'])}]"

    def moved(found: pd.DataFrame, variant: str) -> str:
        each = found.loc[variant]
        return f"{three(each['value'])} ({change(each['change'], each['change_low'], each['change_high'])})"

    tiny, base = told("tiny", "crema_d"), told("base", "crema_d")
    after, cut = session_study.FOUND, session_study.CUT
    true = [three(found.loc[session_study.TRUE, "value"]) for found in (tiny, base)]
    says(f"Whisper tiny.en {alone(tiny)} for each stretch alone, {moved(tiny, after)} after all stretches of its voice")
    says(f"({true[0]} with the true voices); base {alone(base)} and {moved(base, after)} ({true[1]})")
    says(f"left around speech {moved(tiny, cut)} and {moved(base, cut)}")
    seven = []
    for model in ("tiny", "base"):
        rows = pd.read_parquet(RESULTS / f"session-adaptation-whisper-{model}-statistics.crema_d.parquet")
        odd = rows[rows["speaker"].str[-1].astype(int) % 2 == 1]
        assert (rows["speaker"].nunique(), odd["speaker"].nunique()) == (18, 7)
        found = by_variant(odd).query("measure == 'UAR'").set_index("variant")["value"]
        seven += [three(found[variant]) for variant in (after, session_study.TRUE)]
    says("the other seven alone: {} as told apart and {} with the true voices, base {} and {}.".format(*seven))
    tiny, base = told("tiny", "ravdess"), told("base", "ravdess")
    says(
        f"tiny.en {alone(tiny)} and {moved(tiny, after)}, base {alone(base)} and {moved(base, after)}; chance is 0.167"
    )


def test_speakers_on_both_sides_and_fine_tuned_folds() -> None:
    dealt = {name: pd.read_parquet(RESULTS / f"{name}.crema_d.parquet") for name in ("lightweight-heads", BY_CLIP)}
    for head, words in (("linear", "a linear head"), ("mlp", "a small network"), ("attentive", "attentive pooling")):
        before, after = (rows[rows["variant"].str.startswith(f"tiny.en, {head}")] for rows in dealt.values())
        found = paired_change(before, after)
        says(f"{three(found.value)} [{three(found.low)}, {three(found.high)}] with {words}")
    frozen, tuned = (
        pd.read_parquet(RESULTS / f"whisper-base-{name}.crema_d.parquet") for name in ("statistics", "tuned")
    )
    for fold in (0, 1):
        before, after = (rows[rows["fold"] == fold] for rows in (frozen, tuned))
        value = figures(after, "emotion", labels_of(after))["UAR"]
        says(f"{three(value.value)} [{three(value.low)}, {three(value.high)}] on fold {fold}")
        moved = paired_change(before, after)
        says(change(moved.value, moved.low, moved.high))


def test_converted_voices() -> None:
    found = pd.read_csv(RESULTS / "conversion.csv")
    changes = found[found["measure"].str.endswith(": change") & found["measure"].str.startswith("accuracy")]
    for backend in ("praat", "world"):
        resnet, plain = (
            row(changes, backend=backend, measure=f"accuracy of {model}: change")
            for model in ("log-mel-resnet", "egemaps-logistic")
        )
        for each in (resnet, plain):
            low, high = (unsigned(-100 * each[limit], 0) for limit in ("high", "low"))
            says(f"{-100 * each['value']:.0f} {'points ' if each is resnet else ''}[{low}, {high}]")


def test_noise_and_other_corpora() -> None:
    found = read_summary()
    noise = found[(found["table"] == "noise-robustness") & (found["measure"] == "UAR")]

    def measured(task: str, variant: str, condition: str = "clean") -> dict:
        return row(noise, task=task, variant=variant, condition=condition)

    def moved(each: dict, start: str = "change") -> str:
        return change(each[start], each[f"{start}_low"], each[f"{start}_high"])

    for task in ("ravdess", "emodb", "emotale"):
        plain, full = (measured(task, variant) for variant in ("frozen encoder", "EDRL-MEA"))
        words = f"{three(full['value'])} instead of {three(plain['value'])}, {moved(full)}"
        says(f"{words}; the alignment alone {moved(full, 'step')})")
    assert measured("urdu", "EDRL-MEA")["change_low"] < 0
    home = measured("crema_d", "EDRL-MEA", "clean, all clips")
    low, high = -home["step_high"], -home["step_low"]
    says(f"the alignment costs {three(-home['step'])} [{three(low)}, {three(high)}]")
    worst, plain = (measured("crema_d", variant, "stationary, 0 dB") for variant in ("EDRL-MEA", "frozen encoder"))
    says(f"stationary at 0 dB {three(worst['value'])} instead of {three(plain['value'])}, {moved(worst)}")
    full = noise[(noise["task"] == "crema_d") & (noise["variant"] == "EDRL-MEA")]
    assert (full["change_low"].dropna() < 0).all()  # nowhere clearly better
    tight = "frozen encoder, classifier held tighter"
    for task, words in (("ravdess", "on RAVDESS"), ("emodb", "on EMO-DB")):
        each = measured(task, tight)
        says(f"{three(each['value'])} {words} ({moved(each, 'step')}")
    babble = measured("crema_d", tight, "babble, 10 dB")
    says(f"({three(babble['value'])} at 10 dB, {moved(babble, 'step')})")
    home = measured("crema_d", tight, "clean, all clips")
    says(f"({three(home['value'])}, {moved(home)})")


def test_mater_knows_when_it_does_not_know() -> None:
    known = pd.read_csv(RESULTS / "uncertainty.csv")
    known = known[(known["study"] == "mater-levels") & known["variant"].str.startswith("ensemble, weights")]
    sure, unsure = (row(known, part=part) for part in (1, 4))
    for each, words in ((sure, "is right in"), (unsure, "the least sure in")):
        low, high = round(100 * each["low"]), round(100 * each["high"])
        says(f"{words} {round(100 * each['accuracy'])} %" + f" [{low}, {high}]")


def test_cross_corpus() -> None:
    from ser_core.crosscorpus import SYSTEMS, by_system, counted

    rows = pd.read_parquet(RESULTS / "cross-corpus.parquet")
    assert set(rows["system"]) == set(SYSTEMS)
    table = by_system(counted(rows))

    def found(system: str, normalised: bool = False, start: str = "away") -> str:
        each = row(table, normalised=normalised, system=system)
        return f"{three(each[start])} [{three(each[f'{start}_low'])}, {three(each[f'{start}_high'])}]"

    says(f"mean UAR of {table['cells'].iloc[0]} pairs away from home")
    attentive = found("whisper-tiny-attentive")
    says(f"attentive pooling {attentive} (at home {found('whisper-tiny-attentive', start='home')})")
    base, tiny = found("whisper-base-statistics"), found("whisper-tiny-statistics")
    says(f"statistics of base's layers {base}, of tiny.en's {tiny}, MLL {found('mll-crema-d')}")
    resnet = f"{found('log-mel-resnet')} (at home {found('log-mel-resnet', start='home')})"
    says(f"EDRL-MEA {found('edrl-mea')}, log-mel ResNet {resnet}")
    base, tiny = (found(f"whisper-{name}-statistics", normalised=True) for name in ("base", "tiny"))
    says(f"Normalising each speaker brings base {base}, tiny.en {tiny}, EDRL-MEA {found('edrl-mea', normalised=True)}")
    names = [name for name in SYSTEMS if name.startswith(("egemaps", "compare"))]
    for normalised, words in ((False, "eGeMAPS and ComParE"), (True, "functionals")):
        functionals = sorted(found(name, normalised) for name in names)
        says(f"{words} {functionals[0]} to {functionals[-1]}")
    for normalised, words in ((False, "tiny.en finds"), (True, "normalised")):
        says(f"{words} {found('whisper-tiny-statistics', normalised, 'clear')}")
    away = table[~table["normalised"]].sort_values("away", ascending=False)["system"].tolist()
    assert all(name.startswith(("whisper", "mll")) for name in away[:4])


def test_salient_cues() -> None:
    cues = pd.read_csv(RESULTS / "salient-cues.csv")
    for model, method, corpus in (
        ("egemaps-logistic", "occlusion", "crema_d"),
        ("log-mel-resnet", "grad_cam", "crema_d"),
        ("whisper-tiny-attentive", "grad_cam", "crema_d"),
        ("whisper-tiny-attentive", "input_x_gradient", "ravdess"),
        ("whisper-tiny-statistics", "input_x_gradient", "crema_d"),
    ):
        kept = row(cues, model=model, method=method, corpus=corpus, predicted="all", cue="all", answer="right")
        said = change(*(100 * kept[name] for name in ("excess", "low", "high")), digits=1)
        says(said.replace(" [", " points [") if model == "egemaps-logistic" else said)


def test_cues_that_turn_answers() -> None:
    measured = pd.read_csv(RESULTS / "experiments.csv")
    turned = measured[(measured["what"] == TURNED) & (measured["experiment"] == "loudness")]
    of = {each["model"]: each for each in turned.to_dict("records")}
    for model, words in (
        ("egemaps-logistic", " of the answers of eGeMAPS with logistic regression"),
        ("whisper-tiny-statistics", " of Whisper tiny.en's"),
        ("edge-fusion", " of the edge model's"),
    ):
        low, high = round(100 * of[model]["low"]), round(100 * of[model]["high"])
        says(f"{round(100 * of[model]['value'])} % [{low}, {high}]{words}")
    says(f"{round(100 * of['log-mel-resnet']['value'])} % of the log-mel ResNet's")


def test_explanations_that_pass() -> None:
    shares = method_choice.read_summary()
    own = shares[(shares["map"] == "own") & (shares["test"] == "all")]
    first = method_choice.passing_all(shares, "whisper-tiny-statistics")
    best = row(first, method=method_choice.default_method("whisper-tiny-statistics", "integrated_gradients"))

    def ends(found: pd.Series) -> str:
        return "{:.0f} % [{:.0f}, {:.0f}]".format(*(100 * found[name] for name in ("holds", "low", "high")))

    says(f"(the app's first model) {ends(best)} of {best['clips']} by {method_label(best['method'])}, ")
    next_ones = {round(100 * row(first, method=method)["holds"]) for method in ("integrated_gradients", "occlusion")}
    says(f"(the others, of 500: GradientSHAP {ends(row(first, method='gradient_shap'))}, ")
    says(f", Integrated Gradients and occlusion {next_ones.pop()} %, Saliency and Input × Gradient")
    assert not next_ones
    resnet = row(own, model="log-mel-resnet", method="deeplift")
    says(
        f"log-mel ResNet {round(100 * resnet['holds'])} % [{round(100 * resnet['low'])}, {round(100 * resnet['high'])}]"
    )
    edge = row(own, model="edge-fusion", holds=own.loc[own["model"] == "edge-fusion", "holds"].max())
    says(
        f"the edge model {round(100 * edge['holds'])} % [{round(100 * edge['low'])}, {round(100 * edge['high'])}] "
        f"({edge['method']})"
    )
    named = own[own["model"].str.startswith(("egemaps", "compare")) & (own["method"] != "occlusion")]["holds"]
    says(f"Named features: eGeMAPS and ComParE {round(100 * named.min())} to {round(100 * named.max())} %")
    in_time = own[own["method"] == "occlusion"].set_index("model")["holds"]
    egemaps, compare = (
        "{} to {} %".format(*sorted(round(100 * in_time[f"{of}-{kind}"]) for kind in ("logistic", "mlp")))
        for of in ("egemaps", "compare")
    )
    says(f"with occlusion over time eGeMAPS {egemaps}, ComParE {compare}")
    whisper = [name for name in set(own["model"]) if name.startswith(("whisper", "mll", "co-vada", "edrl"))]
    others = own[own["model"].isin([*whisper, "label-distribution", "emosphere-emotale"])]
    occluded = others[(others["method"] == "occlusion") & (others["model"] != "whisper-tiny-statistics")]
    attentive = others[others["model"] == "whisper-tiny-attentive"]
    most = attentive.sort_values("holds").iloc[-1]
    says(f"with attentive pooling {ends(most)} of {most['clips']} by {method_label(most['method'])}, ")
    rest = others[(others["method"] != "occlusion") & ~others["model"].str.startswith("whisper-tiny")]["holds"]
    says(f"other networks on Whisper {round(100 * rest.min())} to {round(100 * rest.max())} % of 100,")
    assert len(occluded) == 9 and set(occluded["clips"]) == {100}
    chance = shares[(shares["map"] == method_choice.DESTROYED) & (shares["test"] == "all")]
    chance = chance[(chance["method"] == "occlusion") & chance["model"].isin(occluded["model"])]["holds"]
    mater = shares[(shares["model"] == "mater") & (shares["test"] == "all")]
    low, high, least, most = (
        round(100 * end)
        for of in ("own", method_choice.DESTROYED)
        for end in mater.loc[(mater["map"] == of) & (mater["method"] != "occlusion"), "holds"].agg(["min", "max"])
    )
    by_time = row(mater, map="own", method="occlusion")
    share, ends_of_it = round(100 * by_time["holds"]), [round(100 * by_time[end]) for end in ("low", "high")]
    lost = round(100 * row(mater, map=method_choice.DESTROYED, method="occlusion")["holds"])
    says(f"of 60), with occlusion over time {share} % {ends_of_it} ({lost} %)")
    says(
        f"MATER’s words and levels {low} to {high} % "
        f"(of the same model with shuffled weights {least} to {most} % of 60)"
    )
    low, high = (round(100 * each) for each in (occluded["holds"].min(), occluded["holds"].max()))
    says(f"occlusion of nine of these networks {low} to {high} % of 100 (")
    says(f"with shuffled weights {round(100 * chance.min())} to {round(100 * chance.max())} % of 60)")
    destroyed = set(shares.loc[shares["map"] == method_choice.DESTROYED, "test"]) - {method_choice.ALL}
    assert destroyed == {"deletion", "insertion"}
    says("those of shuffled weights are put to two of the three, deletion and insertion")


def test_explanations_in_the_further_tests() -> None:
    shares = method_choice.read_summary()
    own = shares[(shares["map"] == "own") & ~shares["test"].isin([*QUICK, "all"])]
    assert set(own.loc[own["test"] == "infidelity", "clips"]) == {100}
    tiny, named = own[own["model"] == "whisper-tiny-statistics"], own["model"].str.startswith(("egemaps", "compare"))

    def ends(rows: pd.DataFrame) -> str:
        return f"{round(100 * rows['holds'].min())} to {round(100 * rows['holds'].max())} %"

    unheard = tiny[tiny["test"].isin(["sensitivity", "stability under a shift", "stability under re-encoding"])]
    says(f"Of Whisper tiny.en, frozen, {ends(unheard)} of maps stay alike under noise that nobody hears, a shift")
    says(f"but {ends(tiny[tiny['test'] == 'infidelity'])} foretell what removals do (infidelity)")
    among = tiny["test"].isin([f"agreement with {method}" for method in ("GradientSHAP", "Input × Gradient")])
    occluded = tiny[tiny["test"] == "agreement with Occlusion"]
    says(f"gradients agree with one another in {ends(tiny[among])}, with occlusion in {ends(occluded)}.")
    named &= own["method"] != "occlusion"
    says(f"Named features of eGeMAPS and ComParE hold in {ends(own[named])} of each test")
    missing = len(set(shares["model"])) - own["model"].nunique()
    over_spectrogram = own[~own["model"].str.startswith(("egemaps", "compare", "mater"))]
    assert not set(over_spectrogram["method"]) & {"shapley_boxes", "occlusion"}
    says(
        f"For {missing} of {shares['model'].nunique()} models, and for Shapley values and occlusion over the "
        "spectrogram, they have not been run yet"
    )


def test_warnings_outside_the_training() -> None:
    told = pd.read_csv(RESULTS / "domain.csv")
    told = told[told["model"].isna()]
    shares = {(each["group"], each["warning"]): round(100 * each["share"]) for each in told.to_dict("records")}
    for group, words in (("EMO-DB (de)", "German"), ("EmoTale (da)", "Danish"), ("URDU-Dataset (ur)", "Urdu")):
        says(f"{words} {shares[group, 'language']} %")
    says(f"0 dB noise {shares['environment 0', 'any']} %")
    held = row(told, group="held out, test speakers", warning="any")
    low, high = round(100 * held["low"]), round(100 * held["high"])
    says(f"false alarms {round(100 * held['share'])} % [{low}, {high}] of held-out CREMA-D")
    child = row(told, group="EmoTale, children aged 9 to 12", warning="any")
    figures = f"{round(100 * child['share'])} % [{round(100 * child['low'])}, {round(100 * child['high'])}]"
    says(f"children of 9 to 12 only {figures} without language, of {child['speakers']} speakers, too few to say more")
    for group in ("telephone 4.75", "clipping 10", "repeated 2", "repeated 3"):
        assert (shares[group, "any"], row(told, group=group, warning="any")["clips"]) == (100, 19)
    says("telephone, 10 % clipped, said two or three times | 19 of 19 each")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`python -m (ser_core|explain) ([\w-]+)", README))))
def test_every_command_that_the_readme_names_is_there(command: tuple[str, str]) -> None:
    import importlib

    package, name = command
    text = (ROOT / package / "__main__.py").read_text(encoding="utf-8")
    assert f'"{name}"' in text or importlib.util.find_spec(f"{package}.{name}") is not None
