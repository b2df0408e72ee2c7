"""Events that could not be stored: kept with their reason, replayed or discarded."""
