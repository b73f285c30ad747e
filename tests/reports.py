"""The report of a made-up explanation, and what a reader finds in it."""

import io
from datetime import UTC, datetime
from functools import cache

import pypdf
from explanations import example_explanation

from explain import report

WHEN = datetime(2026, 3, 4, 15, 16, 17, tzinfo=UTC)


def text_of(data):
    return " ".join("\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages).split())


def joined(data):
    return text_of(data).replace(" ", "")


@cache
def report_of(**options):
    return report.pdf(example_explanation(**options), WHEN)


def elements_of(data):
    found = []

    def walk(node):
        node = node.get_object()
        if isinstance(node, pypdf.generic.ArrayObject):
            for child in node:
                walk(child)
        elif isinstance(node, pypdf.generic.DictionaryObject):
            if "/S" in node:
                found.append(node)
            if "/K" in node:
                walk(node["/K"])

    walk(pypdf.PdfReader(io.BytesIO(data)).trailer["/Root"]["/StructTreeRoot"])
    return found
