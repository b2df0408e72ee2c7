"""What several topics share: scalars, nodes, connections, permissions."""
