"""The sentences that say to a person why an item is listed, in several languages."""
