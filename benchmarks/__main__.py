"""All benchmarks in one run: ``python -m benchmarks``."""

from benchmarks import app_speed, explain_speed

explain_speed.main([])
app_speed.main()
