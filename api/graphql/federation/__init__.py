"""Federation: what a shop's router asks, so that it can compose this schema with others."""
