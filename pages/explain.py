"""The home page: a clip, the model's answer, and why. The order here is the order on the screen."""

from html import escape

import streamlit as st

from pages.parts import choose, session
from pages.parts.faults import in_plain_words
from pages.parts.words import plain

# 1 A clip
session.keep_choices()
recording = session.clip()
# One empty element takes the place of all offers, which would else stay, faded, while the clip is explained.
offers = st.empty()
if recording is None:
    with offers.container():
        choose.welcome()
        choose.new_clip(choose.Taking(session.use))
    st.stop()
choose.current_clip(recording)

# 2 A model and a question
model_side, method_side, target_side = st.columns([3, 3, 4], gap="medium")
with model_side:
    model = choose.model()
with method_side:
    method = choose.method(model)

# After the clip, as they load the heavy libraries.
from explain.boxes import box_sentence, own_region  # noqa: E402
from pages.parts import (  # noqa: E402
    answer,
    baseline_panel,
    domain_panel,
    experiment_panel,
    exports,
    listen_panel,
    rival_panel,
    tables,
    trust_panel,
    viewer,
    words_of_clip,
    work,
)

model = baseline_panel.beside(recording, words_of_clip.known(recording, model))
prediction = work.prediction(recording, model)
with target_side:
    target = choose.target(model, prediction)

# 3 The answer
st.header("What the model answers")
heard = work.heard(model)
answer.show_answer(prediction, model.card.title, heard)
domain_panel.show_use(model.card)
if prediction.answer == "dimensions":
    from pages.parts import sphere

    sphere.show(recording, model, prediction, heard)
if prediction.answer == "distribution":
    from pages.parts import wheel

    wheel.show(prediction, heard)
asked = (recording, model, method.name, target, choose.region_rule(), choose.settings())
# While another explanation is made, the one before makes way at once: nobody can click what is about to go. The bar has
# a place of its own, as Streamlit keeps what stood in a place that becomes a container right after it was emptied.
waiting = st.empty()
made = work.is_made(*asked)
place = st.container() if made else st.empty()
with waiting:
    shown = work.explanation(*asked)


# 4 Why, and 5 what was measured there; to select a region redraws this part alone
@st.fragment
@in_plain_words()
def why_and_cues() -> None:
    """Draw the linked view and the tables that follow its selection."""
    st.header(f"Why {plain(shown.target.name)}")
    st.caption(answer.method_line(shown.attribution, method.label))
    if shown.attribution.axes == "features":
        answer.show_features(shown.attribution)
    if shown.pooling is not None:
        st.caption(answer.pooling_line(shown.pooling))
    selection = viewer.show(shown, work.identity(shown))
    own = None
    if selection and "start_s" in selection:
        box = own_region(shown, **selection)
        st.html(f'<div class="ss"><p role="status">{escape(box_sentence(shown, box))}</p></div>')
        own = work.own_cues(shown, box)
    words_of_clip.show(recording, model, shown.target)
    tables.show_magnitudes(shown, selection, own)
    tables.show_contrasts(shown, selection, own)


with place if made else place.container():
    shown, tell_language = domain_panel.show(shown)
    answer.show_quality(shown.quality)
    why_and_cues()
    tables.show_agreement(shown)
    with st.expander("Set against the same person’s other clips"):
        shown = baseline_panel.show(shown, model)
    rival_panel.show(shown, model, work.identity(shown))

    # 6 Corrections
    with st.expander("Correct the measurement"):
        choose.measurement(shown.tracks.settings, shown.tracks.sex_guess)

    # 7 Whether it is true, what else would have done it, how it sounds
    key = work.map_identity(shown)
    trust_panel.show(shown, model, key)
    experiment_panel.show(shown, model, key)
    listen_panel.show(shown, model, key)

    # 8 To take away
    st.header("Take it away")
    exports.show(shown)
    tell_language()
