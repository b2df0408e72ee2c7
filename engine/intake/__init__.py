"""Events in: judged and sent by the gateway, stored by the worker."""
