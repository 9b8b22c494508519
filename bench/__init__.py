"""How fast the bot is beside the two common libraries: `python -m bench`. Documented in docs/performance.md."""
