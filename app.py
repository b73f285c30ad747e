"""SERscope in the browser: ``streamlit run app.py``.

Streamlit reads this file twice over: once as a module, for the server around the pages, and once for every view of a
page, as a script.
"""

import streamlit as st

from ser_core.settings import ASSETS, ROOT

if __name__ == "__main__":
    from pages.parts.faults import in_plain_words

    st.set_page_config(page_title="SERscope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "icon.svg"), size="medium")
    st.html(ASSETS / "theme" / "app.css")
    page = st.navigation(
        [
            st.Page(ROOT / "pages" / "explain.py", title="Explain a clip", default=True),
            st.Page(ROOT / "pages" / "compare.py", title="Compare"),
            st.Page(ROOT / "pages" / "reopen.py", title="Open a report"),
            st.Page(ROOT / "pages" / "recording.py", title="Long recording"),
            st.Page(ROOT / "pages" / "models.py", title="Models"),
            st.Page(ROOT / "pages" / "results.py", title="Results"),
            st.Page(ROOT / "pages" / "fairness.py", title="Fairness"),
            st.Page(ROOT / "pages" / "speakers.py", title="Speakers"),
            st.Page(ROOT / "pages" / "crosscorpus.py", title="Cross-corpus"),
            st.Page(ROOT / "pages" / "robustness.py", title="Robustness"),
            st.Page(ROOT / "pages" / "mixed.py", title="Mixed emotions"),
            st.Page(ROOT / "pages" / "dimensions.py", title="Dimensions"),
            st.Page(ROOT / "pages" / "efficiency.py", title="Efficiency"),
            st.Page(ROOT / "pages" / "about.py", title="About"),
        ],
        position="top",
    )
    with in_plain_words():
        page.run()
else:
    from pages.parts import server

    server.run_the_menu_from_the_first_visit_on()
    server.keep_uploads_in_memory(megabytes=150)
    app = st.App(__file__, lifespan=server.warm_up, middleware=server.middleware())
