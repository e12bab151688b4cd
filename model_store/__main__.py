"""`python -m model_store`."""

from model_store.cli import app

app(prog_name="python -m model_store")
