"""How listeners split and what models expect of it, as charts and tables."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from pages.parts.charts import COLOURS, GREY, Rows, chart, layout, tabled
from pages.parts.predictions import corpora_at_hand
from pages.parts.words import measure
from ser_core.metrics import Interval
from ser_core.numbers import percent, rounded_percent, signed, unsigned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

BINS = (0.0, 0.001, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.001)
"""Edges of the listeners' share; the first bin is nobody, the last nearly all."""
MIXTURES = 6
LETTERS = {"c": "Cantonese", "e": "English", "m": "Mandarin"}
"""EM2LDL's code of the languages that a clip mixes."""
SHOWN = 1_500
"""Points that a map shows at most, drawn by a fixed seed."""


def shared_labels(rows: "pd.DataFrame") -> list[str]:
    """Return the emotions of which both the listeners' and the model's share are known."""
    return [name[2:] for name in map(str, rows) if name.startswith("p_") and f"share_{name[2:]}" in rows]


def judged_by_several(rows: "pd.DataFrame") -> bool:
    """Return whether the listeners of some clip were not of one mind over the labels that the model has, too."""
    heard = rows[[f"share_{label}" for label in shared_labels(rows)]]
    return heard.shape[1] > 2 and bool(heard.max(axis=1).between(0.01, 0.99).any())


def both(rows: "pd.DataFrame", labels: "list[str]") -> "tuple[np.ndarray, np.ndarray]":
    """Return listeners' and predicted shares (clips, labels) over these labels, each summing to 1."""
    heard = rows[[f"share_{label}" for label in labels]].to_numpy(dtype=float)
    expected = rows[[f"p_{label}" for label in labels]].to_numpy(dtype=float)
    return heard / heard.sum(1, keepdims=True), expected / expected.sum(1, keepdims=True)


def heard_rows(rows: "pd.DataFrame", labels: "list[str]") -> "pd.DataFrame":
    """Return the clips that listeners have judged, with their and the model's entropy in bits."""
    known = rows[rows[[f"share_{label}" for label in labels]].sum(axis=1) > 0].reset_index(drop=True)
    heard, expected = both(known, labels)
    return known.assign(heard_bits=_bits(heard), expected_bits=_bits(expected))


def figures(rows: "pd.DataFrame", labels: "list[str]") -> "dict[str, Interval]":
    """Return the measures of a predicted distribution, with the constant as their baseline."""
    from ser_core.distributions import evaluate_distributions

    heard, expected = both(rows, labels)
    return evaluate_distributions(heard, expected, rows["speaker"].tolist())


def compared(found: "dict[str, Interval]") -> "pd.DataFrame":
    """Return the measures as rows: measure, value, constant, uniform, gained (on the constant), with their limits."""
    import pandas as pd

    from ser_core.distributions import MEASURES

    rows = []
    for name in MEASURES:
        m, gain = found[name], found.get(f"{name} gained on the constant", Interval(math.nan, math.nan, math.nan))
        rows.append(
            {"measure": name, "value": m.value, "low": m.low, "high": m.high}
            | {"constant": m.baseline, "uniform": m.chance}
            | {"gained": gain.value, "gained_low": gain.low, "gained_high": gain.high}
        )
    return pd.DataFrame(rows)


def figures_table(data: "pd.DataFrame") -> Rows:
    """Return the measures with the constant and the uniform answer beside them."""
    from ser_core.distributions import HIGHER_IS_BETTER

    lines = ""
    for row in data.itertuples():
        better = "higher is better" if row.measure in HIGHER_IS_BETTER else "lower is better"
        gained = f"<strong>{signed(row.gained, 3)}</strong> [{signed(row.gained_low, 3)}, {signed(row.gained_high, 3)}]"
        lines += (
            f'<tr><th scope="row">{measure(row.measure)} <small>({better})</small></th>'
            f"<td><strong>{row.value:.3f}</strong> [{unsigned(row.low, 3)}, {unsigned(row.high, 3)}]</td>"
            f"<td>{row.constant:.3f}</td>"
            f"<td>{row.uniform:.3f}</td><td>{'–' if math.isnan(row.gained) else gained}</td></tr>"
        )
    names = ("Measure", "Model [95 %]", "Constant", "Uniform", "Gained on the constant")
    return Rows(names, lines, measures=tuple(data["measure"]))


