"""What Penchant does, for any caller: recommend, take in events and items, train and promote models, erase people."""
