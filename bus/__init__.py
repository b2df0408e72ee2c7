"""How work travels: our own envelope, the queues, the publisher. RabbitMQ is the first adapter."""