def figures_in_words(found: "dict[str, Interval]") -> str:
    """Return whether the model beats the constant, in words."""
    kl, spread, wanted = (
        found["KL gained on the constant"],
        found["spread of predictions"],
        found["spread of listeners"],
    )
    low, high = (kl.low, kl.high) if kl.value > 0 else (-kl.high, -kl.low)
    verdict = "beats" if kl.low > 0 else "does worse than" if kl.high < 0 else "cannot be told from"
    rule = "leaves out 0" if kl.low > 0 or kl.high < 0 else "holds 0"
    if math.isnan(kl.low):
        rule = "does not follow from a single speaker"
    return (
        f"The model {verdict} the constant, which always answers with the average of all listeners: KL is "
        f"{abs(kl.value):.3f} nats {'lower' if kl.value > 0 else 'higher'} [{unsigned(low, 3)}, {unsigned(high, 3)}]. "
        f"The rule: its 95 % interval over speakers {rule}; there is no further test."
        f" Its answers spread by {spread.value:.2f}, the listeners' by {wanted.value:.2f} (0 would be a constant)."
    )


def agreement(rows: "pd.DataFrame", labels: "list[str]") -> "pd.DataFrame":
    """Return for each emotion and bin of the listeners' share the mean predicted share with its interval."""
    import pandas as pd

    from ser_core.distributions import mean_over_speakers

    heard, expected = both(rows, labels)
    found = []
    for place, label in enumerate(labels):
        bins = np.digitize(heard[:, place], BINS) - 1
        for number in np.unique(bins):
            inside = bins == number
            speakers = rows.loc[inside, "speaker"].tolist()
            mean = mean_over_speakers(expected[inside, place], speakers)
            found.append(
                {"emotion": label, "bin": int(number), "clips": int(inside.sum()), "heard": heard[inside, place].mean()}
                | {"expected": mean.value, "low": mean.low, "high": mean.high}
            )
    return pd.DataFrame(found)


