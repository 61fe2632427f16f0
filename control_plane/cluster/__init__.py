"""Several control planes of one mesh: what one of them sees is shown by all of them."""
