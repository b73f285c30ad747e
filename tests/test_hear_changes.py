import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explain.samples import samples
from pages.parts import hear_changes
from ser_core.audio import from_samples, read
from ser_core.degradations import KINDS


@pytest.fixture(scope="module")
def clip():
    return read(samples()[0].path)


@pytest.mark.parametrize("kind", ["babble", "speech-shaped", "clipping", "reverberation"])
def test_a_clip_is_heard_as_it_is_and_at_each_level(clip, kind: str) -> None:
    made = hear_changes._changed(clip, kind, None)
    assert made[0][0] == "as it is"
    assert len(made) == 1 + len(KINDS[kind].levels)
    assert all(not np.array_equal(heard, clip.samples) for _, heard in made[1:])


def test_own_noise_is_as_loud_as_its_level_says(clip) -> None:
    from ser_core.speech import speech_mask, speech_segments

    noise = from_samples(np.random.default_rng(0).normal(0, 0.01, 8000).astype(np.float32), 16000, "rain")
    active = speech_mask(speech_segments(clip), np.arange(len(clip.samples)) / 16000)
    for (_, heard), level in zip(
        hear_changes._changed(clip, "environment", noise)[1:], KINDS["environment"].levels, strict=True
    ):
        # Whoever mixes may turn the whole down, so the voice is fitted before the noise is what is left.
        scale = float(heard @ clip.samples / (clip.samples @ clip.samples))
        voice, rest = scale * clip.samples[active], (heard - scale * clip.samples)[active]
        assert 10 * np.log10((voice**2).mean() / (rest**2).mean()) == pytest.approx(level, abs=0.5)


def page() -> None:
    import streamlit as st

    from explain.samples import samples
    from pages.parts import hear_changes, session
    from ser_core.audio import read

    if "given" not in st.session_state:
        st.session_state["given"] = True
        session.use(read(samples()[1].path), "given here")
    hear_changes.show()
    st.button("Forget", on_click=session.forget)


def test_a_changed_clip_is_made_once_and_forgotten_with_the_clip() -> None:
    own, other = (read(sample.path).sha256 for sample in samples()[1::-1])
    app = AppTest.from_function(page, default_timeout=60).run()
    made = app.session_state["heard"][own, "telephone", ""]
    assert [caption.value for caption in app.caption if "as it is" in caption.value]
    assert app.run().session_state["heard"][own, "telephone", ""] is made
    next(button for button in app.button if button.label == "Forget").click().run()
    assert list(app.session_state["heard"]) == [(other, "telephone", "")]
