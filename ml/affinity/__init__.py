"""The affinity model: which items a person is most likely to buy next."""
