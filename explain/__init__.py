"""Explanations of a model's answer about one recording. Never imports Streamlit or the pages."""
