"""The home page: a clip, the model's answer, and why. The order here is the order on the screen."""

import streamlit as st

from pages.parts import choose, session
from pages.parts.faults import in_plain_words

# 1 A clip
recording = session.clip()
if recording is None:
    choose.welcome()
    choose.new_clip()
    st.stop()
choose.current_clip(recording)

# 2 A model and a question
model_side, method_side, target_side = st.columns([3, 3, 4], gap="medium")
with model_side:
    model = choose.model()
with method_side:
    method = choose.method(model)

from pages.parts import answer, exports, tables, viewer, work  # noqa: E402, after the clip: they load the heavy libraries

prediction = work.prediction(recording, model)
with target_side:
    target = choose.target(model, prediction.top)

# 3 The answer
st.header("What the model answers")
answer.show_answer(prediction, model.card.title)
shown = work.explanation(recording, model, method.name, target, choose.region_rule(), choose.settings())
answer.show_quality(shown.quality)


# 4 Why, and 5 what was measured there; to select a region redraws this part alone
@st.fragment
@in_plain_words()
def why_and_cues() -> None:
    """Draw the linked view and the tables that follow its selection."""
    st.header(f"Why {shown.target.name}")
    st.caption(answer.method_line(shown.attribution, method.label))
    if shown.attribution.axes == "features":
        answer.show_features(shown.attribution)
    selection = viewer.show(shown, work.identity(shown))
    own = work.own_stretch(shown, **selection) if selection and "start_s" in selection else None
    tables.show_magnitudes(shown, selection, own)
    tables.show_contrasts(shown, selection, own)


why_and_cues()
tables.show_agreement(shown)

# 6 Corrections
with st.expander("Correct the measurement"):
    choose.measurement(shown.tracks.settings, shown.tracks.sex_guess)

# 7 To take away
st.header("Take it away")
exports.show(shown)
