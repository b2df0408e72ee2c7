"""What Penchant does, for any caller: recommends, takes in events and items, promotes models, erases people."""
