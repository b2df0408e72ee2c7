"""What is shown of models to people: what the gate said, differences, and HTML files that load nothing."""
