"""How much the items of a list differ from each other, as a placement says."""
