"""SERscope in the browser: ``streamlit run app.py``.

Streamlit reads this file twice over: once as a module, for the server around the pages, and once for every view of a
page, as a script.
"""

import streamlit as st
from streamlit import config

from ser_core.settings import ASSETS, ROOT

# The pages by section of the menu: file and title.
PAGES = {
    "": [("explain", "Explain a clip")],
    "More speech": [
        ("compare", "Compare"),
        ("recording", "Long recording"),
        ("batch", "Many clips"),
        ("reopen", "Open a report"),
    ],
    "Models": [("models", "Models"), ("results", "Results"), ("efficiency", "Efficiency")],
    "Where they fail": [
        ("fairness", "Fairness"),
        ("speakers", "Speakers"),
        ("crosscorpus", "Cross-corpus"),
        ("robustness", "Robustness"),
    ],
    "Beyond one emotion": [("mixed", "Mixed emotions"), ("dimensions", "Dimensions")],
    "About": [("about", "About"), ("rating", "Rate explanations")],
}

if __name__ == "__main__":
    from pages.parts import boards, own_data, sign_in
    from pages.parts.faults import in_plain_words

    st.set_page_config(page_title="SERscope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "icon.svg"), size="medium")
    st.html(ASSETS / "theme" / "app.css")
    sign_in.admit()
    page = st.navigation(
        {
            section: [
                st.Page(ROOT / "pages" / f"{name}.py", title=title, default=name == "explain") for name, title in held
            ]
            for section, held in PAGES.items()
        },
        position="top",
    )
    # One place for both, so that the page below does not change its own and is not drawn anew when they come or go.
    with st.container():
        own_data.bar()
        boards.bar()
    with in_plain_words():
        page.run()
elif config._main_script_path:
    # Started by ``streamlit run``; to import the module for its menu starts nothing.
    from pages.parts import server

    server.check_settings()
    server.share_the_cores()
    server.run_the_menu_from_the_first_visit_on()
    server.keep_uploads_in_memory(megabytes=config.get_option("server.maxUploadSize"))
    server.ask_nobody_for_the_own_address()
    app = st.App(
        __file__,
        lifespan=server.beside,
        middleware=server.middleware(),
        routes=server.routes(name for held in PAGES.values() for name, _ in held),
    )
