"""The demo: ten months of a real shop, and the steps that load it, train on it and show the answers."""
