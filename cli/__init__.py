"""`penchant`: run the stack on one machine, load data, train, inspect. The only folder that imports everything."""
