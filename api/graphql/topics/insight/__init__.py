"""What can be asked about the answers: why an item is listed, what a person likes, what can be trained, who is who."""
