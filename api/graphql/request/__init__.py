"""From an HTTP request to a checked document and back to an answer."""
