"""Private Postgres, Valkey and RabbitMQ servers on one machine: on loopback, stopped with their supervisor."""
