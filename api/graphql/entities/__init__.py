"""Objects that are asked for again by their ids: `node`, and what a federation router asks."""
