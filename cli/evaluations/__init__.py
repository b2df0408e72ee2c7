"""How a comparison of models is shown: tables, plots and the report."""
