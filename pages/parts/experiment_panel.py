"""Voice experiments: one cue of the clip is changed, the model is asked again, and the change can be heard."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import background
from pages.parts.cards import table
from pages.parts.charts import COLOURS, GREY, SYMBOLS
from pages.parts.predictions import kept
from pages.parts.sound import player
from ser_core.numbers import percent, unsigned

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from explain.explanation import Explanation
    from explain.intervention import DoseResponse
    from ser_core.models import SpeechModel

WHOLE = "the whole clip"


def show(shown: "Explanation", model: "SpeechModel", key: str) -> None:
    """Draw the choice of an experiment, and its outcome when it has been run."""
    from explain.experiment_study import driving_sentence
    from explain.intervention import EXPERIMENTS, dose_response

    st.header("What if the voice were different?")
    if model.card.answer != "emotion":
        st.info("Experiments follow the probability of an emotion; choose a model that answers with one.")
        return
    st.caption(
        "One cue of the clip is changed and the model is asked again. Changing pitch, formants or tempo builds the "
        "clip anew, which leaves its own mark: the unchanged dose goes through the same and is the control."
    )
    over_many = kept(("driving cues", model.name), lambda: driving_sentence(model.name))
    if over_many:
        st.caption(over_many)
    stretches = {WHOLE: (None, None)} | {
        f"region {r.rank} ({r.start_s:.2f}–{r.end_s:.2f} s)": (r.start_s, r.end_s) for r in shown.regions
    }
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    name = left.selectbox("Change", list(EXPERIMENTS), format_func=lambda each: EXPERIMENTS[each].title)
    where = middle.selectbox("Where", list(stretches))
    start_s, end_s = stretches[where]
    asked = ("experiment", key, name, start_s, end_s)

    def work(job: background.Job) -> "DoseResponse":
        return dose_response(
            model,
            shown.recording,
            name,
            emotion=shown.target.emotion,
            start_s=start_s,
            end_s=end_s,
            progress=job.tell,
        )

    if right.button("Run", type="primary", width="stretch", disabled=background.job(asked) is not None):
        background.start(asked, work)
    started = background.job(asked)
    if started is not None:
        background.show(started, draw)
    if gone := background.let_go(("experiment", key)):
        earlier = "The first experiment was" if gone == 1 else f"The first {gone} experiments were"
        st.caption(f"{earlier} let go to spare memory; the report holds those after. To keep one, run it again.")


def draw(found: "DoseResponse") -> None:
    """Draw the outcome in a sentence, as a curve, as a table, and as sound."""
    from explain.intervention import words_of

    st.html(f'<div class="ss"><p class="paragraph" role="status">{escape(found.sentence)}</p></div>')
    alt = (
        f"Probability of each class at each dose of {found.experiment.title.lower()}; the doses are in the table below"
    )
    st.plotly_chart(curve(found), config={"displaylogo": False}, width="stretch", alt=alt)
    if found.experiment.name == "loudness" and found.doses.max() < max(found.experiment.doses):
        st.caption(f"Louder than {words_of(found.experiment, found.doses.max())} this recording would pass full scale.")
    st.caption(
        f"Probability of each class at each dose; thick: {found.emotion}. The dashed line is the untouched clip's "
        f"probability of {found.emotion}. {found.control_sentence}"
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(words_of(found.experiment, dose))}</th><td>{unsigned(came)}</td>'
        f"<td>{percent(p)}</td><td class=words>{escape(found.emotions[int(all_p.argmax())])}</td></tr>"
        for dose, came, p, all_p in zip(found.doses, found.measured, found.followed, found.probabilities, strict=True)
    )
    names = ("Asked", f"Measured afterwards, {found.experiment.measured}", f"P({found.emotion})", "Answer")
    head = "".join(f'<th scope="col"{" class=words" if name == "Answer" else ""}>{escape(name)}</th>' for name in names)
    st.html(f'<div class="ss">{table("Doses and answers", head, rows)}</div>')
    if not found.clips:
        return
    words = [words_of(found.experiment, dose) for dose in found.doses]
    chosen = st.select_slider("Hear a dose", words, value=words[len(words) // 2])
    player(found.clips[words.index(chosen)], f"The clip with {chosen}")


def curve(found: "DoseResponse") -> "go.Figure":
    """Return the probabilities against the dose."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for place, emotion in enumerate(found.emotions):
        main = emotion == found.emotion
        figure.add_trace(
            go.Scatter(
                x=found.doses,
                y=found.probabilities[:, place],
                name=emotion,
                mode="lines+markers",
                line={"width": 4 if main else 1.5, "color": COLOURS[place % len(COLOURS)]},
                marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9 if main else 7},
            )
        )
    original = float(found.original[found.emotions.index(found.emotion)])
    figure.add_hline(y=original, line_dash="dash", line_color=GREY)
    turn = found.turning_point
    if turn is not None:
        figure.add_vline(x=turn[0], line_dash="dot", line_color="#b2500f", annotation_text=f"becomes {turn[1]}")
    figure.update_xaxes(title=f"{found.experiment.title}, {found.experiment.unit}")
    figure.update_yaxes(title="probability", range=[0, 1])
    figure.update_layout(
        height=400,
        margin={"l": 10, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "h", "y": 1.05, "yanchor": "bottom"},
        dragmode=False,
    )
    return figure
