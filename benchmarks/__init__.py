"""Timings that are printed, never stored."""
