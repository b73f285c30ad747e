"""Recordings, corpora, encoders, models and measures. Never imports Streamlit or ``explain``."""
