"""What several topics share: scalars, nodes, connections, filters, permissions, payloads."""
