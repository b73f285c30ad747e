"""Fairness: does a model answer for some groups of speakers worse than for others?"""

import streamlit as st

from pages.parts import predictions

st.title("Whom does it fail?")
st.caption(
    "Groups of speakers side by side, with 95 % intervals that know that clips come from speakers. A gap is called a "
    "finding by one rule only: the permutation test of the speakers' groups gives p ≤ .05 after correction for "
    "everything that is shown."
)
what = st.segmented_control(
    "What is compared", ("Answers", "Explanations by group"), default="Answers", required=True, key="fairness-what"
)
if what != "Answers":
    from pages.parts import explanation_fairness

    explanation_fairness.show()
    st.stop()
chosen = predictions.choose()
if chosen is None:
    st.stop()

from pages.parts import before_after  # noqa: E402
from pages.parts import fairness_charts as parts  # noqa: E402
from pages.parts.charts import chart  # noqa: E402
from ser_core import group_differences as groups  # noqa: E402

offered = predictions.kept(("attributes", chosen.key), lambda: groups.attributes_of(chosen.rows))
too_many = predictions.kept(("left out", chosen.key), lambda: groups.left_out(chosen.rows))
if too_many:
    st.warning(" ".join(too_many))
if not offered:
    if not too_many:
        st.info(groups.NO_GROUPS)
    st.stop()
left, right = st.columns(2)
attribute = left.selectbox("Groups by", list(offered), key="fairness-attribute")
found = predictions.kept(
    ("evidence", chosen.key, attribute), lambda: groups.evidence(chosen.rows, attribute, offered[attribute])
)
reference = right.selectbox(
    "Reference group",
    found.groups,
    index=found.groups.index(found.largest),
    key=f"fairness-reference-{attribute}-{chosen.key}",
    help="The group that the others are set against. It changes no figure of any group.",
)
measures = list(groups.measures_of(found))
if not measures:
    st.info(groups.NO_MEASURES)
    st.stop()
spreads = groups.SPREADS if found.classes else ()
picked = st.multiselect(
    "Measures",
    [*measures, *spreads],
    default=[*groups.usual_measures(found), *spreads],
    key=f"fairness-measures-{'-'.join(measures)}",
    help="All that is shown is tested together, so that fewer measures ask less of each.",
)
shown = [name for name in picked if name in measures]
if not shown:
    st.info("Choose a measure or more.")
    st.stop()
over_all = tuple(name for name in picked if name in spreads)
table = predictions.kept(
    ("differences", chosen.key, attribute, reference, *shown, *over_all),
    lambda: groups.differences(found, reference, shown, over_all),
)

parts.verdict(table, found, reference)
choices = f"{chosen.key}|{attribute}|against {reference}|{', '.join(picked)}"
title = f"{chosen.title}: groups by {attribute}"
each = table[table["group"] != "all"]
points = chart(
    parts.groups_chart(each, found, reference),
    table,
    "groups",
    title=title,
    how="each dot is a measure of one group, the bar its 95 % interval over speakers; bars that overlap may still hide "
    "a gap, and bars that do not may still be chance, so the test decides. Click a dot for its clips.",
    words=parts.values_in_words(each),
    state=choices,
)
if points:
    parts.behind(chosen, offered[attribute], points[0])
parts.against(table, reference, "group-differences", title, choices)
parts.power(found, shown, reference, int(table["p"].notna().sum()), "power-at-hand", choices)
parts.simulated()
if found.classes:
    ece = predictions.kept(("ece", chosen.key, attribute), lambda: groups.calibrations(found))
    parts.calibration(found, chosen, offered[attribute], ece)
before_after.show()