def agreement_chart(found: "pd.DataFrame", constant: "np.ndarray") -> "go.Figure":
    """Return one small chart an emotion: share of listeners against expected share, diagonal and constant."""
    from plotly.subplots import make_subplots

    labels = list(dict.fromkeys(found["emotion"]))
    figure = make_subplots(
        -(-len(labels) // 2),
        2,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=list(map(escape, labels)),
        horizontal_spacing=0.13,
    )
    for place, label in enumerate(labels):
        part = found[found["emotion"] == label]
        where = {"row": place // 2 + 1, "col": place % 2 + 1}
        for ends, look in ((((0, 1), (0, 1)), "dot"), (((0, 1), (constant[place],) * 2), "dash")):
            figure.add_scatter(
                x=ends[0],
                y=ends[1],
                mode="lines",
                line={"dash": look, "color": GREY, "width": 1},
                hoverinfo="skip",
                name="right on average" if look == "dot" else "constant",
                showlegend=place == 0,
                **where,
            )
        figure.add_scatter(
            x=part["heard"],
            y=part["expected"],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (part["high"] - part["expected"]).clip(lower=0),
                "arrayminus": (part["expected"] - part["low"]).clip(lower=0),
                "thickness": 1.2,
                "width": 0,
            },
            mode="lines+markers",
            marker={"size": 9, "color": COLOURS[0]},
            line={"color": COLOURS[0], "width": 1.5},
            customdata=[[label, row.bin] for row in part.itertuples()],
            text=[
                f"{row.clips} clips: heard by {100 * row.heard:.0f} %, expected {100 * row.expected:.0f} %"
                for row in part.itertuples()
            ],
            hovertemplate="%{text}<extra></extra>",
            name="model",
            showlegend=place == 0,
            **where,
        )
    ticks = {"tickvals": (0, 0.5, 1), "ticktext": ("0 %", "50 %", "100 %")}
    figure.update_xaxes(range=[-0.03, 1.03], **ticks)
    figure.update_yaxes(range=[-0.03, 1.03], **ticks)
    figure.update_xaxes(title="listeners", row=-(-len(labels) // 2))
    figure.update_yaxes(title="model", col=1)
    height = 130 + 200 * -(-len(labels) // 2)
    layout(figure, height)
    figure.update_layout(margin_t=86, legend_y=1 + 34 / (height - 130))  # above the titles of the small charts
    return figure


def agreement_in_words(found: "pd.DataFrame") -> str:
    """Return for each emotion what the model expects where nobody and where nearly everybody hears it."""
    said = []
    for label, part in found.groupby("emotion", sort=False):
        low, high = part.iloc[part["heard"].argmin()], part.iloc[part["heard"].argmax()]
        said.append(
            f"{label}: {rounded_percent(low['expected'])} expected where {rounded_percent(low['heard'])} hear it, "
            f"{rounded_percent(high['expected'])} where {rounded_percent(high['heard'])} do"
        )
    return "; ".join(said) + "."


def in_bin(rows: "pd.DataFrame", labels: "list[str]", label: str, number: int) -> "pd.DataFrame":
    """Return the clips behind a point of :func:`agreement_chart`."""
    heard, _ = both(rows, labels)
    return rows[np.digitize(heard[:, labels.index(label)], BINS) - 1 == number].reset_index(drop=True)


def ambiguity(rows: "pd.DataFrame") -> Interval:
    """Return Spearman's correlation of the listeners' and the model's entropy, with its interval over speakers."""
    from scipy.stats import rankdata

    from ser_core.metrics import correlation_of, speaker_bootstrap, speaker_moments

    ranks = [rankdata(rows[name]) / len(rows) for name in ("heard_bits", "expected_bits")]
    moments = speaker_moments(ranks[0], ranks[1], rows["speaker"].tolist())
    low, high = speaker_bootstrap(moments, correlation_of)
    return Interval(float(correlation_of(moments.sum(0))), low, high)


def ambiguity_map(rows: "pd.DataFrame", labels: int) -> "go.Figure":
    """Return clips as points: entropy of the listeners against entropy of the model, with the mean as a line."""
    import plotly.graph_objects as go

    shown = rows.sample(min(SHOWN, len(rows)), random_state=0)
    shifted = shown["heard_bits"] + np.random.default_rng(0).uniform(-0.02, 0.02, len(shown))
    figure = go.Figure(
        go.Scatter(
            x=shifted,
            y=shown["expected_bits"],
            mode="markers",
            marker={"size": 5, "color": COLOURS[0], "opacity": 0.35},
            customdata=[[str(name)] for name in shown["clip"]],
            text=[
                f"{escape(str(row.clip))} ({escape(str(row.emotion))})<br>"
                f"listeners {row.heard_bits:.2f} bits, model {row.expected_bits:.2f} bits"
                for row in shown.itertuples()
            ],
            hovertemplate="%{text}<extra></extra>",
            name="clips",
        )
    )
    edges = np.quantile(rows["heard_bits"], np.linspace(0, 1, 9))
    bins = np.digitize(rows["heard_bits"], np.unique(edges)[1:-1])
    means = rows.assign(bin=bins).groupby("bin")[["heard_bits", "expected_bits"]].mean()
    figure.add_scatter(
        x=means["heard_bits"],
        y=means["expected_bits"],
        mode="lines+markers",
        line={"color": COLOURS[1], "width": 3},
        marker={"size": 8, "color": COLOURS[1]},
        name="mean of the model",
        hovertemplate="listeners %{x:.2f} bits, model on average %{y:.2f} bits<extra></extra>",
    )
    most = float(np.log2(labels))
    figure.add_scatter(
        x=(0, most),
        y=(0, most),
        mode="lines",
        line={"dash": "dot", "color": GREY},
        name="as unsure as listeners",
        hoverinfo="skip",
    )
    figure.update_xaxes(title="how far listeners disagree (bits)")
    figure.update_yaxes(title="how undecided the model is (bits)")
    return layout(figure, 480)


def ambiguity_in_words(rows: "pd.DataFrame", found: Interval) -> str:
    """Return whether the model knows where listeners disagree, in words."""
    verdict = "knows a little" if found.low > 0 and found.value < 0.3 else "knows" if found.low > 0 else "does not know"
    if math.isnan(found.low):
        verdict = "has been asked about too few speakers to tell whether it knows"
    return (
        f"The model {verdict} where listeners disagree: the correlation of ranks is {signed(found.value)} "
        f"[{signed(found.low)}, {signed(found.high)}] (the rule: its 95 % interval over speakers lies above 0, and "
        "below 0.3 it is called a little). Listeners' answers hold "
        f"{rows['heard_bits'].mean():.2f} bits on average, the model's "
        f"{rows['expected_bits'].mean():.2f}."
    )


def mixtures_table(data: "pd.DataFrame") -> Rows:
    """Return how often two emotions share a clip, and whether the model expects it."""
    lines = "".join(
        f'<tr><th scope="row">{escape(row.one)} and {escape(row.other)}</th><td>{row.clips}</td>'
        f"<td>{percent(row.expected)}</td><td>{percent(row.elsewhere)}</td></tr>"
        for row in data.itertuples()
    )
    return Rows(("Both heard by a quarter or more", "Clips", "Expected by the model, too", "Expected elsewhere"), lines)


def mixtures_in_words(data: "pd.DataFrame") -> str:
    """Return the commonest mixture and how the model takes it."""
    first = data.iloc[0]
    if not first["clips"]:
        return "No two emotions are both heard by a quarter of the listeners of any clip."
    return (
        f"The commonest mixture is {first['one']} and {first['other']} ({first['clips']} clips): the model expects it "
        f"in {percent(first['expected'])} of them, and in {percent(first['elsewhere'])} of all others."
    )


def wheel() -> None:
    """Draw how EM2LDL's listeners split over 32 labels on Plutchik's wheel, beside what constants score there."""
    import pandas as pd

    from pages.parts import wheel as drawn
    from ser_core.results import RESULTS

    st.subheader("Thirty-two labels (EM2LDL)")
    path = RESULTS / "em2ldl.csv"
    folder = corpora_at_hand().get("em2ldl")
    if folder is not None:
        rows = labels_of_em2ldl(str(folder))
        labels = [str(name)[6:] for name in rows if str(name).startswith("share_")]
        groups = {"everybody": None, "sex": "sex", "age group": "age_group", "languages mixed": "code_switching"}
        by = groups[st.selectbox("Wheels for", list(groups), key="wheel-by")]
        parts = {"All clips": rows} if by is None else {languages_mixed(k): part for k, part in rows.groupby(by)}
        means = {
            f"{title} ({len(part)})": part[[f"share_{label}" for label in labels]].mean().to_numpy()
            for title, part in list(parts.items())[:3]
        }
        figure = drawn.figure(labels, means)
        said = []
        for title, mean in means.items():
            first = np.argsort(-mean)[:4]
            said.append(f"{title}: " + ", ".join(f"{labels[k]} {100 * mean[k]:.0f} %" for k in first))
        chart(
            figure,
            pd.DataFrame({"label": labels} | dict(means)),
            "wheel",
            title="Share of the listeners' answers on Plutchik's wheel (EM2LDL)",
            how="opposite emotions lie opposite each other, stronger ones inside, mixtures of neighbours between the "
            "petals, neutral in the middle. The stronger the colour, the more of the listeners' answers, averaged over "
            "clips.",
            words=f"{'; '.join(said)}.",
            select=False,
            state=by or "everybody",
        )
        of_label = st.selectbox(
            "Clips of a label",
            ["", *rows[[f"share_{label}" for label in labels]].mean().sort_values(ascending=False).index.str[6:]],
            format_func=lambda each: each or "none",
            key="wheel-of",
            help="The clips of which listeners gave some of their answers to this label; the commonest label first",
        )
        if of_label:
            _clips_of_label(rows, labels, of_label)
    else:
        st.info("EM2LDL's tables are not at hand; name their folder in SERSCOPE_CORPORA to see its wheel.")
    if path.exists():
        stored = pd.read_csv(path)
        with st.expander("What answers that do not listen score on EM2LDL"):
            view = st.selectbox("Clips", ["all", *sorted(set(stored["view"]) - {"all"})], key="em2ldl-view")
            st.caption(
                "EM2LDL's audio needs a signed licence, so no model here was trained on it. Its labels alone already "
                "say how far a model has to come: the average of the training listeners comes near the best published "
                "model."
            )
            _constants(stored[(stored["view"] == view) & stored["measure"].isin(["KL", "cosine"])], view)


def languages_mixed(code: str) -> str:
    """Return the owners' code of the two languages of a clip in words; any other word as it is."""
    known = [LETTERS[letter] for letter in code if letter in LETTERS]
    return " and ".join(known) if len(known) == len(code) == 2 else code


def _clips_of_label(rows: "pd.DataFrame", labels: list[str], label: str) -> None:
    """List the clips of which listeners gave a label some of their answers, and let the reader hear one."""
    from pages.parts import clips_behind

    listed = clips_of_label(rows, labels, label)
    noun = "clip" if len(listed) == 1 else "clips"
    st.caption(
        f"{label}: {len(listed)} {noun} with some of the answers, the one with most first. Select one to hear it."
    )
    event = st.dataframe(
        listed,
        key=f"clips-wheel-{label}",
        hide_index=True,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        height=290,
        column_config={
            "share": st.column_config.NumberColumn("share, %", format="%.0f", help=f"of the answers are {label}"),
            "languages mixed": st.column_config.TextColumn(
                help="the owners’ code of two of Cantonese (c), English (e) and Mandarin (m)"
            ),
        },
        alt=f"EM2LDL’s clips with answers of {label}, the one with most of them first; choose one to hear it",
    )
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(listed):
        clips_behind.hear("em2ldl", str(listed["clip"].iloc[picked[0]]), "", "wheel")


def clips_of_label(rows: "pd.DataFrame", labels: "list[str]", label: str) -> "pd.DataFrame":
    """Return the clips with answers of a label, its share in %, who speaks, and the other labels heard; most first."""
    found = rows[rows[f"share_{label}"] > 0].sort_values(f"share_{label}", ascending=False, kind="stable")
    others = [name for name in labels if name != label]
    shares = found[[f"share_{name}" for name in others]].to_numpy()
    heard = [
        ", ".join(f"{others[k]} {rounded_percent(each[k])}" for k in np.argsort(-each, kind="stable") if each[k] > 0)
        for each in shares
    ]
    return (
        found[["name", f"share_{label}", "speaker", "sex", "age_group", "code_switching"]]
        .set_axis(["clip", "share", "speaker", "sex", "age group", "languages mixed"], axis=1)
        .assign(speaker=found["speaker"].str.removeprefix("em2ldl/"), others=heard, share=100 * found[f"share_{label}"])
        .rename(columns={"others": "heard beside it"})
        .reset_index(drop=True)
    )


def _constants(found: "pd.DataFrame", view: str) -> None:
    """Draw what answers that do not listen score on EM2LDL."""
    lines = ""
    for row in found.itertuples():
        part = "" if view == "all" else f", {escape(languages_mixed(str(row.group)))}"
        lines += (
            f'<tr><th scope="row">{escape(str(row.split))}: {escape(str(row.answer))}{part}</th>'
            f'<td class="words">{measure(row.measure)}</td><td><strong>{row.value:.3f}</strong>'
            + (f" [{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else "")
            + f"</td><td>{row.clips}</td><td>{row.speakers}</td></tr>"
        )
    said = [
        f"{row.measure} {row.value:.3f} ({row.split}, {row.answer}"
        f"{'' if view == 'all' else f', {languages_mixed(str(row.group))}'})"
        for row in found.head(4).itertuples()
    ]
    tabled(
        Rows(("Split, answer", "Measure", "Value [95 %]", "Clips", "Speakers"), lines, ("Measure",), ("KL", "cosine")),
        found,
        "em2ldl-constants",
        title="Constants on EM2LDL",
        how="each row is an answer that is the same for every clip, on the clips of a test part; a model has to beat "
        "it. Intervals are over speakers.",
        words=f"{'; '.join(said)}{' …' if len(found) > 4 else ''}.",
        state=view,
    )


@st.cache_data(show_spinner="Reading EM2LDL's tables", max_entries=1)
def labels_of_em2ldl(folder: str) -> "pd.DataFrame":
    """Return the label table of EM2LDL."""
    from ser_core.corpora import read_corpus

    return read_corpus(folder, "em2ldl").table


def _bits(shares: np.ndarray) -> np.ndarray:
    from scipy.stats import entropy

    found: np.ndarray = entropy(shares, base=2, axis=1)
    return found
