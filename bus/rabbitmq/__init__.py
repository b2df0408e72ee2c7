"""The RabbitMQ adapter: exchanges and queues, the publisher, Celery messages, dead letters."""
