"""The model cards: what each model is, how well it does, and what it is not for."""

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import cards

if TYPE_CHECKING:
    from ser_core.models import Card


def device_bundle(shown: "Card") -> None:
    """Offer the int8 copy of a model that has one, and say what it costs."""
    if shown.system != "edge_fusion":
        return
    from ser_core import edge_export
    from ser_core.registry import model_folders

    folder = model_folders()[shown.name]
    if not edge_export.has_bundle(folder):
        return
    with st.expander("What it costs on a device"):
        st.caption(edge_export.summary(folder))
    st.download_button(
        "Bundle for a device (ZIP)",
        lambda: edge_export.bundle(folder),
        file_name=f"{shown.name}-int8.zip",
        mime="application/zip",
        on_click="ignore",
        key=f"bundle-{shown.name}",
    )


st.title("Models")
st.caption(
    "Every figure comes from the model's own card, measured on speakers that the model never heard. Constant: what "
    "the same answer to every clip scores; chance: what guessing scores. A model joins this page, and the choice on "
    "the first page, when its folder is put beside the others."
)
found = cards.all_cards()
if not found:
    st.info("No model is at hand; put one into assets/models or name its folder in SERSCOPE_MODELS.")
else:
    st.html(cards.comparison(found))
for card in found:
    with st.container(border=True):
        st.html(cards.heading(card))
        with st.expander("Figures, sources and limits"):
            st.html(cards.details(card))
        device_bundle(card)
