"""The model cards: what each model is, how well it does, and what it is not for."""

import streamlit as st

from pages.parts import cards

st.title("Models")
st.caption(
    "Every figure comes from the model's own card, measured on speakers that the model never heard. A model joins this "
    "page, and the choice on the first page, when its folder is put beside the others."
)
found = cards.all_cards()
if not found:
    st.info("No model is at hand; put one into assets/models or name its folder in SERSCOPE_MODELS.")
else:
    st.html(cards.comparison(found))
for card in found:
    with st.container(border=True):
        st.html(cards.card(card))
