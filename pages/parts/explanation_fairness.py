"""Explanations by group of speakers: do cues, trust and expert agreement differ for the same emotion?"""

from typing import TYPE_CHECKING

import streamlit as st

from explain import study, study_groups
from pages.parts import clips_behind, fairness_charts
from pages.parts.charts import chart
from pages.parts.predictions import corpus_title, kept, title_of
from pages.parts.words import plain
from ser_core import group_differences as groups
from ser_core.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd

    from ser_core.group_differences import Evidence

SHARES, SALIENCE = "Agreement and trust", "What stands out"


def show() -> None:
    """Draw the groups of the stored study of explanations beside each other."""
    st.markdown(
        "A model may answer for two groups equally well and still be explained to them unequally: its maps may be true "
        "of it for one group only, or what experts expect of a voice, which was found on other voices, may fit one "
        "group only. Every figure is the mean over the predicted emotions, each counting the same, so that groups are "
        "compared for the same emotion."
    )
    if not study.TABLE.exists():
        st.info(f"No explanations of a whole corpus are stored yet; '{study_groups.COMMAND}' makes and measures them.")
        return
    rows = _rows(study.TABLE.stat().st_mtime)
    runs = list(rows[list(study_groups.KEYS)].drop_duplicates().itertuples(index=False, name=None))
    run = st.selectbox("Model, method and speech", runs, format_func=_run_title, key="explained-run")
    models = sorted({title_of(each[0]) for each in runs})
    st.caption(
        f"Explained clip by clip so far: {plain(', '.join(models))}. Whether a map holds is known of models that read "
        "a spectrogram; those that read functionals have no such tests here."
    )
    mine = study_groups.maps(rows, *run)
    offered = groups.attributes_of(mine)
    if not offered:
        st.info("Nothing is known of these speakers that would tell groups apart; choose other speech.")
        return
    left, middle, right = st.columns(3)
    attribute = left.selectbox("Groups by", list(offered), key=f"explained-by-{run[2]}")
    emotions = ["", *sorted(mine["predicted"].unique())]
    emotion = middle.selectbox(
        "Predicted emotion", emotions, format_func=lambda each: each or "mean over all", key=f"explained-emotion-{run}"
    )
    answers = right.segmented_control(
        "Clips", ("all", "answered rightly"), default="all", required=True, key="explained-answers"
    )
    view = st.segmented_control("Show", (SHARES, SALIENCE), default=SHARES, required=True, key="explained-view")
    key = (*run, attribute, emotion, answers, study.TABLE.stat().st_mtime)
    try:
        found = kept(
            ("explained", *key),
            lambda: study_groups.evidence(
                mine, attribute, offered[attribute], emotion=emotion or None, right=answers != "all"
            ),
        )
    except SettingError as fault:
        st.info(plain(str(fault)))
        return
    _groups(found, mine, offered[attribute], view, key)


def _groups(found: "Evidence", mine: "pd.DataFrame", group_of: "pd.Series", view: str, key: tuple) -> None:
    names = [name for name in groups.measures_of(found) if name.startswith(study_groups.SALIENCE) == (view == SALIENCE)]
    left, right = st.columns([1, 3])
    largest = found.groups[max(range(len(found.groups)), key=lambda place: found.sizes[place])]
    reference = left.selectbox(
        "Reference group", found.groups, index=found.groups.index(largest), key=f"explained-reference-{key[:4]}"
    )
    picked = right.multiselect(
        "Measures",
        names,
        default=names if view == SALIENCE else study_groups.usual(found),
        key=f"explained-measures-{view}-{key[:4]}",
        help="All that is shown is tested together, so that fewer measures ask less of each.",
    )
    if not picked:
        st.info("Choose a measure or more.")
        return
    table = kept(("explained gaps", *key, reference, *picked), lambda: groups.differences(found, reference, picked))
    fairness_charts.verdict(table, found, reference)
    run, emotion = key[:3], key[4] or "every predicted emotion"
    title = f"{_run_title(run)}: explanations by {found.attribute}, {emotion}"
    choices = "|".join(map(str, (*key[:6], view, f"against {reference}", ", ".join(picked))))
    points = chart(
        fairness_charts.groups_chart(table, found, reference),
        table,
        "explanation-groups",
        title=title,
        how="each dot is a measure of one group's explanations, the bar its 95 % interval over speakers. The test "
        "decides what is a finding, not the bars. "
        + (
            "Right of 0 the cue is higher inside the salient regions than in the rest of the speech. "
            if view == SALIENCE
            else "Beyond chance is 0 where the regions do no better than the same regions shifted along the speech. "
        )
        + "Click a dot for its clips.",
        words=fairness_charts.values_in_words(table),
        state=choices,
    )
    if points:
        _behind(mine[(group_of.astype("object") == points[0][1]).to_numpy()], str(points[0][1]), key)
    fairness_charts.against(table, reference, "explanation-differences", title, choices)
    fairness_charts.power(found, picked, reference, int(table["p"].notna().sum()), "explanation-power", choices)
    st.caption(
        "Not measured here: whether a group finds the explanations helpful. The reference voices behind the experts' "
        "expectations are told apart by sex only, so a gap by age, race or ethnicity may come from the reference as "
        f"well as from the model. {study.STORED_WITH}"
    )


def _behind(rows: "pd.DataFrame", group: str, key: tuple) -> None:
    """List a group's explained clips, the one with the longest salient regions first, and let one be heard."""
    emotion, answers = key[4:6]
    one = rows[~rows.duplicated("clip")]
    if answers != "all":
        one = one[one["predicted"] == one["emotion"]]
    one = one[(one["predicted"] == emotion) | (emotion == "")].sort_values("coverage", ascending=False)
    st.html('<div class="ss"><p class="title">Clips behind the point</p></div>')
    st.caption(f"{plain(group)}: {len(one)} explained clips. Select one to hear and to explain it.")
    tests = [name for name in study_groups.TESTS if name in one]
    event = st.dataframe(
        one[["clip", "speaker", "emotion", "predicted", "coverage", *tests]].round({"coverage": 3}),
        key=f"explained-clips-{group}-{key[:6]}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=290,
        alt="The explained clips behind the point, the longest salient regions first; choose one to hear it",
    )
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(one):
        row = one.iloc[picked[0]]
        clips_behind.hear(str(row["corpus"]), str(row["clip"]), str(row["model"]), "explained")


@st.cache_data(show_spinner="Reading the stored explanations", max_entries=2)
def _rows(changed: float) -> "pd.DataFrame":
    """Return the stored rows; they are of public speech, so that sessions may share them."""
    rows = study_groups.read_rows(study.TABLE)
    assert rows is not None
    return rows


def _run_title(run: tuple[str, str, str]) -> str:
    from explain.attribution import method_label

    return f"{title_of(run[0])}, {method_label(run[1])}, {corpus_title(run[2])}"
