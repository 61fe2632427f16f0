"""House rules that no linter knows, checked by `python -m checks` as a part of `make check`."""
