.PHONY: help
help:
	@echo "make install | demo | test | test-long | check | bench"
