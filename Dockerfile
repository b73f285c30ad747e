# SERscope in a container: nobody's rights, nothing written but to memory and to the cache volume.
# Built by: docker build -t serscope .
FROM python:3.11-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /srv/serscope
COPY requirements.txt constraints.txt ./
RUN pip install --requirement requirements.txt \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent serscope \
    && install --directory --owner serscope --group serscope /cache

COPY .streamlit/config.toml .streamlit/config.toml
COPY app.py ./
COPY pages pages
COPY explain explain
COPY ser_core ser_core
COPY assets assets
RUN python -m compileall -q app.py pages explain ser_core

# The temporary folder and the home of what libraries keep are in memory (see compose.yaml); models are unpacked once
# into the cache, which holds nothing of a reader.
ENV HOME=/tmp \
    TMPDIR=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    SERSCOPE_CACHE=/cache \
    SERSCOPE_LOG=json
USER 10001:10001
VOLUME /cache
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]

ENTRYPOINT ["python", "-m", "streamlit", "run", "app.py", \
    "--server.address", "0.0.0.0", "--server.port", "8501", "--logger.hideWelcomeMessage", "true"]
