"""GraphQL over WebSocket (`graphql-transport-ws`): connections that stay open and carry many operations."""
