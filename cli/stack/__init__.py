"""Postgres, Valkey and RabbitMQ of one's own on one machine: private ports, loopback only, gone when we are."""
