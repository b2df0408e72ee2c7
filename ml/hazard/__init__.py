"""The forecast of when a person orders next: a discrete-time hazard net, from which churn follows too."""
