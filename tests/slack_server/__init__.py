"""A local Slack for tests: Web API methods that the bot uses, each strict, and Socket Mode over a real WebSocket."""
