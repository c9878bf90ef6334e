"""Where the project is, and where its settings are read from."""

from pathlib import Path

from config.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
ENV = Environment()
ENV.load_file(BASE_DIR / ".env")
