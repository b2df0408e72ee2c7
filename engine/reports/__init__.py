"""Reports of models for people: HTML files with tables and plots, which load nothing."""
